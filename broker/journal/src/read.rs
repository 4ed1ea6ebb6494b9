//! Reading the journal back, on threads that never wait behind an fdatasync.
//!
//! What comes back is checked: checksums, offsets, order. What is wrong is damage when nothing was
//! taken away meanwhile (`Index::is_unchanged`); else it is read again from where it is now.

mod records;
mod scrub;

use tandemmq_model::{Offset, Record};

use crate::batch::Batch;
use crate::checkpoint::{self, CheckpointError, Piece};
use crate::index::SharedIndex;
use crate::recover::Recovered;
use crate::segment::{Cursor, DATA_AT, Found, Place};
use crate::storage::{Storage, StorageError};

pub use scrub::ScrubAt;

/// Bytes read at once when single records are wanted: a mark's distance and some more.
const RECORD_AHEAD: usize = 64 * 1024;

/// How often a read that met a change of files is tried again: a change is over in a moment, and
/// two in a row are rare.
const TRIES: usize = 4;

/// What to read.
#[derive(Debug, Clone)]
pub struct ReadOp {
    pub(crate) what: Wanted,
}

#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Whole batches of the log from the one that holds `from`, up to so many bytes, at least one.
    Batches { from: Offset, bytes_max: usize },
    /// Single records, by ascending offset.
    Records(Vec<Offset>),
    /// The same as batches of their own, up to so many bytes: for a peer.
    Survivors {
        offsets: Vec<Offset>,
        bytes_max: usize,
    },
    /// A piece of a checkpoint.
    Piece { number: u64, position: u64 },
    /// Some files more are checked.
    Scrub(ScrubAt),
}

/// What was read.
#[derive(Debug)]
pub enum ReadDone {
    /// In order, without a gap.
    Batches(Vec<Batch>),
    /// One for each offset asked for; none where there is no such record any more, or it could not
    /// be read just now.
    Records(Vec<(Offset, Option<Record>)>),
    /// Runs of the records asked for, up to that one; what is missing is dead.
    Survivors(Vec<Batch>, Offset),
    /// A piece, and where the next one is.
    Piece(Piece, u64),
    /// Sound so far: where to go on. The start again: everything was checked.
    Scrubbed(ScrubAt),
    /// Nothing could be read, with the reason. Retryable: files may have changed meanwhile.
    Failed(String),
    /// The disk does not hold what was written to it. Fatal for this member's log.
    Damaged(String),
}

/// Why a read gave nothing.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Files changed under it.
    Changed(String),
    Damaged(String),
}

type Read<T> = Result<T, ReadError>;

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

    pub(crate) const fn over(storage: S, index: SharedIndex) -> Self {
        Self { storage, index }
    }

    /// Reads, blocking.
    pub fn read(&self, op: &ReadOp) -> ReadDone {
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.try_read(&op.what) {
                Ok(done) => return done,
                Err(ReadError::Damaged(text)) => return ReadDone::Damaged(text),
                Err(ReadError::Changed(text)) => last = text,
            }
        }
        ReadDone::Failed(last)
    }

    fn try_read(&self, what: &Wanted) -> Read<ReadDone> {
        Ok(match what {
            Wanted::Batches { from, bytes_max } => {
                ReadDone::Batches(self.batches(*from, *bytes_max)?)
            }
            Wanted::Records(offsets) => ReadDone::Records(self.records(offsets)?),
            Wanted::Survivors { offsets, bytes_max } => {
                let (batches, to) = self.survivors(offsets, *bytes_max)?;
                ReadDone::Survivors(batches, to)
            }
            Wanted::Piece { number, position } => self.piece(*number, *position)?,
            Wanted::Scrub(at) => ReadDone::Scrubbed(self.scrub(at)?),
        })
    }

    /// Damage, unless files changed since the lookup.
    fn wrong(&self, generation: u64, text: String) -> ReadError {
        if self.index.lock().is_unchanged(generation) {
            ReadError::Damaged(text)
        } else {
            ReadError::Changed(text)
        }
    }

    /// A checkpoint that is not kept any more is no damage.
    fn piece(&self, number: u64, position: u64) -> Read<ReadDone> {
        match checkpoint::read_piece(&self.storage, number, position) {
            Ok((piece, next)) => Ok(ReadDone::Piece(piece, next)),
            Err(error) => Err(self.wrong_checkpoint(number, &error)),
        }
    }

    fn wrong_checkpoint(&self, number: u64, error: &CheckpointError) -> ReadError {
        let text = format!("{}: {error}", checkpoint::name(number));
        if self.index.lock().checkpoints.contains(&number) {
            ReadError::Damaged(text)
        } else {
            ReadError::Changed(text)
        }
    }

    fn batches(&self, from: Offset, bytes_max: usize) -> Read<Vec<Batch>> {
        let (mut walk, last) = self.walk(from, bytes_max.max(RECORD_AHEAD))?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max {
            let Some(batch) = walk.next()? else { break };
            if batches.is_empty() && batch.base() > from {
                let text = format!("batch {} where {from} should be", batch.base());
                return Err(self.wrong(walk.generation, text));
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

    fn walk(&self, from: Offset, ahead: usize) -> Read<(Walk<'_, S>, Offset)> {
        let (place, last, generation) = {
            let index = self.index.lock();
            (index.before(from), index.end.last, index.generation())
        };
        let place =
            place.ok_or_else(|| ReadError::Changed(format!("no record {from} in the log")))?;
        let walk = Walk {
            reader: self,
            cursor: Cursor::new(&self.storage, place, ahead),
            segment: place.segment,
            ahead,
            next_base: Offset(0),
            generation,
        };
        Ok((walk, last))
    }
}

/// Batch after batch of the log, over the ends of segments.
struct Walk<'a, S> {
    reader: &'a Reader<S>,
    cursor: Cursor<'a, S>,
    segment: u64,
    ahead: usize,
    /// Base of the batch that comes next; 0 before the first.
    next_base: Offset,
    generation: u64,
}

impl<S: Storage> Walk<'_, S> {
    /// The next batch; none at the end of the log.
    fn next(&mut self) -> Read<Option<Batch>> {
        loop {
            let position = self.cursor.position();
            let found = self.cursor.next();
            match found.map_err(|error| self.wrong(&error))? {
                Found::Batch(batch) => {
                    if self.next_base > Offset::ZERO && batch.base() != self.next_base {
                        let text =
                            format!("batch {} where {} should be", batch.base(), self.next_base);
                        return Err(self.reader.wrong(self.generation, text));
                    }
                    self.next_base = batch.last().next();
                    let mut index = self.reader.index.lock();
                    index.learn(self.generation, batch.base(), position);
                    return Ok(Some(batch));
                }
                stops => {
                    let next = self.reader.index.lock().after(self.segment);
                    let Some(next) = next else {
                        return match stops {
                            Found::Bad(error) => {
                                Err(self.reader.wrong(self.generation, error.to_string()))
                            }
                            Found::Zero | Found::Batch(_) => Ok(None),
                        };
                    };
                    // Whatever stands behind a segment's last batch: the next one goes on, or its
                    // base tells that it was not the last.
                    self.segment = next;
                    let place = Place {
                        segment: self.segment,
                        position: DATA_AT,
                    };
                    self.cursor = Cursor::new(&self.reader.storage, place, self.ahead);
                }
            }
        }
    }

    fn wrong(&self, error: &StorageError) -> ReadError {
        self.reader.wrong(self.generation, error.to_string())
    }
}
