//! The machine itself: both halves behind one set of methods.

use tandemmq_model::{Command, Committed, ConnId, Epoch, Now, Offset, Record, Time};

use crate::{Admission, Backlog, DestinationStats, EngineConfig, EngineEffect};

/// The engine of one member. See the crate's page for its two halves.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    /// An engine with an empty State: the log is applied to it from offset 1.
    pub fn new(config: EngineConfig) -> Self {
        Self { config }
    }

    /// A record is committed. Total; called for every record of the log in order, on every member,
    /// never twice. On the master it also answers the request behind the record.
    pub fn apply(
        &mut self,
        _now: Now,
        _committed: Committed,
        _offset: Offset,
        _epoch: Epoch,
        _record: &Record,
    ) {
    }

    /// This member is master of `epoch`: its EpochStart is applied, and the next record proposed
    /// gets the offset `next`.
    pub fn promote(&mut self, _now: Now, _epoch: Epoch, _next: Offset) {}

    /// No longer master: forgets every connection, request and non-persistent message.
    pub fn demote(&mut self) {}

    /// A client's session is established. Master only.
    pub fn handle_connected(&mut self, _now: Now, _conn: ConnId) {}

    /// A client asks for something. Master only.
    pub fn handle_command(&mut self, _now: Now, _conn: ConnId, _command: Command) {}

    /// A client's connection has ended. Master only.
    pub fn handle_disconnected(&mut self, _now: Now, _conn: ConnId) {}

    /// Answer to `ReadBodies`. None: unreadable now, to be tried again later.
    pub fn handle_bodies(&mut self, _now: Now, _bodies: Vec<(Offset, Option<Record>)>) {}

    /// The time of `poll_timeout` has come; earlier and later calls are harmless.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// The next thing to do outside. Dispatch happens here.
    pub fn poll_effect(&mut self, _now: Now) -> Option<EngineEffect> {
        None
    }

    /// What the journal has room for.
    pub fn set_admission(&mut self, _admission: Admission) {}

    /// What was proposed and not applied yet.
    pub fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    /// Digest of the whole State: equal on all members at an equal applied offset.
    pub fn state_digest(&self) -> u64 {
        0
    }

    /// All destinations, ordered by kind and name.
    pub fn destinations(&self) -> impl Iterator<Item = DestinationStats> {
        std::iter::empty()
    }

    /// The last offset applied.
    pub fn applied(&self) -> Offset {
        Offset::ZERO
    }

    /// What it was told at its start.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }
}
