//! The machine of one broker.

use tandemmq_journal::Recovered;
use tandemmq_model::{BootNonce, Now, Time};

use crate::{Effect, Event, NodeConfig, Status};

/// Election, replication, journal and engine of one broker, joined by events.
pub struct NodeMachine {}

impl NodeMachine {
    /// A node that starts with what `recover` found. `boot` names this run of the process; `seed`
    /// feeds jitter and the names it must draw.
    pub fn new(
        _config: NodeConfig,
        _boot: BootNonce,
        _seed: u64,
        _recovered: Recovered,
        _now: Now,
    ) -> Self {
        unreachable!()
    }

    /// Something happened. Feed all that is there before polling effects: what arrives together
    /// shares one batch.
    pub fn handle_event(&mut self, _now: Now, _event: Event) {}

    /// The time of `poll_timeout` has come (or any later moment, or earlier: harmless).
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// The next thing to do outside.
    pub fn poll_effect(&mut self, _now: Now) -> Option<Effect> {
        None
    }

    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// False: keep clients' commands in their bounded buffers for now (no quorum answers, or
    /// enough is waiting for the disk already).
    pub fn accepts_commands(&self) -> bool {
        false
    }

    /// Everything about itself. Walks the destinations: not for every event.
    pub fn status(&self) -> Status {
        unreachable!()
    }
}
