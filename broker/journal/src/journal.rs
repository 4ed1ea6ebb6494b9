//! The log's mirror in memory.
use std::collections::VecDeque;

use tandemmq_model::{Epoch, Now, Offset, Time};

use crate::batch::Batch;
use crate::control::Control;
use crate::identity::Identity;
use crate::ops::{DiskDone, DiskOp};
use crate::reader::ReadOp;
use crate::recover::Recovered;
use crate::witness::Witness;

/// The last part of the reserve: only promises and EpochStart get it. An EpochStart has some
/// hundred bytes, so this is thousands of elections.
pub const ELECTION_BYTES: u64 = 4 * 1024 * 1024;

/// Limits of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// Bytes of one segment file; 1 MiB to 1 GiB, default 64 MiB.
    pub segment_bytes: u32,
    /// `journal.maxBytes`: bytes that all segments together may take; none = as the disk allows.
    pub max_bytes: Option<u64>,
    /// Prepared room that producers never get; default 64 MiB.
    pub reserve_bytes: u64,
    /// Recent batches kept in memory for the slaves; default 16 MiB.
    pub tail_bytes_max: u64,
}

/// Where an epoch begins in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStartAt {
    /// The epoch.
    pub epoch: Epoch,
    /// Its first offset.
    pub first: Offset,
}

/// What the journal has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalEvent {
    /// Everything up to this offset survives a power cut.
    Synced(Offset),
    /// What was stored under this ticket survives a power cut.
    Stored(u64),
    /// There is room again, or more than before: who was refused by `has_room` asks again.
    Room,
    /// The disk failed: abort the process at once, with this sentence.
    Fatal(String),
}

/// What room there is left for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// Everything.
    Open,
    /// Consumers go on, producers are refused: the reserve is being used.
    RefuseProducers,
    /// Promises and EpochStart only (reason JournalFull).
    OnlyElection,
}

/// The log as it is on this member's disk, or on its way there.
#[derive(Debug)]
pub struct Journal {
    config: JournalConfig,
    recovered: Recovered,
    events: VecDeque<JournalEvent>,
}

impl Journal {
    /// The journal that `recover` found.
    pub fn new(config: JournalConfig, recovered: Recovered) -> Self {
        Self {
            config,
            recovered,
            events: VecDeque::new(),
        }
    }

    // === what the machine tells ===

    /// Puts a batch behind the log. Asserts that it belongs there (base, previous checksum, epoch
    /// not below the last) and that there is room (`has_room`).
    pub fn append(&mut self, _batch: Batch) {
        unimplemented!()
    }

    /// The log ends at `to` now, which must be the end of a batch (`is_batch_end`); `synced` falls
    /// in the same step. Store the cut mark first (row 7).
    pub fn cut(&mut self, _to: Offset) {
        unimplemented!()
    }

    /// Stores promise, log state and cut mark; `Stored(ticket)` tells when they are durable. Never
    /// overtaken by an append or a cut that comes later.
    pub fn store_control(&mut self, _control: Control) -> u64 {
        unimplemented!()
    }

    /// Stores the identity.
    pub fn store_identity(&mut self, _identity: Identity) -> u64 {
        unimplemented!()
    }

    /// Stores the witness table.
    pub fn store_witness(&mut self, _witness: Vec<Witness>) -> u64 {
        unimplemented!()
    }

    /// Another `journal.maxBytes`; takes effect at once.
    pub fn set_max_bytes(&mut self, max_bytes: Option<u64>) {
        self.config.max_bytes = max_bytes;
    }

    // === the disk ===

    /// The next operation for the disk thread. Self-clocked: what is appended while a sync is out
    /// goes with the next one.
    pub fn poll_op(&mut self, _now: Now) -> Option<DiskOp> {
        unimplemented!()
    }

    /// An operation has ended; in the order they were polled.
    pub fn handle_done(&mut self, _now: Now, _done: DiskDone) {
        unimplemented!()
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<JournalEvent> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Time> {
        unimplemented!()
    }

    /// The time has come (or any other moment: harmless).
    pub fn handle_timeout(&mut self, _now: Now) {
        unimplemented!()
    }

    /// Nothing appended waits for the disk: the master seals its next batch now.
    pub fn is_idle(&self) -> bool {
        unimplemented!()
    }

    /// Since when the disk thread has been at the operation it is at (H13); none: it has nothing
    /// to do.
    pub fn stalled_since(&self) -> Option<Time> {
        unimplemented!()
    }

    // === the log ===

    /// Last offset of the log.
    pub fn appended(&self) -> Offset {
        unimplemented!()
    }

    /// Up to here it survives a power cut.
    pub fn synced(&self) -> Offset {
        unimplemented!()
    }

    /// Epoch of the last record, 0 when there is none.
    pub fn last_epoch(&self) -> Epoch {
        unimplemented!()
    }

    /// Checksum of the last batch, 0 when there is none.
    pub fn last_crc(&self) -> u32 {
        unimplemented!()
    }

    /// Epoch and offset of the last synced record.
    pub fn synced_tail(&self) -> (Epoch, Offset) {
        unimplemented!()
    }

    /// The epoch of that record; none beyond `appended`, epoch 0 at offset 0.
    pub fn epoch_at(&self, _offset: Offset) -> Option<Epoch> {
        unimplemented!()
    }

    /// Where each epoch begins, ascending.
    pub fn epochs(&self) -> &[EpochStartAt] {
        unimplemented!()
    }

    /// True when the log may be cut to there.
    pub fn is_batch_end(&self, _offset: Offset) -> bool {
        unimplemented!()
    }

    /// The greatest end of a batch that is not above `offset`; none when that is too far back.
    pub fn batch_end_at_or_before(&self, _offset: Offset) -> Option<Offset> {
        unimplemented!()
    }

    /// Batches from memory, the first one holding `from`, at most that many bytes but at least one
    /// batch; empty behind the end of the log; none: too old, use `read_batches`.
    pub fn tail_batches(&self, _from: Offset, _bytes_max: usize) -> Option<Vec<Batch>> {
        unimplemented!()
    }

    /// A read of batches, the first one holding `from`.
    pub fn read_batches(&self, _from: Offset, _bytes_max: usize) -> ReadOp {
        unimplemented!()
    }

    /// A read of single records.
    pub fn read_records(&self, _offsets: Vec<Offset>) -> ReadOp {
        unimplemented!()
    }

    // === room ===

    /// What room is left for.
    pub fn space(&self) -> Space {
        unimplemented!()
    }

    /// True when a batch of that many bytes may be appended now.
    pub fn has_room(&self, _bytes: usize) -> bool {
        unimplemented!()
    }

    /// Bytes of all segment files.
    pub fn used_bytes(&self) -> u64 {
        unimplemented!()
    }

    // === what is durable, or on its way ===

    /// As last given to `store_control`.
    pub fn control(&self) -> &Control {
        &self.recovered.control
    }

    /// As last given to `store_identity`.
    pub fn identity(&self) -> &Identity {
        &self.recovered.identity
    }

    /// As last given to `store_witness`.
    pub fn witness(&self) -> &[Witness] {
        &self.recovered.witness
    }
}
