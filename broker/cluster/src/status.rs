//! What a node tells about itself: `/status`, `cluster-list`, the operator later.

use tandemmq_engine::DestinationStats;
use tandemmq_journal::{Founding, LogState};
use tandemmq_model::{Epoch, MemberId, Offset};

/// Role of a member, in the words of the old product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Follows; client ports closed.
    Slave,
    /// Asks for promises, or recovers the log before it serves.
    Candidate,
    /// Serves clients.
    Master,
}

impl Role {
    /// The word the status prints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slave => "slave",
            Self::Candidate => "candidate",
            Self::Master => "master",
        }
    }
}

/// The four offsets: `appended >= synced >= committed >= applied`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offsets {
    /// Written to the journal.
    pub appended: Offset,
    /// On this member's disk.
    pub synced: Offset,
    /// Known to be on a quorum's disks.
    pub committed: Offset,
    /// In this member's engine.
    pub applied: Offset,
}

/// Formats of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats {
    /// The greatest that this version understands.
    pub understood: u16,
    /// The one that this member's log is in.
    pub written: u16,
}

/// One member as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Ordinal and incarnation; none while it was never heard.
    pub member: Option<MemberId>,
    /// Our own connection to it is up.
    pub connected: bool,
    /// Known by the master: verified and synced up to here in this epoch.
    pub matched: Offset,
    /// Records behind the master's log; known by the master only.
    pub lag: Option<u64>,
    /// Follows in step (master's view).
    pub in_sync: bool,
    /// Why it is not.
    pub reason: String,
}

/// A node's whole status.
#[derive(Debug, Clone)]
pub struct Status {
    /// Role now.
    pub role: Role,
    /// Promised epoch (a master: its own).
    pub epoch: Epoch,
    /// Serving clients: master with its EpochStart committed and a quorum answering.
    pub serving: bool,
    /// In sync as a slave, or master: `/readyz`.
    pub ready: bool,
    /// Who this member is.
    pub member: MemberId,
    /// The group it adopted.
    pub group_id: Option<String>,
    /// Who the group is, as this volume adopted it; none while it is blank.
    pub founding: Option<Founding>,
    /// The storage system's name of the volume that it was formatted on.
    pub volume_id: Option<String>,
    /// State of its log.
    pub log_state: LogState,
    /// The offsets.
    pub offsets: Offsets,
    /// Formats of its journal.
    pub formats: Formats,
    /// Epoch and name of the last master heard.
    pub master: Option<(Epoch, String)>,
    /// Why the role or state is what it is: a short word such as `JournalFull`, or empty.
    pub reason: String,
    /// A sentence for people about `reason`.
    pub message: String,
    /// All members, itself included.
    pub members: Vec<MemberStatus>,
    /// Bytes the journal takes on disk.
    pub journal_bytes: u64,
    /// Offset of the newest checkpoint.
    pub checkpoint: Option<Offset>,
    /// The record before the log's first one.
    pub log_start: Offset,
    /// Generation of the voters; 0 = the founding list.
    pub config_generation: u64,
    /// Whole checks of the disk for damage since the start.
    pub disk_checks: u64,
    /// Digest of the engine's State at `applied`.
    pub state_digest: u64,
    /// Destinations.
    pub destinations: Vec<DestinationStats>,
}
