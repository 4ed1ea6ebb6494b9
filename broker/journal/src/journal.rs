//! The journal as the node's machine sees it: what is appended, what is synced, what waits.
//!
//! ```text
//!   append, cut, store_* --> queue --poll_op, when no operation is out--> disk thread
//!   Synced, Stored <------------------------ handle_done
//! ```
//! Invariants
//! - `appended >= synced`. A cut lowers both in the same step; an operation that was given before
//!   the cut can raise `synced` no further than the cut.
//! - One operation is out at a time. What is asked meanwhile shares the next fdatasync.
//! - Recent batches stay in memory, all that are not synced among them.

use std::collections::VecDeque;
use std::time::Duration;

use tandemmq_model::{Epoch, Now, Offset, RecordKind, Time};

use crate::batch::Batch;
use crate::control::Control;
use crate::format::FORMAT;
use crate::formats::Formats;
use crate::identity::{Identity, Witness};
use crate::index::EpochStartAt;
use crate::mutants::{self, Mutant};
use crate::ops::{DiskDone, DiskOp, Done, Item, Room, Work};
use crate::read::{ReadOp, Wanted};
use crate::recover::Recovered;
use crate::segment::{DATA_AT, PIECE};

mod checkpoints;

use checkpoints::Checkpoints;

/// The durable mark in the control file is at most this far behind, while something is written.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// A full disk is asked again this often.
const GROW_AGAIN: Duration = Duration::from_secs(1);

/// The last of the reserve: for promises and EpochStart alone. An EpochStart takes 200 bytes, a
/// promise none of it, so this is thousands of elections.
pub(crate) const ELECTION_RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Limits of one journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// Bytes of one segment, at least 1 MiB.
    pub segment_bytes: u32,
    /// `journal.maxBytes`: bytes of all segments and spares; none: the disk is the limit.
    pub max_bytes: Option<u64>,
    /// Zero-filled ahead and kept: when no more can be had, producers are refused.
    pub reserve_bytes: u64,
    /// Bytes of recent batches kept in memory for slaves.
    pub tail_bytes_max: u64,
    /// Bytes of log after which a checkpoint is made, at the least.
    pub checkpoint_bytes: u64,
    /// `journal.retainBytes`: bytes of log kept for a slave that lags.
    pub retain_bytes: u64,
    /// The greatest format that this member understands, at most [`FORMAT`]; less only where a test
    /// plays an older version.
    pub format_max: u16,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            max_bytes: None,
            reserve_bytes: 64 * 1024 * 1024,
            tail_bytes_max: 16 * 1024 * 1024,
            checkpoint_bytes: 64 * 1024 * 1024,
            retain_bytes: 1024 * 1024 * 1024,
            format_max: FORMAT,
        }
    }
}

/// What the disk still allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// Everything.
    Open,
    /// No more can be had; what is left is for consumers.
    RefuseProducers,
    /// Only promises and EpochStart (reason JournalFull).
    OnlyElection,
}

/// What happened to what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalEvent {
    /// Everything up to here is on this disk.
    Synced(Offset),
    /// What was stored under this ticket, and everything before it, is on this disk. Told once for
    /// each ticket, in order.
    Stored(u64),
    /// Nothing about the disk is known any more: the process must end.
    Fatal(String),
    /// Survivors from a peer are on this disk up to that record.
    SideStored(Offset),
    /// The checkpoint for the installation is on this disk: `switch` may be asked for.
    Prepared,
    /// The log begins and ends with that record now: the installation is done.
    Switched(Offset),
    /// There was no room for an installation: it is to be begun again.
    NoRoom,
    /// Something that is needed is not what was written.
    Damaged(String),
}

/// In-memory mirror of one member's log.
pub struct Journal {
    config: JournalConfig,
    identity: Identity,
    control: Control,
    witness: Vec<Witness>,
    epochs: Vec<EpochStartAt>,
    formats: Formats,
    /// Recent batches, a gapless end of the log.
    tail: VecDeque<Batch>,
    tail_bytes: u64,
    appended: Offset,
    synced: Offset,
    /// None after a cut to where the tail in memory does not reach, until the disk thread has done
    /// it.
    last_crc: Option<u32>,
    queue: Vec<Item>,
    /// Given out, and told as stored.
    tickets: u64,
    stored: u64,
    /// The last ticket whose item was handed to the disk thread.
    handed: u64,
    out: Option<Out>,
    events: VecDeque<JournalEvent>,
    room: Room,
    durable: Offset,
    /// When the durable mark is to be moved.
    mark_at: Option<Time>,
    /// Bytes to be zero-filled before the next write, while more is wanted: twice what the last
    /// one took, so that room grows faster than the log.
    owed: u64,
    grow_at: Option<Time>,
    /// Batches wait in the disk thread for room.
    deferred: bool,
    /// Room may be there for them: try.
    retry_deferred: bool,
    new_limit: bool,
    failed: bool,
    checkpoints: Checkpoints,
}

/// The operation that is out.
#[derive(Debug, Clone, Copy)]
struct Out {
    since: Time,
    background: bool,
    appended: Offset,
    /// Tickets before the first one of this operation, and up to its last.
    tickets: (u64, u64),
}

impl Journal {
    /// The mirror of what `recover` found.
    pub fn new(config: JournalConfig, recovered: Recovered) -> Self {
        let end = recovered.index.lock().end;
        let room = Room {
            remaining: end
                .place
                .map_or(0, |place| recovered.current_bytes - place.position),
            spares: recovered.files.spares.len() as u32,
            can_grow: true,
            blocked: false,
            wants_more: true,
            used: recovered.files.used,
        };
        Self {
            checkpoints: Checkpoints::new(&config, &recovered),
            config,
            identity: recovered.identity,
            control: recovered.control,
            witness: recovered.witness,
            epochs: recovered.epochs,
            formats: recovered.formats,
            tail: VecDeque::new(),
            tail_bytes: 0,
            appended: end.last,
            synced: end.last,
            last_crc: Some(end.crc),
            queue: Vec::new(),
            tickets: 0,
            stored: 0,
            handed: 0,
            out: None,
            events: VecDeque::new(),
            room,
            durable: recovered.stored.durable,
            mark_at: None,
            owed: 0,
            grow_at: None,
            deferred: false,
            retry_deferred: false,
            new_limit: false,
            failed: false,
        }
    }

    // === what is asked of it ===

    /// Puts a batch behind the last one. It must follow it, and there must be room.
    pub fn append(&mut self, batch: Batch) {
        assert_eq!(batch.base(), self.appended.next(), "a log has no gaps");
        assert!(
            batch.epoch() >= self.last_epoch(),
            "epochs along a log never decrease"
        );
        assert!(
            batch.format() >= self.format(),
            "formats along a log never decrease"
        );
        if let Some(crc) = self.last_crc {
            assert_eq!(batch.previous_crc(), crc, "a batch names the one before it");
        }
        if self.last_epoch() < batch.epoch() {
            self.epochs.push(EpochStartAt {
                epoch: batch.epoch(),
                first: batch.base(),
            });
        }
        self.formats.appended(&batch);
        self.appended = batch.last();
        self.last_crc = Some(batch.crc());
        self.take_room(batch.bytes().len() as u64);
        self.checkpoints.appended(batch.bytes().len() as u64);
        self.remember(batch.clone());
        self.queue.push(Item::Append(batch));
    }

    /// Ends the log behind `to`, the end of a batch; `synced` goes down in the same step.
    pub fn cut(&mut self, to: Offset) {
        assert!(to < self.appended, "a cut takes something away");
        while self.tail.back().is_some_and(|batch| batch.base() > to) {
            let batch = self.tail.pop_back().expect("there is a last one");
            self.tail_bytes -= batch.bytes().len() as u64;
        }
        self.last_crc = match self.tail.back() {
            Some(batch) => Some(batch.crc()),
            None => self.checkpoints.crc_at(to),
        };
        self.epochs.retain(|row| row.first <= to);
        self.formats.cut(to);
        self.appended = to;
        if !mutants::on(Mutant::SyncedNotLoweredByCut) {
            self.synced = self.synced.min(to);
        }
        if let Some(out) = &mut self.out {
            out.appended = out.appended.min(to);
        }
        self.durable = self.durable.min(to);
        self.queue.push(Item::Cut(to));
    }

    /// Stores promise, log state and cut mark; a ticket that `Stored` will name.
    pub fn store_control(&mut self, control: Control) -> u64 {
        self.control = control;
        self.store(Item::Control(control))
    }

    /// Stores the identity.
    pub fn store_identity(&mut self, identity: Identity) -> u64 {
        self.identity = identity.clone();
        self.store(Item::Identity(identity))
    }

    /// Stores the memory of the peers. Several in one operation become the last of them.
    pub fn store_witness(&mut self, witness: Vec<Witness>) -> u64 {
        self.witness.clone_from(&witness);
        self.queue.retain(|item| !matches!(item, Item::Witness(_)));
        self.store(Item::Witness(witness))
    }

    fn store(&mut self, item: Item) -> u64 {
        self.queue.push(item);
        self.tickets += 1;
        self.tickets
    }

    /// Changes `journal.maxBytes`; writing resumes by itself if that makes room.
    pub fn set_max_bytes(&mut self, limit: Option<u64>) {
        self.config.max_bytes = limit;
        self.new_limit = true;
    }

    // === to and from the disk thread ===

    /// The next operation for the disk thread, when none is out.
    pub fn poll_op(&mut self, now: Now) -> Option<DiskOp> {
        if self.out.is_some() || self.failed {
            return None;
        }
        let work = self.next_work(now)?;
        self.out = Some(Out {
            since: now.boot,
            background: !matches!(work, Work::Write { .. }),
            appended: self.appended,
            tickets: (self.stored, self.handed),
        });
        Some(DiskOp { work })
    }

    fn next_work(&mut self, now: Now) -> Option<Work> {
        if std::mem::take(&mut self.new_limit) {
            self.grow_at = None;
            return Some(Work::Limit(self.config.max_bytes));
        }
        let wants_prepare = self.room.wants_more && self.grow_at.is_none();
        if self.mark_at.is_some_and(|at| at <= now.boot) {
            // An operation of its own: no record waits for the control file.
            self.mark_at = None;
            return Some(Work::Write {
                items: Vec::new(),
                mark: true,
            });
        }
        let wants_write = !self.queue.is_empty() || self.retry_deferred;
        if self.checkpoints.step_is_due(!wants_write && !wants_prepare) {
            return Some(Work::Step);
        }
        if wants_write && (self.owed == 0 || !wants_prepare) {
            return Some(self.write());
        }
        if wants_prepare {
            self.owed = self.owed.saturating_sub(PIECE as u64);
            return Some(Work::Prepare);
        }
        None
    }

    fn write(&mut self) -> Work {
        self.retry_deferred = false;
        self.handed = self.tickets;
        let items = std::mem::take(&mut self.queue);
        let bytes = items.iter().map(Item::log_bytes).sum::<u64>();
        self.owed = 2 * bytes;
        self.checkpoints.earn(bytes);
        Work::Write { items, mark: false }
    }

    /// The disk thread did the operation that was out.
    pub fn handle_done(&mut self, now: Now, done: DiskDone) {
        let Some(out) = self.out.take() else { return };
        let done = match done.result {
            Ok(done) => done,
            Err(reason) => {
                self.failed = true;
                self.events.push_back(JournalEvent::Fatal(reason));
                return;
            }
        };
        self.learn_task(now, &done);
        if done.news.switched.is_some() {
            return self.restart(now, &done, out);
        }
        self.durable = self.durable.max(done.durable.min(out.appended));
        self.deferred = done.deferred;
        self.learn_room(now, done.room, out.background);
        if out.background {
            self.retry_deferred = self.deferred && !done.room.blocked;
            return;
        }
        self.learn_synced(now, done.synced.min(out.appended));
        let in_step = done.synced == self.appended && self.queue.iter().all(Item::leaves_the_log);
        if in_step && self.last_crc.is_none() {
            self.last_crc = Some(done.crc);
        }
        self.tell_stored(out);
    }

    fn tell_stored(&mut self, out: Out) {
        for ticket in out.tickets.0 + 1..=out.tickets.1 {
            self.stored = ticket;
            self.events.push_back(JournalEvent::Stored(ticket));
        }
    }

    /// The log is that checkpoint and nothing else.
    fn restart(&mut self, now: Now, done: &Done, out: Out) {
        let (head, made) = self.checkpoints.switched(done);
        self.appended = made.offset;
        self.synced = made.offset;
        self.durable = made.offset;
        self.last_crc = Some(made.crc);
        self.epochs = head.epochs;
        self.formats = Formats::from(head.format);
        self.tail.clear();
        self.tail_bytes = 0;
        self.deferred = false;
        self.learn_room(now, done.room, false);
        self.events.push_back(JournalEvent::Switched(made.offset));
        self.tell_stored(out);
    }

    fn learn_synced(&mut self, now: Now, synced: Offset) {
        if synced > self.synced {
            self.synced = synced;
            self.forget_tail();
            self.events.push_back(JournalEvent::Synced(self.synced));
        }
        if self.synced > self.durable {
            self.mark_at.get_or_insert(now.boot + MARK_EVERY);
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<JournalEvent> {
        self.events.pop_front()
    }

    /// When a full disk is to be asked again, or the durable mark to be moved.
    pub fn poll_timeout(&self) -> Option<Time> {
        let mark_at = self.mark_at.filter(|_| self.out.is_none());
        let again_at = self.checkpoints.again_at();
        self.grow_at
            .into_iter()
            .chain(mark_at)
            .chain(again_at)
            .min()
    }

    /// The time of `poll_timeout` has come: `poll_op` has something to do.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.grow_at.is_some_and(|at| at <= now.boot) {
            self.grow_at = None;
            self.retry_deferred = self.deferred;
        }
        self.checkpoints.handle_timeout(now);
    }

    /// Nothing appended is out or waits: the master seals its next batch now.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.deferred && self.out.is_none_or(|out| out.background)
    }

    /// Since when the operation that is out has been out (H13).
    pub fn stalled_since(&self) -> Option<Time> {
        self.out.map(|out| out.since)
    }

    // === room ===

    /// Only an operation that tried to grow tells when to try again: a write that ends between the
    /// timer and the try must not put it off.
    fn learn_room(&mut self, now: Now, room: Room, background: bool) {
        self.room = room;
        if self.deferred {
            // Less than what waits; nothing goes past it.
            (self.room.remaining, self.room.spares) = (0, 0);
        }
        let wants = room.wants_more || self.deferred;
        let tried = background || self.deferred;
        if wants && room.blocked && tried {
            self.grow_at.get_or_insert(now.boot + GROW_AGAIN);
        } else if !wants || !room.blocked {
            self.grow_at = None;
        }
        let waiting: Vec<u64> = self
            .queue
            .iter()
            .filter_map(|item| match item {
                Item::Append(batch) => Some(batch.bytes().len() as u64),
                _ => None,
            })
            .collect();
        for bytes in waiting {
            self.take_room(bytes);
        }
    }

    /// Places a batch as the disk thread will.
    fn take_room(&mut self, bytes: u64) {
        let fresh = u64::from(self.config.segment_bytes) - DATA_AT;
        if bytes <= self.room.remaining {
            self.room.remaining -= bytes;
        } else if bytes <= fresh && self.room.spares > 0 {
            self.room.spares -= 1;
            self.room.remaining = fresh - bytes;
        } else {
            // Too large for a segment, or none is ready: it gets one made for it.
            self.room.remaining = fresh.saturating_sub(bytes);
        }
    }

    /// True when a batch of that size can be written, as far as is known. A disk that turns out to
    /// be full nevertheless ends nothing: what found no room is not synced until there is some.
    pub fn has_room(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let fresh = u64::from(self.config.segment_bytes) - DATA_AT;
        bytes <= self.room.remaining || bytes <= fresh && self.room.spares > 0 || self.room.can_grow
    }

    /// As `has_room`, for a batch that a slave is sent: of the last bytes only an EpochStart gets
    /// any, so that a full member can still follow an election.
    pub fn has_room_for(&self, batch: &Batch) -> bool {
        let first = batch.records().next();
        let election = first.is_some_and(|(_, r)| r.kind == RecordKind::EpochStart as u8);
        (election || self.space() != Space::OnlyElection) && self.has_room(batch.bytes().len())
    }

    /// Room that is there for sure.
    fn room_bytes(&self) -> u64 {
        let fresh = u64::from(self.config.segment_bytes) - DATA_AT;
        self.room.remaining + u64::from(self.room.spares) * fresh
    }

    /// What the disk still allows.
    pub fn space(&self) -> Space {
        match self.room_bytes() {
            _ if self.room.can_grow => Space::Open,
            room if room <= ELECTION_RESERVE_BYTES.min(self.config.reserve_bytes / 4) => {
                Space::OnlyElection
            }
            room if room <= self.config.reserve_bytes => Space::RefuseProducers,
            _ => Space::Open,
        }
    }

    /// Bytes of all segments and spares.
    pub const fn used_bytes(&self) -> u64 {
        self.room.used
    }

    // === what is in it ===

    /// Last record appended.
    pub const fn appended(&self) -> Offset {
        self.appended
    }

    /// Last record that is on this disk.
    pub const fn synced(&self) -> Offset {
        self.synced
    }

    /// Epoch of the last record appended.
    pub fn last_epoch(&self) -> Epoch {
        self.epochs.last().map_or(Epoch(0), |row| row.epoch)
    }

    /// Format of the end of the log: what comes next is in this one or a greater one.
    pub fn format(&self) -> u16 {
        self.formats.last()
    }

    /// Format of the record at that offset.
    pub fn format_at(&self, offset: Offset) -> u16 {
        self.formats.at(offset)
    }

    /// The greatest format that this member understands.
    pub const fn format_max(&self) -> u16 {
        self.config.format_max
    }

    /// CRC of the last batch; none right after a deep cut, until the disk thread has done it.
    pub const fn last_crc(&self) -> Option<u32> {
        self.last_crc
    }

    /// Last epoch and offset of what is on this disk.
    pub fn synced_tail(&self) -> (Epoch, Offset) {
        (self.epoch_at(self.synced).unwrap_or(Epoch(0)), self.synced)
    }

    /// Epoch of the record at that offset; 0 at offset 0, none beyond the end.
    pub fn epoch_at(&self, offset: Offset) -> Option<Epoch> {
        if offset > self.appended {
            return None;
        }
        let after = self.epochs.partition_point(|row| row.first <= offset);
        Some(
            after
                .checked_sub(1)
                .map_or(Epoch(0), |at| self.epochs[at].epoch),
        )
    }

    /// The first record of each epoch, in order.
    pub fn epochs(&self) -> &[EpochStartAt] {
        &self.epochs
    }

    /// Batches from the one that begins at `from`, as far as they are in memory; none when they
    /// must be read. Empty at the end of the log.
    pub fn tail_batches(&self, from: Offset, bytes_max: usize) -> Option<Vec<Batch>> {
        if from > self.appended {
            return Some(Vec::new());
        }
        let first = self.tail.partition_point(|batch| batch.last() < from);
        if self.tail.get(first).is_none_or(|batch| batch.base() > from) {
            return None;
        }
        let mut bytes = 0;
        let fits = |batch: &&Batch| {
            let before = bytes;
            bytes += batch.bytes().len();
            before == 0 || bytes <= bytes_max
        };
        Some(self.tail.range(first..).take_while(fits).cloned().collect())
    }

    /// Reads batches from the disk.
    pub const fn read_batches(&self, from: Offset, bytes_max: usize) -> ReadOp {
        ReadOp {
            what: Wanted::Batches { from, bytes_max },
        }
    }

    /// Reads single records from the disk, by ascending offset.
    pub const fn read_records(&self, offsets: Vec<Offset>) -> ReadOp {
        ReadOp {
            what: Wanted::Records(offsets),
        }
    }

    /// Promise, log state, cut mark as last handed in.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Identity as last handed in.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Memory of the peers as last handed in.
    pub fn witness(&self) -> &[Witness] {
        &self.witness
    }

    // === recent batches ===

    fn remember(&mut self, batch: Batch) {
        self.tail_bytes += batch.bytes().len() as u64;
        self.tail.push_back(batch);
        self.forget_tail();
    }

    /// Oldest first, never what is not synced.
    fn forget_tail(&mut self) {
        while self.tail_bytes > self.config.tail_bytes_max
            && self
                .tail
                .front()
                .is_some_and(|batch| batch.last() <= self.synced)
        {
            let batch = self.tail.pop_front().expect("there is a first one");
            self.tail_bytes -= batch.bytes().len() as u64;
        }
    }
}

#[cfg(test)]
mod tests;
