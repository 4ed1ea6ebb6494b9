//! Gives a picture's bytes in pieces.
//!
//! ```text
//! Head -> Epoch* -> Origin* -> (Queue -> Chunk*)* -> (Transaction -> Operation*)* -> End -> Nothing
//! ```
//! A step writes one of these, a chunk being at most `CHUNK_ENTRIES_MAX` entries: what one piece
//! costs is bounded, however large the picture is. What a step writes beyond a piece is kept for
//! the next one.

use std::fmt;

use bytes::Bytes;
use tandemmq_model::Offset;

use super::Picture;
use super::layout::{ACK, DEAD_LETTER, NO_ENTRY, SEND, START, put_entry, put_number, put_text};
use crate::records::{Range, TxKey};
use crate::state::chunks::Entry;
use crate::state::transactions::Operation;

/// Bytes of one piece: few pieces for a large picture, and each is encoded, written or sent within
/// a millisecond or two, so that whatever stands between two of them does not wait long.
pub const PICTURE_PIECE_BYTES_MAX: usize = 256 * 1024;

/// What is written next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Head,
    Epoch(usize),
    Origin {
        before: u64,
    },
    Queue(usize),
    Chunk {
        queue: usize,
        chunk: usize,
        before: Entry,
    },
    Transaction {
        before: u64,
    },
    Operation {
        tx: u64,
        index: usize,
    },
    End,
    Nothing,
}

/// A picture that is being written down.
pub struct PictureWriter {
    picture: Picture,
    next: Step,
    /// Written, and not given out.
    pub(super) out: Vec<u8>,
}

impl PictureWriter {
    pub(super) fn new(picture: Picture) -> Self {
        Self {
            picture,
            next: Step::Head,
            out: Vec::new(),
        }
    }

    /// The next piece, of at most `PICTURE_PIECE_BYTES_MAX` bytes, never empty; none after the
    /// last one. They are cuts of one stream: whoever keeps them may cut them anew.
    pub fn next_piece(&mut self) -> Option<Bytes> {
        while self.out.len() < PICTURE_PIECE_BYTES_MAX && !matches!(self.next, Step::Nothing) {
            self.next = self.write(self.next);
        }
        let size = self.out.len().min(PICTURE_PIECE_BYTES_MAX);
        let piece = Bytes::copy_from_slice(&self.out[..size]);
        self.out.drain(..size);
        Some(piece).filter(|piece| !piece.is_empty())
    }

    /// The last offset whose record is in it.
    pub fn applied(&self) -> Offset {
        self.picture.applied()
    }

    /// As `Picture::live`.
    pub fn live(&self, each: &mut dyn FnMut(Offset, u32)) {
        self.picture.live(each);
    }

    /// Returns what comes after it.
    fn write(&mut self, step: Step) -> Step {
        match step {
            Step::Head => self.head(),
            Step::Epoch(index) => self.epoch(index),
            Step::Origin { before } => self.origin(before),
            Step::Queue(index) => self.queue(index),
            Step::Chunk {
                queue,
                chunk,
                before,
            } => self.chunk(queue, chunk, before),
            Step::Transaction { before } => self.transaction(before),
            Step::Operation { tx, index } => self.operation(tx, index),
            Step::End => self.end(),
            Step::Nothing => Step::Nothing,
        }
    }

    fn number(&mut self, value: u64) {
        put_number(&mut self.out, value);
    }

    fn head(&mut self) -> Step {
        let state = &self.picture.state;
        let numbers = [
            state.applied.0,
            state.last_epoch_start.0,
            state.undecodable,
            state.origins.last_id(),
            state.epochs.len() as u64,
            state.origins.len() as u64,
            state.queues.len() as u64,
            state.transactions.len() as u64,
        ];
        self.out.extend_from_slice(&START);
        for number in numbers {
            self.number(number);
        }
        Step::Epoch(0)
    }

    fn epoch(&mut self, index: usize) -> Step {
        let epochs = &self.picture.state.epochs;
        let Some((epoch, first)) = epochs.get(index).copied() else {
            return Step::Origin { before: 0 };
        };
        let before = index.checked_sub(1).map(|index| epochs[index]);
        let (epoch_before, first_before) = before.unwrap_or_default();
        self.number(epoch.0.wrapping_sub(epoch_before.0));
        self.number(first.0.wrapping_sub(first_before.0));
        Step::Epoch(index + 1)
    }

    fn origin(&mut self, before: u64) -> Step {
        let Self { picture, out, .. } = self;
        let Some((id, origin)) = picture.state.origins.first_from(before + 1) else {
            return Step::Queue(0);
        };
        put_number(out, id - before);
        put_number(out, origin.entries);
        put_text(out, &origin.queue);
        put_text(out, &origin.cause);
        Step::Origin { before: id }
    }

    fn queue(&mut self, index: usize) -> Step {
        let Self { picture, out, .. } = self;
        let Some(queue) = picture.state.queues.get(index) else {
            return Step::Transaction { before: 0 };
        };
        let counts = queue.counts();
        put_text(out, queue.name());
        put_number(out, counts.enqueued);
        put_number(out, counts.dequeued);
        put_number(out, counts.expired);
        put_number(out, counts.dead_lettered);
        put_number(out, queue.entries().len() as u64);
        Step::Chunk {
            queue: index,
            chunk: 0,
            before: NO_ENTRY,
        }
    }

    fn chunk(&mut self, queue: usize, chunk: usize, mut before: Entry) -> Step {
        let Self { picture, out, .. } = self;
        let Some(entries) = picture.state.queues[queue].entries().chunk(chunk) else {
            return Step::Queue(queue + 1);
        };
        for entry in entries {
            put_entry(out, entry, &before);
            before = *entry;
        }
        Step::Chunk {
            queue,
            chunk: chunk + 1,
            before,
        }
    }

    fn transaction(&mut self, before: u64) -> Step {
        let Self { picture, out, .. } = self;
        let transactions = &picture.state.transactions;
        let next = before.checked_add(1);
        let Some((tx, operations)) = next.and_then(|tx| transactions.first_from(TxKey(tx))) else {
            return Step::End;
        };
        put_number(out, tx.0 - before);
        put_number(out, operations.len() as u64);
        Step::Operation { tx: tx.0, index: 0 }
    }

    fn operation(&mut self, tx: u64, index: usize) -> Step {
        let Self { picture, out, .. } = self;
        let found = picture.state.transactions.first_from(TxKey(tx));
        let Some(operation) = found.and_then(|(_, operations)| operations.get(index)) else {
            return Step::Transaction { before: tx };
        };
        put_operation(out, operation);
        Step::Operation {
            tx,
            index: index + 1,
        }
    }

    fn end(&mut self) -> Step {
        let digest = self.picture.digest();
        self.out.extend_from_slice(&digest.to_le_bytes());
        Step::Nothing
    }
}

fn put_operation(out: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Enqueue { queue, entry } => {
            out.push(SEND);
            put_number(out, queue.index() as u64);
            put_entry(out, entry, &NO_ENTRY);
        }
        Operation::Ack { queue, ranges } => {
            out.push(ACK);
            put_number(out, queue.index() as u64);
            put_ranges(out, ranges);
        }
        Operation::DeadLetter {
            queue,
            reason,
            cause,
            ranges,
        } => {
            out.push(DEAD_LETTER);
            put_number(out, queue.index() as u64);
            out.push(*reason as u8);
            put_text(out, cause);
            put_ranges(out, ranges);
        }
    }
}

fn put_ranges(out: &mut Vec<u8>, ranges: &[Range]) {
    put_number(out, ranges.len() as u64);
    for range in ranges {
        put_number(out, range.first.0);
        put_number(out, u64::from(range.count));
    }
}

impl fmt::Debug for PictureWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PictureWriter")
            .field("picture", &self.picture)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
