//! The disk thread's work: places batches, syncs, cuts, rolls, zero-fills ahead.
//!
//! Blocking; the shell runs it on a thread of its own, the simulator in virtual time. A failed
//! fdatasync ends the process: after it nothing is known about the unsynced bytes, and a second
//! one that succeeds proves nothing (H11).

use std::collections::BTreeSet;

use tandemmq_model::{GroupId, Offset};

use crate::batch::Batch;
use crate::control::{self, Stored};
use crate::identity;
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
    /// The last attempt to grow found the disk full.
    disk_full: bool,
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
                Ok(())
            }
        };
        let done = Done {
            room: self.room(),
            durable: self.stored.durable,
        };
        DiskDone {
            result: result.map(|()| done).map_err(|error| error.to_string()),
        }
    }

    fn write(&mut self, items: Vec<Item>, mark: bool) -> Result<(), StorageError> {
        let mut touched = BTreeSet::new();
        for item in items {
            match item {
                Item::Append(batch) => self.append(&batch, &mut touched)?,
                Item::Cut(to) => self.cut(to, &mut touched)?,
                Item::Control(control) => {
                    self.stored.control = control;
                    self.store_control()?;
                }
                Item::Identity(identity) => {
                    self.group = identity.group.as_ref().map(|group| group.id);
                    identity::write(&self.storage, &identity)?;
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
        if mark {
            self.stored.durable = self.index.lock().end.last;
            self.store_control()?;
        }
        Ok(())
    }

    fn store_control(&mut self) -> Result<(), StorageError> {
        self.stored.sequence += 1;
        control::write(&self.storage, &self.stored)
    }

    // === append and roll ===

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

    /// The next segment: a spare if there is a fitting one, else made now.
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
        if bytes > u64::from(self.config.segment_bytes) || self.spares.is_empty() {
            self.make_zeroed(&name, bytes)?;
            self.used += bytes;
        } else {
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

    fn make_zeroed(&self, name: &str, bytes: u64) -> Result<(), StorageError> {
        match self.storage.create(name) {
            Ok(()) | Err(StorageError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
        let zeros = vec![0; PIECE];
        let mut at = 0;
        while at < bytes {
            let length = PIECE.min((bytes - at) as usize);
            self.storage.write_at(name, at, &zeros[..length])?;
            at += length as u64;
        }
        Ok(())
    }

    // === cut ===

    /// Ends the log at `to`. First the durable mark goes down, on disk; then everything behind is
    /// zeroed, later segments are removed: nothing of it can come back.
    fn cut(&mut self, to: Offset, touched: &mut BTreeSet<String>) -> Result<(), StorageError> {
        let end = self.index.lock().end;
        if to >= end.last {
            return Ok(());
        }
        if self.stored.durable > to {
            self.stored.durable = to;
            self.store_control()?;
        }
        let (place, crc) = self.find(to.next())?;
        let last_segment = end.place.map_or(place.segment, |end| end.segment);
        for number in (place.segment + 1..=last_segment).rev() {
            let name = segment::name(number);
            self.used -= self.storage.len(&name)?.min(self.used);
            self.storage.remove(&name)?;
            touched.remove(&name);
        }
        if last_segment > place.segment {
            self.storage.sync_dir()?;
        }
        let name = segment::name(place.segment);
        self.current_bytes = self.storage.len(&name)?;
        segment::zero(&self.storage, &name, place.position, self.current_bytes)?;
        self.storage.sync(&name)?;
        self.index.lock().cut(to, crc, place);
        touched.insert(name);
        Ok(())
    }

    /// Where the batch stands that begins at that offset, and the CRC of the one before it.
    fn find(&self, base: Offset) -> Result<(Place, u32), StorageError> {
        let from = self.index.lock().before(base);
        let from = from.ok_or_else(|| StorageError::Io(format!("no batch holds {base}")))?;
        let mut cursor = Cursor::new(&self.storage, from, PIECE);
        loop {
            let position = cursor.position();
            match cursor.next()? {
                Found::Batch(batch) if batch.base() == base => {
                    let place = Place {
                        segment: from.segment,
                        position,
                    };
                    return Ok((place, batch.previous_crc()));
                }
                Found::Batch(batch) if batch.base() < base => {}
                other => {
                    let text = format!("looking for a batch that begins at {base}: {other:?}");
                    return Err(StorageError::Io(text));
                }
            }
        }
    }

    // === zero-filling ahead ===

    /// One piece. A full disk is no error here: the machine hears of it by `room`.
    fn prepare(&mut self) -> Result<(), StorageError> {
        if self.filling.is_none() && !self.may_grow() {
            return Ok(());
        }
        match self.fill_a_piece() {
            Ok(()) => {
                self.disk_full = false;
                Ok(())
            }
            Err(StorageError::NoSpace(_)) => {
                self.disk_full = true;
                self.drop_filling()
            }
            Err(error) => Err(error),
        }
    }

    fn fill_a_piece(&mut self) -> Result<(), StorageError> {
        let bytes = u64::from(self.config.segment_bytes);
        let filling = match &mut self.filling {
            Some(filling) => filling,
            None => {
                let number = self.next_spare;
                self.next_spare += 1;
                let name = filling_name(number);
                self.filling = Some(Filling { number, filled: 0 });
                self.storage.create(&name)?;
                return Ok(());
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

    fn may_grow(&self) -> bool {
        let next = self.used + u64::from(self.config.segment_bytes);
        self.config.max_bytes.is_none_or(|limit| next <= limit)
    }

    pub(crate) fn room(&self) -> Room {
        let end = self.index.lock().end;
        let remaining = end
            .place
            .map_or(0, |place| self.current_bytes - place.position);
        let spares = self.spares.len() as u32;
        let segment = u64::from(self.config.segment_bytes);
        let ahead = remaining + u64::from(spares) * (segment - DATA_AT);
        Room {
            remaining,
            spares,
            can_grow: (self.filling.is_some() || self.may_grow()) && !self.disk_full,
            wants_more: ahead < self.config.reserve_bytes + segment / 2,
            used: self.used,
        }
    }
}

fn filling_name(number: u64) -> String {
    format!("{}.tmp", segment::spare_name(number))
}
