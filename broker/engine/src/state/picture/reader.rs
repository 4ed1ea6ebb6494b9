//! Reads a picture from pieces, and trusts none of them.
//!
//! Total on any input: an error or a picture, never a panic, also not later when records are
//! applied to what was restored. So everything that `State` takes for granted is checked here.
//! Nothing is reserved because a count says so: what is allocated stays below 100 times of what was
//! pushed, and that only for a crowd of empty queues.
//!
//! ```text
//! Head -> Epochs -> Origins -> Queues (each: its entries) -> Transactions (each: its operations,
//! each: its ranges) -> Digest -> End
//! ```
//! A step reads one element whole and only then changes anything. What is cut by the end of a
//! piece is kept and read again with the next one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tandemmq_model::{Epoch, Offset};

use super::layout::{ACK, Cursor, DEAD_LETTER, NO_ENTRY, SEND, START, Stop, ensure};
use super::{Picture, PictureError};
use crate::mutants::{self, Mutant};
use crate::records::{Range, Reason, TxKey};
use crate::state::State;
use crate::state::chunks::Entry;
use crate::state::dead_letters::{DEAD_LETTER_QUEUE, Origin, Origins};
use crate::state::queue::{Counts, Queue, QueueId};
use crate::state::transactions::Operation;

/// No log is that long; numbers below it can be counted on without an overflow.
const APPLIED_MAX: u64 = 1 << 62;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Epochs,
    Origins,
    Queues,
    Transactions,
    Digest,
    End,
}

/// How many elements are still to come.
#[derive(Debug, Default)]
struct Left {
    epochs: u64,
    origins: u64,
    queues: u64,
    transactions: u64,
}

/// A queue whose entries come.
struct Filling {
    queue: Queue,
    left: u64,
    before: Entry,
    is_dead_letter_queue: bool,
}

/// A transaction whose operations come.
struct Opening {
    tx: TxKey,
    left: u64,
    operations: Vec<Operation>,
    /// Of the last operation.
    ranges_left: u64,
}

/// A picture that is being read.
pub struct PictureReader {
    /// The beginning of an element whose end is in the next piece.
    rest: Vec<u8>,
    stage: Stage,
    left: Left,
    /// Entries that each origin has not met yet.
    unnamed: BTreeMap<u64, u64>,
    last_origin: u64,
    last_tx: u64,
    filling: Option<Filling>,
    opening: Option<Opening>,
    pub(super) state: State,
    broken: Option<PictureError>,
}

impl Default for PictureReader {
    fn default() -> Self {
        Self::new()
    }
}

impl PictureReader {
    /// A reader that was given nothing.
    pub fn new() -> Self {
        Self {
            rest: Vec::new(),
            stage: Stage::Head,
            left: Left::default(),
            unnamed: BTreeMap::new(),
            last_origin: 0,
            last_tx: 0,
            filling: None,
            opening: None,
            state: State::default(),
            broken: None,
        }
    }

    /// The next bytes, in the order of writing, cut anywhere. After an error all that follows is
    /// the same error.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), PictureError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        match self.read(&bytes) {
            Ok(used) => {
                bytes.drain(..used);
                self.rest = bytes;
                Ok(())
            }
            Err(error) => {
                self.broken = Some(error);
                Err(error)
            }
        }
    }

    /// All pieces were pushed.
    pub fn finish(self) -> Result<Picture, PictureError> {
        match self.broken {
            Some(error) => Err(error),
            None if self.stage != Stage::End => Err(PictureError::Incomplete),
            None => Ok(Picture { state: self.state }),
        }
    }

    /// How much of it was read.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, PictureError> {
        let mut cursor = Cursor::new(bytes);
        while self.stage != Stage::End {
            let start = cursor.at;
            match self.step(&mut cursor) {
                Ok(()) => {}
                Err(Stop::Starved) => return Ok(start),
                Err(Stop::Broken(error)) => return Err(error),
            }
        }
        match cursor.left() {
            0 => Ok(cursor.at),
            _ => Err(PictureError::Surplus),
        }
    }

    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        match self.stage {
            Stage::Head => self.head(cursor),
            Stage::Epochs => self.epoch(cursor),
            Stage::Origins => self.origin(cursor),
            Stage::Queues => match &self.filling {
                None => self.queue(cursor),
                Some(filling) if filling.left > 0 => self.entry(cursor),
                Some(_) => self.queue_filled(),
            },
            Stage::Transactions => match &self.opening {
                None => self.transaction(cursor),
                Some(opening) if opening.ranges_left > 0 => self.range(cursor),
                Some(opening) if opening.left > 0 => self.operation(cursor),
                Some(_) => self.transaction_opened(),
            },
            Stage::Digest => self.digest(cursor),
            Stage::End => Ok(()),
        }
    }

    // === head, epochs, origins ===

    fn head(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let known = cursor.left().min(START.len());
        if cursor.take(known)? != &START[..known] {
            return Err(PictureError::UnknownVersion.into());
        }
        let applied = cursor.number_to(APPLIED_MAX)?;
        // A record starts at most one epoch and makes at most one queue; an entry, which has a
        // record, gives at most one number to an origin.
        let last_epoch_start = Offset(cursor.number_to(applied)?);
        let undecodable = cursor.number_to(applied)?;
        let last_id = cursor.number_to(applied)?;
        let left = Left {
            epochs: cursor.number_to(applied)?,
            origins: cursor.number_to(last_id)?,
            queues: cursor.number_to(applied.min(u64::from(u32::MAX)))?,
            transactions: cursor.number_to(applied)?,
        };
        self.state = State {
            applied: Offset(applied),
            last_epoch_start,
            undecodable,
            origins: Arc::new(Origins::restored(last_id)),
            ..State::default()
        };
        self.left = left;
        self.stage = Stage::Epochs;
        Ok(())
    }

    fn epoch(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        if self.left.epochs == 0 {
            self.stage = Stage::Origins;
            return Ok(());
        }
        let (epoch, first) = self.state.epochs.last().copied().unwrap_or_default();
        let epoch = cursor.number_above(epoch.0, u64::MAX)?;
        let first = cursor.number_above(first.0, self.state.applied.0)?;
        self.state.epochs.push((Epoch(epoch), Offset(first)));
        self.left.epochs -= 1;
        Ok(())
    }

    fn origin(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        if self.left.origins == 0 {
            self.stage = Stage::Queues;
            return Ok(());
        }
        let id = cursor.number_above(self.last_origin, self.state.origins.last_id())?;
        let entries = cursor.number_to(self.state.applied.0)?;
        ensure(entries > 0)?;
        let origin = Origin {
            queue: cursor.text()?,
            cause: cursor.text()?,
            entries,
        };
        ensure(Arc::make_mut(&mut self.state.origins).restore(id, origin))?;
        self.unnamed.insert(id, entries);
        self.last_origin = id;
        self.left.origins -= 1;
        Ok(())
    }

    // === queues ===

    fn queue(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        if self.left.queues == 0 {
            // Every origin was met as often as it says.
            ensure(self.unnamed.values().all(|left| *left == 0))?;
            self.stage = Stage::Transactions;
            return Ok(());
        }
        let name = cursor.text()?;
        let applied = self.state.applied.0;
        let counts = Counts {
            enqueued: cursor.number_to(applied)?,
            dequeued: cursor.number_to(applied)?,
            expired: cursor.number_to(applied)?,
            dead_lettered: cursor.number_to(applied)?,
        };
        let left = cursor.number_to(applied)?;
        ensure(left + counts.dequeued + counts.dead_lettered == counts.enqueued)?;
        ensure(counts.expired <= counts.dead_lettered)?;
        let id = QueueId::of_index(self.state.queues.len());
        let by_name = Arc::make_mut(&mut self.state.by_name);
        ensure(by_name.insert(name.clone(), id).is_none())?;
        self.filling = Some(Filling {
            left,
            before: NO_ENTRY,
            is_dead_letter_queue: name == DEAD_LETTER_QUEUE,
            queue: Queue::restored(name, counts),
        });
        self.left.queues -= 1;
        Ok(())
    }

    fn entry(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let Some(filling) = &mut self.filling else {
            return Ok(());
        };
        let mut entry = cursor.entry(&filling.before, self.state.applied)?;
        match entry.origin() {
            Some(id) => {
                let unnamed = self.unnamed.get_mut(&id).filter(|left| **left > 0);
                *unnamed.ok_or(PictureError::Contradiction)? -= 1;
                ensure(filling.is_dead_letter_queue)?;
            }
            None => ensure(!entry.was_delivered())?,
        }
        filling.before = entry;
        filling.left -= 1;
        if mutants::on(Mutant::PictureLosesDelivered) {
            entry = entry.restored(entry.extra(), entry.origin().is_some(), false);
        }
        ensure(filling.queue.restore(entry))?;
        Ok(())
    }

    fn queue_filled(&mut self) -> Result<(), Stop> {
        let filled = self.filling.take().map(|filling| filling.queue);
        self.state.queues.extend(filled.map(Arc::new));
        Ok(())
    }

    // === transactions ===

    fn transaction(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        if self.left.transactions == 0 {
            self.stage = Stage::Digest;
            return Ok(());
        }
        let tx = cursor.number_above(self.last_tx, u64::MAX)?;
        let left = cursor.number_to(self.state.applied.0)?;
        // The first operation opens it.
        ensure(left > 0)?;
        self.opening = Some(Opening {
            tx: TxKey(tx),
            left,
            operations: Vec::new(),
            ranges_left: 0,
        });
        self.last_tx = tx;
        self.left.transactions -= 1;
        Ok(())
    }

    fn operation(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let kind = cursor.u8()?;
        let index = cursor.number()?;
        ensure(index < self.state.queues.len() as u64)?;
        let queue = QueueId::of_index(index as usize);
        let (operation, ranges_left) = match kind {
            SEND => {
                let entry = cursor.entry(&NO_ENTRY, self.state.applied)?;
                ensure(entry.origin().is_none() && !entry.was_delivered())?;
                (Operation::Enqueue { queue, entry }, 0)
            }
            ACK => {
                let ranges = Vec::new();
                (Operation::Ack { queue, ranges }, cursor.number()?)
            }
            DEAD_LETTER => {
                let operation = Operation::DeadLetter {
                    queue,
                    reason: reason(cursor.u8()?)?,
                    cause: cursor.text()?,
                    ranges: Vec::new(),
                };
                (operation, cursor.number()?)
            }
            _ => return Err(PictureError::UnknownValue.into()),
        };
        if let Some(opening) = &mut self.opening {
            opening.operations.push(operation);
            opening.left -= 1;
            opening.ranges_left = ranges_left;
        }
        Ok(())
    }

    fn range(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let range = Range {
            first: Offset(cursor.number()?),
            count: cursor.number_to(u64::from(u32::MAX))? as u32,
        };
        let Some(opening) = &mut self.opening else {
            return Ok(());
        };
        opening.ranges_left -= 1;
        match opening.operations.last_mut() {
            Some(Operation::Ack { ranges, .. } | Operation::DeadLetter { ranges, .. }) => {
                ranges.push(range);
            }
            Some(Operation::Enqueue { .. }) | None => ensure(false)?,
        }
        Ok(())
    }

    fn transaction_opened(&mut self) -> Result<(), Stop> {
        if let Some(opening) = self.opening.take() {
            self.state
                .transactions
                .restore(opening.tx, opening.operations);
        }
        Ok(())
    }

    // === end ===

    fn digest(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let written: [u8; 8] = cursor.take(8)?.try_into().expect("take gives 8 bytes");
        let is_equal = u64::from_le_bytes(written) == self.state.digest();
        if !is_equal && !mutants::on(Mutant::PictureLosesDelivered) {
            return Err(PictureError::WrongDigest.into());
        }
        self.stage = Stage::End;
        Ok(())
    }
}

const fn reason(number: u8) -> Result<Reason, PictureError> {
    match number {
        1 => Ok(Reason::Expired),
        2 => Ok(Reason::Poison),
        _ => Err(PictureError::UnknownValue),
    }
}

impl fmt::Debug for PictureReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PictureReader")
            .field("stage", &self.stage)
            .field("left", &self.left)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
