//! The disk thread's work: places batches, syncs, cuts, rolls, zero-fills ahead.
//!
//! Blocking; the shell runs it on a thread of its own, the simulator in virtual time. A failed
//! fdatasync ends the process: after it nothing is known about the unsynced bytes, and a second
//! one that succeeds proves nothing (H11).
//!
//! A full disk ends nothing. Zero-filling stops and is tried again; a batch for which no segment
//! could be made waits here with all that follow it, and what is told as synced ends before it.
//! Promises never wait: the control file has its bytes from the beginning.

use std::collections::{BTreeSet, VecDeque};

use tandemmq_model::{GroupId, Offset};

use crate::batch::Batch;
use crate::control::{self, Stored};
use crate::identity::{self, Identity};
use crate::index::SharedIndex;
use crate::journal::JournalConfig;
use crate::mutants::{self, Mutant};
use crate::ops::{DiskDone, DiskOp, Done, Item, Room, Work};
use crate::recover::Recovered;
use crate::segment::{self, Cursor, DATA_AT, Found, PIECE, Place, SegmentHeader};
use crate::storage::{Storage, StorageError};

/// A spare under way.
#[derive(Debug)]
struct Filling {
    number: u64,
    filled: u64,
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
    used: u64,
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
            spares: recovered.spares.clone(),
            next_spare: recovered.spares.iter().max().map_or(1, |last| last + 1),
            filling: None,
            disk_full: false,
            blocked: false,
            deferred: VecDeque::new(),
            synced: recovered.last(),
            used: recovered.used,
        }
    }

    /// Does one operation; returns when it is durable.
    pub fn execute(&mut self, op: DiskOp) -> DiskDone {
        let result = match op.work {
            Work::Write { items, mark } => self.write(items, mark),
            Work::Prepare => self.prepare(),
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

    fn done(&self) -> Done {
        Done {
            room: self.room(),
            durable: self.stored.durable,
            synced: self.synced,
            crc: self.index.lock().end.crc,
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

    /// On a full disk a half-filled spare makes place for the few bytes.
    fn store_identity(&mut self, identity: &Identity) -> Result<(), StorageError> {
        match identity::write(&self.storage, identity) {
            Err(StorageError::NoSpace(_)) if self.filling.is_some() => {
                self.drop_filling()?;
                identity::write(&self.storage, identity)
            }
            done => done,
        }
    }

    // === append and roll ===

    /// Appends what waits, in order, until one finds no room.
    fn append_deferred(&mut self, touched: &mut BTreeSet<String>) -> Result<(), StorageError> {
        while let Some(batch) = self.deferred.pop_front() {
            match self.append(&batch, touched) {
                Ok(()) => {}
                Err(StorageError::NoSpace(_)) => {
                    self.deferred.push_front(batch);
                    self.disk_full = true;
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        batch: &Batch,
        touched: &mut BTreeSet<String>,
    ) -> Result<(), StorageError> {
        let end = self.index.lock().end;
        assert_eq!(batch.base(), end.last.next(), "a log has no gaps");
        assert_eq!(
            batch.previous_crc(),
            end.crc,
            "a batch names the one before it"
        );
        let size = batch.bytes().len() as u64;
        let place = match end.place {
            Some(place) if place.position + size <= self.current_bytes => place,
            _ => self.roll(batch)?,
        };
        let name = segment::name(place.segment);
        self.storage
            .write_at(&name, place.position, batch.bytes())?;
        self.index.lock().add(batch, place);
        touched.insert(name);
        Ok(())
    }

    /// The next segment: a spare, or one of its own for a batch that is larger than a segment.
    fn roll(&mut self, first: &Batch) -> Result<Place, StorageError> {
        let number = self
            .index
            .lock()
            .end
            .place
            .map_or(1, |place| place.segment + 1);
        let need = DATA_AT + first.bytes().len() as u64;
        let bytes = need.max(u64::from(self.config.segment_bytes));
        let name = segment::name(number);
        if bytes > u64::from(self.config.segment_bytes) {
            self.make_zeroed(&name, bytes)?;
        } else {
            while self.spares.is_empty() {
                self.fill_a_piece()?;
            }
            let spare = self.spares.remove(0);
            self.storage.rename(&segment::spare_name(spare), &name)?;
        }
        let header = SegmentHeader {
            number,
            base: first.base(),
            epoch: first.epoch(),
            group: self.group,
        };
        self.storage.write_at(&name, 0, &header.encode())?;
        self.storage.sync_dir()?;
        self.current_bytes = bytes;
        self.index.lock().roll(number);
        Ok(Place {
            segment: number,
            position: DATA_AT,
        })
    }

    fn make_zeroed(&mut self, name: &str, bytes: u64) -> Result<(), StorageError> {
        self.check_limit(bytes)?;
        self.storage.create(name)?;
        let zeros = vec![0; PIECE];
        let mut at = 0;
        while at < bytes {
            let length = PIECE.min((bytes - at) as usize);
            if let Err(error) = self.storage.write_at(name, at, &zeros[..length]) {
                self.storage.remove(name)?;
                return Err(error);
            }
            at += length as u64;
        }
        self.used += bytes;
        Ok(())
    }

    // === cut ===

    /// Ends the log at `to`. First the durable mark goes down, on disk; then everything behind is
    /// zeroed, later segments are removed: nothing of it can come back.
    fn cut(&mut self, to: Offset, touched: &mut BTreeSet<String>) -> Result<(), StorageError> {
        self.deferred.retain(|batch| batch.base() <= to);
        let end = self.index.lock().end;
        if to >= end.last {
            return Ok(());
        }
        self.synced = self.synced.min(to);
        if self.stored.durable > to {
            self.stored.durable = to;
            self.store_control()?;
        }
        let (place, crc) = self.find(to)?;
        let keep = place.map_or(0, |place| place.segment);
        let last = end.place.map_or(keep, |end| end.segment);
        for number in (keep + 1..=last).rev() {
            let name = segment::name(number);
            self.used -= self.storage.len(&name)?.min(self.used);
            self.storage.remove(&name)?;
            touched.remove(&name);
        }
        if last > keep {
            self.storage.sync_dir()?;
        }
        self.current_bytes = match place {
            Some(place) => self.storage.len(&segment::name(place.segment))?,
            None => 0,
        };
        if let Some(place) = place.filter(|_| !mutants::on(Mutant::CutLeavesBytes)) {
            let name = segment::name(place.segment);
            let written = end.place.filter(|end| end.segment == place.segment);
            let until = written.map_or(self.current_bytes, |end| end.position);
            segment::zero(&self.storage, &name, place.position, until)?;
            self.storage.sync(&name)?;
        }
        self.index.lock().cut(to, crc, place);
        Ok(())
    }

    /// Where the log goes on behind the batch that ends with that offset, and its CRC. A log that
    /// ends at 0 begins with a new segment. A segment never stays without a batch: it would stand
    /// between its neighbours at the next start.
    fn find(&self, to: Offset) -> Result<(Option<Place>, u32), StorageError> {
        if to == Offset::ZERO {
            return Ok((None, 0));
        }
        let from = self.index.lock().before(to);
        let from = from.ok_or_else(|| StorageError::Io(format!("no batch holds {to}")))?;
        let mut cursor = Cursor::new(&self.storage, from, PIECE);
        loop {
            match cursor.next()? {
                Found::Batch(batch) if batch.last() == to => {
                    let position = cursor.position();
                    return Ok((
                        Some(Place {
                            segment: from.segment,
                            position,
                        }),
                        batch.crc(),
                    ));
                }
                Found::Batch(batch) if batch.last() < to => {}
                other => {
                    let text = format!("looking for a batch that ends at {to}: {other:?}");
                    return Err(StorageError::Io(text));
                }
            }
        }
    }

    // === zero-filling ahead ===

    /// One piece. A full disk is no error here: the machine hears of it by `room`. What is filled
    /// already is kept, so that trying again costs one piece and takes nothing away from others.
    fn prepare(&mut self) -> Result<(), StorageError> {
        match self.fill_a_piece() {
            Ok(()) => {
                self.blocked = false;
                Ok(())
            }
            Err(StorageError::NoSpace(_)) => {
                self.disk_full = true;
                self.blocked = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn fill_a_piece(&mut self) -> Result<(), StorageError> {
        let bytes = u64::from(self.config.segment_bytes);
        let filling = match &mut self.filling {
            Some(filling) => filling,
            None => {
                self.check_limit(bytes)?;
                let number = self.next_spare;
                self.storage.create(&filling_name(number))?;
                self.next_spare += 1;
                self.filling.insert(Filling { number, filled: 0 })
            }
        };
        let name = filling_name(filling.number);
        let length = PIECE.min((bytes - filling.filled) as usize);
        self.storage
            .write_at(&name, filling.filled, &vec![0; length])?;
        self.storage.sync(&name)?;
        filling.filled += length as u64;
        self.used += length as u64;
        if filling.filled == bytes {
            let number = filling.number;
            self.filling = None;
            self.storage.rename(&name, &segment::spare_name(number))?;
            self.storage.sync_dir()?;
            self.spares.push(number);
            self.disk_full = false;
        }
        Ok(())
    }

    fn drop_filling(&mut self) -> Result<(), StorageError> {
        let Some(filling) = self.filling.take() else {
            return Ok(());
        };
        self.used -= filling.filled.min(self.used);
        match self.storage.remove(&filling_name(filling.number)) {
            Ok(()) | Err(StorageError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// `journal.maxBytes`: may one more file of that size be made?
    fn check_limit(&self, bytes: u64) -> Result<(), StorageError> {
        match self.config.max_bytes {
            Some(limit) if self.used + bytes > limit => Err(StorageError::NoSpace(
                "another segment below journal.maxBytes".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn room(&self) -> Room {
        let end = self.index.lock().end;
        let remaining = end
            .place
            .map_or(0, |place| self.current_bytes - place.position);
        let spares = self.spares.len() as u32;
        let segment = u64::from(self.config.segment_bytes);
        let ahead = remaining + u64::from(spares) * (segment - DATA_AT);
        let allowed = self.filling.is_some() || self.check_limit(segment).is_ok();
        Room {
            remaining,
            spares,
            can_grow: allowed && !self.disk_full,
            blocked: self.blocked || !allowed,
            wants_more: ahead < self.config.reserve_bytes + segment / 2,
            used: self.used,
        }
    }
}

fn filling_name(number: u64) -> String {
    format!("{}.tmp", segment::spare_name(number))
}
