//! The manifest: which files are the journal. The pointer of every switch.
//!
//! ```text
//! magic u32 | format u16 | sequence u64 | log from u64
//! checkpoints: count u8, (number u64, offset u64, epoch u64, CRC u32, bytes u64)*
//! old files:   count u32, (kind u8: 1 segment, 2 survivors; number, first, last, end: u64 each)*
//! ```
//! Stored twice in one file (`twice`), replaced whole, folder synced: at any moment the old one or
//! the new one is the journal. A volume that never made a checkpoint has none: its log begins with
//! the first segment.
//!
//! Invariants
//! - A checkpoint is listed only when all of it is on the disk; the newest is last.
//! - The log goes without a gap from `log_from` on, and beyond every listed checkpoint.
//! - Old files hold, disjoint and ascending, every record before the log that was live at the
//!   newest checkpoint. Their `end` is where their last batch ends.
//! - What is not listed and not part of the log is garbage and removed at a start.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tandemmq_model::{Epoch, Offset};

use crate::segment;
use crate::storage::{Storage, StorageError};
use crate::twice::{self, Twice};

pub(crate) const FILE: &str = "manifest";
const MAGIC: u32 = 0x544d_514d; // "TMQM".
const FORMAT: u16 = 1;
const CHECKPOINT: usize = 8 + 8 + 8 + 4 + 8;
const OLD_FILE: usize = 1 + 4 * 8;

/// Checkpoints listed at most: the newest, the one before, and one that a slave is being sent.
pub(crate) const CHECKPOINTS_MAX: usize = 3;

/// One checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckpointRef {
    /// Number of its file.
    pub(crate) number: u64,
    /// Everything up to here is in it.
    pub(crate) offset: Offset,
    /// Epoch of the record there.
    pub(crate) epoch: Epoch,
    /// CRC of the batch that ends there.
    pub(crate) crc: u32,
    /// Bytes of its file.
    pub(crate) bytes: u64,
}

/// What an old file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OldKind {
    /// A segment of the former log, as it was written.
    Segment = 1,
    /// Live records copied out of such segments.
    Survivors = 2,
}

/// A file with live records from before the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OldFile {
    pub(crate) kind: OldKind,
    pub(crate) number: u64,
    /// Nothing in it is before this offset.
    pub(crate) first: Offset,
    /// Nor beyond this one.
    pub(crate) last: Offset,
    /// Position where its last batch ends.
    pub(crate) end: u64,
}

impl OldFile {
    pub(crate) fn name(&self) -> String {
        match self.kind {
            OldKind::Segment => segment::name(self.number),
            OldKind::Survivors => segment::survivors_name(self.number),
        }
    }
}

/// The whole list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    pub(crate) sequence: u64,
    /// Number of the log's first segment; 0: whichever is there.
    pub(crate) log_from: u64,
    /// Ascending.
    pub(crate) checkpoints: Vec<CheckpointRef>,
    /// Ascending.
    pub(crate) old: Vec<OldFile>,
}

/// What is there of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundManifest {
    /// None was ever written.
    None,
    Sound(Manifest),
    /// Sound in one copy: it is to be written again.
    Once(Manifest),
    /// Damaged, or of a later format.
    Lost,
}

impl Manifest {
    pub(crate) fn newest(&self) -> Option<&CheckpointRef> {
        self.checkpoints.last()
    }

    /// Stores it; the switch to what it lists.
    pub(crate) fn write<S: Storage>(&mut self, storage: &S) -> Result<(), StorageError> {
        self.sequence += 1;
        twice::write(storage, FILE, &self.encode())
    }

    pub(crate) fn read<S: Storage>(storage: &S) -> Result<FoundManifest, StorageError> {
        let (body, once) = match twice::read(storage, FILE) {
            Err(StorageError::NotFound(_)) => return Ok(FoundManifest::None),
            Err(error) => return Err(error),
            Ok(Twice::Sound(body)) => (body, false),
            Ok(Twice::Once(body)) => (body, true),
            Ok(Twice::Lost) => return Ok(FoundManifest::Lost),
        };
        Ok(match Self::parse(body.freeze()) {
            Some(manifest) if once => FoundManifest::Once(manifest),
            Some(manifest) => FoundManifest::Sound(manifest),
            None => FoundManifest::Lost,
        })
    }

    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32(MAGIC);
        out.put_u16(FORMAT);
        out.put_u64(self.sequence);
        out.put_u64(self.log_from);
        out.put_u8(self.checkpoints.len() as u8);
        for checkpoint in &self.checkpoints {
            out.put_u64(checkpoint.number);
            out.put_u64(checkpoint.offset.0);
            out.put_u64(checkpoint.epoch.0);
            out.put_u32(checkpoint.crc);
            out.put_u64(checkpoint.bytes);
        }
        out.put_u32(self.old.len() as u32);
        for file in &self.old {
            out.put_u8(file.kind as u8);
            out.put_u64(file.number);
            out.put_u64(file.first.0);
            out.put_u64(file.last.0);
            out.put_u64(file.end);
        }
        out.freeze()
    }

    fn parse(mut input: Bytes) -> Option<Self> {
        if input.try_get_u32().ok()? != MAGIC || input.try_get_u16().ok()? > FORMAT {
            return None;
        }
        let mut manifest = Self {
            sequence: input.try_get_u64().ok()?,
            log_from: input.try_get_u64().ok()?,
            ..Self::default()
        };
        let count = usize::from(input.try_get_u8().ok()?);
        if count > CHECKPOINTS_MAX || input.len() < count * CHECKPOINT {
            return None;
        }
        manifest.checkpoints = (0..count).map(|_| get_checkpoint(&mut input)).collect();
        let count = input.try_get_u32().ok()? as usize;
        if input.len() / OLD_FILE < count {
            return None;
        }
        for _ in 0..count {
            manifest.old.push(get_old_file(&mut input)?);
        }
        Some(manifest)
    }
}

/// The caller has checked that there are bytes for it.
fn get_checkpoint(input: &mut Bytes) -> CheckpointRef {
    CheckpointRef {
        number: input.get_u64(),
        offset: Offset(input.get_u64()),
        epoch: Epoch(input.get_u64()),
        crc: input.get_u32(),
        bytes: input.get_u64(),
    }
}

fn get_old_file(input: &mut Bytes) -> Option<OldFile> {
    let kind = match input.get_u8() {
        1 => OldKind::Segment,
        2 => OldKind::Survivors,
        _ => return None,
    };
    Some(OldFile {
        kind,
        number: input.get_u64(),
        first: Offset(input.get_u64()),
        last: Offset(input.get_u64()),
        end: input.get_u64(),
    })
}

#[cfg(test)]
mod tests;
