//! The deterministic simulator of whole groups: real machines, fake clock, network, disk, Lease
//! store and clients, and an oracle that judges every step.
//!
//! `docs/internals/simulator.md` says what is simulated, what is judged and what is not modelled.
//! Entry points: [`run::run_seed`] for random runs, [`schedules::SCHEDULES`] for scripted ones; the
//! binary `sim` drives both. Pure: no clock, no thread, no file; a run is a function of its seed.

mod agenda;
mod client;
mod disk;
mod faults;
mod happening;
mod lease;
mod net;
pub mod oracle;
mod payload;
mod peek;
mod rng;
pub mod run;
pub mod schedules;
pub mod seeds;
mod session;
pub mod soak;
mod stage;
pub mod trace;
mod volume;
mod world;
