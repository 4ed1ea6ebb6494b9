//! One stored batch, and the buffer that becomes one.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tandemmq_model::{Epoch, Offset, Record};

use crate::format::{
    BATCH_HEADER, BATCH_MAGIC, FORMAT, FormatError, Header, OLDEST_FORMAT, RECORD_HEADER,
    batch_crc, check_records, extra, unknown_critical,
};

/// Bytes a batch begins with: some dozen small messages without growing.
const BUFFER_BYTES: usize = 4096;

/// One batch, byte for byte as every member stores it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: Header,
    bytes: Bytes,
}

impl Batch {
    /// Checks everything, the CRC and the records' lengths included.
    pub fn parse(bytes: Bytes) -> Result<Self, FormatError> {
        let header = Header::parse(&bytes)?;
        if bytes.len() != header.size() {
            return Err(FormatError::Short {
                have: bytes.len(),
                need: header.size(),
            });
        }
        if batch_crc(&bytes) != header.crc {
            return Err(FormatError::Crc);
        }
        check_records(&bytes[BATCH_HEADER..], header.count)?;
        Ok(Self { header, bytes })
    }

    /// The stored bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The format it is written in.
    pub const fn format(&self) -> u16 {
        self.header.format
    }

    /// Epoch of its master.
    pub const fn epoch(&self) -> Epoch {
        self.header.epoch
    }

    /// Offset of its first record.
    pub const fn base(&self) -> Offset {
        self.header.base
    }

    /// Offset of its last record.
    pub const fn last(&self) -> Offset {
        self.header.last()
    }

    /// Records in it.
    pub const fn count(&self) -> u32 {
        self.header.count
    }

    /// CRC of the batch before it; 0 for the first of a log.
    pub const fn previous_crc(&self) -> u32 {
        self.header.previous_crc
    }

    /// Its own CRC, which the next one names.
    pub const fn crc(&self) -> u32 {
        self.header.crc
    }

    /// The first record that a reader of this version must stop at: its offset and its kind.
    pub fn must_stop_at(&self) -> Option<(Offset, u8)> {
        let (place, kind) = unknown_critical(&self.bytes[BATCH_HEADER..])?;
        Some((Offset(self.header.base.0 + place), kind))
    }

    /// The records with their offsets; bodies are slices of this batch.
    pub fn records(&self) -> impl Iterator<Item = (Offset, Record)> + '_ {
        let mut left = self.bytes.slice(BATCH_HEADER..);
        let base = self.header.base.0;
        (0..u64::from(self.header.count)).map(move |n| {
            let (kind, flags) = (left.get_u8(), left.get_u8());
            let length = left.get_u32() as usize;
            (
                Offset(base + n),
                Record {
                    kind,
                    flags,
                    body: left.split_to(length),
                },
            )
        })
    }
}

/// A batch in the making: records are copied in once, the CRC is made at the end.
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: BytesMut,
    format: u16,
    count: u32,
}

impl BatchBuilder {
    /// A batch of `epoch` that begins at `base` and follows the batch with that CRC, in the oldest
    /// format.
    pub fn new(epoch: Epoch, base: Offset, previous_crc: u32) -> Self {
        Self::of_format(OLDEST_FORMAT, epoch, base, previous_crc)
    }

    /// The same in a format that is understood.
    pub fn of_format(format: u16, epoch: Epoch, base: Offset, previous_crc: u32) -> Self {
        assert!(
            (OLDEST_FORMAT..=FORMAT).contains(&format),
            "only a format that is understood is written"
        );
        assert!(base > Offset::ZERO, "offsets begin at 1");
        assert!(epoch > Epoch(0), "epoch 0 has no master");
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
        buffer.put_u32(BATCH_MAGIC);
        buffer.put_u16(format);
        buffer.put_u16(0); // Extra: known at the end.
        buffer.put_u64(epoch.0);
        buffer.put_u64(base.0);
        buffer.put_u32(0); // Count, length: known at the end.
        buffer.put_u32(0);
        buffer.put_u32(previous_crc);
        buffer.put_u32(0); // CRC.
        Self {
            buffer,
            format,
            count: 0,
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: &Record) {
        let length =
            u32::try_from(record.body.len()).expect("records are bounded by model::limits");
        self.buffer.reserve(RECORD_HEADER + record.body.len());
        self.buffer.put_u8(record.kind);
        self.buffer.put_u8(record.flags);
        self.buffer.put_u32(length);
        self.buffer.put_slice(&record.body);
        self.count += 1;
    }

    /// Bytes the batch has so far.
    pub fn len_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Records in it so far.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The batch. It must hold at least one record.
    pub fn finish(mut self) -> Batch {
        assert!(self.count > 0, "a batch has records");
        let length = (self.buffer.len() - BATCH_HEADER) as u32;
        let extra = extra(self.format, self.count);
        self.buffer[6..8].copy_from_slice(&extra.to_be_bytes());
        self.buffer[24..28].copy_from_slice(&self.count.to_be_bytes());
        self.buffer[28..32].copy_from_slice(&length.to_be_bytes());
        let crc = batch_crc(&self.buffer);
        self.buffer[36..40].copy_from_slice(&crc.to_be_bytes());
        let bytes = fitting(self.buffer);
        let header = Header::parse(&bytes).expect("a batch just made has a sound header");
        Batch { header, bytes }
    }
}

/// The same bytes in an allocation that fits them. A batch is kept for long, in memory for slaves that
/// are behind and in their links' queues, where its bytes are what counts: a batch of one small message
/// must not hold the whole buffer it was made in.
fn fitting(buffer: BytesMut) -> Bytes {
    if buffer.len() * 2 > buffer.capacity() {
        return buffer.freeze();
    }
    Bytes::copy_from_slice(&buffer)
}

#[cfg(test)]
mod tests;
