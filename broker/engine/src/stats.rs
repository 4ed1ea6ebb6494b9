//! Figures of one destination, with the names of ActiveMQ's DestinationView.

use bytestring::ByteString;
use tandemmq_model::DestinationKind;

/// One destination as the status shows it. Counts start with the process: `enqueued`, `dequeued`
/// and `dead_lettered` of a queue count what this member applied, the others what it did as master.
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
