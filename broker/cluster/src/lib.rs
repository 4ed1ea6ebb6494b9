//! Replication, election and identity of one group, and `NodeMachine`, which joins them with the
//! engine and the journal by events.
//!
//! Pure: time is an argument, effects are values. The shell and the simulator drive the same
//! machine: `handle_event`, `poll_effect`, `poll_timeout`.

mod config;
mod config_record;
mod epoch_start;
mod event;
mod group;
mod image;
pub mod lease;
pub mod mutants;
mod node;
mod peer;
mod recover_alone;
mod rng;
mod status;
mod volume;

pub use config::{Confirmation, NodeConfig, PeerConfig, Timing};
pub use epoch_start::EpochStart;
pub use event::{Effect, Event, Frame, InboundId, LeaseRequestId, ReadId};
pub use node::NodeMachine;
pub use recover_alone::{RecoverAloneError, Survivor, look_at_survivor, recover_alone};
pub use status::{Formats, MemberStatus, Offsets, Role, Status};
pub use volume::{VolumeVerdict, judge_volume};
