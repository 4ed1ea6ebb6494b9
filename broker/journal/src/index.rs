//! Where an offset stands on the disk: sparse, in memory, shared by the disk thread (which alone
//! changes it) and the readers.
//!
//! One mark for every 32 KiB of log and one for the start of each segment: a thousandth of the log.
//! A reader walks from the mark before its offset. What it finds is checked, so an index that
//! changed meanwhile makes an error, never a wrong record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandemmq_model::{Epoch, Offset};

use crate::batch::Batch;
use crate::segment::{DATA_AT, Place};

/// Bytes of log between two marks.
const MARK_BYTES: u64 = 32 * 1024;

/// The first record of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStartAt {
    /// The epoch.
    pub epoch: Epoch,
    /// Offset of its first record.
    pub first: Offset,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    base: Offset,
    place: Place,
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) last: Offset,
    pub(crate) crc: u32,
    /// Where the next batch goes if it fits; none before the first segment.
    pub(crate) place: Option<Place>,
}

#[derive(Debug)]
pub(crate) struct Index {
    marks: Vec<Mark>,
    pub(crate) end: End,
}

/// One index, several users.
#[derive(Debug, Clone)]
pub(crate) struct SharedIndex(Arc<Mutex<Index>>);

impl SharedIndex {
    pub(crate) fn new() -> Self {
        let end = End {
            last: Offset::ZERO,
            crc: 0,
            place: None,
        };
        Self(Arc::new(Mutex::new(Index {
            marks: Vec::new(),
            end,
        })))
    }

    /// Nobody panics while holding it, so a poisoned lock still guards a sound index.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// A batch stands at that place and is the last one.
    pub(crate) fn add(&mut self, batch: &Batch, place: Place) {
        let due = self.marks.last().is_none_or(|mark| {
            mark.place.segment != place.segment
                || place.position >= mark.place.position + MARK_BYTES
        });
        if due {
            self.marks.push(Mark {
                base: batch.base(),
                place,
            });
        }
        let position = place.position + batch.bytes().len() as u64;
        self.end = End {
            last: batch.last(),
            crc: batch.crc(),
            place: Some(Place {
                segment: place.segment,
                position,
            }),
        };
    }

    /// An empty segment follows.
    pub(crate) fn roll(&mut self, segment: u64) {
        self.end.place = Some(Place {
            segment,
            position: DATA_AT,
        });
    }

    /// The log ends at `last` now, with that CRC, and goes on at that place.
    pub(crate) fn cut(&mut self, last: Offset, crc: u32, place: Option<Place>) {
        self.marks.retain(|mark| mark.base <= last);
        self.end = End { last, crc, place };
    }

    /// A place at or before the batch that holds the offset; none beyond the end.
    pub(crate) fn before(&self, offset: Offset) -> Option<Place> {
        if offset > self.end.last || offset == Offset::ZERO {
            return None;
        }
        let next = self.marks.partition_point(|mark| mark.base <= offset);
        Some(self.marks.get(next.checked_sub(1)?)?.place)
    }
}
