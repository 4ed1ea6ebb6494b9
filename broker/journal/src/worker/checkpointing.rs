//! Writing a checkpoint, piece by piece; then the log in front of the one before leaves it.
//!
//! ```text
//! head, pieces of the image, end: each synced --> folder synced --> manifest (the switch)
//! ```
//! The log begins behind the checkpoint before the newest, so that a damaged newest one costs a
//! longer walk and nothing else; and further back while a slave needs it, up to a cap.

use tandemmq_model::Offset;

use super::cleaning::Cleaning;
use super::{DiskWorker, Task};
use crate::checkpoint::{self, Image, Writer};
use crate::index::SegmentAt;
use crate::manifest::{CHECKPOINTS_MAX, CheckpointRef, OldFile, OldKind};
use crate::mutants::{self, Mutant};
use crate::ops::CheckpointOrder;
use crate::segment::{self, Cursor, DATA_AT, Found, PIECE};
use crate::storage::{Storage, StorageError};

/// A checkpoint under way.
#[derive(Debug)]
pub(super) struct Checkpointing {
    order: CheckpointOrder,
    number: u64,
    writer: Writer,
}

/// A checkpoint for an installation, all of it on the disk.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) made: CheckpointRef,
    /// Of the log that begins with it.
    pub(super) format: u16,
}

/// Why the front of the log cannot leave it.
#[derive(Debug)]
enum LeavingError {
    Storage(StorageError),
    /// It does not hold what was written to it.
    Damaged(String),
}

impl From<StorageError> for LeavingError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl<S: Storage> DiskWorker<S> {
    /// The file is begun at once; the rest comes in steps. A task before it is given up.
    pub(super) fn begin_checkpoint(&mut self, order: CheckpointOrder) -> Result<(), StorageError> {
        self.task = None;
        let newest = self.manifest.newest().map_or(0, |newest| newest.number);
        let number = newest.max(self.last_checkpoint) + 1;
        self.last_checkpoint = number;
        match self.with_reserve(|this| Writer::begin(&this.storage, number, &order.head)) {
            Ok(writer) => {
                self.task = Some(Task::Checkpointing(Checkpointing {
                    order,
                    number,
                    writer,
                }));
                Ok(())
            }
            Err(StorageError::NoSpace(_)) => {
                self.news.failed = true;
                self.remove_quietly(&checkpoint::name(number))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn step_checkpoint(&mut self, mut task: Checkpointing) -> Result<(), StorageError> {
        let file = task.writer.file().to_owned();
        let stepped = match task.order.image.next_piece() {
            Some(piece) => self
                .with_reserve(|this| task.writer.piece(&this.storage, &piece))
                .map(|()| Some(task)),
            None => self.end_checkpoint(task).map(|()| None),
        };
        match stepped {
            Ok(Some(task)) => {
                self.task = Some(Task::Checkpointing(task));
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                if matches!(error, StorageError::NoSpace(_)) {
                    self.remove_quietly(&file)?;
                }
                Err(error)
            }
        }
    }

    fn end_checkpoint(&mut self, task: Checkpointing) -> Result<(), StorageError> {
        let Checkpointing {
            order,
            number,
            writer,
        } = task;
        let bytes = writer.end(&self.storage)?;
        let made = CheckpointRef {
            number,
            offset: order.head.offset,
            epoch: order.head.epoch,
            crc: order.head.crc,
            bytes,
        };
        self.storage.sync_dir()?;
        if order.install {
            self.news.prepared = true;
            let format = order.head.format;
            self.task = Some(Task::Prepared(Prepared { made, format }));
            return Ok(());
        }
        self.adopt_checkpoint(made, &order)?;
        self.news.checkpoint = Some(made);
        self.task = Some(Task::Cleaning(Cleaning::new(order.image)));
        Ok(())
    }

    /// The manifest lists it, and the log in front of the checkpoint before it becomes old files.
    fn adopt_checkpoint(
        &mut self,
        made: CheckpointRef,
        order: &CheckpointOrder,
    ) -> Result<(), StorageError> {
        // What a checkpoint holds was synced: from now on a bad checksum below it is damage.
        self.store_control()?;
        let keep_from = if mutants::on(Mutant::LogDroppedTooEarly) {
            Offset(u64::MAX)
        } else {
            self.keep_from(order)
        };
        let (moved, start) = match self.leaving(keep_from) {
            Ok(leaving) => leaving,
            // The checkpoint itself is sound. The log stays as it is until its owner is told what
            // to do with it (row 14): ending the process would only meet the same bytes again.
            Err(LeavingError::Damaged(text)) => {
                self.news.damaged = Some(text);
                (Vec::new(), self.index.lock().start)
            }
            Err(LeavingError::Storage(error)) => return Err(error),
        };
        let mut manifest = self.manifest.clone();
        manifest.checkpoints.push(made);
        let dropped = drop_checkpoints(&mut manifest.checkpoints, order.pin);
        manifest.old.extend(&moved);
        let segments = self.index.lock().segments();
        let first = segments.get(moved.len()).map(|segment| segment.number);
        manifest.log_from = first.unwrap_or(self.index.lock().next_segment);
        let listed = self.with_reserve(|this| manifest.write(&this.storage));
        if let Err(error) = listed {
            self.remove_quietly(&checkpoint::name(made.number))?;
            return Err(error);
        }
        self.manifest = manifest;
        self.kept_format = order.head.format;
        let mut index = self.index.lock();
        index.move_to_old(&moved, start);
        index.checkpoints = self.manifest.checkpoints.iter().map(|c| c.number).collect();
        drop(index);
        for number in dropped {
            self.remove_quietly(&checkpoint::name(number))?;
        }
        Ok(())
    }

    /// The log must hold everything behind this offset.
    fn keep_from(&self, order: &CheckpointOrder) -> Offset {
        let before = self
            .manifest
            .newest()
            .map_or(Offset::ZERO, |newest| newest.offset);
        let segments = self.index.lock().segments();
        let mut bytes = 0;
        let fits = segments.iter().rev().take_while(|_| {
            bytes += u64::from(self.config.segment_bytes);
            bytes <= order.retain_bytes
        });
        let capped = fits
            .last()
            .map_or(Offset(u64::MAX), |first| Offset(first.first.0 - 1));
        let wanted = order.retain.max(capped);
        before.min(wanted).min(order.pin.unwrap_or(before))
    }

    /// The log's first segments that hold nothing behind that offset, as old files, and where the
    /// log starts without them.
    fn leaving(&self, keep_from: Offset) -> Result<(Vec<OldFile>, (Offset, u32)), LeavingError> {
        let (segments, start) = {
            let index = self.index.lock();
            (index.segments(), index.start)
        };
        let (mut moved, mut start) = (Vec::new(), start);
        for pair in segments.windows(2) {
            let last = Offset(pair[1].first.0 - 1);
            if last > keep_from {
                break;
            }
            moved.push(OldFile {
                kind: OldKind::Segment,
                number: pair[0].number,
                first: pair[0].first,
                last,
                end: self.end_of(&pair[0], last)?,
            });
            start = (last, self.crc_before(pair[1].number)?);
        }
        Ok((moved, start))
    }

    fn end_of(&self, segment: &SegmentAt, last: Offset) -> Result<u64, LeavingError> {
        if let Some(end) = segment.end {
            return Ok(end);
        }
        let lookup = self.index.lock().find(last);
        let position = lookup.map_or(DATA_AT, |lookup| lookup.position);
        let name = segment::name(segment.number);
        let mut cursor = Cursor::over(&self.storage, name.clone(), position, PIECE);
        while let Found::Batch(batch) = cursor.next()? {
            if batch.last() == last {
                return Ok(cursor.position());
            }
        }
        let at = cursor.position();
        Err(LeavingError::Damaged(format!(
            "{name} at {at}: no batch that ends with {last}"
        )))
    }

    fn crc_before(&self, number: u64) -> Result<u32, LeavingError> {
        let name = segment::name(number);
        let mut cursor = Cursor::over(&self.storage, name.clone(), DATA_AT, PIECE);
        match cursor.next()? {
            Found::Batch(batch) => Ok(batch.previous_crc()),
            other => Err(LeavingError::Damaged(format!(
                "{name} begins with {other:?}"
            ))),
        }
    }

    pub(super) fn remove_quietly(&self, name: &str) -> Result<(), StorageError> {
        match self.storage.remove(name) {
            Ok(()) | Err(StorageError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Keeps the newest two and the one that a slave is being sent; the numbers of the others.
fn drop_checkpoints(list: &mut Vec<CheckpointRef>, pin: Option<Offset>) -> Vec<u64> {
    let newest_two = list.len().saturating_sub(2);
    let mut dropped = Vec::new();
    let mut place = 0;
    list.retain(|checkpoint| {
        let keep = place >= newest_two || Some(checkpoint.offset) == pin;
        place += 1;
        if !keep {
            dropped.push(checkpoint.number);
        }
        keep
    });
    while list.len() > CHECKPOINTS_MAX {
        dropped.push(list.remove(0).number);
    }
    dropped
}

/// For what comes after the checkpoint.
pub(super) type Picture = Box<dyn Image>;
