//! A volume as a simulated process sees it: the journal's `MemStorage`, and three things more.
//!
//! - A process may die in the middle of an operation: after so many calls nothing more reaches the
//!   disk, and the last write may have got half of its bytes there.
//! - A failed fdatasync leaves the page cache clean: what it should have written is readable, a
//!   second fdatasync succeeds, and a power cut shows that it never reached the disk (H11). Only
//!   writing the bytes again brings them there.
//! - A snapshot is a volume of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandemmq_journal::{MemStorage, Storage, StorageError};
use tandemmq_model::Bytes;

/// So far behind the end of a batch the next one has a record: headers are shorter, records longer.
const INSIDE_A_BATCH: u64 = 100;

/// One volume. Clones are handles of the same volume.
#[derive(Debug, Clone, Default)]
pub(crate) struct Volume {
    medium: MemStorage,
    state: Arc<Mutex<State>>,
}

/// A write and what it overwrote.
#[derive(Debug, Clone)]
struct Write {
    at: u64,
    length: usize,
    before: Bytes,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Calls that still reach the disk; none: all of them.
    calls_left: Option<u32>,
    fail_next_sync: bool,
    failures: u64,
    is_full: bool,
    /// Written since the last fdatasync of the file.
    unsynced: BTreeMap<String, Vec<Write>>,
    /// In the page cache only, and taken for clean.
    rotten: BTreeMap<String, Vec<Write>>,
}

// === impl Volume ===

impl Volume {
    /// A blank volume.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The process dies after so many more calls.
    pub(crate) fn die_after(&self, calls: u32) {
        self.state().calls_left = Some(calls);
    }

    /// The process is gone; the next one's calls reach the disk.
    pub(crate) fn next_process(&self) {
        self.state().calls_left = None;
    }

    /// The next fdatasync fails.
    pub(crate) fn fail_next_sync(&self) {
        self.state().fail_next_sync = true;
    }

    /// How often an fdatasync failed.
    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    /// It does not, if it has not yet.
    pub(crate) fn forgive(&self) {
        self.state().fail_next_sync = false;
    }

    /// Of what was not synced, chance keeps some sectors; nothing stays of what only the page
    /// cache had.
    pub(crate) fn power_cut(&self, chance: &mut dyn FnMut() -> u64) {
        self.medium.power_cut(chance);
        let mut state = self.state();
        state.unsynced.clear();
        state.fail_next_sync = false;
        for (name, writes) in std::mem::take(&mut state.rotten) {
            for write in writes.iter().rev() {
                // The file itself may not have survived.
                if self.medium.write_at(&name, write.at, &write.before).is_ok() {
                    self.medium
                        .sync(&name)
                        .expect("the medium itself never fails here");
                }
            }
        }
    }

    /// A copy of everything as it is now.
    pub(crate) fn snapshot(&self) -> Self {
        Self {
            medium: self.medium.snapshot(),
            state: Arc::new(Mutex::new(self.state().clone())),
        }
    }

    /// Makes this volume hold what that one holds.
    pub(crate) fn restore(&self, from: &Self) {
        self.medium.restore(&from.medium);
        let state = from.state().clone();
        *self.state() = state;
    }

    /// A blank volume again.
    pub(crate) fn wipe(&self) {
        self.medium.wipe();
        *self.state() = State::default();
    }

    /// Nothing grows beyond what is there and so many bytes more, or anything may grow.
    pub(crate) fn set_room(&self, room: Option<u64>) {
        let used = || -> u64 {
            let names = self.medium.list().unwrap_or_default();
            names
                .iter()
                .filter_map(|name| self.medium.len(name).ok())
                .sum()
        };
        self.medium.set_capacity(room.map(|room| used() + room));
        self.state().is_full = room.is_some();
    }

    /// True while its room is limited.
    pub(crate) fn is_full(&self) -> bool {
        self.state().is_full
    }

    /// Files and their lengths.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        let names = self.medium.list().unwrap_or_default();
        let file = |name: String| {
            let length = self.medium.len(&name).ok()?;
            Some((name, length))
        };
        names.into_iter().filter_map(file).collect()
    }

    /// One bit turns, on the medium and as read.
    pub(crate) fn flip(&self, name: &str, byte: u64, bit: u8) {
        self.medium.flip_bit(name, byte, bit);
    }

    /// One bit of the last batch of the journal turns, on the medium and as read.
    pub(crate) fn damage_end(&self) {
        let names = self
            .medium
            .list()
            .expect("the medium itself never fails here");
        let Some(last) = names.iter().rfind(|name| name.starts_with("journal")) else {
            return;
        };
        let bytes = self
            .medium
            .read_at(last, 0, usize::MAX / 2)
            .expect("the file is listed");
        if let Some(end) = bytes.iter().rposition(|byte| *byte != 0) {
            self.medium.flip_bit(last, end as u64, 0);
        }
    }

    /// Where the journal's last file ends.
    pub(crate) fn log_end(&self) -> (String, u64) {
        let names = self.medium.list().expect("the medium itself never fails");
        let last = names.into_iter().rfind(|name| name.starts_with("journal"));
        let last = last.expect("there is a journal");
        let bytes = self
            .medium
            .read_at(&last, 0, usize::MAX / 2)
            .expect("the file is listed");
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        (last, end as u64)
    }

    /// A bit of the batch behind that place turns over.
    pub(crate) fn damage_behind(&self, end: &(String, u64)) {
        self.medium.flip_bit(&end.0, end.1 + INSIDE_A_BATCH, 0);
    }

    /// A bit of the first file of that kind turns over.
    pub(crate) fn damage_first(&self, kind: &str) {
        let names = self.medium.list().expect("the medium itself never fails");
        let first = names.iter().find(|name| name.starts_with(kind));
        let name = first.expect("there is such a file");
        self.medium.flip_bit(name, INSIDE_A_BATCH, 0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that changes the disk; an error once the process is dead.
    fn call(&self) -> Result<(), StorageError> {
        match &mut self.state().calls_left {
            None => Ok(()),
            Some(0) => Err(StorageError::Io("the process is gone".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn remember(&self, name: &str, at: u64, length: usize) -> Result<(), StorageError> {
        let before = self.medium.read_at(name, at, length)?;
        let mut padded = before.to_vec();
        padded.resize(length, 0);
        let mut state = self.state();
        if let Some(rotten) = state.rotten.get_mut(name) {
            let end = at + length as u64;
            rotten.retain(|w| w.at < at || w.at + w.length as u64 > end);
        }
        let write = Write {
            at,
            length,
            before: padded.into(),
        };
        state
            .unsynced
            .entry(name.to_owned())
            .or_default()
            .push(write);
        Ok(())
    }
}

impl Storage for Volume {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.medium.list()
    }

    fn len(&self, name: &str) -> Result<u64, StorageError> {
        self.medium.len(name)
    }

    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError> {
        self.medium.read_at(name, at, length)
    }

    fn create(&self, name: &str) -> Result<(), StorageError> {
        self.call()?;
        self.medium.create(name)
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.call()?;
        self.remember(name, at, bytes.len())?;
        if self.state().calls_left == Some(0) {
            return self.medium.write_at(name, at, &bytes[..bytes.len() / 2]);
        }
        self.medium.write_at(name, at, bytes)
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        self.call()?;
        let mut state = self.state();
        let written = state.unsynced.remove(name).unwrap_or_default();
        if std::mem::take(&mut state.fail_next_sync) {
            state.failures += 1;
            state
                .rotten
                .entry(name.to_owned())
                .or_default()
                .extend(written);
            return Err(StorageError::Io(format!("fdatasync of {name} failed")));
        }
        drop(state);
        self.medium.sync(name)
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.call()?;
        self.medium.sync_dir()
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.call()?;
        self.medium.rename(from, to)?;
        let mut guard = self.state();
        let state = &mut *guard;
        for writes in [&mut state.unsynced, &mut state.rotten] {
            writes.remove(to);
            if let Some(moved) = writes.remove(from) {
                writes.insert(to.to_owned(), moved);
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.call()?;
        self.medium.remove(name)?;
        let mut state = self.state();
        state.unsynced.remove(name);
        state.rotten.remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tandemmq_journal::contract_tests;

    use super::*;

    #[test]
    fn a_volume_passes_the_contract_of_every_storage() {
        contract_tests::check(Volume::new);
    }

    #[test]
    fn what_a_failed_fdatasync_left_in_the_page_cache_is_lost_with_the_power() {
        let volume = Volume::new();
        volume.create("a").unwrap();
        volume.sync_dir().unwrap();
        volume.write_at("a", 0, b"old").unwrap();
        volume.sync("a").unwrap();
        volume.write_at("a", 0, b"new").unwrap();
        volume.fail_next_sync();
        volume.sync("a").unwrap_err();
        volume
            .sync("a")
            .expect("the second one succeeds, and proves nothing");
        assert_eq!(&volume.read_at("a", 0, 3).unwrap()[..], b"new");
        volume.power_cut(&mut || 0);
        assert_eq!(&volume.read_at("a", 0, 3).unwrap()[..], b"old");
    }

    #[test]
    fn bytes_that_are_written_again_after_a_failed_fdatasync_are_safe() {
        let volume = Volume::new();
        volume.create("a").unwrap();
        volume.sync_dir().unwrap();
        volume.write_at("a", 0, b"new").unwrap();
        volume.fail_next_sync();
        volume.sync("a").unwrap_err();
        volume.write_at("a", 0, b"new").unwrap();
        volume.sync("a").unwrap();
        volume.power_cut(&mut || 1);
        assert_eq!(&volume.read_at("a", 0, 3).unwrap()[..], b"new");
    }

    #[test]
    fn a_dead_process_reaches_the_disk_no_more() {
        let volume = Volume::new();
        volume.create("a").unwrap();
        volume.die_after(1);
        volume.write_at("a", 0, b"abcd").unwrap();
        volume.write_at("a", 4, b"efgh").unwrap_err();
        volume.next_process();
        assert_eq!(
            &volume.read_at("a", 0, 9).unwrap()[..],
            b"ab",
            "half of its last write"
        );
    }
}
