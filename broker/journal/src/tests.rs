//! Claims about the whole journal: machine, disk thread, reader, recovery and simulated disk
//! together.

pub(crate) mod checkpoints;
mod damage;
mod faults;
mod formats;
mod fuzzed;
mod install;
mod random_walk;
mod reading;
mod room;
pub(crate) mod testing;
