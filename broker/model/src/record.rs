//! Records of the journal as everybody but the journal sees them: a kind, flags, opaque bytes.
//!
//! The owner of a kind encodes and decodes its body: `cluster` owns `EpochStart` and `Config`, the
//! engine all others. The journal reads neither. New fields go only at the end of a body.

use bytes::Bytes;

/// Set on a record that a reader must understand: an unknown kind with this flag stops the member,
/// it is never skipped.
pub const RECORD_FLAG_CRITICAL: u8 = 0x01;

/// What a record says. The numbers are on disk and on the wire: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// First record of a master's epoch; carries the voters. Committing it commits all before it
    /// and rolls back every open local transaction.
    EpochStart = 1,
    /// Members change (joint consensus). Number kept; written by nobody yet.
    Config = 2,
    /// A persistent message arrives on a queue (inside a transaction: once that commits).
    Enqueue = 16,
    /// Entries of one queue were consumed.
    Ack = 17,
    /// Entries of one queue move to the dead letter queue, with a cause.
    DeadLetter = 18,
    /// A local transaction becomes visible.
    TxCommit = 19,
    /// A local transaction is forgotten.
    TxRollback = 20,
}

impl RecordKind {
    /// Every kind that exists, for tests that walk them all.
    pub const ALL: [Self; 7] = [
        Self::EpochStart,
        Self::Config,
        Self::Enqueue,
        Self::Ack,
        Self::DeadLetter,
        Self::TxCommit,
        Self::TxRollback,
    ];

    /// The kind of that number, none when this version does not know it.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// One record. Cheap to clone: the body is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// A `RecordKind`, kept as a number so that an unknown one can be stored and passed on.
    pub kind: u8,
    /// `RECORD_FLAG_*`.
    pub flags: u8,
    /// Encoded by the owner of the kind.
    pub body: Bytes,
}

impl Record {
    /// A record that every reader must understand.
    pub const fn critical(kind: RecordKind, body: Bytes) -> Self {
        Self {
            kind: kind as u8,
            flags: RECORD_FLAG_CRITICAL,
            body,
        }
    }

    /// The kind, none when this version does not know it.
    pub fn known_kind(&self) -> Option<RecordKind> {
        RecordKind::from_u8(self.kind)
    }

    /// Unknown, and not to be skipped: the member must stop.
    pub fn must_stop(&self) -> bool {
        self.known_kind().is_none() && self.flags & RECORD_FLAG_CRITICAL != 0
    }
}
