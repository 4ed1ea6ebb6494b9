//! A checkpoint file: everything that the log up to one offset means, in pieces.
//!
//! ```text
//! checkpoint-0000000000000001
//! piece   length u32 | kind u8 (1 head, 2 image, 3 end) | CRC u32 | length bytes
//! head    magic u32 | format u16 | offset u64 | epoch u64 | CRC of the batch there u32
//!         | config: u32 + bytes | epochs: count u32, (epoch u64, first u64)*
//! end     count of pieces before it u32
//! ```
//! The format is that of the log at its offset.
//! The CRC of a piece covers its position in the file, its length, kind and bytes, so that pieces
//! cannot change places; a file without its end piece is no checkpoint. What the image says is its
//! owner's business, and so is the config.
//!
//! Invariant: a checkpoint holds committed records only, so it fits every later ballot.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tandemmq_model::{Epoch, Offset};

use crate::format::FORMAT;
use crate::index::EpochStartAt;
use crate::storage::{Storage, StorageError};

const MAGIC: u32 = 0x544d_514b; // "TMQK".
const PIECE_HEADER: usize = 4 + 1 + 4;

const HEAD: u8 = 1;
const IMAGE: u8 = 2;
const END: u8 = 3;

/// Bytes of one piece: one write and one fdatasync of a millisecond. The head alone may be larger,
/// with its table of epochs.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a head: an epoch table of a million elections.
const HEAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The meaning of a log up to an offset, as its owner tells it: pulled piece by piece on the disk
/// thread, so it must be a picture that no longer changes.
pub trait Image: Send + fmt::Debug {
    /// The next piece, at most `PIECE_BYTES_MAX`; none at the end.
    fn next_piece(&mut self) -> Option<Bytes>;
    /// Every offset up to the picture's whose record is still needed, with the length of its body,
    /// in any order. May be asked at any time, more than once.
    fn live(&self, each: &mut dyn FnMut(Offset, u32));
}

/// What a checkpoint says besides its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointHead {
    /// Format of the log there: whoever reads the checkpoint must understand it.
    pub format: u16,
    /// Everything up to here is in it; the end of a batch.
    pub offset: Offset,
    /// Epoch of the record there.
    pub epoch: Epoch,
    /// CRC of the batch that ends there.
    pub crc: u32,
    /// The members as of that offset: opaque here.
    pub config: Bytes,
    /// First record of each epoch up to there.
    pub epochs: Vec<EpochStartAt>,
}

/// A checkpoint read back whole.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its head.
    pub head: CheckpointHead,
    /// Its image, in the pieces it was written in.
    pub image: Vec<Bytes>,
}

/// Why a file is not a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not what was written.
    #[error("checkpoint is damaged at byte {0}")]
    Damaged(u64),
    /// Of a later version.
    #[error("checkpoint has format {0}, this version reads up to {FORMAT}")]
    Newer(u16),
    /// It cannot be read.
    #[error("{0}")]
    Storage(#[from] StorageError),
}

pub(crate) fn name(number: u64) -> String {
    format!("checkpoint-{number:016}")
}

// === writing ===

/// Writes one file, piece after piece; every piece is synced.
#[derive(Debug)]
pub(crate) struct Writer {
    name: String,
    position: u64,
    pieces: u32,
}

impl Writer {
    /// Begins the file anew with its head.
    pub(crate) fn begin<S: Storage>(
        storage: &S,
        number: u64,
        head: &CheckpointHead,
    ) -> Result<Self, StorageError> {
        let name = name(number);
        match storage.remove(&name) {
            Ok(()) | Err(StorageError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        storage.create(&name)?;
        let mut writer = Self {
            name,
            position: 0,
            pieces: 0,
        };
        writer.put(storage, HEAD, &head.encode())?;
        Ok(writer)
    }

    pub(crate) fn piece<S: Storage>(
        &mut self,
        storage: &S,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        self.put(storage, IMAGE, bytes)
    }

    /// Ends it; its bytes. The folder is not synced.
    pub(crate) fn end<S: Storage>(mut self, storage: &S) -> Result<u64, StorageError> {
        let pieces = self.pieces.to_be_bytes();
        self.put(storage, END, &pieces)?;
        Ok(self.position)
    }

    pub(crate) fn file(&self) -> &str {
        &self.name
    }

    fn put<S: Storage>(&mut self, storage: &S, kind: u8, bytes: &[u8]) -> Result<(), StorageError> {
        let mut out = BytesMut::with_capacity(PIECE_HEADER + bytes.len());
        out.put_u32(bytes.len() as u32);
        out.put_u8(kind);
        out.put_u32(piece_crc(self.position, kind, bytes));
        out.put_slice(bytes);
        storage.write_at(&self.name, self.position, &out)?;
        storage.sync(&self.name)?;
        self.position += out.len() as u64;
        self.pieces += 1;
        Ok(())
    }
}

fn piece_crc(position: u64, kind: u8, bytes: &[u8]) -> u32 {
    let mut head = [0; 13];
    head[..8].copy_from_slice(&position.to_be_bytes());
    head[8..12].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
    head[12] = kind;
    crc32c::crc32c_append(crc32c::crc32c(&head), bytes)
}

// === reading ===

/// One piece of a file, as a peer is sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The first one.
    Head(CheckpointHead),
    /// A piece of the image.
    Image(Bytes),
    /// There is no more.
    End,
}

/// The piece at a position, and the position of the next one.
pub(crate) fn read_piece<S: Storage>(
    storage: &S,
    number: u64,
    position: u64,
) -> Result<(Piece, u64), CheckpointError> {
    let damaged = || CheckpointError::Damaged(position);
    let name = name(number);
    let mut header = storage.read_at(&name, position, PIECE_HEADER)?;
    if header.len() < PIECE_HEADER {
        return Err(damaged());
    }
    let length = header.get_u32() as usize;
    let (kind, crc) = (header.get_u8(), header.get_u32());
    let most = if kind == HEAD {
        HEAD_BYTES_MAX
    } else {
        PIECE_BYTES_MAX
    };
    if length > most {
        return Err(damaged());
    }
    let bytes = storage.read_at(&name, position + PIECE_HEADER as u64, length)?;
    if bytes.len() < length || piece_crc(position, kind, &bytes) != crc {
        return Err(damaged());
    }
    let next = position + (PIECE_HEADER + length) as u64;
    let piece = match kind {
        HEAD => Piece::Head(CheckpointHead::parse(bytes)?.ok_or_else(damaged)?),
        IMAGE => Piece::Image(bytes),
        END => Piece::End,
        _ => return Err(damaged()),
    };
    Ok((piece, next))
}

/// A whole file: every piece in its place, none missing.
pub(crate) fn read<S: Storage>(storage: &S, number: u64) -> Result<Checkpoint, CheckpointError> {
    let (Piece::Head(head), mut position) = read_piece(storage, number, 0)? else {
        return Err(CheckpointError::Damaged(0));
    };
    let mut image = Vec::new();
    loop {
        match read_piece(storage, number, position)? {
            (Piece::Image(bytes), next) => {
                image.push(bytes);
                position = next;
            }
            (Piece::End, _) => return Ok(Checkpoint { head, image }),
            (Piece::Head(_), _) => return Err(CheckpointError::Damaged(position)),
        }
    }
}

// === impl CheckpointHead ===

impl CheckpointHead {
    /// Its bytes, as a peer is sent them.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.config.len() + 16 * self.epochs.len());
        out.put_u32(MAGIC);
        out.put_u16(self.format);
        out.put_u64(self.offset.0);
        out.put_u64(self.epoch.0);
        out.put_u32(self.crc);
        out.put_u32(self.config.len() as u32);
        out.put_slice(&self.config);
        out.put_u32(self.epochs.len() as u32);
        for row in &self.epochs {
            out.put_u64(row.epoch.0);
            out.put_u64(row.first.0);
        }
        out.freeze()
    }

    /// None when the bytes are no head; an error when they are of a later version.
    pub fn parse(mut input: Bytes) -> Result<Option<Self>, CheckpointError> {
        if input.try_get_u32().ok() != Some(MAGIC) {
            return Ok(None);
        }
        match input.try_get_u16() {
            Ok(format) if format > FORMAT => Err(CheckpointError::Newer(format)),
            Ok(format) => Ok(Self::parse_fields(format, &mut input)),
            Err(_) => Ok(None),
        }
    }

    fn parse_fields(format: u16, input: &mut Bytes) -> Option<Self> {
        let offset = Offset(input.try_get_u64().ok()?);
        let epoch = Epoch(input.try_get_u64().ok()?);
        let crc = input.try_get_u32().ok()?;
        let length = input.try_get_u32().ok()? as usize;
        if input.len() < length {
            return None;
        }
        let config = input.split_to(length);
        let count = input.try_get_u32().ok()? as usize;
        if input.len() / 16 < count {
            return None;
        }
        let epochs = (0..count)
            .map(|_| EpochStartAt {
                epoch: Epoch(input.get_u64()),
                first: Offset(input.get_u64()),
            })
            .collect();
        Some(Self {
            format,
            offset,
            epoch,
            crc,
            config,
            epochs,
        })
    }
}

#[cfg(test)]
mod tests;
