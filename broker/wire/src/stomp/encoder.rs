//! Bytes out of frames.
//!
//! Every frame ends with NUL and a line end, as ActiveMQ's do: some old clients read one byte more
//! than the NUL. Nothing here decides what is sent.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;
use tandemmq_model::{
    BodyKind, DeadLetterOrigin, Delivery, DeliveryId, Destination, Message, MessageId,
    SubscriptionId,
};

use super::destinations::Names;
use super::headers::Escapes;
use super::subscriptions::{Answering, Subscription};
use super::{Frame, Version};

/// What ends a frame.
pub(crate) const END_OF_FRAME: &[u8] = b"\0\n";

/// Bytes of an ERROR's text that are sent; a client's own words in it may be long.
const ERROR_TEXT_BYTES_MAX: usize = 1024;

/// Headers of MESSAGE that the session itself governs. A property of that name would be taken for
/// the broker's word by the consumer, so it is not written.
const OWN_HEADERS: [&str; 14] = [
    "destination",
    "message-id",
    "subscription",
    "ack",
    "redelivered",
    "priority",
    "expires",
    "timestamp",
    "persistent",
    "content-length",
    "browser",
    "receipt-id",
    "JMSXUserID",
    "transaction",
];

/// Writes headers of one frame.
struct Writer<'a> {
    out: &'a mut BytesMut,
    escapes: Escapes,
}

impl<'a> Writer<'a> {
    fn begin(out: &'a mut BytesMut, version: Version, command: &str) -> Self {
        out.extend_from_slice(command.as_bytes());
        out.put_u8(b'\n');
        Self {
            out,
            escapes: Escapes::of(version, command),
        }
    }

    fn header(&mut self, name: &str, value: &str) {
        self.escapes.put_name(self.out, name);
        self.out.put_u8(b':');
        self.escapes.put_value(self.out, value);
        self.out.put_u8(b'\n');
    }

    /// A header whose value is these parts, one after the other.
    fn parts(&mut self, name: &str, parts: [&str; 2]) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.put_u8(b':');
        for part in parts {
            self.escapes.put_value(self.out, part);
        }
        self.out.put_u8(b'\n');
    }

    fn message_id(&mut self, names: &Names, id: MessageId) {
        let (epoch, mark, count) = match id {
            MessageId::Persistent(epoch, offset) => (epoch, "-", offset.0),
            MessageId::Transient(epoch, count) => (epoch, "-n", count),
        };
        self.out.extend_from_slice(b"message-id:");
        self.escapes.put_value(self.out, names.message_id_prefix());
        self.digits(epoch.0);
        self.out.extend_from_slice(mark.as_bytes());
        self.digits(count);
        self.out.put_u8(b'\n');
    }

    /// `ack:<subscription>-<delivery>`.
    fn ack(&mut self, subscription: SubscriptionId, id: DeliveryId) {
        self.out.extend_from_slice(b"ack:");
        self.digits(u64::from(subscription.0));
        self.out.put_u8(b'-');
        self.digits(id.0);
        self.out.put_u8(b'\n');
    }

    fn digits(&mut self, value: u64) {
        let mut digits = [0; 20];
        self.out
            .extend_from_slice(decimal(value, &mut digits).as_bytes());
    }

    /// A header whose name and value need no escapes.
    fn plain(&mut self, name: &str, value: &str) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.put_u8(b':');
        self.out.extend_from_slice(value.as_bytes());
        self.out.put_u8(b'\n');
    }

    fn number(&mut self, name: &str, value: u64) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.put_u8(b':');
        self.digits(value);
        self.out.put_u8(b'\n');
    }
}

/// Writes a whole frame with exactly its own headers.
pub(crate) fn put_frame(out: &mut BytesMut, version: Version, frame: &Frame) {
    let mut writer = Writer::begin(out, version, &frame.command);
    for (name, value) in &frame.headers {
        writer.header(name, value);
    }
    out.put_u8(b'\n');
    out.extend_from_slice(&frame.body);
    out.extend_from_slice(END_OF_FRAME);
}

/// Writes a RECEIPT.
pub(crate) fn put_receipt(out: &mut BytesMut, version: Version, receipt: &str) {
    Writer::begin(out, version, "RECEIPT").header("receipt-id", receipt);
    out.put_u8(b'\n');
    out.extend_from_slice(END_OF_FRAME);
}

/// An ERROR: `message` and the body say the same, for clients that show only one of them.
pub(crate) fn error(text: &str, receipt: Option<&ByteString>) -> Frame {
    let text = shorten(text, ERROR_TEXT_BYTES_MAX);
    let mut frame = Frame::new("ERROR").header("message", text);
    if let Some(receipt) = receipt {
        frame = frame.header("receipt-id", receipt.clone());
    }
    frame
        .header("content-type", "text/plain")
        .body(text.to_owned().into_bytes())
}

/// At most `bytes_max` bytes of the text, whole characters.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// What a MESSAGE is written from.
pub(crate) struct MessageHead<'a> {
    /// To whom.
    pub(crate) subscription: &'a Subscription,
    /// Its number there.
    pub(crate) id: DeliveryId,
    /// Its name.
    pub(crate) message_id: MessageId,
    /// Where it is consumed from.
    pub(crate) destination: &'a Destination,
    /// The message.
    pub(crate) message: &'a Arc<Message>,
    /// Delivered before, perhaps.
    pub(crate) redelivered: bool,
    /// Set on a dead letter.
    pub(crate) origin: Option<&'a DeadLetterOrigin>,
}

/// Writes command and headers of a MESSAGE, the blank line included. The body and `END_OF_FRAME`
/// are the caller's.
pub(crate) fn put_message_head(
    out: &mut BytesMut,
    version: Version,
    names: &Names,
    head: &MessageHead<'_>,
) {
    let message = &**head.message;
    let mut writer = Writer::begin(out, version, "MESSAGE");
    writer.parts("destination", names.outward(head.destination));
    writer.message_id(names, head.message_id);
    if let Some(id) = &head.subscription.client_id {
        writer.header("subscription", id);
    }
    if version == Version::V1_2 && head.subscription.answering == Answering::Acks {
        writer.ack(head.subscription.number, head.id);
    }
    if head.redelivered {
        writer.plain("redelivered", "true");
    }
    put_envelope(&mut writer, names, message);
    if let Some(origin) = head.origin {
        writer.parts("original-destination", names.outward(&origin.destination));
        writer.header("dlqDeliveryFailureCause", &origin.cause);
    }
    for (name, value) in &message.properties {
        if !is_governed(head, name) {
            writer.header(name, value);
        }
    }
    if carries_length(version, message) {
        writer.number("content-length", message.body.len() as u64);
    }
    out.put_u8(b'\n');
}

fn put_envelope(writer: &mut Writer<'_>, names: &Names, message: &Message) {
    writer.number("priority", u64::from(message.priority));
    writer.number("expires", message.expiration_ms);
    writer.number("timestamp", message.timestamp_ms);
    if let Some(id) = &message.correlation_id {
        writer.header("correlation-id", id);
    }
    if let Some(reply_to) = &message.reply_to {
        writer.parts("reply-to", names.outward(reply_to));
    }
    if let Some(kind) = &message.jms_type {
        writer.header("type", kind);
    }
    if message.persistent {
        writer.plain("persistent", "true");
    }
}

/// True for a property that would stand beside a header of the session's own.
fn is_governed(head: &MessageHead<'_>, name: &str) -> bool {
    match name {
        "correlation-id" => head.message.correlation_id.is_some(),
        "reply-to" => head.message.reply_to.is_some(),
        "type" => head.message.jms_type.is_some(),
        "original-destination" | "dlqDeliveryFailureCause" => head.origin.is_some(),
        name => OWN_HEADERS.contains(&name),
    }
}

/// A text message goes without `content-length` in 1.0, where its absence says "text".
fn carries_length(version: Version, message: &Message) -> bool {
    match message.body_kind {
        BodyKind::Bytes => true,
        BodyKind::Text => version > Version::V1_0 || message.body.contains(&0),
    }
}

/// Writes the MESSAGE that ends a browser: ActiveMQ's has no id of a message, so neither has ours.
pub(crate) fn put_browse_end(
    out: &mut BytesMut,
    version: Version,
    names: &Names,
    subscription: &Subscription,
) {
    let mut writer = Writer::begin(out, version, "MESSAGE");
    writer.parts("destination", names.outward(&subscription.destination));
    writer.plain("message-id", "0");
    if let Some(id) = &subscription.client_id {
        writer.header("subscription", id);
    }
    writer.plain("browser", "end");
    writer.plain("content-length", "0");
    out.put_u8(b'\n');
    out.extend_from_slice(END_OF_FRAME);
}

/// About how many bytes the delivery takes in a buffer. Only a hint for capacity.
pub(crate) fn delivery_len_hint(delivery: &Delivery, body_copied_max: usize) -> usize {
    const ENVELOPE: usize = 256;
    match delivery {
        Delivery::Message { message, .. } => {
            let properties: usize = message
                .properties
                .iter()
                .map(|(name, value)| name.len() + value.len() + 2)
                .sum();
            let body = if message.body.len() < body_copied_max {
                message.body.len()
            } else {
                0
            };
            ENVELOPE + properties + body
        }
        Delivery::End { .. } => ENVELOPE,
    }
}

/// The number's digits, without an allocation.
fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).expect("digits are ASCII")
}
