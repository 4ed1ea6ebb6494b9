//! What the machine asks of the disk thread, and what that answers.
//!
//! One operation is out at a time; what is asked meanwhile goes into the next one. That is the
//! whole group commit: sync when idle, gather while syncing, no timer.

use tandemmq_model::Offset;

use crate::batch::Batch;
use crate::checkpoint::{CheckpointHead, Image, PIECE_BYTES_MAX};
use crate::control::Control;
use crate::identity::{Identity, Witness};
use crate::manifest::CheckpointRef;
use crate::set_aside::SetAside;

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
    /// One piece of a checkpoint or of cleaning up.
    Step,
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
    /// Begins a checkpoint.
    Checkpoint(Box<CheckpointOrder>),
    /// Survivors from a peer.
    Side(Vec<Batch>),
    /// The installation is given up.
    Abandon,
    /// The checkpoint that was prepared for an installation becomes the journal.
    Switch,
    /// From the next start on.
    SetAside(SetAside),
}

/// A checkpoint to be made.
#[derive(Debug)]
pub struct CheckpointOrder {
    /// What it says besides its image.
    pub head: CheckpointHead,
    /// The image, and what is live.
    pub image: Box<dyn Image>,
    /// Somebody needs the log behind this offset.
    pub retain: Offset,
    /// But no more than so many bytes of it; set by the journal from its configuration.
    pub(crate) retain_bytes: u64,
    /// A checkpoint that a slave is being sent: it and the log behind it are kept.
    pub pin: Option<Offset>,
    /// It replaces the log (row 12).
    pub(crate) install: bool,
}

impl DiskOp {
    /// Bytes it writes, roughly: for a simulated disk's timing.
    pub fn bytes(&self) -> usize {
        match &self.work {
            Work::Write { items, .. } => items.iter().map(Item::bytes).sum(),
            Work::Prepare => crate::segment::PIECE,
            Work::Step => PIECE_BYTES_MAX / 4,
            Work::Limit(_) => 0,
        }
    }

    /// True for work that nobody waits for.
    pub fn is_background(&self) -> bool {
        matches!(self.work, Work::Prepare | Work::Limit(_) | Work::Step)
    }
}

impl Item {
    /// It changes neither end nor content of the log.
    pub(crate) const fn leaves_the_log(&self) -> bool {
        !matches!(self, Self::Append(_) | Self::Cut(_) | Self::Switch)
    }

    /// Bytes by which the log grows.
    pub(crate) fn log_bytes(&self) -> u64 {
        match self {
            Self::Append(batch) => batch.bytes().len() as u64,
            _ => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append(batch) => batch.bytes().len(),
            Self::Side(batches) => batches.iter().map(|batch| batch.bytes().len()).sum(),
            _ => 4096,
        }
    }
}

impl CheckpointOrder {
    /// `retain`: somebody needs the log behind that offset; `pin`: a slave is being sent the
    /// checkpoint of that one.
    pub fn new(
        head: CheckpointHead,
        image: Box<dyn Image>,
        retain: Offset,
        pin: Option<Offset>,
    ) -> Self {
        Self {
            head,
            image,
            retain,
            retain_bytes: 0,
            pin,
            install: false,
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

/// What long work ended with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TaskNews {
    /// A checkpoint is made.
    pub(crate) checkpoint: Option<CheckpointRef>,
    /// One for an installation is there.
    pub(crate) prepared: bool,
    /// The journal is that checkpoint now.
    pub(crate) switched: Option<CheckpointRef>,
    /// Survivors are stored up to here.
    pub(crate) side: Option<Offset>,
    /// There was no room for it.
    pub(crate) failed: bool,
    /// There was no room for survivors.
    pub(crate) side_failed: bool,
    /// Something that is needed is damaged.
    pub(crate) damaged: Option<String>,
}

/// An operation is done.
#[derive(Debug)]
pub struct DiskDone {
    pub(crate) result: Result<Done, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) news: TaskNews,
    /// The task has more steps.
    pub(crate) working: bool,
    /// The last record before the log.
    pub(crate) log_start: Offset,
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
