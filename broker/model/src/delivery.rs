//! What the engine says to a client, in no protocol's words.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use crate::{DeliveryId, Destination, Epoch, Message, Offset, SubscriptionId};

/// A message's stable name, `ID:<group>-<epoch>-<offset>` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageId {
    /// A persistent message: where its record stands. Stable over redelivery and failover.
    Persistent(Epoch, Offset),
    /// A message that lives in the memory of one master: its epoch and a count.
    Transient(Epoch, u64),
}

impl MessageId {
    /// The id without the group's name: `<epoch>-<offset>`, or `<epoch>-n<count>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = text.split_once('-')?;
        let epoch = Epoch(epoch.parse().ok()?);
        match rest.strip_prefix('n') {
            Some(count) => Some(Self::Transient(epoch, count.parse().ok()?)),
            None => Some(Self::Persistent(epoch, Offset(rest.parse().ok()?))),
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persistent(epoch, offset) => write!(f, "{epoch}-{offset}"),
            Self::Transient(epoch, count) => write!(f, "{epoch}-n{count}"),
        }
    }
}

/// Where a dead letter comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterOrigin {
    /// `originalDestination`.
    pub destination: Destination,
    /// `dlqDeliveryFailureCause`.
    pub cause: ByteString,
}

/// One message on its way to one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message {
        /// To which subscription of the connection.
        subscription: SubscriptionId,
        /// Its number there.
        id: DeliveryId,
        /// Stable name of the message.
        message_id: MessageId,
        /// The destination it is consumed from: the message's own, or the dead letter queue.
        destination: Destination,
        /// The message itself.
        message: Arc<Message>,
        /// JMSRedelivered. May be over-reported, never under-reported.
        redelivered: bool,
        /// Set on a dead letter.
        origin: Option<DeadLetterOrigin>,
    },
    /// A browser has seen everything; no more deliveries follow on this subscription.
    End {
        /// Which browser.
        subscription: SubscriptionId,
    },
}

/// Why one operation was refused. The connection stays; the refused command had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// For the session, which may know a number or a condition name for it.
    pub kind: RefusalKind,
    /// What is wrong and what is allowed, for the user.
    pub text: ByteString,
}

/// The families of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// No room (disk or memory). Retryable later.
    NoSpace,
    /// The name does not stand for anything: transaction, delivery, subscription.
    Unknown,
    /// A limit of this connection is reached.
    Limit,
    /// Not allowed to this client.
    Denied,
    /// Known, but not built yet.
    NotSupported,
    /// The name is taken: a transaction or subscription of that id exists.
    Exists,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has taken effect as far as the guarantee of its kind goes.
    Done,
    /// It had no effect.
    Refused(Refusal),
}
