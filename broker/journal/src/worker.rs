//! The disk thread's work: places batches, syncs, cuts, rolls, zero-fills ahead.
//!
//! ```text
//! append, cut ...... what the log holds        (worker/append, cut)
//! filling .......... room ahead                (worker/filling)
//! task ............. one long work at a time, piece by piece, each a millisecond of disk:
//!                    checkpoint -> cleaning, or checkpoint -> wait for the switch -> cleaning
//!                                              (worker/checkpointing, cleaning, install)
//! ```
//! Blocking; the shell runs it on a thread of its own, the simulator in virtual time. A failed
//! fdatasync ends the process: after it nothing is known about the unsynced bytes, and a second
//! one that succeeds proves nothing (H11).
//!
//! A full disk ends nothing. Zero-filling stops and is tried again; a batch for which no segment
//! could be made waits here with all that follow it, and what is told as synced ends before it.
//! Promises never wait: the control file has its bytes from the beginning.

mod append;
mod checkpointing;
mod cleaning;
mod cut;
mod filling;
mod install;

use std::collections::{BTreeSet, VecDeque};

use tandemmq_model::{GroupId, Offset};

use self::checkpointing::{Checkpointing, Prepared};
use self::cleaning::Cleaning;
use self::filling::Filling;
use crate::batch::Batch;
use crate::control::{self, Stored};
use crate::formats::Formats;
use crate::identity::{self, Identity};
use crate::index::SharedIndex;
use crate::journal::JournalConfig;
use crate::manifest::Manifest;
use crate::mutants::{self, Mutant};
use crate::ops::{DiskDone, DiskOp, Done, Item, TaskNews, Work};
use crate::recover::{Recovered, Side};
use crate::set_aside;
use crate::storage::{Storage, StorageError};

/// The long work under way.
#[derive(Debug)]
enum Task {
    Checkpointing(Checkpointing),
    /// Waits for `Item::Switch`.
    Prepared(Prepared),
    Cleaning(Cleaning),
}

/// Does the disk operations of one member, in order.
#[derive(Debug)]
pub struct DiskWorker<S> {
    storage: S,
    config: JournalConfig,
    index: SharedIndex,
    stored: Stored,
    group: Option<GroupId>,
    /// Bytes of the current segment's file.
    current_bytes: u64,
    /// Format of the log's last batch, and so of the current segment.
    format: u16,
    /// Format of the newest checkpoint: nothing before it has a greater one.
    kept_format: u16,
    /// Zero-filled files that wait, by number.
    spares: Vec<u64>,
    next_spare: u64,
    filling: Option<Filling>,
    /// The disk was found full, and no whole segment was zero-filled since.
    disk_full: bool,
    /// The last attempt to grow failed.
    blocked: bool,
    /// Batches that found no room, in order.
    deferred: VecDeque<Batch>,
    /// Where the synced log ends.
    synced: Offset,
    /// Bytes of segments, survivors and spares.
    used: u64,
    manifest: Manifest,
    task: Option<Task>,
    side: Side,
    next_survivors: u64,
    /// What the task ended with since the last answer.
    news: TaskNews,
    /// Number of the last checkpoint that was begun.
    last_checkpoint: u64,
    /// A file is kept to make room for checkpoints on a full disk.
    has_reserve: bool,
}

impl<S: Storage> DiskWorker<S> {
    /// A worker that goes on where `recover` ended.
    pub fn new(storage: S, config: JournalConfig, recovered: &Recovered) -> Self {
        Self {
            storage,
            config,
            index: recovered.index.clone(),
            stored: recovered.stored,
            group: recovered.identity.group.as_ref().map(|group| group.id),
            current_bytes: recovered.current_bytes,
            format: recovered.formats.last(),
            kept_format: Formats::behind(recovered.checkpoint.as_ref()).last(),
            spares: recovered.files.spares.clone(),
            next_spare: recovered
                .files
                .spares
                .iter()
                .max()
                .map_or(1, |last| last + 1),
            filling: None,
            disk_full: false,
            blocked: false,
            deferred: VecDeque::new(),
            synced: recovered.last(),
            used: recovered.files.used,
            manifest: recovered.manifest.clone(),
            task: None,
            side: recovered.side.clone(),
            next_survivors: recovered.files.next_survivors,
            news: TaskNews::default(),
            last_checkpoint: 0,
            has_reserve: recovered.files.has_reserve,
        }
    }

    /// Does one operation; returns when it is durable.
    pub fn execute(&mut self, op: DiskOp) -> DiskDone {
        let result = match op.work {
            Work::Write { items, mark } => self.write(items, mark),
            Work::Prepare => self.prepare(),
            Work::Step => self.step(),
            Work::Limit(limit) => {
                self.config.max_bytes = limit;
                self.disk_full = false;
                self.blocked = false;
                Ok(())
            }
        };
        // After an error nothing here is in step with the disk any more.
        let result = result.map(|()| self.done());
        DiskDone {
            result: result.map_err(|error| error.to_string()),
        }
    }

    fn done(&mut self) -> Done {
        let news = std::mem::take(&mut self.news);
        let (log_start, crc) = {
            let index = self.index.lock();
            (index.start.0, index.end.crc)
        };
        Done {
            news,
            working: matches!(&self.task, Some(Task::Checkpointing(_) | Task::Cleaning(_))),
            log_start,
            room: self.room(),
            durable: self.stored.durable,
            synced: self.synced,
            crc,
            deferred: !self.deferred.is_empty(),
        }
    }

    fn write(&mut self, items: Vec<Item>, mark: bool) -> Result<(), StorageError> {
        let mut touched = BTreeSet::new();
        self.append_deferred(&mut touched)?;
        for item in items {
            match item {
                Item::Append(batch) => {
                    self.deferred.push_back(batch);
                    self.append_deferred(&mut touched)?;
                }
                Item::Cut(to) => self.cut(to, &mut touched)?,
                Item::Checkpoint(order) => self.begin_checkpoint(*order)?,
                Item::Side(batches) => self.store_side(&batches)?,
                Item::Abandon => self.abandon_install()?,
                Item::Switch => self.switch(&mut touched)?,
                Item::SetAside(what) => set_aside::begin(&self.storage, what)?,
                Item::Control(control) => {
                    self.stored.control = control;
                    self.store_control()?;
                }
                Item::Identity(identity) => {
                    self.group = identity.group.as_ref().map(|group| group.id);
                    self.store_identity(&identity)?;
                }
                // Losing it weakens a detection: not worth ending the process on a full disk.
                Item::Witness(rows) => match identity::write_witness(&self.storage, &rows) {
                    Ok(()) | Err(StorageError::NoSpace(_)) => {}
                    Err(error) => return Err(error),
                },
            }
        }
        if !mutants::on(Mutant::SyncWithoutFdatasync) {
            for name in &touched {
                self.storage.sync(name)?;
            }
        }
        self.synced = self.index.lock().end.last;
        if mark {
            self.store_control()?;
        }
        Ok(())
    }

    /// Every store moves the durable mark up to what is synced by now. A member whose log ends
    /// below its mark (damage) keeps the mark until it is repaired beyond it.
    fn store_control(&mut self) -> Result<(), StorageError> {
        self.stored.durable = self.stored.durable.max(self.synced);
        self.stored.sequence += 1;
        control::write(&self.storage, &self.stored)
    }

    /// On a full disk a half-filled spare makes place for the few bytes, or the reserve.
    fn store_identity(&mut self, identity: &Identity) -> Result<(), StorageError> {
        match identity::write(&self.storage, identity) {
            Err(StorageError::NoSpace(_)) => {
                self.drop_filling()?;
                self.with_reserve(|this| identity::write(&this.storage, identity))
            }
            done => done,
        }
    }

    // === long work ===

    /// One piece of the task. A full disk ends it: it is begun again later.
    fn step(&mut self) -> Result<(), StorageError> {
        let done = match self.task.take() {
            Some(Task::Checkpointing(task)) => self.step_checkpoint(task),
            Some(Task::Cleaning(task)) => self.step_cleaning(task),
            waiting => {
                self.task = waiting;
                Ok(())
            }
        };
        match done {
            Err(StorageError::NoSpace(_)) => {
                self.news.failed = true;
                Ok(())
            }
            done => done,
        }
    }
}
