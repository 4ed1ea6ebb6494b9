//! What brokers of one group say to each other.
//!
//! Every message names the group, the sender and the *receiver* incarnation; a wrong group or
//! receiver is dropped before it is read. Rows are those of `docs/protocol/README.md`.

mod codec;

use bytestring::ByteString;
use tandemmq_journal::{Batch, Founding, LogState, Piece, Witness};
use tandemmq_model::{Ballot, BootNonce, Epoch, GroupId, Incarnation, MemberId, Offset};

pub(crate) use codec::{decode, encode};

/// Version of this language. A Hello of another one closes the link.
pub(crate) const PEER_VERSION: u8 = 4;

/// Entries of an epoch table in one message. A longer table is told from its end; the next round
/// continues below. 1,024 entries are 16 KiB.
pub(crate) const EPOCHS_MAX: usize = 1_024;

/// Bytes of batches in one Append or Fetched beyond the first batch: large enough to keep a
/// link busy, small enough that a heartbeat never waits long behind one.
pub(crate) const BATCHES_BYTES_MAX: usize = 1024 * 1024;

/// A position with the epoch of the record at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Tail {
    /// Compared first: the greater epoch is the better log.
    pub(crate) epoch: Epoch,
    /// Compared second.
    pub(crate) offset: Offset,
}

/// One row of an epoch table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochFirst {
    pub(crate) epoch: Epoch,
    pub(crate) first: Offset,
}

/// From whom, to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// The sender's group; none while it is blank.
    pub(crate) group: Option<GroupId>,
    pub(crate) from: MemberId,
    /// The incarnation it is meant for; 0 in a Hello and in the questions of founding.
    pub(crate) to: Incarnation,
}

/// Whether a master offers to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reign {
    /// Asks for promises or recovers; not a master yet.
    Candidate,
    /// Master whose EpochStart is not committed.
    Starting,
    /// Master, EpochStart committed.
    Serving,
    /// Its disk or loop makes no progress, or it gave up: not to be heard as a master.
    Invalid,
    /// Leaves in favour of this ordinal.
    Resigning(u8),
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    /// First frame of every link.
    Hello {
        version: u8,
        /// The formats of the journal that the sender understands, least and greatest.
        formats: (u16, u16),
        /// Dial count of the sender's process: of one boot the greater one is the newer link.
        link: u64,
        boot: BootNonce,
        name: ByteString,
    },
    /// What the sender remembers of the receiver; the receiver judges itself (row 18).
    Remember(Witness),
    /// Row 15a: are you blank?
    AskBlank { round: u64 },
    /// The answer.
    Blank { round: u64, blank: bool },
    /// Row 15: the founder has written `group`; read the Lease now.
    GroupConfirmed,
    /// Row 1.
    PreVote {
        round: u64,
        lease_uid: String,
        lease_revision: String,
        holder: String,
        tail: Tail,
    },
    PreVoteReply {
        round: u64,
        yes: bool,
        promised: Epoch,
    },
    /// Row 3.
    PromiseReq { ballot: Ballot },
    /// Row 3's answer, row 4's input.
    Promised {
        ballot: Ballot,
        tail: Tail,
        log_state: LogState,
        cut_mark: Ballot,
        witness: Vec<Witness>,
    },
    /// The sender's promise is not the ballot it was addressed under, and not below it.
    Refused { of: Ballot, promise: Ballot },
    /// Row 5: what comes after the greatest common record of this log?
    Fetch {
        ballot: Ballot,
        appended: Offset,
        epochs: Vec<EpochFirst>,
    },
    Fetched {
        ballot: Ballot,
        prev: Tail,
        end: Tail,
        batches: Vec<Batch>,
    },
    /// Row 7.
    Append {
        ballot: Ballot,
        prev: Tail,
        committed: Offset,
        batches: Vec<Batch>,
    },
    Nack {
        ballot: Ballot,
        appended: Offset,
        epochs: Vec<EpochFirst>,
    },
    /// Row 8. The state of the sender's log travels with the claim: one that is damaged, or learns,
    /// says how far it is and counts for nothing.
    Ack {
        ballot: Ballot,
        matched: Offset,
        log_state: LogState,
    },
    /// Row 15d: a blank volume is wanted in the place of a lost one.
    Join { ballot: Ballot, group: Founding },
    /// Row 18: the master does without this volume, whose owner knows that it cannot be trusted.
    SetAside { ballot: Ballot },
    /// Row 12: what is before the log comes as this checkpoint.
    Offer {
        ballot: Ballot,
        checkpoint: Tail,
        /// Bytes of its file.
        bytes: u64,
    },
    /// A piece of the checkpoint of that offset, by its position in the file.
    FetchPiece {
        ballot: Ballot,
        offset: Offset,
        position: u64,
    },
    /// The answer, and where the next piece is.
    CheckpointPiece {
        ballot: Ballot,
        offset: Offset,
        position: u64,
        next: u64,
        piece: Piece,
    },
    /// These records of the checkpoint of that offset, in runs: first and count.
    FetchSurvivors {
        ballot: Ballot,
        offset: Offset,
        runs: Vec<(Offset, u32)>,
    },
    /// What is left of them up to `to`: what is not there is dead.
    Survivors {
        ballot: Ballot,
        offset: Offset,
        to: Offset,
        batches: Vec<Batch>,
    },
    /// Of a candidate or master, ten times a second.
    Heartbeat {
        ballot: Ballot,
        reign: Reign,
        /// The sender's boot clock in nanoseconds, returned as it is.
        sent_at: u64,
        committed: Offset,
        /// Its last offset: a damaged member is repaired once it has it (row 14).
        appended: Offset,
        /// What the master knows of its members, for their witness tables.
        witness: Vec<Witness>,
    },
    HeartbeatReply {
        /// The sender's promise.
        ballot: Ballot,
        sent_at: u64,
        matched: Offset,
        synced: Offset,
        applied: Offset,
        log_state: LogState,
        /// Ends soon: no target of a hand-over.
        terminating: bool,
        /// How ill its disk is, 0: not at all.
        illness: u8,
    },
}

impl Message {
    /// The greatest format of what it carries of a journal; 0 when it carries nothing of one.
    pub(crate) fn format(&self) -> u16 {
        match self {
            Self::Append { batches, .. }
            | Self::Fetched { batches, .. }
            | Self::Survivors { batches, .. } => {
                batches.iter().map(Batch::format).max().unwrap_or_default()
            }
            Self::CheckpointPiece {
                piece: Piece::Head(head),
                ..
            } => head.format,
            _ => 0,
        }
    }
}
