//! Appending batches, rolling to the next segment: when the current one is full, or when a greater
//! format begins.

use std::collections::BTreeSet;

use super::DiskWorker;
use crate::batch::Batch;
use crate::segment::{self, DATA_AT, PIECE, Place, SegmentHeader};
use crate::storage::{Storage, StorageError};

impl<S: Storage> DiskWorker<S> {
    /// Appends what waits, in order, until one finds no room.
    pub(super) fn append_deferred(
        &mut self,
        touched: &mut BTreeSet<String>,
    ) -> Result<(), StorageError> {
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
            Some(place)
                if place.position + size <= self.current_bytes && batch.format() == self.format =>
            {
                place
            }
            _ => self.roll(batch)?,
        };
        let name = segment::name(place.segment);
        self.storage
            .write_at(&name, place.position, batch.bytes())?;
        self.index.lock().add(batch, place);
        self.format = batch.format();
        touched.insert(name);
        Ok(())
    }

    /// The next segment: a spare, or one of its own for a batch that is larger than a segment.
    fn roll(&mut self, first: &Batch) -> Result<Place, StorageError> {
        let number = self.index.lock().next_segment;
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
            format: first.format(),
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

    pub(super) fn make_zeroed(&mut self, name: &str, bytes: u64) -> Result<(), StorageError> {
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
}
