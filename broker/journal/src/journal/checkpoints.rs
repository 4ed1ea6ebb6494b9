//! The machine's side of checkpoints: when one is due, the pace of long work, what is kept, and the
//! installation of one that a peer sent (row 12).
//!
//! ```text
//!   log grows --due--> ordered --disk thread, step by step--> made --cleaning--> idle
//!   installation:  ordered --> prepared --switch--> switched --cleaning--> idle
//! ```
//! Invariant: between `switch` and `Switched` nothing is appended or cut.

use std::time::Duration;

use tandemmq_model::{Now, Offset, Time};

use super::{Journal, JournalConfig, JournalEvent, Space};
use crate::batch::Batch;
use crate::checkpoint::{CheckpointHead, Image};
use crate::manifest::CheckpointRef;
use crate::ops::{CheckpointOrder, Done, Item};
use crate::read::{ReadOp, ScrubAt, Wanted};
use crate::recover::Recovered;
use crate::set_aside::SetAside;

/// Log bytes that pay for one step of long work: as many as a step writes, so that a checkpoint
/// under full load takes as long as a checkpoint's size of log.
const STEP_COST: u64 = 256 * 1024;

/// What any write pays, so that small ones do not put off long work for ever.
const WRITE_PAYS: u64 = 16 * 1024;

/// A checkpoint waits for so many times its own size of log: an eighth of what is written.
const SIZE_FACTOR: u64 = 8;

/// While the disk is short of room a checkpoint may free some: tried so often.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Checkpoints {
    every_bytes: u64,
    /// Of the log since the newest one was ordered.
    since_bytes: u64,
    /// Those that are kept, ascending.
    made: Vec<CheckpointRef>,
    log_start: (Offset, u32),
    /// Ordered, and no answer yet.
    ordered: bool,
    /// The disk thread has more steps to do.
    working: bool,
    credit: u64,
    /// No other before this time.
    again_at: Option<Time>,
    /// Head of the checkpoint that is being installed.
    installing: Option<CheckpointHead>,
    /// The switch was asked for.
    switching: bool,
    side_last: Offset,
}

// === impl Checkpoints ===

impl Checkpoints {
    pub(super) fn new(config: &JournalConfig, recovered: &Recovered) -> Self {
        Self {
            every_bytes: config.checkpoint_bytes,
            since_bytes: recovered.log_bytes,
            made: recovered.manifest.checkpoints.clone(),
            log_start: recovered.index.lock().start,
            ordered: false,
            working: false,
            credit: 0,
            again_at: None,
            installing: None,
            switching: false,
            side_last: recovered.side.last(),
        }
    }

    pub(super) const fn appended(&mut self, bytes: u64) {
        self.since_bytes += bytes;
    }

    /// CRC of the batch that ends there, where the log starts or was empty.
    pub(super) fn crc_at(&self, offset: Offset) -> Option<u32> {
        (offset == self.log_start.0).then_some(self.log_start.1)
    }

    pub(super) fn earn(&mut self, bytes: u64) {
        if self.working {
            self.credit += bytes.max(WRITE_PAYS);
        }
    }

    /// One step now: it is paid for, or there is nothing else to do.
    pub(super) const fn step_is_due(&mut self, idle: bool) -> bool {
        if !self.working || !idle && self.credit < STEP_COST {
            return false;
        }
        self.credit = self.credit.saturating_sub(STEP_COST);
        true
    }

    pub(super) const fn again_at(&self) -> Option<Time> {
        self.again_at
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.again_at = self.again_at.filter(|at| *at > now.boot);
    }

    fn newest(&self) -> Option<&CheckpointRef> {
        self.made.last()
    }

    /// The two newest are of one offset: the log holds only what is behind it.
    fn newest_is_doubled(&self) -> bool {
        match self.made.as_slice() {
            [.., before, newest] => before.offset == newest.offset,
            _ => false,
        }
    }

    /// What was installed.
    pub(super) fn switched(&mut self, done: &Done) -> (CheckpointHead, CheckpointRef) {
        let made = done.news.switched.expect("the caller has seen it");
        let head = self.installing.take().expect("a switch follows an order");
        self.switching = false;
        self.since_bytes = 0;
        self.made = vec![made];
        self.log_start = (made.offset, made.crc);
        self.side_last = Offset::ZERO;
        (head, made)
    }
}

impl Journal {
    pub(super) fn learn_task(&mut self, now: Now, done: &Done) {
        let news = &done.news;
        let task = &mut self.checkpoints;
        task.working = done.working;
        if let Some(made) = news.checkpoint {
            task.made.push(made);
            let newest_two = task.made.len().saturating_sub(3);
            task.made.drain(..newest_two);
        }
        if done.log_start != task.log_start.0 {
            // The CRC is only needed where a log is empty, which one that moved on is not.
            task.log_start = (done.log_start, 0);
        }
        if news.checkpoint.is_some() || news.prepared || news.failed {
            task.ordered = false;
        }
        if let Some(last) = news.side {
            task.side_last = last;
            self.events.push_back(JournalEvent::SideStored(last));
        }
        if news.failed {
            task.again_at = Some(now.boot + AGAIN);
        }
        if news.failed && task.installing.take().is_some() || news.side_failed {
            self.events.push_back(JournalEvent::NoRoom);
        }
        if news.prepared {
            self.events.push_back(JournalEvent::Prepared);
        }
        if let Some(text) = &news.damaged {
            self.events.push_back(JournalEvent::Damaged(text.clone()));
        }
    }

    // === checkpoints ===

    /// True when one should be made: enough was appended, or the disk is short of room. Then also a
    /// second one of the same offset: the log in front of the one before the newest gives its room
    /// back, though nothing is appended any more.
    pub fn wants_checkpoint(&self, applied: Offset) -> bool {
        let task = &self.checkpoints;
        let newest = task
            .newest()
            .map_or((Offset::ZERO, 0), |newest| (newest.offset, newest.bytes));
        let busy = task.ordered || task.working || task.installing.is_some() || self.failed;
        if busy || task.again_at.is_some() || applied == Offset::ZERO {
            return false;
        }
        let due = task.every_bytes.max(SIZE_FACTOR * newest.1);
        let is_new = applied > newest.0;
        let frees = is_new || !task.newest_is_doubled();
        is_new && task.since_bytes >= due || frees && self.space() != Space::Open
    }

    /// Makes one, in the background. `head.offset` is the end of a batch that is applied.
    pub fn checkpoint(&mut self, now: Now, mut order: CheckpointOrder) {
        order.retain_bytes = self.config.retain_bytes;
        let task = &mut self.checkpoints;
        task.ordered = true;
        task.since_bytes = 0;
        task.again_at = Some(now.boot + AGAIN);
        self.queue.push(Item::Checkpoint(Box::new(order)));
    }

    /// The newest checkpoint: offset and number of its file.
    pub fn newest_checkpoint(&self) -> Option<(Offset, u64)> {
        self.checkpoints
            .newest()
            .map(|made| (made.offset, made.number))
    }

    /// The number of the file of a checkpoint of that offset, while it is kept.
    pub fn checkpoint_number(&self, offset: Offset) -> Option<u64> {
        let mut made = self.checkpoints.made.iter();
        made.find(|made| made.offset == offset)
            .map(|made| made.number)
    }

    /// Epoch, and bytes, of a checkpoint that is kept.
    pub fn checkpoint_facts(&self, offset: Offset) -> Option<(tandemmq_model::Epoch, u64)> {
        let mut made = self.checkpoints.made.iter();
        made.find(|made| made.offset == offset)
            .map(|made| (made.epoch, made.bytes))
    }

    /// The record before the log's first one: what is not behind it cannot be streamed.
    pub const fn log_start(&self) -> Offset {
        self.checkpoints.log_start.0
    }

    // === installing one (row 12) ===

    /// Survivors from a peer, ascending: stored beside the log; told by `SideStored`.
    pub fn store_side(&mut self, batches: Vec<Batch>) {
        self.queue.push(Item::Side(batches));
    }

    /// The last survivor that is stored, from whatever installation: it need not be asked for again.
    pub const fn side_last(&self) -> Offset {
        self.checkpoints.side_last
    }

    /// All survivors are stored: the checkpoint itself is written beside them. Told by `Prepared`.
    pub fn prepare_install(&mut self, head: CheckpointHead, image: Box<dyn Image>) {
        self.checkpoints.installing = Some(head.clone());
        self.checkpoints.ordered = true;
        let order = CheckpointOrder {
            head,
            image,
            retain: Offset::ZERO,
            retain_bytes: 0,
            pin: None,
            install: true,
        };
        self.queue.push(Item::Checkpoint(Box::new(order)));
    }

    /// The one switch. The caller has looked at its guards again; nothing may be appended or cut
    /// until `Switched`.
    pub fn switch(&mut self) {
        assert!(
            self.checkpoints.installing.is_some(),
            "what is switched to was prepared"
        );
        self.checkpoints.switching = true;
        self.queue.push(Item::Switch);
    }

    /// True while the log is about to be another one.
    pub const fn is_switching(&self) -> bool {
        self.checkpoints.switching
    }

    /// Not this installation, or not now.
    pub fn abandon_install(&mut self) {
        if self.checkpoints.switching {
            return; // Too late: it fits every later ballot.
        }
        self.checkpoints.installing = None;
        self.checkpoints.ordered = false;
        self.queue.push(Item::Abandon);
    }

    /// From the next start on; a ticket that `Stored` will name.
    pub fn set_aside(&mut self, what: SetAside) -> u64 {
        self.store(Item::SetAside(what))
    }

    // === reading ===

    /// A piece of a checkpoint's file.
    pub const fn read_piece(&self, number: u64, position: u64) -> ReadOp {
        ReadOp {
            what: Wanted::Piece { number, position },
        }
    }

    /// Records as batches of their own, for a peer that installs.
    pub const fn read_survivors(&self, offsets: Vec<Offset>, bytes_max: usize) -> ReadOp {
        ReadOp {
            what: Wanted::Survivors { offsets, bytes_max },
        }
    }

    /// Checks some more of what lies on the disk.
    pub const fn read_scrub(&self, at: ScrubAt) -> ReadOp {
        ReadOp {
            what: Wanted::Scrub(at),
        }
    }
}
