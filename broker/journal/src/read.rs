//! Reading the journal back, on threads that never wait behind an fdatasync.

use bytes::Bytes;
use tandemmq_model::{Offset, Record};

use crate::batch::Batch;
use crate::index::SharedIndex;
use crate::recover::Recovered;
use crate::segment::{Cursor, DATA_AT, Found, Place};
use crate::storage::{Storage, StorageError};

/// Bytes read at once when single records are wanted: a mark's distance and some more.
const RECORD_AHEAD: usize = 64 * 1024;

/// What to read.
#[derive(Debug, Clone)]
pub struct ReadOp {
    pub(crate) what: Wanted,
}

#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Whole batches from the one that holds `from`, up to so many bytes, at least one.
    Batches { from: Offset, bytes_max: usize },
    /// Single records, by ascending offset.
    Records(Vec<Offset>),
}

/// What was read.
#[derive(Debug)]
pub enum ReadDone {
    /// In order, without a gap.
    Batches(Vec<Batch>),
    /// One for each offset asked for; none where it could not be read.
    Records(Vec<(Offset, Option<Record>)>),
    /// Nothing could be read, with the reason. Retryable: the log may have been cut meanwhile.
    Failed(String),
}

/// Reads for one member. Cheap to clone; one per thread.
#[derive(Debug, Clone)]
pub struct Reader<S> {
    storage: S,
    index: SharedIndex,
}

impl<S: Storage> Reader<S> {
    /// A reader of the log that `recover` found and the worker goes on writing.
    pub fn new(storage: S, recovered: &Recovered) -> Self {
        Self {
            storage,
            index: recovered.index.clone(),
        }
    }

    /// Reads; what comes back is checked: CRC, offsets, order.
    pub fn read(&self, op: &ReadOp) -> ReadDone {
        match &op.what {
            Wanted::Batches { from, bytes_max } => match self.batches(*from, *bytes_max) {
                Ok(batches) => ReadDone::Batches(batches),
                Err(error) => ReadDone::Failed(error.to_string()),
            },
            Wanted::Records(offsets) => ReadDone::Records(self.records(offsets)),
        }
    }

    fn batches(&self, from: Offset, bytes_max: usize) -> Result<Vec<Batch>, StorageError> {
        let (mut walk, last) = self.walk(from, bytes_max.max(RECORD_AHEAD))?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max {
            let Some(batch) = walk.next()? else { break };
            if batches.is_empty() && batch.base() > from {
                let text = format!(
                    "batch {} where {from} should be: cut meanwhile",
                    batch.base()
                );
                return Err(StorageError::Io(text));
            }
            if batch.last() >= from {
                bytes += batch.bytes().len();
                let end = batch.last() >= last;
                batches.push(batch);
                if end {
                    break;
                }
            }
        }
        Ok(batches)
    }

    fn records(&self, offsets: &[Offset]) -> Vec<(Offset, Option<Record>)> {
        let mut found = Vec::with_capacity(offsets.len());
        let mut batch: Option<Batch> = None;
        let mut walk: Option<Walk<'_, S>> = None;
        for offset in offsets.iter().copied() {
            let holds = |b: &Batch| b.base() <= offset && offset <= b.last();
            if !batch.as_ref().is_some_and(holds) {
                batch = self.batch_with(offset, &mut walk);
            }
            let record = batch.as_ref().and_then(|b| {
                b.records()
                    .nth((offset.0.checked_sub(b.base().0)?) as usize)
                    .map(|(_, r)| r)
            });
            // A copy of its own: a slice would keep the whole batch in memory with it.
            let record = record.map(|r| Record {
                body: Bytes::copy_from_slice(&r.body),
                ..r
            });
            found.push((offset, record));
        }
        found
    }

    /// The batch that holds the offset: further on in the walk if it is near, else from a mark.
    fn batch_with<'a>(&'a self, offset: Offset, walk: &mut Option<Walk<'a, S>>) -> Option<Batch> {
        let near = walk
            .as_ref()
            .is_some_and(|walk| offset >= walk.next_base && offset.0 - walk.next_base.0 < 256);
        if !near {
            *walk = self.walk(offset, RECORD_AHEAD).ok().map(|(walk, _)| walk);
        }
        let walk = walk.as_mut()?;
        loop {
            let batch = walk.next().ok()??;
            if batch.last() >= offset {
                return (batch.base() <= offset).then_some(batch);
            }
        }
    }

    fn walk(&self, from: Offset, ahead: usize) -> Result<(Walk<'_, S>, Offset), StorageError> {
        let (place, last) = {
            let index = self.index.lock();
            (index.before(from), index.end.last)
        };
        let place =
            place.ok_or_else(|| StorageError::Io(format!("no record {from} in the log")))?;
        let cursor = Cursor::new(&self.storage, place, ahead);
        let walk = Walk {
            reader: self,
            cursor,
            segment: place.segment,
            ahead,
            next_base: Offset(0),
        };
        Ok((walk, last))
    }
}

/// Batch after batch, over the ends of segments.
struct Walk<'a, S> {
    reader: &'a Reader<S>,
    cursor: Cursor<'a, S>,
    segment: u64,
    ahead: usize,
    /// Base of the batch that comes next; 0 before the first.
    next_base: Offset,
}

impl<S: Storage> Walk<'_, S> {
    /// The next batch; none at the end of the log.
    fn next(&mut self) -> Result<Option<Batch>, StorageError> {
        loop {
            match self.cursor.next()? {
                Found::Batch(batch) => {
                    if self.next_base > Offset::ZERO && batch.base() != self.next_base {
                        return Err(StorageError::Io(format!(
                            "batch {} where {} should be",
                            batch.base(),
                            self.next_base
                        )));
                    }
                    self.next_base = batch.last().next();
                    return Ok(Some(batch));
                }
                stops => {
                    let end = self.reader.index.lock().end.place;
                    if end.is_none_or(|end| end.segment <= self.segment) {
                        return match stops {
                            Found::Bad(error) => Err(StorageError::Io(error.to_string())),
                            Found::Zero | Found::Batch(_) => Ok(None),
                        };
                    }
                    // Whatever stands behind a segment's last batch: the next one goes on, or its
                    // base tells that it was not the last.
                    self.segment += 1;
                    let place = Place {
                        segment: self.segment,
                        position: DATA_AT,
                    };
                    self.cursor = Cursor::new(&self.reader.storage, place, self.ahead);
                }
            }
        }
    }
}
