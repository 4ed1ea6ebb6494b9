//! A disk that loses what was not synced: SIGKILL of the process is its power cut. For tests only.
//!
//! ```text
//! write_at ──> sectors in memory ──── sync ────> the file below
//!                   └── some of them, by chance, at once
//! create ──> a hidden file below ┐
//! rename, remove ────────────────┴── sync_dir ──> names below, in order
//!                   └── the first of them, by chance, at once
//! ```
//! Readers see everything at once, as through a page cache. What lies below when the process dies is
//! what a real disk may hold after a power cut: a prefix of the changes of names, and of each
//! unsynced write any of its sectors. A sync takes its time (the fdatasync below) before the rest of
//! the sectors goes down, so that kills meet torn and reordered writes.
//!
//! The machine's own power cut is not what this disk is for: what it calls synced may still be in
//! the kernel's page cache.

mod unsynced;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tandemmq_journal::{Storage, StorageError};

use crate::chance::Chance;
use unsynced::{SECTOR, Unsynced};

/// Unsynced bytes of all files; beyond it a file's are written down early, as a kernel does. The
/// journal syncs after 1 MiB of zero-filling and after each batch, of 11 MiB at most.
const UNSYNCED_BYTES_MAX: usize = 16 << 20;

/// Changes of names that wait; beyond it the oldest are applied. The journal syncs its folder after
/// each few of them.
const NAME_CHANGES_MAX: usize = 256;

/// Once in so many writes, half of its sectors go down at once.
const EARLY_WRITES: u64 = 4;

/// Once in so many changes of names, some of those that wait are applied at once.
const EARLY_NAMES: u64 = 8;

/// Files whose names the disk does not know yet lie below under such a name. What a dead process
/// left there had no name: it is removed.
const HIDDEN: &str = ".volatile-";

/// That disk over another one. Clones are handles of the same disk.
#[derive(Debug, Clone)]
pub(crate) struct VolatileStorage<S> {
    below: S,
    disk: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held for the whole of each change; readers need `cache` alone, so a read waits for no sync.
    change: Mutex<()>,
    cache: Mutex<Cache>,
}

/// A file, whatever its name is.
type FileId = u64;

/// What the process sees, and what the disk does not have of it.
#[derive(Debug)]
struct Cache {
    names: BTreeMap<String, FileId>,
    files: BTreeMap<FileId, VolatileFile>,
    /// Changes of names that the disk does not have, in order.
    waiting: VecDeque<NameChange>,
    next: FileId,
    chance: Chance,
}

#[derive(Debug)]
struct VolatileFile {
    /// Its name below.
    below: String,
    unsynced: Unsynced,
}

#[derive(Debug)]
enum NameChange {
    /// A created file gets its name.
    Link {
        id: FileId,
        name: String,
    },
    /// It gets another one; what had that is gone.
    Rename {
        id: FileId,
        name: String,
        replaced: Option<FileId>,
    },
    Remove {
        id: FileId,
    },
}

// === impl VolatileStorage ===

impl<S: Storage> VolatileStorage<S> {
    /// The disk as the last process left it.
    pub(crate) fn open(below: S, seed: u64) -> Result<Self, StorageError> {
        let mut cache = Cache {
            names: BTreeMap::new(),
            files: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
            chance: Chance::new(seed),
        };
        for name in below.list()? {
            if name.starts_with(HIDDEN) {
                below.remove(&name)?;
            } else {
                let unsynced = Unsynced::new(below.len(&name)?);
                let id = cache.add(VolatileFile {
                    below: name.clone(),
                    unsynced,
                });
                cache.names.insert(name, id);
            }
        }
        Ok(Self {
            below,
            disk: Arc::new(Shared {
                change: Mutex::new(()),
                cache: Mutex::new(cache),
            }),
        })
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        let change = self.disk.change.lock();
        change.unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        let cache = self.disk.cache.lock();
        cache.unwrap_or_else(PoisonError::into_inner)
    }

    /// A change of names waits for `sync_dir`, unless chance or the limit applies it now.
    fn rename_later(&self, cache: &mut Cache, change: NameChange) -> Result<(), StorageError> {
        cache.waiting.push_back(change);
        let waiting = cache.waiting.len();
        let early = match cache.chance.one_in(EARLY_NAMES) {
            true => 1 + cache.chance.below(waiting as u64) as usize,
            false => waiting.saturating_sub(NAME_CHANGES_MAX),
        };
        cache.apply_names(&self.below, early)
    }
}

// === impl Cache ===

impl Cache {
    fn add(&mut self, file: VolatileFile) -> FileId {
        self.next += 1;
        self.files.insert(self.next, file);
        self.next
    }

    fn id(&self, name: &str) -> Result<FileId, StorageError> {
        let id = self.names.get(name).copied();
        id.ok_or_else(|| StorageError::NotFound(name.to_owned()))
    }

    fn file(&mut self, name: &str) -> Result<&mut VolatileFile, StorageError> {
        let id = self.id(name)?;
        Ok(self.files.get_mut(&id).expect("every name has a file"))
    }

    /// Lets the first changes of names reach the disk.
    fn apply_names(&mut self, below: &impl Storage, count: usize) -> Result<(), StorageError> {
        for _ in 0..count {
            let Some(change) = self.waiting.pop_front() else {
                return Ok(());
            };
            match change {
                NameChange::Link { id, name } => self.move_below(below, id, name)?,
                NameChange::Rename { id, name, replaced } => {
                    self.move_below(below, id, name)?;
                    if let Some(replaced) = replaced {
                        self.files.remove(&replaced);
                    }
                }
                NameChange::Remove { id } => {
                    let file = self.files.remove(&id).expect("it is removed once");
                    below.remove(&file.below)?;
                }
            }
        }
        Ok(())
    }

    fn move_below(
        &mut self,
        below: &impl Storage,
        id: FileId,
        name: String,
    ) -> Result<(), StorageError> {
        let file = self.files.get_mut(&id);
        let file = file.expect("a file lives as long as a change of its name waits");
        below.rename(&file.below, &name)?;
        file.below = name;
        Ok(())
    }

    /// Keeps memory bounded: first the file that was just written, then the others.
    fn write_down_beyond_limit(
        &mut self,
        below: &impl Storage,
        first: FileId,
    ) -> Result<(), StorageError> {
        let unsynced = |files: &BTreeMap<FileId, VolatileFile>| {
            files.values().map(|file| file.unsynced.bytes()).sum()
        };
        let mut total: usize = unsynced(&self.files);
        let others: Vec<FileId> = self
            .files
            .keys()
            .copied()
            .filter(|id| *id != first)
            .collect();
        for id in std::iter::once(first).chain(others) {
            if total <= UNSYNCED_BYTES_MAX {
                return Ok(());
            }
            let file = self.files.get_mut(&id).expect("listed a moment ago");
            total -= file.unsynced.bytes();
            file.unsynced
                .write_down(below, &file.below, &mut self.chance)?;
        }
        Ok(())
    }
}

impl<S: Storage> Storage for VolatileStorage<S> {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.cache().names.keys().cloned().collect())
    }

    fn len(&self, name: &str) -> Result<u64, StorageError> {
        Ok(self.cache().file(name)?.unsynced.length())
    }

    fn create(&self, name: &str) -> Result<(), StorageError> {
        let _change = self.change();
        let mut cache = self.cache();
        if cache.names.contains_key(name) {
            return Err(StorageError::Exists(name.to_owned()));
        }
        let hidden = format!("{HIDDEN}{}", cache.next + 1);
        self.below.create(&hidden)?;
        let id = cache.add(VolatileFile {
            below: hidden,
            unsynced: Unsynced::new(0),
        });
        let name = name.to_owned();
        cache.names.insert(name.clone(), id);
        self.rename_later(&mut cache, NameChange::Link { id, name })
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let _change = self.change();
        let mut cache = self.cache();
        let id = cache.id(name)?;
        let Cache { files, chance, .. } = &mut *cache;
        let file = files.get_mut(&id).expect("every name has a file");
        let below = &self.below;
        file.unsynced.write(below, &file.below, at, bytes)?;
        if chance.one_in(EARLY_WRITES) {
            let sectors = at / SECTOR..(at + bytes.len() as u64).div_ceil(SECTOR);
            let half = sectors.filter(|_| chance.one_in(2)).collect();
            file.unsynced.write_some_down(below, &file.below, half)?;
        }
        cache.write_down_beyond_limit(below, id)
    }

    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError> {
        let mut cache = self.cache();
        let file = cache.file(name)?;
        file.unsynced.read(&self.below, &file.below, at, length)
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        let _change = self.change();
        let below = &self.below;
        let name_below = {
            let mut cache = self.cache();
            let id = cache.id(name)?;
            let Cache { files, chance, .. } = &mut *cache;
            let file = files.get_mut(&id).expect("every name has a file");
            let half = file.unsynced.sectors().filter(|_| chance.one_in(2));
            let half = half.collect();
            file.unsynced.write_some_down(below, &file.below, half)?;
            file.below.clone()
        };
        below.sync(&name_below)?;
        let mut cache = self.cache();
        let id = cache.id(name)?;
        let Cache { files, chance, .. } = &mut *cache;
        let file = files.get_mut(&id).expect("every name has a file");
        file.unsynced.write_down(below, &file.below, chance)
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        let _change = self.change();
        let below = &self.below;
        {
            let mut cache = self.cache();
            let waiting = cache.waiting.len() as u64;
            let some = cache.chance.below(waiting + 1) as usize;
            cache.apply_names(below, some)?;
        }
        below.sync_dir()?;
        let mut cache = self.cache();
        let all = cache.waiting.len();
        cache.apply_names(below, all)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let _change = self.change();
        let mut cache = self.cache();
        let id = cache.id(from)?;
        if from == to {
            return Ok(());
        }
        cache.names.remove(from);
        let replaced = cache.names.insert(to.to_owned(), id);
        let name = to.to_owned();
        self.rename_later(&mut cache, NameChange::Rename { id, name, replaced })
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let _change = self.change();
        let mut cache = self.cache();
        let id = cache.id(name)?;
        cache.names.remove(name);
        self.rename_later(&mut cache, NameChange::Remove { id })
    }
}

#[cfg(test)]
mod tests;
