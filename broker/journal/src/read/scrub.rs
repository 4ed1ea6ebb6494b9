//! Checking what nobody reads: file after file, some bytes at a time, for ever.
//!
//! A flipped bit in a message that waits for a year is found while the peers still have it. Checked
//! are the batches of all old files and of the log, headers included, and all checkpoints. Control
//! file, identity and manifest are stored twice and judged at each start.

use tandemmq_model::Offset;

use super::{Read, Reader};
use crate::checkpoint::{self, Piece};
use crate::index::ToCheck;
use crate::segment::{Cursor, DATA_AT, Found, PIECE, SegmentHeader};
use crate::storage::Storage;

/// Bytes checked in one go: some milliseconds of a reading thread.
const SCRUB_BYTES: u64 = 1024 * 1024;

/// Where the check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScrubAt {
    /// The first file.
    #[default]
    Start,
    /// In the file whose records begin there, at that position, behind that record.
    File(Offset, u64, Offset),
    /// In the checkpoint of that number, at that position.
    Checkpoint(u64, u64),
}

impl<S: Storage> Reader<S> {
    pub(super) fn scrub(&self, at: &ScrubAt) -> Read<ScrubAt> {
        match *at {
            ScrubAt::Start => self.scrub_file(Offset::ZERO, DATA_AT, Offset::ZERO),
            ScrubAt::File(first, position, last) => self.scrub_file(first, position, last),
            ScrubAt::Checkpoint(number, position) => self.scrub_checkpoint(number, position),
        }
    }

    fn scrub_file(&self, first: Offset, position: u64, mut last: Offset) -> Read<ScrubAt> {
        let file = self.index.lock().to_check(first);
        let Some(file) = file else {
            return Ok(self.next_checkpoint(0));
        };
        let position = if file.first == first {
            position
        } else {
            DATA_AT
        };
        let done = ScrubAt::File(file.first.next(), DATA_AT, Offset::ZERO);
        if position == DATA_AT {
            self.check_header(&file)?;
        }
        let mut cursor = Cursor::over(&self.storage, file.name.clone(), position, PIECE);
        while cursor.position() < position + SCRUB_BYTES {
            if file.ends_at.is_some_and(|end| cursor.position() >= end) {
                return Ok(done);
            }
            let at = cursor.position();
            match cursor.next() {
                Ok(Found::Batch(batch)) => last = batch.last(),
                // The end of a segment that another one follows. What stands behind it was never
                // written, or turned over: nothing of it is read.
                Ok(Found::Zero | Found::Bad(_)) if file.next == Some(last.next()) => {
                    return Ok(done);
                }
                other => return Err(self.wrong_file(&file, at, &format!("{other:?}"))),
            }
        }
        Ok(ScrubAt::File(file.first, cursor.position(), last))
    }

    fn check_header(&self, file: &ToCheck) -> Read<()> {
        let head = self.storage.read_at(&file.name, 0, DATA_AT as usize);
        match head.map(|head| SegmentHeader::parse(&head)) {
            Ok(Ok(_)) => Ok(()),
            other => Err(self.wrong_file(file, 0, &format!("{other:?}"))),
        }
    }

    fn wrong_file(&self, file: &ToCheck, at: u64, found: &str) -> super::ReadError {
        self.wrong(file.generation, format!("{} at {at}: {found}", file.name))
    }

    fn scrub_checkpoint(&self, number: u64, mut position: u64) -> Read<ScrubAt> {
        let begun = position;
        while position < begun + SCRUB_BYTES {
            match checkpoint::read_piece(&self.storage, number, position) {
                Ok((Piece::End, _)) => return Ok(self.next_checkpoint(number + 1)),
                Ok((_, next)) => position = next,
                Err(error) => return Err(self.wrong_checkpoint(number, &error)),
            }
        }
        Ok(ScrubAt::Checkpoint(number, position))
    }

    fn next_checkpoint(&self, from: u64) -> ScrubAt {
        let index = self.index.lock();
        let next = index.checkpoints.iter().find(|number| **number >= from);
        next.map_or(ScrubAt::Start, |number| ScrubAt::Checkpoint(*number, 0))
    }
}
