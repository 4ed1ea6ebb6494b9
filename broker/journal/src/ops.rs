//! What the machine asks of the disk thread, and what that answers.
//!
//! One operation is out at a time; what is asked meanwhile goes into the next one. That is the
//! whole group commit: sync when idle, gather while syncing, no timer.

use tandemmq_model::Offset;

use crate::batch::Batch;
use crate::control::Control;
use crate::identity::{Identity, Witness};

/// One operation of the disk thread.
#[derive(Debug)]
pub struct DiskOp {
    pub(crate) work: Work,
}

#[derive(Debug)]
pub(crate) enum Work {
    /// In this order, then one fdatasync; then, if asked, the durable mark moves up. What an
    /// earlier one could not place for want of room comes before.
    Write { items: Vec<Item>, mark: bool },
    /// One piece of zero-filling ahead.
    Prepare,
    /// The limit of the journal's size changed.
    Limit(Option<u64>),
}

#[derive(Debug)]
pub(crate) enum Item {
    Append(Batch),
    Cut(Offset),
    Control(Control),
    Identity(Identity),
    Witness(Vec<Witness>),
}

impl DiskOp {
    /// Bytes it writes, roughly: for a simulated disk's timing.
    pub fn bytes(&self) -> usize {
        match &self.work {
            Work::Write { items, .. } => items.iter().map(Item::bytes).sum(),
            Work::Prepare => crate::segment::PIECE,
            Work::Limit(_) => 0,
        }
    }

    /// True for zero-filling ahead, which nobody waits for.
    pub fn is_background(&self) -> bool {
        matches!(self.work, Work::Prepare | Work::Limit(_))
    }
}

impl Item {
    /// It changes neither end nor content of the log.
    pub(crate) const fn leaves_the_log(&self) -> bool {
        !matches!(self, Self::Append(_) | Self::Cut(_))
    }

    /// Bytes by which the log grows.
    pub(crate) fn log_bytes(&self) -> u64 {
        match self {
            Self::Append(batch) => batch.bytes().len() as u64,
            Self::Cut(_) | Self::Control(_) | Self::Identity(_) | Self::Witness(_) => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append(batch) => batch.bytes().len(),
            Self::Cut(_) | Self::Control(_) | Self::Identity(_) | Self::Witness(_) => 4096,
        }
    }
}

/// Room on the disk, as the disk thread knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Left in the current segment.
    pub(crate) remaining: u64,
    /// Zero-filled segments that wait.
    pub(crate) spares: u32,
    /// Neither the limit nor the disk forbids another segment, as far as is known. After a full
    /// disk that is known again once a whole segment was zero-filled.
    pub(crate) can_grow: bool,
    /// The last attempt to grow failed: the next one is made a second later.
    pub(crate) blocked: bool,
    /// More should be zero-filled.
    pub(crate) wants_more: bool,
    /// Bytes of all files.
    pub(crate) used: u64,
}

/// An operation is done.
#[derive(Debug)]
pub struct DiskDone {
    pub(crate) result: Result<Done, String>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) room: Room,
    /// The durable mark, as stored.
    pub(crate) durable: Offset,
    /// Where the synced log ends, and the CRC of its last batch.
    pub(crate) synced: Offset,
    pub(crate) crc: u32,
    /// Batches wait that found no room on the disk.
    pub(crate) deferred: bool,
}

impl DiskDone {
    /// True when the process must end: nothing about the disk is known any more.
    pub const fn is_fatal(&self) -> bool {
        self.result.is_err()
    }
}

#[cfg(test)]
impl DiskOp {
    /// Once it is done, what was cut is gone.
    pub(crate) fn ends_a_cut(&self) -> bool {
        matches!(&self.work, Work::Write { items, .. }
            if items.iter().any(|item| matches!(item, Item::Cut(_))))
    }
}
