//! The formats along a log: which one its records are in, from where on.
//!
//! One row for each format, in order; formats never decrease along a log. A cut takes the rows
//! behind it away: an uncommitted first batch of a greater format leaves no trace.

use tandemmq_model::Offset;

use crate::batch::Batch;
use crate::checkpoint::Checkpoint;
use crate::format::OLDEST_FORMAT;

/// From where on which format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Formats {
    /// Of the record before the log's first one.
    start: u16,
    rows: Vec<(Offset, u16)>,
}

// === impl Formats ===

impl Formats {
    /// Of a log that goes on behind that checkpoint, or begins.
    pub(crate) fn behind(checkpoint: Option<&Checkpoint>) -> Self {
        Self::from(checkpoint.map_or(OLDEST_FORMAT, |found| found.head.format))
    }

    /// Of a log without a batch whose checkpoint is of that format.
    pub(crate) const fn from(start: u16) -> Self {
        Self {
            start,
            rows: Vec::new(),
        }
    }

    /// A batch is behind all others now.
    pub(crate) fn appended(&mut self, batch: &Batch) {
        if batch.format() > self.last() {
            self.rows.push((batch.base(), batch.format()));
        }
    }

    /// The log ends there now.
    pub(crate) fn cut(&mut self, to: Offset) {
        self.rows.retain(|(first, _)| *first <= to);
    }

    /// Of the end of the log.
    pub(crate) fn last(&self) -> u16 {
        self.rows.last().map_or(self.start, |(_, format)| *format)
    }

    /// Of the record at that offset.
    pub(crate) fn at(&self, offset: Offset) -> u16 {
        let mut before = self.rows.iter().rev().filter(|(first, _)| *first <= offset);
        before.next().map_or(self.start, |(_, format)| *format)
    }
}
