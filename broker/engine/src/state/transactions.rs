//! Open local transactions: operations kept aside until their commit.
//!
//! A key is unique in its epoch; EpochStart forgets all that are open, so keys of different epochs
//! never meet. Bounded by what a master admits for each connection.

use std::collections::BTreeMap;

use bytestring::ByteString;
use tandemmq_model::Offset;

use super::chunks::Entry;
use super::queue::QueueId;
use crate::records::{Range, Reason, TxKey};

#[derive(Debug)]
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
    /// The place of a send.
    pub(crate) const fn sent(&self) -> Option<Offset> {
        match self {
            Self::Enqueue { entry, .. } => Some(entry.offset),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: BTreeMap<TxKey, Vec<Operation>>,
}

impl Transactions {
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// The first operation opens the transaction.
    pub(super) fn push(&mut self, tx: TxKey, operation: Operation) {
        self.open.entry(tx).or_default().push(operation);
    }

    /// Its operations in order; none when it is not open.
    pub(super) fn take(&mut self, tx: TxKey) -> Vec<Operation> {
        self.open.remove(&tx).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TxKey, &[Operation])> {
        self.open
            .iter()
            .map(|(tx, operations)| (*tx, operations.as_slice()))
    }
}
