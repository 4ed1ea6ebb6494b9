//! Entries of one queue, sorted by offset, in shared chunks.
//!
//! ```text
//! slots:  [first 17 | *]      [first 9001 | *]      [first 30211 | *]
//!              v                     v                     v
//!         chunk, <= 2,048 entries of 24 bytes; removed ones are marked, `head` skips a removed
//!         beginning, a chunk that is half empty is compacted, an empty one goes
//! ```
//!
//! No map per message and no links: a million entries are 24 MB, and 60 MB in the worst mix of
//! removed entries and spare room. Chunks are shared and copied on write, so a clone of `Entries` is a
//! consistent picture at the price of the slots.
//!
//! Invariants: a chunk in `slots` has a live entry, and `head` points to its first one; offsets
//! ascend within and across chunks; `sum` is the sum of the live entries' hashes; from
//! `COMPACT_ENTRIES_MIN` places on a chunk has at most 2.5 for each live entry.

use std::collections::VecDeque;
use std::sync::Arc;

use tandemmq_model::Offset;

use super::digest::mix;
use crate::records::Reason;

/// Entries of one chunk: 48 KiB, so a copy on write costs microseconds, and a million entries
/// need only 500 slots to search.
pub(crate) const CHUNK_ENTRIES_MAX: usize = 2_048;

/// A chunk below this is not worth compacting.
const COMPACT_ENTRIES_MIN: usize = 64;

const FLAG_REMOVED: u8 = 1;
/// `extra` is an origin, not an expiration.
const FLAG_DEAD_LETTER: u8 = 2;
/// It was surely written to a consumer before it came here.
const FLAG_DELIVERED: u8 = 4;

/// One message in a queue, without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub offset: Offset,
    /// Expiration in wall clock milliseconds, 0 = never; of a dead letter: its origin's number.
    extra: u64,
    /// Bytes of the record's body.
    pub length: u32,
    pub priority: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Entry>() == 24, "an entry takes 24 bytes");

impl Entry {
    pub(crate) const fn new(offset: Offset, length: u32, priority: u8, expiration_ms: u64) -> Self {
        Self {
            offset,
            extra: expiration_ms,
            length,
            priority,
            flags: 0,
        }
    }

    /// The same message as a dead letter: it no longer expires.
    pub(crate) fn into_dead_letter(self, origin: u64, reason: Reason) -> Self {
        let delivered = match reason {
            Reason::Poison => FLAG_DELIVERED,
            Reason::Expired => 0,
        };
        Self {
            extra: origin,
            flags: FLAG_DEAD_LETTER | delivered,
            ..self
        }
    }

    /// As it was in a picture; `extra` is an expiration or an origin, as `is_dead_letter` says.
    pub(super) const fn restored(self, extra: u64, is_dead_letter: bool, delivered: bool) -> Self {
        let dead = if is_dead_letter { FLAG_DEAD_LETTER } else { 0 };
        let delivered = if delivered { FLAG_DELIVERED } else { 0 };
        Self {
            extra,
            flags: dead | delivered,
            ..self
        }
    }

    /// Expiration or origin.
    pub(super) const fn extra(&self) -> u64 {
        self.extra
    }

    const fn is_removed(&self) -> bool {
        self.flags & FLAG_REMOVED != 0
    }

    pub(crate) const fn was_delivered(&self) -> bool {
        self.flags & FLAG_DELIVERED != 0
    }

    /// Of a dead letter.
    pub(crate) const fn origin(&self) -> Option<u64> {
        if self.flags & FLAG_DEAD_LETTER != 0 {
            Some(self.extra)
        } else {
            None
        }
    }

    /// 0 = never.
    pub(crate) const fn expiration_ms(&self) -> u64 {
        if self.flags & FLAG_DEAD_LETTER != 0 {
            0
        } else {
            self.extra
        }
    }

    pub(crate) const fn is_expired(&self, wall_ms: u64) -> bool {
        let expiration = self.expiration_ms();
        expiration != 0 && expiration <= wall_ms
    }

    /// Everything of it, for the digest.
    pub(super) fn hash(&self) -> u64 {
        let rest =
            u64::from(self.length) | u64::from(self.priority) << 32 | u64::from(self.flags) << 40;
        mix(mix(self.offset.0, self.extra), rest)
    }
}

#[derive(Debug, Clone)]
struct Chunk {
    entries: Vec<Entry>,
    /// Index of the first live entry.
    head: usize,
    live: usize,
    /// No entry expires before this; `u64::MAX` when none expires.
    expires_min: u64,
}

impl Chunk {
    fn of(entries: Vec<Entry>) -> Self {
        let mut chunk = Self {
            entries,
            head: 0,
            live: 0,
            expires_min: u64::MAX,
        };
        chunk.count();
        chunk
    }

    /// Drops the removed entries and counts anew.
    fn count(&mut self) {
        self.entries.retain(|entry| !entry.is_removed());
        self.entries.shrink_to_fit();
        self.head = 0;
        self.live = self.entries.len();
        self.expires_min = self
            .entries
            .iter()
            .map(expiry_or_max)
            .min()
            .unwrap_or(u64::MAX);
    }

    fn first(&self) -> Offset {
        self.entries[self.head].offset
    }

    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries[self.head..]
            .iter()
            .filter(|entry| !entry.is_removed())
    }

    /// The first live entry beyond that offset.
    fn next_after(&self, offset: Offset) -> Option<&Entry> {
        let start = self
            .entries
            .partition_point(|entry| entry.offset <= offset)
            .max(self.head);
        self.entries[start..]
            .iter()
            .find(|entry| !entry.is_removed())
    }

    fn position(&self, offset: Offset) -> Option<usize> {
        let index = self
            .entries
            .binary_search_by_key(&offset, |entry| entry.offset)
            .ok()?;
        (!self.entries[index].is_removed()).then_some(index)
    }

    fn remove(&mut self, index: usize) -> Entry {
        let entry = self.entries[index];
        self.entries[index].flags |= FLAG_REMOVED;
        self.live -= 1;
        while self.entries.get(self.head).is_some_and(Entry::is_removed) {
            self.head += 1;
        }
        entry
    }

    /// False when the offset is taken already.
    fn insert(&mut self, entry: Entry) -> bool {
        self.reserve();
        let index = match self.position_for(entry.offset) {
            Ok(index) if self.entries[index].is_removed() => {
                self.entries[index] = entry;
                index
            }
            Ok(_) => return false,
            Err(index) => {
                self.entries.insert(index, entry);
                // What stood at `head` moved up when the new one is before it.
                if index < self.head {
                    self.head += 1;
                }
                index
            }
        };
        self.head = self.head.min(index);
        self.live += 1;
        self.expires_min = self.expires_min.min(expiry_or_max(&entry));
        true
    }

    /// Where that offset is or would be; nearly always behind all others.
    fn position_for(&self, offset: Offset) -> Result<usize, usize> {
        match self.entries.last() {
            Some(last) if last.offset < offset => Err(self.entries.len()),
            _ => self
                .entries
                .binary_search_by_key(&offset, |entry| entry.offset),
        }
    }

    /// Room for one more, in steps of a quarter: `Vec` would double, also beyond a full chunk.
    fn reserve(&mut self) {
        let size = self.entries.len();
        if size == self.entries.capacity() {
            let step = (size / 4).max(4);
            let left = CHUNK_ENTRIES_MAX.saturating_sub(size);
            self.entries.reserve_exact(step.min(left).max(1));
        }
    }
}

fn expiry_or_max(entry: &Entry) -> u64 {
    match entry.expiration_ms() {
        0 => u64::MAX,
        expiration => expiration,
    }
}

#[derive(Debug, Clone)]
struct Slot {
    /// At or below every offset of the chunk, above every one of the chunk before.
    first: Offset,
    chunk: Arc<Chunk>,
}

/// All entries of one queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    slots: VecDeque<Slot>,
    live: usize,
    sum: u64,
    /// Entries that may expire.
    expiring: usize,
}

impl Entries {
    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    /// How many entries may expire.
    pub(crate) const fn expiring(&self) -> usize {
        self.expiring
    }

    /// Hash of all entries, whatever way they came to be here.
    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) fn get(&self, offset: Offset) -> Option<&Entry> {
        let chunk = &self.slots.get(self.slot_of(offset))?.chunk;
        chunk.position(offset).map(|index| &chunk.entries[index])
    }

    /// The first entry beyond that offset.
    pub(crate) fn next_after(&self, offset: Offset) -> Option<&Entry> {
        let slot = self.slot_of(offset);
        let found = self.slots.get(slot)?.chunk.next_after(offset);
        found.or_else(|| {
            let chunk = &self.slots.get(slot + 1)?.chunk;
            Some(&chunk.entries[chunk.head])
        })
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flat_map(|slot| slot.chunk.live())
    }

    /// Those of one chunk, in order; none when there are fewer chunks.
    pub(super) fn chunk(&self, index: usize) -> Option<impl Iterator<Item = &Entry>> {
        self.slots.get(index).map(|slot| slot.chunk.live())
    }

    /// Entries beyond that offset that have expired, at most so many.
    pub(crate) fn expired_after(
        &self,
        offset: Offset,
        wall_ms: u64,
        count_max: usize,
    ) -> Vec<Offset> {
        let slots = self
            .slots
            .range(self.slot_of(offset).min(self.slots.len())..);
        slots
            .filter(|slot| slot.chunk.expires_min <= wall_ms)
            .flat_map(|slot| slot.chunk.live())
            .filter(|entry| entry.offset > offset && entry.is_expired(wall_ms))
            .take(count_max)
            .map(|entry| entry.offset)
            .collect()
    }

    /// False when that offset is here already: nothing changes.
    pub(crate) fn insert(&mut self, entry: Entry) -> bool {
        if !self.insert_into_chunk(entry) {
            return false;
        }
        self.live += 1;
        self.sum = self.sum.wrapping_add(entry.hash());
        self.expiring += usize::from(entry.expiration_ms() != 0);
        true
    }

    pub(crate) fn remove(&mut self, offset: Offset) -> Option<Entry> {
        let slot = self.slot_of(offset);
        let index = self.slots.get(slot)?.chunk.position(offset)?;
        let chunk = Arc::make_mut(&mut self.slots[slot].chunk);
        let entry = chunk.remove(index);
        let (live, size) = (chunk.live, chunk.entries.len());
        if live == 0 {
            self.slots.remove(slot);
        } else if size >= COMPACT_ENTRIES_MIN && live * 2 < size {
            chunk.count();
            self.join_with_next(slot);
            if let Some(before) = slot.checked_sub(1) {
                self.join_with_next(before);
            }
        }
        self.live -= 1;
        self.sum = self.sum.wrapping_sub(entry.hash());
        self.expiring -= usize::from(entry.expiration_ms() != 0);
        Some(entry)
    }

    /// Index of the chunk that holds that offset if any does; 0 when it is before all.
    fn slot_of(&self, offset: Offset) -> usize {
        // The usual cases first: the only chunk, or the last one.
        match self.slots.back() {
            Some(last) if last.first <= offset => self.slots.len() - 1,
            _ => self
                .slots
                .partition_point(|slot| slot.first <= offset)
                .saturating_sub(1),
        }
    }

    fn insert_into_chunk(&mut self, entry: Entry) -> bool {
        let slot = self.slot_of(entry.offset);
        let is_last = slot + 1 == self.slots.len();
        let Some(found) = self.slots.get_mut(slot) else {
            self.push_chunk(entry);
            return true;
        };
        let chunk = Arc::make_mut(&mut found.chunk);
        let is_beyond = chunk
            .entries
            .last()
            .is_some_and(|last| last.offset < entry.offset);
        if is_last && is_beyond && chunk.entries.len() == CHUNK_ENTRIES_MAX {
            self.push_chunk(entry);
            return true;
        }
        if !chunk.insert(entry) {
            return false;
        }
        found.first = found.first.min(entry.offset);
        if chunk.entries.len() > CHUNK_ENTRIES_MAX {
            self.split(slot);
        }
        true
    }

    fn push_chunk(&mut self, entry: Entry) {
        let chunk = Arc::new(Chunk::of(vec![entry]));
        self.slots.push_back(Slot {
            first: entry.offset,
            chunk,
        });
    }

    fn split(&mut self, slot: usize) {
        let chunk = Arc::make_mut(&mut self.slots[slot].chunk);
        chunk.count();
        if chunk.entries.len() <= CHUNK_ENTRIES_MAX / 2 {
            return;
        }
        let upper = Chunk::of(chunk.entries.split_off(chunk.entries.len() / 2));
        chunk.count();
        let first = upper.first();
        self.slots.insert(
            slot + 1,
            Slot {
                first,
                chunk: Arc::new(upper),
            },
        );
    }

    /// Two small neighbours become one, so that a trickle of survivors does not leave a chunk each.
    fn join_with_next(&mut self, slot: usize) {
        let Some(next) = self.slots.get(slot + 1) else {
            return;
        };
        if self.slots[slot].chunk.live + next.chunk.live > CHUNK_ENTRIES_MAX / 2 {
            return;
        }
        let next = self.slots.remove(slot + 1).expect("it was seen just now");
        let chunk = Arc::make_mut(&mut self.slots[slot].chunk);
        chunk.entries.extend(next.chunk.live());
        chunk.count();
    }
}

#[cfg(test)]
mod tests;
