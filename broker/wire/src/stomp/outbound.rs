//! What waits to be sent to one client, and what of it was.
//!
//! ```text
//! queue (answers, deliveries) ──encode, lazily──> ready (pieces) ──poll──> shell ──> transmitted
//! ```
//!
//! Deliveries wait as shared messages and become bytes only when the shell asks; many small frames
//! share one buffer, a large body is a piece of its own and is never copied.
//!
//! Invariants
//! - Pieces come in the order of the queue; `transmitted <= given <= encoded`.
//! - A delivery is in exactly one place: waiting, encoded with a mark at its last byte, or returned.
//! - What may be written and what goes back is `returns`' to say, in the order of the queue.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tandemmq_model::{Delivery, DeliveryId, SubscriptionId, Time};

use super::destinations::Names;
use super::encoder::{self, END_OF_FRAME, MessageHead};
use super::returns::{Age, Known, Returns, Verdict};
use super::subscriptions::{Purpose, Subscription, Subscriptions};
use super::{Frame, Version};

/// About the size of a buffer of many frames: one write of a socket, far above its fixed cost.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bodies from this size on are pieces of their own; below it a copy is cheaper than a piece.
const SHARED_BODY_BYTES_MIN: usize = 16 * 1024;

/// One thing to send.
#[derive(Debug)]
pub(crate) enum Item {
    /// A line end that says we are alive.
    Beat,
    /// A RECEIPT of that name.
    Receipt(ByteString),
    /// CONNECTED or ERROR.
    Frame(Frame),
    /// A message, to be written until then.
    Delivery(Delivery, Time, Known),
}

/// What encoding needs to know of its connection.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) version: Version,
    pub(crate) names: &'a Names,
    pub(crate) subscriptions: &'a Subscriptions,
    /// The number of the fence that follows what is given back now.
    pub(crate) fence: u64,
    /// A frame waits for these to be transmitted; what is not encoded yet waits for the frame.
    pub(crate) held: Option<Marks>,
}

/// Deliveries that are encoded and not taken by the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// Of any subscription.
    All,
    /// Of this one.
    Of(SubscriptionId),
}

/// The last byte of a delivery.
#[derive(Debug)]
struct Mark {
    /// Bytes of the connection up to it.
    end: u64,
    subscription: SubscriptionId,
    id: DeliveryId,
}

/// The outbound side of one connection.
#[derive(Debug)]
pub(crate) struct Outbound {
    in_flight_bytes_max: u64,
    queue: VecDeque<Item>,
    /// Bytes of the answers in the queue, about.
    answer_bytes: usize,
    ready: VecDeque<Bytes>,
    marks: VecDeque<Mark>,
    /// Bytes of the connection put into `ready`, taken out of it, taken by the socket.
    encoded: u64,
    given: u64,
    transmitted: u64,
}

// === impl Marks ===

impl Marks {
    fn include(self, subscription: SubscriptionId) -> bool {
        self == Self::All || self == Self::Of(subscription)
    }
}

// === impl Item ===

impl Item {
    /// Bytes that the answer keeps; deliveries are the engine's to bound.
    fn answer_bytes(&self) -> usize {
        const FIXED: usize = 48;
        match self {
            Self::Beat | Self::Delivery(..) => 0,
            Self::Receipt(name) => FIXED + name.len(),
            Self::Frame(frame) => FIXED + frame.encoded_len_hint(),
        }
    }

    fn is_held(&self, held: Option<Marks>) -> bool {
        match self {
            Self::Delivery(delivery, ..) => {
                held.is_some_and(|marks| marks.include(subscription_of(delivery)))
            }
            _ => false,
        }
    }

    fn len_hint(&self) -> usize {
        match self {
            Self::Delivery(delivery, ..) => {
                encoder::delivery_len_hint(delivery, SHARED_BODY_BYTES_MIN)
            }
            item => item.answer_bytes() + 1,
        }
    }
}

// === impl Outbound ===

impl Outbound {
    pub(crate) fn new(in_flight_bytes_max: usize) -> Self {
        Self {
            in_flight_bytes_max: in_flight_bytes_max as u64,
            queue: VecDeque::new(),
            answer_bytes: 0,
            ready: VecDeque::new(),
            marks: VecDeque::new(),
            encoded: 0,
            given: 0,
            transmitted: 0,
        }
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.answer_bytes += item.answer_bytes();
        self.queue.push_back(item);
    }

    /// Bytes of answers that are not encoded yet.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Nothing waits, and the socket took everything.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.is_empty() && self.transmitted == self.encoded
    }

    /// Takes every waiting delivery out, answers stay.
    pub(crate) fn drop_deliveries(&mut self) {
        self.queue
            .retain(|item| !matches!(item, Item::Delivery(..)));
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(usize::try_from(self.in_flight_bytes_max).unwrap_or(usize::MAX));
    }

    /// True while there are such deliveries.
    pub(crate) fn has(&self, marks: Marks) -> bool {
        self.marks
            .iter()
            .any(|mark| marks.include(mark.subscription))
    }

    /// The socket took this many more bytes: the last delivery of each subscription that is whole
    /// by now.
    pub(crate) fn transmitted(&mut self, bytes: usize) -> BTreeMap<SubscriptionId, DeliveryId> {
        self.transmitted = (self.transmitted + bytes as u64).min(self.given);
        let mut written = BTreeMap::new();
        while let Some(mark) = self.marks.front()
            && mark.end <= self.transmitted
        {
            written.insert(mark.subscription, mark.id);
            self.marks.pop_front();
        }
        written
    }

    /// The next bytes to write. What is not written is in `returns` then.
    pub(crate) fn poll(&mut self, context: &Context<'_>, returns: &mut Returns) -> Option<Bytes> {
        if self.given - self.transmitted >= self.in_flight_bytes_max {
            return None;
        }
        if self.ready.is_empty() {
            self.fill(context, returns);
        }
        let piece = self.ready.pop_front()?;
        self.given += piece.len() as u64;
        Some(piece)
    }

    /// Encodes about one buffer's worth.
    fn fill(&mut self, context: &Context<'_>, returns: &mut Returns) {
        let Some(first) = self.queue.front() else {
            return;
        };
        let capacity = first
            .len_hint()
            .saturating_mul(self.queue.len())
            .min(BUFFER_BYTES);
        let mut buffer = BytesMut::with_capacity(capacity);
        let start = self.encoded;
        while self.encoded - start + (buffer.len() as u64) < BUFFER_BYTES as u64
            && let Some(item) = self.queue.pop_front_if(|item| !item.is_held(context.held))
        {
            self.answer_bytes -= item.answer_bytes();
            match item {
                Item::Beat => buffer.extend_from_slice(b"\n"),
                Item::Receipt(name) => encoder::put_receipt(&mut buffer, context.version, &name),
                Item::Frame(frame) => encoder::put_frame(&mut buffer, context.version, &frame),
                Item::Delivery(delivery, valid_until, known) => {
                    match judge(&delivery, valid_until, known, context, returns) {
                        Some(to) => self.put_delivery(&mut buffer, context, to, &delivery),
                        None => returns.give_back(&delivery),
                    }
                }
            }
        }
        self.push_piece(buffer.freeze());
    }

    fn push_piece(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.encoded += piece.len() as u64;
            self.ready.push_back(piece);
        }
    }

    fn put_delivery(
        &mut self,
        buffer: &mut BytesMut,
        context: &Context<'_>,
        to: &Subscription,
        delivery: &Delivery,
    ) {
        let Delivery::Message {
            id,
            message_id,
            destination,
            message,
            redelivered,
            origin,
            ..
        } = delivery
        else {
            encoder::put_browse_end(buffer, context.version, context.names, to);
            return;
        };
        let head = MessageHead {
            subscription: to,
            id: *id,
            message_id: *message_id,
            destination,
            message,
            redelivered: *redelivered,
            origin: origin.as_ref(),
        };
        encoder::put_message_head(buffer, context.version, context.names, &head);
        if message.body.len() < SHARED_BODY_BYTES_MIN {
            buffer.extend_from_slice(&message.body);
        } else {
            self.push_piece(std::mem::take(buffer).freeze());
            self.push_piece(message.body.clone());
        }
        buffer.extend_from_slice(END_OF_FRAME);
        let end = self.encoded + buffer.len() as u64;
        self.marks.push_back(Mark {
            end,
            subscription: to.number,
            id: *id,
        });
    }
}

/// To whom the delivery is written; none when it goes back. A browser's copies take nothing, so
/// they are good for as long as the client wants to read them.
fn judge<'a>(
    delivery: &Delivery,
    valid_until: Time,
    known: Known,
    context: &Context<'a>,
    returns: &mut Returns,
) -> Option<&'a Subscription> {
    let number = subscription_of(delivery);
    let subscription = context.subscriptions.get(number)?;
    let Delivery::Message { message_id, .. } = delivery else {
        return Some(subscription);
    };
    if subscription.purpose == Purpose::Browse {
        return Some(subscription);
    }
    let age = if valid_until < context.now {
        Age::Late
    } else {
        Age::InTime
    };
    match returns.judge(number, *message_id, age, known, context.fence) {
        Verdict::Write => Some(subscription),
        Verdict::GiveBack => None,
    }
}

fn subscription_of(delivery: &Delivery) -> SubscriptionId {
    match delivery {
        Delivery::Message { subscription, .. } | Delivery::End { subscription } => *subscription,
    }
}
