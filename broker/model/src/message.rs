//! The message envelope: what every protocol's message becomes inside the broker.
//!
//! Field names are JMS's and ActiveMQ's. A message never changes after it was accepted; what does
//! change (redelivery, dead-lettering) belongs to the queue entry and travels in `Delivery`.

use bytes::Bytes;
use bytestring::ByteString;

use crate::Destination;

/// How the producer meant the body; OpenWire consumers get a BytesMessage or a TextMessage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// STOMP SEND without `content-length`.
    Text,
    /// STOMP SEND with `content-length`.
    Bytes,
}

/// One message as its producer sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was sent.
    pub destination: Destination,
    /// JMSDeliveryMode: true is replicated to a quorum's disks before it is acknowledged.
    pub persistent: bool,
    /// JMSPriority 0–9, default 4.
    pub priority: u8,
    /// JMSTimestamp, wall clock milliseconds since 1970.
    pub timestamp_ms: u64,
    /// JMSExpiration, wall clock milliseconds since 1970; 0 = never.
    pub expiration_ms: u64,
    /// JMSCorrelationID.
    pub correlation_id: Option<ByteString>,
    /// JMSReplyTo.
    pub reply_to: Option<Destination>,
    /// JMSType.
    pub jms_type: Option<ByteString>,
    /// Text or bytes.
    pub body_kind: BodyKind,
    /// Every other header, in the producer's order.
    pub properties: Vec<(ByteString, ByteString)>,
    /// The body, untouched.
    pub body: Bytes,
}

impl Message {
    /// Bytes that this message holds in memory, for the limits: body, names, values and a fixed
    /// share for the structures around them.
    pub fn memory_size(&self) -> usize {
        const FIXED: usize = 256;
        let properties: usize = self
            .properties
            .iter()
            .map(|(name, value)| name.len() + value.len() + 64)
            .sum();
        let correlation_id = self.correlation_id.as_ref().map_or(0, |id| id.len());
        let jms_type = self.jms_type.as_ref().map_or(0, |text| text.len());
        let reply_to = self.reply_to.as_ref().map_or(0, |to| to.name.len());
        FIXED
            + self.destination.name.len()
            + correlation_id
            + jms_type
            + reply_to
            + properties
            + self.body.len()
    }

    /// True once the wall clock passed the expiration the producer gave.
    pub const fn is_expired(&self, wall_ms: u64) -> bool {
        self.expiration_ms != 0 && self.expiration_ms <= wall_ms
    }
}
