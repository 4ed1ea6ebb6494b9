//! What the engine remembers of one client connection.

use std::collections::{BTreeMap, VecDeque};

use tandemmq_model::{SubscriptionId, TxName};

use super::destination::DestKey;
use super::parking::Parked;
use super::subscription::SubKey;
use super::transactions::Transaction;

/// Bytes handed out to one connection and not yet written to its socket, beyond which its
/// subscriptions pause. A client that does not read then holds this much plus one message; at a
/// millisecond from here to the socket and back it still allows a gigabyte a second.
pub(crate) const UNWRITTEN_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub subscriptions: BTreeMap<SubscriptionId, SubKey>,
    pub transactions: BTreeMap<TxName, Transaction>,
    /// Operations of all open transactions.
    pub tx_operations: usize,
    /// Bytes of all open transactions.
    pub tx_bytes: usize,
    pub unwritten_bytes: u64,
    /// Subscriptions that wait until the socket took more.
    pub blocked: Vec<SubKey>,
    /// Commands that wait for memory, in order.
    pub parked: VecDeque<Parked>,
    pub parked_bytes: usize,
    /// Temporary destinations that end with this connection.
    pub temporary: Vec<DestKey>,
    /// Some of its acknowledgements are collected and not proposed.
    pub has_collected_acks: bool,
    /// It said DISCONNECT: nothing more is delivered.
    pub is_leaving: bool,
}

impl Connection {
    /// The socket is to get more.
    pub(crate) const fn has_room(&self) -> bool {
        self.unwritten_bytes < UNWRITTEN_BYTES_MAX
    }
}
