//! Which format a volume needs, before anything of it is touched.
//!
//! Every file of batches says it in its header, a checkpoint in its head; a header that is damaged
//! says nothing, and the walk decides about it.

use super::RecoverError;
use crate::checkpoint::{self, CheckpointError, Piece};
use crate::segment::{self, DATA_AT, SegmentHeader};
use crate::storage::{Storage, StorageError};

/// Refuses a volume with a greater format than `understood`.
pub(super) fn check<S: Storage>(storage: &S, understood: u16) -> Result<(), RecoverError> {
    let mut found = 0;
    for name in storage.list()? {
        found = found.max(format_of(storage, &name)?);
    }
    if found > understood {
        return Err(RecoverError::Newer { found, understood });
    }
    Ok(())
}

/// The format that a file needs; 0 when it needs none or cannot say.
fn format_of<S: Storage>(storage: &S, name: &str) -> Result<u16, StorageError> {
    if let Some(number) = segment::number_in(name, "checkpoint") {
        return Ok(match checkpoint::read_piece(storage, number, 0) {
            Ok((Piece::Head(head), _)) => head.format,
            Err(CheckpointError::Newer(format)) => format,
            Ok((Piece::Image(_) | Piece::End, _)) | Err(CheckpointError::Damaged(_)) => 0,
            Err(CheckpointError::Storage(error)) => return Err(error),
        });
    }
    let batches = ["journal", "survivors", "side"];
    if !batches
        .iter()
        .any(|kind| segment::number_in(name, kind).is_some())
    {
        return Ok(0);
    }
    let head = storage.read_at(name, 0, DATA_AT as usize)?;
    Ok(SegmentHeader::parse_any(&head).map_or(0, |header| header.format))
}
