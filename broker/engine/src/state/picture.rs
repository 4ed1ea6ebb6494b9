//! A consistent picture of the State at its applied offset.
//!
//! Taken between two records, at the price of one step per queue: entries are shared with the
//! engine, which copies what it changes from then on. So the engine goes on at once, and somebody
//! else may take an hour to write the picture down. It is equal to a replay of the log up to
//! `applied`, and whoever restores it goes on as if it had read that log.
//!
//! `layout` is how it looks in bytes, `writer` gives it in pieces, `reader` takes pieces from
//! anybody and trusts none of them.
//!
//! Not here: where pieces are kept or sent (`journal`, `cluster`), bodies: they stay in the log,
//! and `live` tells which of them are still needed.

mod layout;
mod reader;
mod writer;

use std::fmt;

use tandemmq_model::Offset;

pub use reader::PictureReader;
pub use writer::{PICTURE_PIECE_BYTES_MAX, PictureWriter};

use super::State;
use super::transactions::Operation;
use crate::mutants::{self, Mutant};

/// The State at one offset; it does not change any more. Cheap to clone and to keep, but what the
/// engine changes meanwhile takes its memory twice.
#[derive(Clone)]
pub struct Picture {
    state: State,
}

/// Why bytes are no picture. Fatal for that checkpoint: reading it again gives the same, another
/// one or the log is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// It does not begin as a picture that this version can read.
    #[error("this is no picture of a version that can be read")]
    UnknownVersion,
    /// A number or text stands for nothing.
    #[error("a field of the picture has no known value")]
    UnknownValue,
    /// Two fields cannot both be true: an order, a sum, a reference.
    #[error("two fields of the picture contradict each other")]
    Contradiction,
    /// It ends before its end.
    #[error("the picture ends before all of it was read")]
    Incomplete,
    /// It goes on after its end.
    #[error("bytes follow the end of the picture")]
    Surplus,
    /// What was read is not what was written.
    #[error("the picture has another digest than the one written at its end")]
    WrongDigest,
}

impl Picture {
    pub(crate) fn of(state: &State) -> Self {
        let mut state = state.clone();
        if mutants::on(Mutant::PictureWithoutTransactions) {
            state.transactions.clear();
        }
        Self { state }
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }

    /// The last offset whose record is in it.
    pub fn applied(&self) -> Offset {
        self.state.applied
    }

    /// `Engine::state_digest` at that offset.
    pub fn digest(&self) -> u64 {
        self.state.digest()
    }

    /// Every offset whose record is still needed for its body, with that body's length: entries of
    /// all queues and sends of open transactions. Ascending in a queue only; each offset once.
    pub fn live(&self, each: &mut dyn FnMut(Offset, u32)) {
        for queue in &self.state.queues {
            for entry in queue.entries().iter() {
                each(entry.offset, entry.length);
            }
        }
        let operations = self.state.transactions.iter().flat_map(|(_, all)| all);
        for entry in operations.filter_map(Operation::send) {
            each(entry.offset, entry.length);
        }
    }

    /// Gives its bytes, in pieces.
    pub fn writer(self) -> PictureWriter {
        PictureWriter::new(self)
    }
}

/// Not the entries: there may be millions.
impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("applied", &self.state.applied)
            .field("queues", &self.state.queues.len())
            .field("transactions", &self.state.transactions.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
