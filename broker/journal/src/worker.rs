//! The disk side: does what the journal asks, in order.
use crate::ops::{DiskDone, DiskOp};
use crate::recover::Recovered;
use crate::storage::Storage;

/// Executes the operations of one `Journal`, blocking, in the order they come.
#[derive(Debug)]
pub struct DiskWorker<S> {
    storage: S,
}

impl<S: Storage> DiskWorker<S> {
    /// A worker that goes on where `recover` ended.
    pub fn new(storage: S, _recovered: &Recovered) -> Self {
        Self { storage }
    }

    /// Does one operation.
    pub fn execute(&mut self, _op: DiskOp) -> DiskDone {
        let _ = &self.storage;
        unimplemented!()
    }
}
