//! What a node is told at its start, and the times of the protocol.

use std::time::Duration;

use bytestring::ByteString;
use tandemmq_engine::EngineConfig;
use tandemmq_journal::JournalConfig;

/// One broker's place in its group.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The group's name, part of every message id.
    pub group: ByteString,
    /// This broker's name, for logs, the Lease and the status: `a-0`.
    pub name: ByteString,
    /// What stands between name and boot nonce in the Lease's holder; none: the incarnation.
    pub holder: Option<ByteString>,
    /// The storage system's name of the volume that is bound to this process; none where volumes have
    /// none.
    pub volume_id: Option<ByteString>,
    /// Who confirms a proposed group.
    pub confirmation: Confirmation,
    /// This broker's ordinal. Its incarnation comes from its volume.
    pub ordinal: u8,
    /// All brokers of the group, itself included, ordered by ordinal: 1, 3, 5 or 7.
    pub members: Vec<PeerConfig>,
    /// The address clients reach this broker at; written into the Lease by a master.
    pub client_address: ByteString,
    /// Times.
    pub timing: Timing,
    /// Journal limits.
    pub journal: JournalConfig,
    /// Engine limits.
    pub engine: EngineConfig,
}

/// Who confirms the founding of a group (row 15b).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// The proposer itself, when all are still blank.
    ByFounder,
    /// Somebody outside who remembers it elsewhere too; brokers only propose.
    ByOperator,
}

/// One broker of the group as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its ordinal.
    pub ordinal: u8,
    /// Its name.
    pub name: ByteString,
}

/// Times of the protocol. None of them is needed for safety.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a master or candidate.
    pub heartbeat: Duration,
    /// Silence after which a master is no longer heard.
    pub suspicion: Duration,
    /// Without a quorum's answer for this long a master stops accepting and dispatching.
    pub quorum_hold: Duration,
    /// Lease duration: renewed every third of it; without a quorum for this long a master steps
    /// down.
    pub lease_duration: Duration,
    /// A disk operation out for longer makes a master declare itself not valid.
    pub disk_stall: Duration,
    /// A hand-over takes at most this long; then the master steps down without a target.
    pub handover_max: Duration,
    /// Between two checks of some more of the disk, a MiB each.
    pub scrub: Duration,
    /// A Lease call without an answer for this long is taken as `Unknown`.
    pub lease_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            suspicion: Duration::from_secs(1),
            quorum_hold: Duration::from_millis(800),
            lease_duration: Duration::from_secs(6),
            disk_stall: Duration::from_secs(2),
            handover_max: Duration::from_secs(5),
            scrub: Duration::from_millis(250),
            lease_timeout: Duration::from_secs(1),
        }
    }
}
