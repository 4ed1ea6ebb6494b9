//! Single records, wherever they stand: in the log, in an old segment, among survivors.
//!
//! Old files have gaps: a record that is not there was dead when its file was copied. A record of
//! the log is always there.

use bytes::Bytes;
use tandemmq_model::{Epoch, Offset, Record};

use super::{RECORD_AHEAD, Read, ReadError, Reader};
use crate::batch::{Batch, BatchBuilder};
use crate::segment::{Cursor, Found};
use crate::storage::Storage;

/// A walk through one file.
struct File<'a, S> {
    name: String,
    generation: u64,
    cursor: Cursor<'a, S>,
    /// The last batch read, which may hold the next record, too.
    batch: Option<Batch>,
}

impl<S: Storage> Reader<S> {
    pub(super) fn records(&self, offsets: &[Offset]) -> Read<Vec<(Offset, Option<Record>)>> {
        let mut file = None;
        let mut found = Vec::with_capacity(offsets.len());
        for offset in offsets {
            let batch = self.batch_with(*offset, &mut file)?;
            // A copy of its own: a slice would keep the whole batch in memory with it.
            let record = batch
                .and_then(|batch| record_in(batch, *offset))
                .map(|r| Record {
                    body: Bytes::copy_from_slice(&r.body),
                    ..r
                });
            found.push((*offset, record));
        }
        Ok(found)
    }

    /// The records as batches of their own: a run of neighbours of one epoch each.
    pub(super) fn survivors(
        &self,
        offsets: &[Offset],
        bytes_max: usize,
    ) -> Read<(Vec<Batch>, Offset)> {
        let mut file = None;
        let (mut runs, mut bytes) = (Runs::default(), 0);
        let mut to = Offset::ZERO;
        for offset in offsets {
            if bytes >= bytes_max {
                break;
            }
            to = *offset;
            let Some(batch) = self.batch_with(*offset, &mut file)? else {
                continue;
            };
            if let Some(record) = record_in(batch, *offset) {
                bytes += record.body.len();
                runs.push(batch, *offset, &record);
            }
        }
        Ok((runs.finish(), to))
    }

    /// The batch that holds the offset; none where there is no such record any more.
    fn batch_with<'a, 'f>(
        &'a self,
        offset: Offset,
        file: &'f mut Option<File<'a, S>>,
    ) -> Read<Option<&'f Batch>> {
        let lookup = self.index.lock().find(offset);
        let Some(lookup) = lookup else {
            return Ok(None);
        };
        let goes_on = file.as_ref().is_some_and(|file| {
            file.name == lookup.name
                && file.generation == lookup.generation
                && file.cursor.position() >= lookup.position
                && file
                    .batch
                    .as_ref()
                    .is_some_and(|batch| batch.base() <= offset)
        });
        if !goes_on {
            let name = lookup.name.clone();
            *file = Some(File {
                cursor: Cursor::over(&self.storage, name, lookup.position, RECORD_AHEAD),
                name: lookup.name,
                generation: lookup.generation,
                batch: None,
            });
        }
        let file = file.as_mut().expect("it was set just now");
        self.walk_to(offset, file)
    }

    fn walk_to<'f>(&self, offset: Offset, file: &'f mut File<'_, S>) -> Read<Option<&'f Batch>> {
        while file
            .batch
            .as_ref()
            .is_none_or(|batch| batch.last() < offset)
        {
            let position = file.cursor.position();
            let wrong = |text: String| {
                self.wrong(
                    file.generation,
                    format!("{} at {position}: {text}", file.name),
                )
            };
            match file.cursor.next() {
                Ok(Found::Batch(batch)) => {
                    let mut index = self.index.lock();
                    index.learn(file.generation, batch.base(), position);
                    file.batch = Some(batch);
                }
                Ok(Found::Zero) => return Err(wrong(format!("no batch, {offset} is missing"))),
                Ok(Found::Bad(error)) => return Err(wrong(error.to_string())),
                Err(error) => return Err(wrong(error.to_string())),
            }
        }
        let batch = file.batch.as_ref().filter(|batch| batch.base() <= offset);
        Ok(batch)
    }
}

fn record_in(batch: &Batch, offset: Offset) -> Option<Record> {
    let place = offset.0.checked_sub(batch.base().0)?;
    batch
        .records()
        .nth(place as usize)
        .map(|(_, record)| record)
}

/// A batch in the making, what comes next into it, and of which batches it is.
#[derive(Debug)]
struct Run {
    builder: BatchBuilder,
    next: Offset,
    of: (u16, Epoch),
}

/// Batches in the making.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    done: Vec<Batch>,
    open: Option<Run>,
}

/// Bytes of one run: a batch that is read whole for one record of it should be small.
const RUN_BYTES_MAX: usize = 64 * 1024;

impl Runs {
    /// The next record, of that batch.
    pub(crate) fn push(&mut self, batch: &Batch, offset: Offset, record: &Record) {
        let (format, epoch) = (batch.format(), batch.epoch());
        let follows = self.open.as_ref().is_some_and(|run| {
            run.next == offset
                && run.of == (format, epoch)
                && run.builder.len_bytes() < RUN_BYTES_MAX
        });
        if !follows {
            self.close();
        }
        let run = self.open.get_or_insert_with(|| Run {
            builder: BatchBuilder::of_format(format, epoch, offset, 0),
            next: offset,
            of: (format, epoch),
        });
        run.builder.push(record);
        run.next = offset.next();
    }

    fn close(&mut self) {
        if let Some(run) = self.open.take() {
            self.done.push(run.builder.finish());
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Batch> {
        self.close();
        self.done
    }
}

impl From<ReadError> for String {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Changed(text) | ReadError::Damaged(text) => text,
        }
    }
}
