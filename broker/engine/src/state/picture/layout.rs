//! The bytes of a picture.
//!
//! ```text
//! number = LEB128 of 64 bits; text = number of bytes, UTF-8
//! difference = number, to the same field of the one before (0 before the first)
//!
//! picture       "TMQP", u16 version, head, epochs, origins, queues, transactions, u64 digest
//!               (fixed numbers little-endian)
//! head          number each: applied, last EpochStart, records that could not be read,
//!               the highest origin ever given; how many epochs, origins, queues, transactions
//! epoch         difference of epochs, difference of first offsets
//! origin        difference of ids, entries that name it, text queue, text cause
//! queue         text name; number each: enqueued, dequeued, expired, dead-lettered, how many
//!               entries; then these
//!   entry       u8 marks, difference of offsets, [u8 priority], [length], [extra]
//!     marks     1..8 priority, 15 = see there; 16 dead letter; 32 surely delivered;
//!               64 another extra than the one before, 128 another length
//!     extra     expiration, or the origin of a dead letter: zigzag of the difference
//! transaction   difference of keys, how many operations; then these
//!   operation   u8 kind, number of its queue, then
//!     1 send         an entry, as if it were the first of a queue
//!     2 ack          how many ranges, then these
//!     3 dead letter  u8 reason, text cause, how many ranges, then these
//!   range       first offset, count
//! ```
//!
//! One stream: pieces are cuts of it anywhere, whoever cuts it. Differences are taken modulo 2^64,
//! so writing is total; a reader takes no step down. An entry of a queue whose messages are alike
//! takes two bytes, at most ten where lengths and expirations differ.

use bytestring::ByteString;
use tandemmq_model::Offset;
use tandemmq_model::limits::RECORD_BYTES_MAX;

use super::PictureError;
use crate::state::chunks::Entry;

/// What a picture begins with; the last two are the version. A change of any byte below is a new
/// version.
pub(super) const START: [u8; 6] = *b"TMQP\x01\x00";

pub(super) const SEND: u8 = 1;
pub(super) const ACK: u8 = 2;
pub(super) const DEAD_LETTER: u8 = 3;

/// Bytes of one text. All of them come out of records.
const TEXT_BYTES_MAX: u64 = RECORD_BYTES_MAX as u64;

const PRIORITY: u8 = 0x0f;
const IS_DEAD_LETTER: u8 = 0x10;
const WAS_DELIVERED: u8 = 0x20;
const HAS_EXTRA: u8 = 0x40;
const HAS_LENGTH: u8 = 0x80;

/// What the next entry is written as a difference to.
pub(super) const NO_ENTRY: Entry = Entry::new(Offset::ZERO, 0, 0, 0);

// === Writing ===

pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry, before: &Entry) {
    let mark = |set: bool, mark: u8| if set { mark } else { 0 };
    let (has_extra, has_length) = (
        entry.extra() != before.extra(),
        entry.length != before.length,
    );
    out.push(
        entry.priority.min(PRIORITY)
            | mark(entry.origin().is_some(), IS_DEAD_LETTER)
            | mark(entry.was_delivered(), WAS_DELIVERED)
            | mark(has_extra, HAS_EXTRA)
            | mark(has_length, HAS_LENGTH),
    );
    put_number(out, entry.offset.0.wrapping_sub(before.offset.0));
    if entry.priority >= PRIORITY {
        out.push(entry.priority);
    }
    if has_length {
        put_number(out, u64::from(entry.length));
    }
    if has_extra {
        let step = entry.extra().wrapping_sub(before.extra()) as i64;
        put_number(out, ((step << 1) ^ (step >> 63)) as u64);
    }
}

// === Reading ===

/// Why an element was not read.
#[derive(Debug)]
pub(super) enum Stop {
    /// More bytes are needed: the whole element is read again when they are here.
    Starved,
    Broken(PictureError),
}

impl From<PictureError> for Stop {
    fn from(error: PictureError) -> Self {
        Self::Broken(error)
    }
}

/// Fails unless that holds.
pub(super) fn ensure(holds: bool) -> Result<(), PictureError> {
    if holds {
        Ok(())
    } else {
        Err(PictureError::Contradiction)
    }
}

/// A place in the bytes that are here.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        if count > self.left() {
            return Err(Stop::Starved);
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64, Stop> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(PictureError::UnknownValue.into());
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(PictureError::UnknownValue.into())
    }

    /// At most `max`, or it contradicts.
    pub(super) fn number_to(&mut self, max: u64) -> Result<u64, Stop> {
        let value = self.number()?;
        ensure(value <= max)?;
        Ok(value)
    }

    /// Above `before` and at most `max`.
    pub(super) fn number_above(&mut self, before: u64, max: u64) -> Result<u64, Stop> {
        let value = before
            .checked_add(self.number()?)
            .ok_or(PictureError::Contradiction)?;
        ensure(value > before && value <= max)?;
        Ok(value)
    }

    /// A copy: a slice would keep the whole piece alive.
    pub(super) fn text(&mut self) -> Result<ByteString, Stop> {
        let length = self.number_to(TEXT_BYTES_MAX)?;
        let bytes = self.take(length as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| PictureError::UnknownValue)?;
        Ok(ByteString::from(text))
    }

    /// The entry after `before`; none lies beyond `max`.
    pub(super) fn entry(&mut self, before: &Entry, max: Offset) -> Result<Entry, Stop> {
        let marks = self.u8()?;
        let offset = Offset(self.number_above(before.offset.0, max.0)?);
        let priority = match marks & PRIORITY {
            PRIORITY => self.u8()?,
            priority => priority,
        };
        let length = if marks & HAS_LENGTH != 0 {
            self.number_to(u64::from(u32::MAX))? as u32
        } else {
            before.length
        };
        let extra = if marks & HAS_EXTRA != 0 {
            let zigzag = self.number()?;
            before
                .extra()
                .wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg())
        } else {
            before.extra()
        };
        Ok(Entry::new(offset, length, priority, 0).restored(
            extra,
            marks & IS_DEAD_LETTER != 0,
            marks & WAS_DELIVERED != 0,
        ))
    }
}
