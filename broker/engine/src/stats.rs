//! Figures of one destination, with the names of ActiveMQ's DestinationView.

use bytestring::ByteString;
use tandemmq_model::{Destination, DestinationKind};

/// One destination as the status shows it. Persistent messages are counted since the group's first
/// record, equally on every member; all else since this member became master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationStats {
    /// Its name, without a prefix.
    pub name: ByteString,
    /// Its kind.
    pub kind: DestinationKind,
    /// Messages in it now (QueueSize); 0 for a topic.
    pub depth: u64,
    /// Subscriptions on it, browsers included (ConsumerCount).
    pub consumers: u64,
    /// Delivered, not acknowledged yet (InFlightCount).
    pub in_flight: u64,
    /// Messages that arrived.
    pub enqueued: u64,
    /// Messages acknowledged.
    pub dequeued: u64,
    /// Deliveries made, repeated ones included.
    pub dispatched: u64,
    /// Messages that expired.
    pub expired: u64,
    /// Messages moved to the dead letter queue.
    pub dead_lettered: u64,
}

impl DestinationStats {
    pub(crate) fn empty(destination: &Destination) -> Self {
        Self {
            name: destination.name.clone(),
            kind: destination.kind,
            depth: 0,
            consumers: 0,
            in_flight: 0,
            enqueued: 0,
            dequeued: 0,
            dispatched: 0,
            expired: 0,
            dead_lettered: 0,
        }
    }
}
