//! Open local transactions: operations kept aside until their commit.
//!
//! A key is unique in its epoch; EpochStart forgets all that are open, so keys of different epochs
//! never meet. Bounded by what a master admits for each connection. Shared and copied on write, so
//! that a clone costs a step per transaction, not per operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use tandemmq_model::Offset;

use super::chunks::Entry;
use super::queue::QueueId;
use crate::records::{Range, Reason, TxKey};

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Enqueue {
        queue: QueueId,
        entry: Entry,
    },
    Ack {
        queue: QueueId,
        ranges: Vec<Range>,
    },
    DeadLetter {
        queue: QueueId,
        reason: Reason,
        cause: ByteString,
        ranges: Vec<Range>,
    },
}

impl Operation {
    pub(crate) const fn send(&self) -> Option<&Entry> {
        match self {
            Self::Enqueue { entry, .. } => Some(entry),
            _ => None,
        }
    }

    /// The place of a send.
    pub(crate) fn sent(&self) -> Option<Offset> {
        self.send().map(|entry| entry.offset)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Transactions {
    open: BTreeMap<TxKey, Arc<Vec<Operation>>>,
}

impl Transactions {
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// The first operation opens the transaction.
    pub(super) fn push(&mut self, tx: TxKey, operation: Operation) {
        Arc::make_mut(self.open.entry(tx).or_default()).push(operation);
    }

    /// Its operations in order; none when it is not open.
    pub(super) fn take(&mut self, tx: TxKey) -> Vec<Operation> {
        self.open
            .remove(&tx)
            .map(Arc::unwrap_or_clone)
            .unwrap_or_default()
    }

    /// As it was in a picture.
    pub(super) fn restore(&mut self, tx: TxKey, operations: Vec<Operation>) {
        self.open.insert(tx, Arc::new(operations));
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The first transaction with that key or a higher one.
    pub(super) fn first_from(&self, tx: TxKey) -> Option<(TxKey, &[Operation])> {
        let (tx, operations) = self.open.range(tx..).next()?;
        Some((*tx, operations))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TxKey, &[Operation])> {
        self.open
            .iter()
            .map(|(tx, operations)| (*tx, operations.as_slice()))
    }
}
