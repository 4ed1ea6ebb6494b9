//! Chunks against a plain map.

use std::collections::BTreeMap;

use tandemmq_model::Offset;

use super::{CHUNK_ENTRIES_MAX, Entries, Entry};

fn entry(offset: u64) -> Entry {
    Entry::new(
        Offset(offset),
        10,
        4,
        if offset.is_multiple_of(5) { offset } else { 0 },
    )
}

struct Pair {
    entries: Entries,
    map: BTreeMap<u64, Entry>,
    random: u64,
}

impl Pair {
    fn new(seed: u64) -> Self {
        Self {
            entries: Entries::default(),
            map: BTreeMap::new(),
            random: seed,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) % below
    }

    fn insert(&mut self, offset: u64) {
        let is_new = !self.map.contains_key(&offset);
        assert_eq!(self.entries.insert(entry(offset)), is_new);
        self.map.entry(offset).or_insert_with(|| entry(offset));
    }

    fn remove(&mut self, offset: u64) {
        assert_eq!(
            self.entries.remove(Offset(offset)),
            self.map.remove(&offset)
        );
    }

    fn check(&self) {
        assert_eq!(self.entries.len(), self.map.len());
        let sum = self
            .map
            .values()
            .fold(0u64, |sum, entry| sum.wrapping_add(entry.hash()));
        assert_eq!(self.entries.sum(), sum, "the sum is of what is here");
        let expiring = self
            .map
            .values()
            .filter(|entry| entry.expiration_ms() != 0)
            .count();
        assert_eq!(self.entries.expiring(), expiring);
        let mut walked = Vec::new();
        let mut at = Offset::ZERO;
        while let Some(next) = self.entries.next_after(at) {
            at = next.offset;
            walked.push(at.0);
        }
        assert!(
            walked.iter().eq(self.map.keys()),
            "the walk meets all, in order"
        );
        for slot in &self.entries.slots {
            let chunk = &slot.chunk;
            let places = chunk.entries.capacity();
            assert!(
                places < 80 || places * 2 <= chunk.live * 5,
                "{places} for {}",
                chunk.live
            );
            assert!(chunk.live > 0 && chunk.entries.len() <= CHUNK_ENTRIES_MAX);
            assert!(!chunk.entries[chunk.head].is_removed() && slot.first <= chunk.first());
        }
    }
}

#[test]
fn entries_behave_like_a_map_at_random() {
    for seed in 1..=6 {
        let mut pair = Pair::new(seed);
        let mut last = 0;
        for step in 0..30_000u64 {
            match pair.random(if step % 9_000 < 6_000 { 10 } else { 6 }) {
                0..=2 => {
                    let offset = 1 + pair.random(last + 10);
                    pair.remove(offset);
                }
                3 => {
                    let after = pair.random(last + 10);
                    if let Some(first) = pair.entries.next_after(Offset(after)) {
                        let offset = first.offset.0;
                        assert_eq!(
                            pair.map.range(after + 1..).next().map(|(o, _)| *o),
                            Some(offset)
                        );
                        pair.remove(offset);
                    }
                }
                4 => {
                    let offset = 1 + pair.random(last + 10);
                    pair.insert(offset);
                }
                5 => {
                    let offset = 1 + pair.random(last + 10);
                    let found = pair.entries.get(Offset(offset)).copied();
                    assert_eq!(found, pair.map.get(&offset).copied());
                }
                _ => {
                    last += 1 + pair.random(3);
                    pair.insert(last);
                }
            }
            if step % 1_000 == 0 {
                pair.check();
            }
        }
        pair.check();
        let expired = pair
            .entries
            .expired_after(Offset(last / 3), last / 2, usize::MAX);
        let wanted = pair
            .map
            .range(last / 3 + 1..)
            .filter(|(_, e)| e.is_expired(last / 2));
        assert!(
            expired
                .iter()
                .map(|offset| &offset.0)
                .eq(wanted.map(|(offset, _)| offset))
        );
        for offset in pair.map.keys().copied().collect::<Vec<_>>() {
            pair.remove(offset);
        }
        pair.check();
        assert!(
            pair.entries.slots.is_empty(),
            "nothing is left of an empty queue"
        );
    }
}

#[test]
fn a_queue_consumed_from_the_front_keeps_few_chunks() {
    let mut entries = Entries::default();
    for offset in 1..=100_000 {
        entries.insert(entry(offset));
        if offset > 10 {
            entries.remove(Offset(offset - 10));
        }
    }
    assert_eq!(entries.len(), 10);
    assert!(entries.slots.len() <= 2);
    let held: usize = entries
        .slots
        .iter()
        .map(|slot| slot.chunk.entries.len())
        .sum();
    assert!(held <= CHUNK_ENTRIES_MAX, "{held} places for 10 entries");
}

#[test]
fn a_trickle_of_survivors_does_not_keep_a_chunk_each() {
    let mut entries = Entries::default();
    for offset in 1..=200_000 {
        entries.insert(entry(offset));
    }
    for offset in (1..=200_000).filter(|offset| offset % 1_000 != 0) {
        entries.remove(Offset(offset));
    }
    assert_eq!(entries.len(), 200);
    assert!(
        entries.slots.len() < 20,
        "{} chunks for 200 entries",
        entries.slots.len()
    );
}

#[test]
fn a_clone_is_a_picture_that_does_not_change() {
    let mut entries = Entries::default();
    for offset in 1..=5_000 {
        entries.insert(entry(offset));
    }
    let picture = entries.clone();
    for offset in 1..=5_000 {
        entries.remove(Offset(offset));
    }
    assert_eq!((entries.len(), picture.len()), (0, 5_000));
    assert!(picture.get(Offset(1)).is_some() && picture.next_after(Offset(4_999)).is_some());
}

/// Bytes that the chunks and slots of a queue take.
fn bytes_of(entries: &Entries) -> usize {
    let chunks = entries.slots.iter().map(|slot| {
        size_of::<Entry>() * slot.chunk.entries.capacity() + size_of::<super::Chunk>() + 16
    });
    chunks.sum::<usize>() + entries.slots.capacity() * size_of::<super::Slot>()
}

#[test]
fn a_message_takes_at_most_64_bytes_whatever_was_removed_around_it() {
    const LIVE: u64 = 200_000;
    for percent_removed in [0, 30, 49, 51, 60, 74, 76, 90] {
        let mut pair = Pair::new(percent_removed);
        let mut entries = Entries::default();
        for offset in 1..=LIVE * 100 / (100 - percent_removed) {
            entries.insert(entry(offset));
            // A reader that looks on makes copies on write.
            let _seen = (offset % 10_000 == 0).then(|| entries.clone());
        }
        let last = LIVE * 100 / (100 - percent_removed);
        for offset in 1..=last {
            if pair.random(100) < percent_removed {
                entries.remove(Offset(offset));
            }
        }
        let each = bytes_of(&entries) as f64 / entries.len() as f64;
        println!("{percent_removed} % removed: {each:.1} bytes");
        assert!(
            each <= 64.0,
            "{each} bytes with {percent_removed} % removed"
        );
    }
}

#[test]
fn a_chunk_that_was_copied_on_write_grows_no_further_than_a_full_one() {
    let mut entries = Entries::default();
    for offset in 1..=1_500 {
        entries.insert(entry(offset));
    }
    let picture = entries.clone();
    for offset in 1_501..=CHUNK_ENTRIES_MAX as u64 {
        entries.insert(entry(offset));
    }
    assert_eq!(picture.len(), 1_500);
    assert_eq!(entries.slots[0].chunk.entries.capacity(), CHUNK_ENTRIES_MAX);
}
