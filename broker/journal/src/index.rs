//! Where an offset stands on the disk: sparse, in memory, shared by the disk thread (which alone
//! adds and removes) and the readers (which add marks where they walked).
//!
//! ```text
//!   old files: disjoint, with gaps  |  the log: segment after segment, no gap        end
//!   [survivors 1][segment 4]        |  [segment 6][segment 7][segment 8 ...]
//!                                   ^ start
//! ```
//! One mark for every 32 KiB of log: a thousandth of it. What a start did not walk through has no
//! marks until somebody reads it. A reader walks from the mark before its offset. What it finds is
//! checked; when it is wrong and `generation` has not changed meanwhile, the disk is damaged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandemmq_model::{Epoch, Offset};

use crate::batch::Batch;
use crate::manifest::OldFile;
use crate::segment::{self, DATA_AT, Place};

/// Bytes of log between two marks.
pub(crate) const MARK_BYTES: u64 = 32 * 1024;

/// The first record of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStartAt {
    /// The epoch.
    pub epoch: Epoch,
    /// Offset of its first record.
    pub first: Offset,
}

/// A batch begins there.
#[derive(Debug, Clone, Copy)]
struct Mark {
    base: Offset,
    position: u64,
}

/// One file of batches.
#[derive(Debug)]
struct Span {
    /// At or before its first record.
    first: Offset,
    file: Spanned,
    /// Ascending, in the file's data.
    marks: Vec<Mark>,
    /// Where the batches of a segment that is not the last one end, if that is known.
    end: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Spanned {
    Segment(u64),
    Old(OldFile),
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) last: Offset,
    pub(crate) crc: u32,
    /// Where the next batch goes if it fits; none while the log has no segment.
    pub(crate) place: Option<Place>,
}

/// Where to look for an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) name: String,
    /// A batch at or before the offset begins here.
    pub(crate) position: u64,
    pub(crate) generation: u64,
}

/// A segment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentAt {
    pub(crate) number: u64,
    pub(crate) first: Offset,
    /// Where its batches end, if that is known.
    pub(crate) end: Option<u64>,
}

/// A file to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToCheck {
    /// Its first record, and its name among all spans.
    pub(crate) first: Offset,
    pub(crate) name: String,
    /// Where its batches end, if that is known.
    pub(crate) ends_at: Option<u64>,
    /// The record behind its last one, if that is known.
    pub(crate) next: Option<Offset>,
    pub(crate) generation: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    old: Vec<Span>,
    log: Vec<Span>,
    /// The last record before the log, and the CRC of the batch that ends there.
    pub(crate) start: (Offset, u32),
    pub(crate) end: End,
    /// Files of the checkpoints that are kept.
    pub(crate) checkpoints: Vec<u64>,
    /// Counts whatever takes something away from under a reader; odd while that is going on.
    generation: u64,
    /// Number of the next segment: never used before.
    pub(crate) next_segment: u64,
}

/// One index, several users.
#[derive(Debug, Clone)]
pub(crate) struct SharedIndex(Arc<Mutex<Index>>);

impl SharedIndex {
    /// Of a log that begins behind that record.
    pub(crate) fn new(start: (Offset, u32)) -> Self {
        Self(Arc::new(Mutex::new(Index::new(start))))
    }

    /// Nobody panics while holding it, so a poisoned lock still guards a sound index.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Span {
    fn name(&self) -> String {
        match &self.file {
            Spanned::Segment(number) => segment::name(*number),
            Spanned::Old(file) => file.name(),
        }
    }

    fn position_before(&self, offset: Offset) -> u64 {
        let next = self.marks.partition_point(|mark| mark.base <= offset);
        next.checked_sub(1)
            .map_or(DATA_AT, |at| self.marks[at].position)
    }

    fn mark(&mut self, base: Offset, position: u64) {
        let at = self.marks.partition_point(|mark| mark.base <= base);
        let before = at.checked_sub(1).map(|at| self.marks[at].position);
        let near = before.is_some_and(|before| position < before + MARK_BYTES);
        let next = self.marks.get(at).map(|mark| mark.position);
        let crowded = next.is_some_and(|next| next < position + MARK_BYTES);
        if !near && !crowded {
            self.marks.insert(at, Mark { base, position });
        }
    }
}

impl Index {
    fn new(start: (Offset, u32)) -> Self {
        Self {
            old: Vec::new(),
            log: Vec::new(),
            start,
            end: End {
                last: start.0,
                crc: start.1,
                place: None,
            },
            checkpoints: Vec::new(),
            generation: 0,
            next_segment: 1,
        }
    }

    /// From here on, until the next change is done, what a reader finds may be half gone.
    pub(crate) const fn begin_change(&mut self) {
        self.generation |= 1;
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    const fn end_change(&mut self) {
        self.generation = (self.generation | 1) + 1;
    }

    /// True when nothing was taken away since a lookup: what is wrong then is damage.
    pub(crate) const fn is_unchanged(&self, generation: u64) -> bool {
        self.generation == generation && generation.is_multiple_of(2)
    }

    /// A batch stands at that place and is the last one.
    pub(crate) fn add(&mut self, batch: &Batch, place: Place) {
        if let Some(span) = self.log.last_mut() {
            span.mark(batch.base(), place.position);
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
        if let (Some(span), Some(place)) = (self.log.last_mut(), self.end.place) {
            span.end = Some(place.position);
        }
        self.push_segment(segment, self.end.last.next());
        self.end.place = Some(Place {
            segment,
            position: DATA_AT,
        });
    }

    /// A segment of the log whose first record is known.
    pub(crate) fn push_segment(&mut self, segment: u64, first: Offset) {
        self.log.push(Span {
            first,
            file: Spanned::Segment(segment),
            marks: Vec::new(),
            end: None,
        });
        self.next_segment = self.next_segment.max(segment + 1);
    }

    /// The log ends at `last` now, with that CRC, and goes on at that place.
    pub(crate) fn cut(&mut self, last: Offset, crc: u32, place: Option<Place>) {
        self.log.retain(|span| span.first <= last);
        if place.is_none() {
            self.log.clear();
        }
        if let Some(span) = self.log.last_mut() {
            span.marks.retain(|mark| mark.base <= last);
            span.end = None;
        }
        self.end = End { last, crc, place };
        self.end_change();
    }

    /// The same numbers again, from nothing: after a switch to a checkpoint.
    pub(crate) fn restart(&mut self, start: (Offset, u32), old: &[OldFile]) {
        *self = Self {
            generation: self.generation,
            next_segment: self.next_segment,
            ..Self::new(start)
        };
        self.set_old(old);
    }

    /// The old files are these now; marks of those that stay are kept.
    pub(crate) fn set_old(&mut self, files: &[OldFile]) {
        let mut before = std::mem::take(&mut self.old);
        self.old = files
            .iter()
            .map(|file| {
                let known = before.iter_mut().find(
                    |span| matches!(span.file, Spanned::Old(old) if old.kind == file.kind && old.number == file.number),
                );
                Span {
                    first: file.first,
                    file: Spanned::Old(*file),
                    marks: known.map(|span| std::mem::take(&mut span.marks)).unwrap_or_default(),
                    end: None,
                }
            })
            .collect();
        self.end_change();
    }

    /// The log's first segments leave it and become old files; `start` follows.
    pub(crate) fn move_to_old(&mut self, files: &[OldFile], start: (Offset, u32)) {
        for file in files {
            let mut span = self.log.remove(0);
            span.file = Spanned::Old(*file);
            self.old.push(span);
        }
        self.start = start;
    }

    /// The log has no batch.
    pub(crate) fn is_empty(&self) -> bool {
        self.end.last == self.start.0
    }

    /// The log's segments.
    pub(crate) fn segments(&self) -> Vec<SegmentAt> {
        self.log
            .iter()
            .filter_map(|span| match span.file {
                Spanned::Segment(number) => Some(SegmentAt {
                    number,
                    first: span.first,
                    end: span.end,
                }),
                Spanned::Old(_) => None,
            })
            .collect()
    }

    /// A place at or before the batch that holds the offset; none outside the log.
    pub(crate) fn before(&self, offset: Offset) -> Option<Place> {
        if offset > self.end.last || offset <= self.start.0 {
            return None;
        }
        let span = last_at(&self.log, offset)?;
        let Spanned::Segment(segment) = span.file else {
            return None;
        };
        Some(Place {
            segment,
            position: span.position_before(offset),
        })
    }

    /// Where to look for a record, also for one before the log; none where there is surely none.
    pub(crate) fn find(&self, offset: Offset) -> Option<Lookup> {
        if offset > self.end.last || offset == Offset::ZERO {
            return None;
        }
        let in_log = offset > self.start.0;
        let span = last_at(if in_log { &self.log } else { &self.old }, offset)?;
        if matches!(span.file, Spanned::Old(file) if offset > file.last) {
            return None;
        }
        Some(Lookup {
            name: span.name(),
            position: span.position_before(offset),
            generation: self.generation,
        })
    }

    /// The segment behind that one, in the log.
    pub(crate) fn after(&self, segment: u64) -> Option<u64> {
        let numbers = self.log.iter().map(|span| match span.file {
            Spanned::Segment(number) => number,
            Spanned::Old(file) => file.number,
        });
        numbers.skip_while(|number| *number != segment).nth(1)
    }

    /// The first file whose records begin at or behind that offset.
    pub(crate) fn to_check(&self, from: Offset) -> Option<ToCheck> {
        let mut all = self
            .old
            .iter()
            .chain(&self.log)
            .skip_while(|span| span.first < from);
        let span = all.next()?;
        let following = all.next().map(|next| next.first);
        let (ends_at, next) = match span.file {
            Spanned::Old(file) => (Some(file.end), None),
            Spanned::Segment(number) => {
                let current = self.end.place.filter(|place| place.segment == number);
                (current.map(|place| place.position), following)
            }
        };
        Some(ToCheck {
            first: span.first,
            name: span.name(),
            ends_at,
            next,
            generation: self.generation,
        })
    }

    /// A reader met a batch there; harmless when the index has changed meanwhile.
    pub(crate) fn learn(&mut self, generation: u64, offset: Offset, position: u64) {
        if !self.is_unchanged(generation) {
            return;
        }
        let spans = if offset > self.start.0 {
            &mut self.log
        } else {
            &mut self.old
        };
        let next = spans.partition_point(|span| span.first <= offset);
        if let Some(at) = next.checked_sub(1) {
            spans[at].mark(offset, position);
        }
    }
}

fn last_at(spans: &[Span], offset: Offset) -> Option<&Span> {
    let next = spans.partition_point(|span| span.first <= offset);
    spans.get(next.checked_sub(1)?)
}
