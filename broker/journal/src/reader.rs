//! Reading the log beside the disk thread.
use tandemmq_model::{Offset, Record};

use crate::batch::Batch;
use crate::storage::{Storage, StorageError};

/// One read, made by `Journal::read_batches` or `read_records`.
#[derive(Debug, Clone)]
pub struct ReadOp {}

/// Why nothing could be read. Retryable: make the ReadOp anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is there is not what was asked for: cut, recycled or damaged since.
    #[error("offset {0} is not where it was")]
    Moved(Offset),
}

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadDone {
    /// Whole batches in order; the first one holds the offset asked for.
    Batches(Vec<Batch>),
    /// The records asked for, in the order asked; none where one could not be read.
    Records(Vec<(Offset, Option<Record>)>),
    /// Nothing.
    Failed(ReadError),
}

/// Reads beside the disk thread; one for each reading thread.
#[derive(Debug)]
pub struct Reader<S> {
    storage: S,
}

impl<S: Storage> Reader<S> {
    /// A reader on the same files.
    pub const fn new(storage: S) -> Self {
        Self { storage }
    }

    /// Reads, blocking.
    pub fn read(&self, _op: &ReadOp) -> ReadDone {
        let _ = &self.storage;
        unimplemented!()
    }
}
