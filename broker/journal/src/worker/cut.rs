//! Cutting the log behind an offset.

use std::collections::BTreeSet;

use tandemmq_model::Offset;

use super::DiskWorker;
use crate::mutants::{self, Mutant};
use crate::segment::{self, Cursor, Found, PIECE, Place};
use crate::storage::{Storage, StorageError};

impl<S: Storage> DiskWorker<S> {
    /// Ends the log at `to`. First the durable mark goes down, on disk; then everything behind is
    /// zeroed, later segments are removed: nothing of it can come back.
    pub(super) fn cut(
        &mut self,
        to: Offset,
        touched: &mut BTreeSet<String>,
    ) -> Result<(), StorageError> {
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
        let (place, crc, format) = self.find(to)?;
        self.index.lock().begin_change();
        let keep = place.map_or(0, |place| place.segment);
        let segments = self.index.lock().segments();
        let gone = segments.iter().rev().map(|segment| segment.number);
        let gone: Vec<u64> = gone.filter(|number| *number > keep).collect();
        for number in &gone {
            let name = segment::name(*number);
            self.used -= self.storage.len(&name)?.min(self.used);
            self.storage.remove(&name)?;
            touched.remove(&name);
        }
        if !gone.is_empty() {
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
        self.format = format;
        Ok(())
    }

    /// Where the log goes on behind the batch that ends with that offset, its CRC and its format. A
    /// log that ends where it starts begins with a new segment. A segment never stays without a
    /// batch: it would stand between its neighbours at the next start.
    fn find(&self, to: Offset) -> Result<(Option<Place>, u32, u16), StorageError> {
        let start = self.index.lock().start;
        if to == start.0 {
            return Ok((None, start.1, self.kept_format));
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
                        batch.format(),
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
}
