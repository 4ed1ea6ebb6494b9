//! Bytes of the journal: segments, batches, records.
//!
//! Integers are big-endian. A segment is one file: a block for its header, then batches without a
//! gap, then zeros up to its size. Zeros where a header should be = nothing there yet.
//!
//! ```text
//! segment header, 64 bytes at 0; batches begin at 4096
//!  0        4         6             8          24       32           40       48      56      60
//!  +--------+---------+-------------+----------+--------+------------+--------+-------+-------+-----+
//!  | "TMSG" | format  | format      | group id | number | generation | epoch  | base  | prev. | CRC |
//!  |        | least   | greatest    | u128     | u64    | u64        | u64    | u64   | CRC   | 32C |
//!  +--------+---------+-------------+----------+--------+------------+--------+-------+-------+-----+
//!
//! batch header, 40 bytes, then `length` bytes of records
//!  0        4        6       8       16      24      28       32       36       40
//!  +--------+--------+-------+-------+-------+-------+--------+--------+--------+----------
//!  | "TMBT" | format | 0     | epoch | base  | count | length | prev.  | CRC32C | records
//!  |        | u16    | u16   | u64   | u64   | u32   | u32    | CRC    |        |
//!  +--------+--------+-------+-------+-------+-------+--------+--------+--------+----------
//!
//! record
//!  0      1       2        6
//!  +------+-------+--------+------
//!  | kind | flags | length | body
//!  | u8   | u8    | u32    |
//!  +------+-------+--------+------
//! ```
//! A batch's CRC covers its bytes 0..36 and its records; a segment header's its bytes 0..60. A
//! newer format may change anything but magic, format, length and CRC of a batch, so that an older
//! reader can tell "too new" from "damaged".
//!
//! Every length is checked against its limit and against what is there before it is used.

use tandemmq_model::limits::{BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use tandemmq_model::{Epoch, GroupId, Offset};

/// Oldest format that this version reads.
pub const FORMAT_LEAST: u16 = 1;

/// Newest format that this version reads; the one it writes.
pub const FORMAT_GREATEST: u16 = 1;

/// Bytes of a batch header.
pub(crate) const BATCH_HEADER_BYTES: usize = 40;
/// Bytes before a record's body.
pub(crate) const RECORD_HEADER_BYTES: usize = 6;
/// Bytes of a segment header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Where the batches of a segment begin: the header has a block of its own, so that writing a batch
/// never rewrites the header's sector.
pub(crate) const SEGMENT_DATA_START: u32 = 4096;

const BATCH_MAGIC: [u8; 4] = *b"TMBT";
const SEGMENT_MAGIC: [u8; 4] = *b"TMSG";
/// The part of a batch header in front of its own CRC.
const BATCH_CRC_AT: usize = 36;
const SEGMENT_CRC_AT: usize = 60;

/// Why bytes are no batch. From a peer: fatal for the link. From the disk: recovery decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fewer bytes than the header announces, or than a header has.
    #[error("batch ends early: {have} of {need} bytes")]
    Short {
        /// Bytes that are there.
        have: usize,
        /// Bytes that there should be.
        need: usize,
    },
    /// More bytes than the header announces.
    #[error("{0} bytes follow the batch")]
    TooLong(usize),
    /// These bytes do not begin a batch.
    #[error("no batch begins here")]
    Magic,
    /// Written by a newer version. The checksum is right.
    #[error(
        "batch of format {0}, this version reads up to {FORMAT_GREATEST}: run the version that wrote it"
    )]
    NewerFormat(u16),
    /// A length beyond its limit.
    #[error("{what} of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Batch or record.
        what: &'static str,
        /// What the header says.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A field holds what no writer writes.
    #[error("impossible {0} in a batch header")]
    Field(&'static str),
    /// The checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// The records do not fill the batch exactly, or are not as many as it says.
    #[error("records do not add up to the batch")]
    Records,
}

/// What a batch header says; its checksum is not checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) format: u16,
    pub(crate) epoch: Epoch,
    pub(crate) base: Offset,
    pub(crate) count: u32,
    /// Bytes of the records.
    pub(crate) length: u32,
    pub(crate) previous_crc: u32,
    pub(crate) crc: u32,
}

/// What a segment header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The group, 0 before one was adopted.
    pub(crate) group: GroupId,
    /// The file's number.
    pub(crate) number: u64,
    /// Grows with every use of any file: tells the uses of one file apart.
    pub(crate) generation: u64,
    /// Epoch of the first batch.
    pub(crate) epoch: Epoch,
    /// First offset.
    pub(crate) base: Offset,
    /// Checksum of the batch before the first one, in the segment before.
    pub(crate) previous_crc: u32,
}

/// What is at the beginning of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentStart {
    /// Zeros: prepared, not in use.
    Spare,
    /// A header.
    Header(SegmentHeader),
    /// A header of a version that this one cannot read: its least format.
    NewerFormat(u16),
    /// Neither.
    Damaged,
}

// === impl BatchHeader ===

impl BatchHeader {
    /// Bytes of the whole batch.
    pub(crate) const fn batch_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.length as usize
    }

    /// Reads a header and checks what can be checked without the records.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(head) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(FormatError::Short {
                have: bytes.len(),
                need: BATCH_HEADER_BYTES,
            });
        };
        if head[..4] != BATCH_MAGIC {
            return Err(FormatError::Magic);
        }
        let header = Self {
            format: u16_at(head, 4),
            epoch: Epoch(u64_at(head, 8)),
            base: Offset(u64_at(head, 16)),
            count: u32_at(head, 24),
            length: u32_at(head, 28),
            previous_crc: u32_at(head, 32),
            crc: u32_at(head, BATCH_CRC_AT),
        };
        if header.batch_bytes() > BATCH_BYTES_MAX {
            return Err(FormatError::TooLarge {
                what: "batch",
                bytes: header.batch_bytes(),
                limit: BATCH_BYTES_MAX,
            });
        }
        Ok(header)
    }

    /// Checks a whole batch, `bytes` being exactly it.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), FormatError> {
        if bytes.len() < self.batch_bytes() {
            return Err(FormatError::Short {
                have: bytes.len(),
                need: self.batch_bytes(),
            });
        }
        if bytes.len() > self.batch_bytes() {
            return Err(FormatError::TooLong(bytes.len() - self.batch_bytes()));
        }
        if batch_crc(bytes) != self.crc {
            return Err(FormatError::Checksum);
        }
        if self.format > FORMAT_GREATEST {
            return Err(FormatError::NewerFormat(self.format));
        }
        self.check_fields()?;
        check_records(&bytes[BATCH_HEADER_BYTES..], self.count)
    }

    fn check_fields(&self) -> Result<(), FormatError> {
        if self.format < FORMAT_LEAST {
            return Err(FormatError::Field("format"));
        }
        if self.epoch == Epoch(0) {
            return Err(FormatError::Field("epoch"));
        }
        if self.count == 0 {
            return Err(FormatError::Field("count"));
        }
        if self.base == Offset::ZERO || self.base.0.checked_add(u64::from(self.count)).is_none() {
            return Err(FormatError::Field("base offset"));
        }
        Ok(())
    }

    /// Writes the header over the first bytes of a batch whose records are in place.
    pub(crate) fn seal(&mut self, batch: &mut [u8]) {
        assert_eq!(
            batch.len(),
            self.batch_bytes(),
            "the header describes this batch"
        );
        batch[..4].copy_from_slice(&BATCH_MAGIC);
        batch[4..6].copy_from_slice(&self.format.to_be_bytes());
        batch[6..8].fill(0);
        batch[8..16].copy_from_slice(&self.epoch.0.to_be_bytes());
        batch[16..24].copy_from_slice(&self.base.0.to_be_bytes());
        batch[24..28].copy_from_slice(&self.count.to_be_bytes());
        batch[28..32].copy_from_slice(&self.length.to_be_bytes());
        batch[32..36].copy_from_slice(&self.previous_crc.to_be_bytes());
        self.crc = batch_crc(batch);
        batch[36..40].copy_from_slice(&self.crc.to_be_bytes());
    }
}

/// The checksum of a batch that is at least a header long.
fn batch_crc(batch: &[u8]) -> u32 {
    let head = crc32c::crc32c(&batch[..BATCH_CRC_AT]);
    crc32c::crc32c_append(head, &batch[BATCH_HEADER_BYTES..])
}

/// Do `count` records fill these bytes exactly?
fn check_records(mut left: &[u8], count: u32) -> Result<(), FormatError> {
    for _ in 0..count {
        let Some(length) = record_length(left) else {
            return Err(FormatError::Records);
        };
        if length > RECORD_BYTES_MAX {
            let limit = RECORD_BYTES_MAX;
            return Err(FormatError::TooLarge {
                what: "record",
                bytes: length,
                limit,
            });
        }
        let Some(rest) = left.get(RECORD_HEADER_BYTES + length..) else {
            return Err(FormatError::Records);
        };
        left = rest;
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(FormatError::Records)
    }
}

/// Bytes of the body of the record that begins here; none when not even its header fits.
pub(crate) fn record_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
    Some(u32_at(head, 2) as usize)
}

// === impl SegmentHeader ===

impl SegmentHeader {
    /// The stored header.
    pub(crate) fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..4].copy_from_slice(&SEGMENT_MAGIC);
        bytes[4..6].copy_from_slice(&FORMAT_LEAST.to_be_bytes());
        bytes[6..8].copy_from_slice(&FORMAT_GREATEST.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.group.0.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.number.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.generation.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[48..56].copy_from_slice(&self.base.0.to_be_bytes());
        bytes[56..60].copy_from_slice(&self.previous_crc.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..SEGMENT_CRC_AT]);
        bytes[60..64].copy_from_slice(&crc.to_be_bytes());
        bytes
    }
}

impl SegmentStart {
    /// What these first bytes of a file are. A file shorter than a header is not fully made yet.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Some(head) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return if is_zero(bytes) {
                Self::Spare
            } else {
                Self::Damaged
            };
        };
        if is_zero(head) {
            return Self::Spare;
        }
        let crc = crc32c::crc32c(&head[..SEGMENT_CRC_AT]);
        if head[..4] != SEGMENT_MAGIC || crc != u32_at(head, SEGMENT_CRC_AT) {
            return Self::Damaged;
        }
        let least = u16_at(head, 4);
        if least > FORMAT_GREATEST {
            return Self::NewerFormat(least);
        }
        Self::Header(SegmentHeader {
            group: GroupId(u128_at(head, 8)),
            number: u64_at(head, 24),
            generation: u64_at(head, 32),
            epoch: Epoch(u64_at(head, 40)),
            base: Offset(u64_at(head, 48)),
            previous_crc: u32_at(head, 56),
        })
    }
}

// === integers ===

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

pub(crate) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_be_bytes(array(bytes, at))
}

/// True when there are only zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Chunks of words: a compiler turns the fold into wide compares.
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks
        .iter()
        .all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}
