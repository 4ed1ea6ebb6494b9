//! Bodies of the record kinds that the engine owns.
//!
//! ```text
//! all numbers little-endian; text = u32 length + UTF-8; name = u16 length + UTF-8
//!
//! Enqueue     u64 transaction (0 = none), then a message:
//!   message   u64 timestamp_ms, u64 expiration_ms, u8 priority, u8 body kind (0 text, 1 bytes),
//!             u8 presence (1 correlation_id, 2 reply_to, 4 jms_type, 8 persistent),
//!             u8 destination kind (0 queue, 1 topic, 2 temp queue, 3 temp topic),
//!             u32 body length, u32 count of properties, name of the destination,
//!             [text correlation_id] [u8 kind, name reply_to] [text jms_type],
//!             properties: text, text each; body
//! Ack         u64 transaction, name of the queue, ranges
//! DeadLetter  u64 transaction, u8 reason (1 expired, 2 poison), name of the queue, text cause, ranges
//!   ranges    u32 count, then u64 first offset, u32 length each
//! TxCommit    u64 transaction
//! TxRollback  u64 transaction
//! ```
//!
//! A field is only ever added at the end of a body; what follows the known fields is ignored. A
//! count or length is checked against what is left before anything is allocated for it. A range
//! names consecutive offsets, not "all entries between": an entry of a transaction that commits
//! later may lie between two others.

use bytes::Bytes;
use bytestring::ByteString;
use tandemmq_model::limits::{NAME_BYTES_MAX, RECORD_BYTES_MAX};
use tandemmq_model::{BodyKind, Destination, DestinationKind, Message, Offset};

/// Ranges in one record. 4,096 × 12 bytes stay far below a batch and keep one `apply` short.
pub(crate) const RANGES_MAX: usize = 4_096;

const HAS_CORRELATION_ID: u8 = 1;
const HAS_REPLY_TO: u8 = 2;
const HAS_JMS_TYPE: u8 = 4;
const IS_PERSISTENT: u8 = 8;

/// Bytes of an Enqueue body before the destination's name.
const ENQUEUE_FIXED: usize = 8 + 8 + 8 + 4 + 4 + 4;

/// A transaction's number in the records of one epoch; 0 is "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TxKey(pub u64);

/// Why a body cannot be read. Fatal for the record: `apply` skips and counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// A length or count says more than there is.
    #[error("the record ends before its fields do")]
    Truncated,
    /// A name or text is not UTF-8.
    #[error("a text of the record is not UTF-8")]
    NotUtf8,
    /// A number stands for nothing.
    #[error("a field of the record has no known value")]
    UnknownValue,
}

/// Consecutive offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub first: Offset,
    pub count: u32,
}

/// Why an entry becomes a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its expiration passed before a consumer took it.
    Expired = 1,
    /// A consumer refused it.
    Poison = 2,
}

impl Reason {
    /// The cause a client reads, in our words.
    pub(crate) const fn cause(self) -> &'static str {
        match self {
            Self::Expired => "expired before a consumer took it",
            Self::Poison => "refused by a consumer (NACK)",
        }
    }
}

/// What `apply` needs of an Enqueue: its body was checked as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnqueueHead<'a> {
    pub tx: Option<TxKey>,
    pub queue: &'a str,
    pub expiration_ms: u64,
    pub priority: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack<'a> {
    pub tx: Option<TxKey>,
    pub queue: &'a str,
    pub ranges: Vec<Range>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter<'a> {
    pub tx: Option<TxKey>,
    pub reason: Reason,
    pub queue: &'a str,
    pub cause: &'a str,
    pub ranges: Vec<Range>,
}

// === Writing ===

/// A message in one buffer of its exact size; none when no record could hold it.
pub(crate) fn encode_enqueue(tx: Option<TxKey>, message: &Message) -> Option<Bytes> {
    let size = enqueue_size(message);
    if size > RECORD_BYTES_MAX || message.destination.name.len() > NAME_BYTES_MAX {
        return None;
    }
    if message
        .reply_to
        .as_ref()
        .is_some_and(|to| to.name.len() > NAME_BYTES_MAX)
    {
        return None;
    }
    let mut out = Vec::with_capacity(size);
    put_tx(&mut out, tx);
    put_u64(&mut out, message.timestamp_ms);
    put_u64(&mut out, message.expiration_ms);
    out.push(message.priority);
    out.push(match message.body_kind {
        BodyKind::Text => 0,
        BodyKind::Bytes => 1,
    });
    out.push(presence(message));
    out.push(kind_number(message.destination.kind));
    put_u32(&mut out, message.body.len());
    put_u32(&mut out, message.properties.len());
    put_name(&mut out, &message.destination.name);
    if let Some(text) = &message.correlation_id {
        put_text(&mut out, text);
    }
    if let Some(to) = &message.reply_to {
        out.push(kind_number(to.kind));
        put_name(&mut out, &to.name);
    }
    if let Some(text) = &message.jms_type {
        put_text(&mut out, text);
    }
    for (name, value) in &message.properties {
        put_text(&mut out, name);
        put_text(&mut out, value);
    }
    out.extend_from_slice(&message.body);
    assert_eq!(
        out.len(),
        size,
        "an Enqueue body has the size that was announced"
    );
    Some(Bytes::from(out))
}

fn enqueue_size(message: &Message) -> usize {
    let text = |text: &ByteString| 4 + text.len();
    let properties: usize = message
        .properties
        .iter()
        .map(|(name, value)| text(name) + text(value))
        .sum();
    ENQUEUE_FIXED
        + 2
        + message.destination.name.len()
        + message.correlation_id.as_ref().map_or(0, text)
        + message.reply_to.as_ref().map_or(0, |to| 3 + to.name.len())
        + message.jms_type.as_ref().map_or(0, text)
        + properties
        + message.body.len()
}

fn presence(message: &Message) -> u8 {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    flag(message.correlation_id.is_some(), HAS_CORRELATION_ID)
        | flag(message.reply_to.is_some(), HAS_REPLY_TO)
        | flag(message.jms_type.is_some(), HAS_JMS_TYPE)
        | flag(message.persistent, IS_PERSISTENT)
}

pub(crate) fn encode_ack(tx: Option<TxKey>, queue: &str, ranges: &[Range]) -> Bytes {
    let mut out = Vec::with_capacity(14 + queue.len() + ranges.len() * 12);
    put_tx(&mut out, tx);
    put_name(&mut out, queue);
    put_ranges(&mut out, ranges);
    Bytes::from(out)
}

pub(crate) fn encode_dead_letter(
    tx: Option<TxKey>,
    reason: Reason,
    queue: &str,
    ranges: &[Range],
) -> Bytes {
    let cause = reason.cause();
    let mut out = Vec::with_capacity(19 + queue.len() + cause.len() + ranges.len() * 12);
    put_tx(&mut out, tx);
    out.push(reason as u8);
    put_name(&mut out, queue);
    put_text(&mut out, cause);
    put_ranges(&mut out, ranges);
    Bytes::from(out)
}

pub(crate) fn encode_tx(tx: TxKey) -> Bytes {
    Bytes::copy_from_slice(&tx.0.to_le_bytes())
}

/// Offsets as ranges, in the order given: neighbours are joined.
pub(crate) fn ranges_of(offsets: &[Offset]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for &offset in offsets {
        match ranges.last_mut() {
            Some(last)
                if last.count < u32::MAX
                    && last.first.0.checked_add(u64::from(last.count)) == Some(offset.0) =>
            {
                last.count += 1;
            }
            _ => ranges.push(Range {
                first: offset,
                count: 1,
            }),
        }
    }
    ranges
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    let value = u32::try_from(value).expect("every length is below RECORD_BYTES_MAX");
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_tx(out: &mut Vec<u8>, tx: Option<TxKey>) {
    put_u64(out, tx.map_or(0, |tx| tx.0));
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    let length = u16::try_from(name.len()).expect("names are at most NAME_BYTES_MAX");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_ranges(out: &mut Vec<u8>, ranges: &[Range]) {
    put_u32(out, ranges.len());
    for range in ranges {
        put_u64(out, range.first.0);
        out.extend_from_slice(&range.count.to_le_bytes());
    }
}

const fn kind_number(kind: DestinationKind) -> u8 {
    match kind {
        DestinationKind::Queue => 0,
        DestinationKind::Topic => 1,
        DestinationKind::TempQueue => 2,
        DestinationKind::TempTopic => 3,
    }
}

const fn kind_of_number(number: u8) -> Result<DestinationKind, DecodeError> {
    Ok(match number {
        0 => DestinationKind::Queue,
        1 => DestinationKind::Topic,
        2 => DestinationKind::TempQueue,
        3 => DestinationKind::TempTopic,
        _ => return Err(DecodeError::UnknownValue),
    })
}

// === Reading ===

/// Checks a whole Enqueue body and returns what the State keeps of it. Allocates nothing.
pub(crate) fn decode_enqueue_head(body: &[u8]) -> Result<EnqueueHead<'_>, DecodeError> {
    let mut reader = Reader { body, at: 0 };
    let tx = reader.tx()?;
    let fixed = Fixed::read(&mut reader)?;
    if fixed.destination_kind != DestinationKind::Queue || fixed.presence & IS_PERSISTENT == 0 {
        return Err(DecodeError::UnknownValue);
    }
    let queue = reader.name()?;
    if fixed.presence & HAS_CORRELATION_ID != 0 {
        reader.text()?;
    }
    if fixed.presence & HAS_REPLY_TO != 0 {
        kind_of_number(reader.u8()?)?;
        reader.name()?;
    }
    if fixed.presence & HAS_JMS_TYPE != 0 {
        reader.text()?;
    }
    for _ in 0..fixed.properties {
        reader.text()?;
        reader.text()?;
    }
    reader.take(fixed.body_length)?;
    Ok(EnqueueHead {
        tx,
        queue,
        expiration_ms: fixed.expiration_ms,
        priority: fixed.priority,
    })
}

/// The message of an Enqueue body; names, texts and body are slices of it.
pub(crate) fn decode_message(bytes: &Bytes) -> Result<Message, DecodeError> {
    // A wrong count must not reserve much more than the record itself takes.
    const RESERVED_MAX: usize = 64;
    let mut reader = Reader { body: bytes, at: 0 };
    reader.tx()?;
    let fixed = Fixed::read(&mut reader)?;
    let has = |flag: u8| fixed.presence & flag != 0;
    let shared =
        |raw: &[u8]| ByteString::try_from(bytes.slice_ref(raw)).map_err(|_| DecodeError::NotUtf8);
    let destination = Destination {
        kind: fixed.destination_kind,
        name: shared(reader.raw_name()?)?,
    };
    let correlation_id = if has(HAS_CORRELATION_ID) {
        Some(shared(reader.raw_text()?)?)
    } else {
        None
    };
    let reply_to = if has(HAS_REPLY_TO) {
        let kind = kind_of_number(reader.u8()?)?;
        Some(Destination {
            kind,
            name: shared(reader.raw_name()?)?,
        })
    } else {
        None
    };
    let jms_type = if has(HAS_JMS_TYPE) {
        Some(shared(reader.raw_text()?)?)
    } else {
        None
    };
    let mut properties = Vec::with_capacity(fixed.properties.min(RESERVED_MAX));
    for _ in 0..fixed.properties {
        properties.push((shared(reader.raw_text()?)?, shared(reader.raw_text()?)?));
    }
    let body = bytes.slice_ref(reader.take(fixed.body_length)?);
    Ok(Message {
        destination,
        persistent: has(IS_PERSISTENT),
        priority: fixed.priority,
        timestamp_ms: fixed.timestamp_ms,
        expiration_ms: fixed.expiration_ms,
        correlation_id,
        reply_to,
        jms_type,
        body_kind: fixed.body_kind,
        properties,
        body,
    })
}

pub(crate) fn decode_ack(body: &[u8]) -> Result<Ack<'_>, DecodeError> {
    let mut reader = Reader { body, at: 0 };
    Ok(Ack {
        tx: reader.tx()?,
        queue: reader.name()?,
        ranges: reader.ranges()?,
    })
}

pub(crate) fn decode_dead_letter(body: &[u8]) -> Result<DeadLetter<'_>, DecodeError> {
    let mut reader = Reader { body, at: 0 };
    let tx = reader.tx()?;
    let reason = match reader.u8()? {
        1 => Reason::Expired,
        2 => Reason::Poison,
        _ => return Err(DecodeError::UnknownValue),
    };
    let queue = reader.name()?;
    Ok(DeadLetter {
        tx,
        reason,
        queue,
        cause: reader.text()?,
        ranges: reader.ranges()?,
    })
}

pub(crate) fn decode_tx(body: &[u8]) -> Result<TxKey, DecodeError> {
    Reader { body, at: 0 }
        .tx()?
        .ok_or(DecodeError::UnknownValue)
}

/// The part of a message that has a fixed size.
struct Fixed {
    timestamp_ms: u64,
    expiration_ms: u64,
    priority: u8,
    body_kind: BodyKind,
    presence: u8,
    destination_kind: DestinationKind,
    body_length: usize,
    properties: usize,
}

impl Fixed {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fixed = Self {
            timestamp_ms: reader.u64()?,
            expiration_ms: reader.u64()?,
            priority: reader.u8()?,
            body_kind: match reader.u8()? {
                0 => BodyKind::Text,
                1 => BodyKind::Bytes,
                _ => return Err(DecodeError::UnknownValue),
            },
            presence: reader.u8()?,
            destination_kind: kind_of_number(reader.u8()?)?,
            body_length: reader.length()?,
            properties: reader.length()?,
        };
        // A property takes at least its two lengths.
        if fixed.properties > reader.left() / 8 || fixed.body_length > reader.left() {
            return Err(DecodeError::Truncated);
        }
        Ok(fixed)
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.body.len() - self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.left() {
            return Err(DecodeError::Truncated);
        }
        let taken = &self.body[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("take gives N bytes"))
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn tx(&mut self) -> Result<Option<TxKey>, DecodeError> {
        Ok(Some(TxKey(self.u64()?)).filter(|tx| tx.0 != 0))
    }

    fn raw_name(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        self.take(length)
    }

    fn raw_text(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    fn name(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.raw_name()?).map_err(|_| DecodeError::NotUtf8)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.raw_text()?).map_err(|_| DecodeError::NotUtf8)
    }

    fn ranges(&mut self) -> Result<Vec<Range>, DecodeError> {
        let count = self.length()?;
        if count > self.left() / 12 {
            return Err(DecodeError::Truncated);
        }
        (0..count)
            .map(|_| {
                let first = Offset(self.u64()?);
                Ok(Range {
                    first,
                    count: u32::from_le_bytes(self.array()?),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
