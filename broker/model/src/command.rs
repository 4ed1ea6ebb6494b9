//! What a client asks for, in no protocol's words: every wire session speaks this to the engine.

use bytestring::ByteString;

use crate::{DeliveryId, Destination, Message, MessageId, SubscriptionId};

/// The session's name for one command, to match the engine's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Counted by the session from 1, never reused in the connection.
    pub id: u64,
    /// The client wants to hear of success. A refusal is always answered.
    pub wants_receipt: bool,
}

/// A transaction's name as the client gave it; unique in its connection only.
pub type TxName = ByteString;

/// How a subscription acknowledges (STOMP `ack` header; JMS AUTO, CLIENT, ActiveMQ INDIVIDUAL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMode {
    /// Acknowledged once handed to the socket (`Command::Written`).
    Auto,
    /// An ack takes this delivery and all before it on the subscription.
    Client,
    /// An ack takes this delivery.
    Individual,
}

/// What an acknowledgement says. Names are ActiveMQ's MessageAck types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    /// Consumed: one delivery or, on a `Client` subscription, all up to it.
    Consumed,
    /// Refused by the consumer (STOMP NACK): this one delivery goes to the dead letter queue, a
    /// non-persistent one is dropped.
    Poison,
}

/// Which delivery an ack means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckRef {
    /// By the delivery's own id (STOMP 1.2 `id`); the subscription is known too.
    Delivery(SubscriptionId, DeliveryId),
    /// By message id (STOMP 1.0 and 1.1). 1.0 may leave the subscription out: then the
    /// connection's subscriptions are searched in the order of their ids.
    Message(Option<SubscriptionId>, MessageId),
}

/// A new subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The session's number for it.
    pub subscription: SubscriptionId,
    /// What to consume.
    pub destination: Destination,
    /// How it acknowledges.
    pub ack_mode: AckMode,
    /// Deliveries that may be out and not acknowledged; at least 1.
    pub prefetch: u32,
    /// Gets a copy of the queue as it is now and ends (`Delivery::End`); takes nothing.
    pub browser: bool,
}

/// One thing a client asks for. In one connection commands take effect in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send a message, inside a transaction when `tx` names one.
    Send {
        /// What to send.
        message: Message,
        /// In which transaction.
        tx: Option<TxName>,
        /// To answer with.
        request: Request,
    },
    /// Start a subscription.
    Subscribe(Subscribe, Request),
    /// End a subscription; what it has not acknowledged goes back to its place.
    Unsubscribe(SubscriptionId, Request),
    /// Acknowledge or refuse deliveries.
    Ack {
        /// Which delivery.
        which: AckRef,
        /// Consumed or poison.
        kind: AckKind,
        /// In which transaction.
        tx: Option<TxName>,
        /// To answer with.
        request: Request,
    },
    /// The last byte of this delivery, and of all before it on the subscription, was handed to
    /// the socket. From here a lost connection counts as a delivery; an `Auto` subscription has
    /// acknowledged.
    Written(SubscriptionId, DeliveryId),
    /// This delivery was not written because its `valid_until` had passed: it returns to its
    /// place, not marked as delivered.
    NotDelivered(SubscriptionId, DeliveryId),
    /// Open a transaction.
    Begin(TxName, Request),
    /// Make a transaction visible.
    Commit(TxName, Request),
    /// Forget a transaction. Deliveries acknowledged in it stay with the consumer, not acked.
    Abort(TxName, Request),
    /// The client is about to leave; answered after everything before it is answered.
    Disconnect(Request),
}
