//! Segments: files of one size, zero-filled before they are used.
//!
//! ```text
//! journal-0000000000000001
//! 0        4       6          8        16     24      32      48       52 ...          4096
//! | magic  | least | greatest | number | base | epoch | group | CRC u32 | zeros          | batches ...
//! ```
//! `least` is the format that a reader must understand, that of every batch in it; `greatest` the
//! one that its writer did. `base` is the offset of the first batch, `epoch` its epoch. A spare is a zero-filled file without a header yet
//! (`spare-...`); one that is being filled ends in `.tmp` and is removed at the next start.
//!
//! Behind the last batch there are only zeros: a cut, or a torn tail found at a start, is zeroed to
//! the end, so that no batch that once stood there can ever be taken for a part of the log again.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tandemmq_model::{Epoch, GroupId, Offset};

use crate::batch::Batch;
use crate::format::{
    BATCH_HEADER, FORMAT, FormatError, Header, crc_is_right, is_zero, size_of_any_format,
};
use crate::storage::{Storage, StorageError};

const MAGIC: u32 = 0x544d_5153; // "TMQS".
const HEADER: usize = 52;
/// Batches begin here, on a block of their own.
pub(crate) const DATA_AT: u64 = 4096;
/// Bytes zeroed in one go: a millisecond of disk.
pub(crate) const PIECE: usize = 1024 * 1024;

/// Number of a segment, counted from 1 in the order of the log.
pub(crate) fn name(number: u64) -> String {
    format!("journal-{number:016}")
}

/// Of a file with live records that were copied out of old segments.
pub(crate) fn survivors_name(number: u64) -> String {
    format!("survivors-{number:016}")
}

/// Of a file with survivors that a peer is sending.
pub(crate) fn side_name(number: u64) -> String {
    format!("side-{number:016}")
}

pub(crate) fn spare_name(number: u64) -> String {
    format!("spare-{number:016}")
}

/// The number in a file's name of that kind.
pub(crate) fn number_in(name: &str, kind: &str) -> Option<u64> {
    let digits = name.strip_prefix(kind)?.strip_prefix('-')?;
    (digits.len() == 16).then(|| digits.parse().ok())?
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// What a reader must understand.
    pub(crate) format: u16,
    pub(crate) number: u64,
    pub(crate) base: Offset,
    pub(crate) epoch: Epoch,
    pub(crate) group: Option<GroupId>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER);
        out.put_u32(MAGIC);
        out.put_u16(self.format);
        out.put_u16(FORMAT);
        out.put_u64(self.number);
        out.put_u64(self.base.0);
        out.put_u64(self.epoch.0);
        out.put_u128(self.group.map_or(0, |group| group.0));
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out.freeze()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let header = Self::parse_any(bytes)?;
        if header.format > FORMAT {
            return Err(FormatError::Newer(header.format));
        }
        Ok(header)
    }

    /// Also of a later version: its fields may mean something else, its format does not.
    pub(crate) fn parse_any(bytes: &[u8]) -> Result<Self, FormatError> {
        let head = bytes.get(..HEADER).ok_or(FormatError::Short {
            have: bytes.len(),
            need: HEADER,
        })?;
        let (body, mut crc) = head.split_at(HEADER - 4);
        let mut input = body;
        if input.get_u32() != MAGIC {
            return Err(FormatError::Magic);
        }
        if crc.get_u32() != crc32c::crc32c(body) {
            return Err(FormatError::Crc);
        }
        let (format, _greatest) = (input.get_u16(), input.get_u16());
        let (number, base) = (input.get_u64(), Offset(input.get_u64()));
        let epoch = Epoch(input.get_u64());
        let group = input.get_u128();
        Ok(Self {
            format,
            number,
            base,
            epoch,
            group: (group != 0).then_some(GroupId(group)),
        })
    }
}

/// A place in the log's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) position: u64,
}

/// What stands at a place.
#[derive(Debug)]
pub(crate) enum Found {
    Batch(Batch),
    /// Nothing was ever written here, or the segment ends.
    Zero,
    Bad(FormatError),
}

/// Reads batch after batch of one file, some bytes ahead.
pub(crate) struct Cursor<'a, S> {
    storage: &'a S,
    name: String,
    position: u64,
    buffer: Bytes,
    ahead: usize,
}

impl<'a, S: Storage> Cursor<'a, S> {
    pub(crate) fn new(storage: &'a S, place: Place, ahead: usize) -> Self {
        Self::over(storage, name(place.segment), place.position, ahead)
    }

    /// Over any file of batches, from that position.
    pub(crate) const fn over(storage: &'a S, name: String, position: u64, ahead: usize) -> Self {
        Self {
            storage,
            name,
            position,
            buffer: Bytes::new(),
            ahead,
        }
    }

    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// What stands here; goes on behind it if it is a batch.
    pub(crate) fn next(&mut self) -> Result<Found, StorageError> {
        if !self.have(BATCH_HEADER)? {
            let rest = is_zero(&self.buffer);
            return Ok(if rest {
                Found::Zero
            } else {
                Found::Bad(FormatError::Magic)
            });
        }
        let head = self.buffer.slice(..BATCH_HEADER);
        if is_zero(&head) {
            return Ok(Found::Zero);
        }
        let header = match Header::parse(&head) {
            Ok(header) => header,
            Err(FormatError::Newer(format)) => return self.newer_or_damaged(format, &head),
            Err(error) => return Ok(Found::Bad(error)),
        };
        if !self.have(header.size())? {
            let (have, need) = (self.buffer.len(), header.size());
            return Ok(Found::Bad(FormatError::Short { have, need }));
        }
        match Batch::parse(self.buffer.slice(..header.size())) {
            Ok(batch) => {
                self.buffer.advance(header.size());
                self.position += header.size() as u64;
                Ok(Found::Batch(batch))
            }
            Err(error) => Ok(Found::Bad(error)),
        }
    }

    /// A flipped bit in the format must not read as "start a later version": the CRC decides.
    fn newer_or_damaged(&mut self, format: u16, head: &Bytes) -> Result<Found, StorageError> {
        let whole = match size_of_any_format(head) {
            Some(size) if self.have(size)? => crc_is_right(&self.buffer[..size]),
            _ => false,
        };
        let error = if whole {
            FormatError::Newer(format)
        } else {
            FormatError::Crc
        };
        Ok(Found::Bad(error))
    }

    /// Makes that many bytes available, if the file has them.
    fn have(&mut self, bytes: usize) -> Result<bool, StorageError> {
        if self.buffer.len() < bytes {
            let wanted = bytes.max(self.ahead);
            self.buffer = self.storage.read_at(&self.name, self.position, wanted)?;
        }
        Ok(self.buffer.len() >= bytes)
    }
}

/// Writes what stands there once more and syncs it: after a failed fdatasync the page cache shows
/// what the disk does not have (H11).
pub(crate) fn write_again<S: Storage>(
    storage: &S,
    name: &str,
    from: u64,
    to: u64,
) -> Result<(), StorageError> {
    let mut at = from;
    while at < to {
        let bytes = storage.read_at(name, at, PIECE.min((to - at) as usize))?;
        storage.write_at(name, at, &bytes)?;
        at += bytes.len() as u64;
    }
    storage.sync(name)
}

/// Zeroes a range of a file where it is not zero already; true when something was written.
pub(crate) fn zero<S: Storage>(
    storage: &S,
    name: &str,
    from: u64,
    to: u64,
) -> Result<bool, StorageError> {
    let zeros = vec![0; PIECE];
    let (mut at, mut wrote) = (from, false);
    while at < to {
        let length = PIECE.min((to - at) as usize);
        let there = storage.read_at(name, at, length)?;
        if there.is_empty() {
            break;
        }
        if !is_zero(&there) {
            storage.write_at(name, at, &zeros[..there.len()])?;
            wrote = true;
        }
        at += there.len() as u64;
    }
    Ok(wrote)
}

#[cfg(test)]
mod tests;
