//! One replicated queue: its entries and its counts.

use bytestring::ByteString;
use tandemmq_model::Offset;

use super::chunks::{Entries, Entry};
use crate::records::{Range, Reason};

/// A queue of the State, numbered in the order of their first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueId(u32);

impl QueueId {
    pub(crate) fn of_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("there are fewer queues than records, far below 2^32"))
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Totals since the first record: what came is here, or was dequeued, or is a dead letter.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub enqueued: u64,
    pub dequeued: u64,
    pub expired: u64,
    pub dead_lettered: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Queue {
    name: ByteString,
    entries: Entries,
    counts: Counts,
}

impl Queue {
    pub(crate) fn new(name: ByteString) -> Self {
        Self {
            name,
            entries: Entries::default(),
            counts: Counts::default(),
        }
    }

    /// As it was in a picture, before its entries.
    pub(super) fn restored(name: ByteString, counts: Counts) -> Self {
        Self {
            counts,
            ..Self::new(name)
        }
    }

    /// An entry that the counts know already. False when one of that offset is here.
    pub(super) fn restore(&mut self, entry: Entry) -> bool {
        self.entries.insert(entry)
    }

    pub(crate) const fn name(&self) -> &ByteString {
        &self.name
    }

    pub(crate) const fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// False when an entry of that offset is here already: nothing changes.
    pub(super) fn insert(&mut self, entry: Entry) -> bool {
        let inserted = self.entries.insert(entry);
        self.counts.enqueued += u64::from(inserted);
        inserted
    }

    pub(super) fn remove_range(&mut self, range: Range, mut gone: impl FnMut(&Entry)) {
        self.take_range(range, |counts, entry| {
            counts.dequeued += 1;
            gone(&entry);
        });
    }

    pub(super) fn bury_range(&mut self, range: Range, reason: Reason, mut gone: impl FnMut(Entry)) {
        self.take_range(range, |counts, entry| {
            counts.dead_lettered += 1;
            counts.expired += u64::from(reason == Reason::Expired);
            gone(entry);
        });
    }

    /// Costs as much as entries are there, whatever the range claims.
    fn take_range(&mut self, range: Range, mut taken: impl FnMut(&mut Counts, Entry)) {
        let Some(last) = range.count.checked_sub(1) else {
            return;
        };
        let last = Offset(range.first.0.saturating_add(u64::from(last)));
        let mut next = Some(range.first).filter(|first| self.entries.get(*first).is_some());
        loop {
            let offset = match next {
                Some(offset) => offset,
                None => match self.entries.next_after(range.first) {
                    Some(entry) if entry.offset <= last => entry.offset,
                    _ => return,
                },
            };
            next = None;
            let entry = self.entries.remove(offset).expect("it was found just now");
            taken(&mut self.counts, entry);
        }
    }
}
