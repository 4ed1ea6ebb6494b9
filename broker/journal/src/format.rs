//! Bytes on disk.
//!
//! ```text
//! batch   0        4      6        8       16      24      28       32           36     40
//!         | magic  | fmt  | extra  | epoch | base  | count | length | prev CRC   | CRC  | records
//!         | u32    | u16  | u16    | u64   | u64   | u32   | u32    | u32        | u32  | length B
//! record  0      1       2        6
//!         | kind | flags | length | body
//!         | u8   | u8    | u32    | length B
//! ```
//! Big-endian. The CRC is CRC32C of everything before it and of the records. `length` counts the
//! records' bytes, so a batch takes 40 + length. All records of a batch are of one epoch; `base`
//! is the offset of the first. New fields of a record go at the end of its body. A later format may
//! change anything but the places of magic, format, length and CRC of a batch, so that an older
//! version can tell "too new" from "damaged". `extra` is 0 in format 1.
//!
//! Along a log formats never decrease: a master goes on in the format of its log, and goes over to
//! a greater one only when all voters understand it. A segment holds batches of one format, which
//! its header names, so that a start knows what it needs from the headers alone.

use bytes::Buf;
use tandemmq_model::limits::BATCH_BYTES_MAX;
use tandemmq_model::{Epoch, Offset, RECORD_FLAG_CRITICAL, RecordKind};

/// "TMQB".
pub(crate) const BATCH_MAGIC: u32 = 0x544d_5142;
/// The oldest format that is understood; a new log begins with it.
pub const OLDEST_FORMAT: u16 = 1;
/// The greatest format that this version understands.
#[cfg(not(feature = "next-format"))]
pub const FORMAT: u16 = 1;
/// The greatest format that this build understands: one more than the product, for tests of a roll
/// from one version to the next.
#[cfg(feature = "next-format")]
pub const FORMAT: u16 = 2;
/// Bytes of a batch header.
pub(crate) const BATCH_HEADER: usize = 40;
/// Bytes of a record header.
pub(crate) const RECORD_HEADER: usize = 6;

/// Why bytes are not a batch. From a peer: fatal for the link. From the disk: see `recover`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fewer or more bytes than the header says, or fewer than a header has.
    #[error("batch has {have} bytes and should have {need}")]
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Not the start of a batch.
    #[error("no batch starts here")]
    Magic,
    /// Written by a later version: this one must not guess.
    #[error("batch has format {0}, this version reads up to {FORMAT}")]
    Newer(u16),
    /// A length or count that cannot be.
    #[error("batch says {0}, which cannot be")]
    Impossible(&'static str),
    /// The bytes are not those that were written.
    #[error("checksum of the batch is wrong")]
    Crc,
}

/// A batch header, checked for sense but not against its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) format: u16,
    pub(crate) epoch: Epoch,
    pub(crate) base: Offset,
    pub(crate) count: u32,
    pub(crate) length: u32,
    pub(crate) previous_crc: u32,
    pub(crate) crc: u32,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = bytes;
        if input.len() < BATCH_HEADER {
            return Err(FormatError::Short {
                have: input.len(),
                need: BATCH_HEADER,
            });
        }
        if input.get_u32() != BATCH_MAGIC {
            return Err(FormatError::Magic);
        }
        let format = input.get_u16();
        if format > FORMAT {
            return Err(FormatError::Newer(format));
        }
        let found = input.get_u16();
        let header = Self {
            format,
            epoch: Epoch(input.get_u64()),
            base: Offset(input.get_u64()),
            count: input.get_u32(),
            length: input.get_u32(),
            previous_crc: input.get_u32(),
            crc: input.get_u32(),
        };
        if format >= 2 && found != extra(format, header.count) {
            return Err(FormatError::Impossible("a count that it does not repeat"));
        }
        header.check()
    }

    fn check(self) -> Result<Self, FormatError> {
        let most = (BATCH_BYTES_MAX - BATCH_HEADER) as u32;
        if self.length > most {
            return Err(FormatError::Impossible("a length above the limit"));
        }
        if self.count == 0 || u64::from(self.count) * RECORD_HEADER as u64 > u64::from(self.length)
        {
            return Err(FormatError::Impossible(
                "a count that its length cannot hold",
            ));
        }
        if self.format == 0 {
            return Err(FormatError::Impossible("format 0, which never was"));
        }
        if self.epoch == Epoch(0) {
            return Err(FormatError::Impossible("epoch 0, which has no master"));
        }
        if self.base.0 == 0 || self.base.0.checked_add(u64::from(self.count)).is_none() {
            return Err(FormatError::Impossible("an offset out of range"));
        }
        Ok(self)
    }

    /// Bytes of the whole batch.
    pub(crate) const fn size(&self) -> usize {
        BATCH_HEADER + self.length as usize
    }

    pub(crate) const fn last(&self) -> Offset {
        Offset(self.base.0 + self.count as u64 - 1)
    }
}

/// What stands behind the number of a format: nothing in format 1, the end of the count in the one
/// that is there for tests.
pub(crate) const fn extra(format: u16, count: u32) -> u16 {
    if format >= 2 { count as u16 } else { 0 }
}

/// Bytes of a batch by its header alone, whatever its format; none when that cannot be.
pub(crate) fn size_of_any_format(header: &[u8]) -> Option<usize> {
    let mut length = header.get(28..32)?;
    let size = BATCH_HEADER + length.get_u32() as usize;
    (size <= BATCH_BYTES_MAX).then_some(size)
}

/// Does this whole batch, of whatever format, carry its own CRC?
pub(crate) fn crc_is_right(batch: &[u8]) -> bool {
    let mut stored = &batch[BATCH_HEADER - 4..BATCH_HEADER];
    stored.get_u32() == batch_crc(batch)
}

/// The first of these records that this version must not skip and does not know: its place among
/// them and its kind. They were checked by `check_records`.
pub(crate) fn unknown_critical(mut records: &[u8]) -> Option<(u64, u8)> {
    let mut place = 0;
    while !records.is_empty() {
        let (kind, flags) = (records.get_u8(), records.get_u8());
        let critical = flags & RECORD_FLAG_CRITICAL != 0;
        if critical && RecordKind::from_u8(kind).is_none() {
            return Some((place, kind));
        }
        let length = records.get_u32() as usize;
        records.advance(length);
        place += 1;
    }
    None
}

/// CRC32C of a batch: all before the CRC field, then the records.
pub(crate) fn batch_crc(batch: &[u8]) -> u32 {
    let head = crc32c::crc32c(&batch[..BATCH_HEADER - 4]);
    crc32c::crc32c_append(head, &batch[BATCH_HEADER..])
}

/// Checks that the records fill their bytes exactly; counts them.
pub(crate) fn check_records(mut records: &[u8], count: u32) -> Result<(), FormatError> {
    for _ in 0..count {
        if records.len() < RECORD_HEADER {
            return Err(FormatError::Impossible(
                "more records than its length holds",
            ));
        }
        records.advance(2);
        let length = records.get_u32() as usize;
        if records.len() < length {
            return Err(FormatError::Impossible("a record longer than the batch"));
        }
        records.advance(length);
    }
    if records.is_empty() {
        Ok(())
    } else {
        Err(FormatError::Impossible("bytes after its records"))
    }
}

/// True where nothing was ever written, or a cut has zeroed.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // By chunks, which compiles to wide compares: a start reads whole segments of zeros.
    let (chunks, rest) = bytes.as_chunks::<64>();
    let zero = |chunk: &[u8]| chunk.iter().fold(0, |all, byte| all | byte) == 0;
    chunks.iter().all(|chunk| zero(chunk)) && zero(rest)
}
