//! One stored batch, and how a master makes it.
//!
//! A batch is made once, by the master of one epoch, in one buffer: record bodies are copied into it
//! and nowhere else after. From then on everybody shares these bytes: the disk, the links to the
//! slaves, the readers.

use bytes::{BufMut, Bytes, BytesMut};
use tandemmq_model::limits::{BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use tandemmq_model::{Epoch, Offset, Record};

use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, FORMAT_GREATEST, FormatError, RECORD_HEADER_BYTES,
    record_length,
};

/// One stored batch, byte for byte, checked. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    header: BatchHeader,
}

/// Puts records behind each other until the batch is sealed.
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: BytesMut,
    epoch: Epoch,
    base: Offset,
    previous_crc: u32,
    count: u32,
}

/// The records of a batch with their offsets; bodies are slices of the batch.
#[derive(Debug, Clone)]
pub struct Records {
    left: Bytes,
    next: Offset,
    count: u32,
}

// === impl Batch ===

impl Batch {
    /// Checks everything including the checksum. For bytes from a peer or from the disk; they must
    /// be exactly one batch.
    pub fn parse(bytes: Bytes) -> Result<Self, FormatError> {
        let header = BatchHeader::parse(&bytes)?;
        header.check(&bytes)?;
        Ok(Self { bytes, header })
    }

    /// The stored bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The epoch of every record in it.
    pub const fn epoch(&self) -> Epoch {
        self.header.epoch
    }

    /// Offset of the first record.
    pub const fn base(&self) -> Offset {
        self.header.base
    }

    /// Offset of the last record.
    pub const fn last(&self) -> Offset {
        Offset(self.header.base.0 + self.header.count as u64 - 1)
    }

    /// Records in it, at least 1.
    pub const fn count(&self) -> u32 {
        self.header.count
    }

    /// Checksum of the batch before it in the log, 0 for the first one.
    pub const fn previous_crc(&self) -> u32 {
        self.header.previous_crc
    }

    /// Its checksum, which the next batch names.
    pub const fn crc(&self) -> u32 {
        self.header.crc
    }

    /// The records in order.
    pub fn records(&self) -> Records {
        let left = self.bytes.slice(BATCH_HEADER_BYTES..);
        Records {
            left,
            next: self.header.base,
            count: self.header.count,
        }
    }

    /// The first record that a reader of this version must stop at: its offset and kind.
    pub fn must_stop(&self) -> Option<(Offset, u8)> {
        let mut stops = self.records().filter(|(_, record)| record.must_stop());
        stops.next().map(|(offset, record)| (offset, record.kind))
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (epoch, base, last) = (self.epoch(), self.base(), self.last());
        write!(
            f,
            "Batch(epoch {epoch}, {base}..={last}, {} bytes)",
            self.bytes.len()
        )
    }
}

// === impl BatchBuilder ===

impl BatchBuilder {
    /// An empty batch that will begin at `base`, behind the batch with that checksum (0: behind
    /// nothing).
    pub fn new(epoch: Epoch, base: Offset, previous_crc: u32) -> Self {
        assert!(epoch > Epoch(0), "epoch 0 has no master");
        assert!(base > Offset::ZERO, "the first offset is 1");
        let mut bytes = BytesMut::with_capacity(1024);
        bytes.put_bytes(0, BATCH_HEADER_BYTES);
        Self {
            bytes,
            epoch,
            base,
            previous_crc,
            count: 0,
        }
    }

    /// Room for this many bytes at once: saves growing when the size is known.
    #[must_use]
    pub fn with_capacity(mut self, bytes: usize) -> Self {
        self.bytes.reserve(bytes.min(BATCH_BYTES_MAX));
        self
    }

    /// True when this record still fits into the batch.
    pub fn fits(&self, record: &Record) -> bool {
        self.bytes.len() + RECORD_HEADER_BYTES + record.body.len() <= BATCH_BYTES_MAX
    }

    /// Puts a record behind the others; returns its offset.
    pub fn push(&mut self, record: &Record) -> Offset {
        assert!(
            record.body.len() <= RECORD_BYTES_MAX,
            "who made this record checked its size"
        );
        assert!(
            self.fits(record),
            "the batch was sealed before it grew too large"
        );
        let length = u32::try_from(record.body.len()).expect("checked against its limit above");
        self.bytes.reserve(RECORD_HEADER_BYTES + record.body.len());
        self.bytes.put_u8(record.kind);
        self.bytes.put_u8(record.flags);
        self.bytes.put_u32(length);
        self.bytes.put_slice(&record.body);
        self.count += 1;
        Offset(self.base.0 + u64::from(self.count) - 1)
    }

    /// Bytes the batch has by now.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Records it has by now.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Offset of the next record that is pushed.
    pub const fn next(&self) -> Offset {
        Offset(self.base.0 + self.count as u64)
    }

    /// Seals it. Needs at least one record.
    pub fn finish(mut self) -> Batch {
        assert!(self.count > 0, "an empty batch has no place in a log");
        let length = self.bytes.len() - BATCH_HEADER_BYTES;
        let mut header = BatchHeader {
            format: FORMAT_GREATEST,
            epoch: self.epoch,
            base: self.base,
            count: self.count,
            length: u32::try_from(length).expect("a batch is below BATCH_BYTES_MAX"),
            previous_crc: self.previous_crc,
            crc: 0,
        };
        header.seal(&mut self.bytes);
        Batch {
            bytes: self.bytes.freeze(),
            header,
        }
    }
}

// === impl Records ===

impl Iterator for Records {
    type Item = (Offset, Record);

    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 {
            return None;
        }
        let length = record_length(&self.left).expect("a batch is checked before it is a Batch");
        let mut record = self.left.split_to(RECORD_HEADER_BYTES + length);
        let (kind, flags) = (record[0], record[1]);
        let body = record.split_off(RECORD_HEADER_BYTES);
        let offset = self.next;
        self.next = offset.next();
        self.count -= 1;
        Some((offset, Record { kind, flags, body }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count as usize, Some(self.count as usize))
    }
}

impl ExactSizeIterator for Records {}
