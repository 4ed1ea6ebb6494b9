//! A simulated disk, harsher than a real one.
//!
//! What was written but not synced survives a power cut sector by sector, as chance wills: so a
//! batch may be torn, and a later write may survive an earlier one. Names that were made, changed or
//! removed since `sync_dir` survive as far as chance wills, in order, as a file system's own journal
//! keeps them. A killed process loses nothing: the page cache stays. After a failed sync the page
//! cache is clean: what it should have made durable is readable, a second sync succeeds, and a power
//! cut shows that it never reached the disk; only writing it again brings it there (H11).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Storage, StorageError};

/// The unit that is written whole or not at all.
const SECTOR: u64 = 512;

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As a reader sees it.
    content: Vec<u8>,
    /// As it is after a power cut, at the least.
    durable: Vec<u8>,
    /// Written since the last sync.
    dirty: Vec<(u64, u64)>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// The names after each change since `sync_dir`.
    changes: Vec<BTreeMap<String, u64>>,
    /// Calls that still reach the disk; none: all of them.
    calls_left: Option<u64>,
    next_inode: u64,
    capacity: Option<u64>,
    fail_sync: bool,
    syncs: u64,
}

/// One simulated disk. Clones are handles of the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemStorage(Arc<Mutex<Disk>>);

impl MemStorage {
    /// An empty disk without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power: of what was not synced, chance keeps some sectors.
    pub fn power_cut(&self, chance: &mut dyn FnMut() -> u64) {
        let mut disk = self.disk();
        let changes = std::mem::take(&mut disk.changes);
        let survivors = changes
            .into_iter()
            .take_while(|_| chance().is_multiple_of(2));
        if let Some(names) = survivors.last() {
            disk.durable_names = names;
        }
        disk.names = disk.durable_names.clone();
        disk.calls_left = None;
        let Disk { inodes, names, .. } = &mut *disk;
        let named: BTreeSet<u64> = names.values().copied().collect();
        inodes.retain(|number, _| named.contains(number));
        for inode in inodes.values_mut() {
            inode.lose_unsynced(chance);
        }
        disk.fail_sync = false;
    }

    /// The disk takes so many bytes in all, or any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// The next sync fails, and what it was to make durable is lost with the next power cut.
    pub fn fail_next_sync(&self) {
        self.disk().fail_sync = true;
    }

    /// After so many more calls that change anything, every such call fails and does nothing: a
    /// process that dies inside an operation. None: no more.
    pub fn stop_after(&self, calls: Option<u64>) {
        self.disk().calls_left = calls;
    }

    /// How often something was synced.
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Turns one bit of a file, on the disk and as read.
    pub fn flip_bit(&self, name: &str, byte: u64, bit: u8) {
        let mut disk = self.disk();
        if let Ok(inode) = disk.inode(name) {
            for copy in [&mut inode.content, &mut inode.durable] {
                if let Some(there) = copy.get_mut(byte as usize) {
                    *there ^= 1 << (bit % 8);
                }
            }
        }
    }

    /// A copy of everything as it is now: a volume's snapshot.
    pub fn snapshot(&self) -> Self {
        Self(Arc::new(Mutex::new(self.disk().clone())))
    }

    /// Makes this disk hold what that one holds.
    pub fn restore(&self, from: &Self) {
        let other = from.disk().clone();
        *self.disk() = other;
    }

    /// An empty volume again.
    pub fn wipe(&self) {
        *self.disk() = Disk::default();
    }
}

impl Inode {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        let end = at as usize + bytes.len();
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        self.content[at as usize..end].copy_from_slice(bytes);
        self.dirty.push((at, end as u64));
    }

    fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for (from, to) in std::mem::take(&mut self.dirty) {
            let range = from as usize..to as usize;
            self.durable[range.clone()].copy_from_slice(&self.content[range]);
        }
    }

    fn lose_unsynced(&mut self, chance: &mut dyn FnMut() -> u64) {
        for (from, to) in std::mem::take(&mut self.dirty) {
            let mut at = from;
            while at < to {
                let end = to.min((at / SECTOR + 1) * SECTOR);
                if chance().is_multiple_of(2) {
                    self.durable.resize(self.durable.len().max(end as usize), 0);
                    let range = at as usize..end as usize;
                    self.durable[range.clone()].copy_from_slice(&self.content[range]);
                }
                at = end;
            }
        }
        self.content.clone_from(&self.durable);
    }
}

impl Disk {
    fn inode(&mut self, name: &str) -> Result<&mut Inode, StorageError> {
        let number = self
            .names
            .get(name)
            .ok_or_else(|| StorageError::NotFound(name.to_owned()))?;
        Ok(self
            .inodes
            .get_mut(number)
            .expect("every name has an inode"))
    }

    /// One call that changes something.
    fn change(&mut self) -> Result<(), StorageError> {
        match &mut self.calls_left {
            Some(0) => Err(StorageError::Io("the process is gone".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|number| self.inodes[number].content.len() as u64)
            .sum()
    }

    fn remember_names(&mut self) {
        self.changes.push(self.names.clone());
    }

    /// Drops what no name, on disk or not, leads to.
    fn collect(&mut self) {
        let Self {
            inodes,
            names,
            durable_names,
            ..
        } = self;
        let named: BTreeSet<u64> = names
            .values()
            .chain(durable_names.values())
            .copied()
            .collect();
        inodes.retain(|number, _| named.contains(number));
    }
}

impl Storage for MemStorage {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn len(&self, name: &str) -> Result<u64, StorageError> {
        Ok(self.disk().inode(name)?.content.len() as u64)
    }

    fn create(&self, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.change()?;
        if disk.names.contains_key(name) {
            return Err(StorageError::Exists(name.to_owned()));
        }
        disk.next_inode += 1;
        let number = disk.next_inode;
        disk.inodes.insert(number, Inode::default());
        disk.names.insert(name.to_owned(), number);
        disk.remember_names();
        Ok(())
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.change()?;
        let length = disk.inode(name)?.content.len() as u64;
        let grows = (at + bytes.len() as u64).saturating_sub(length);
        if grows > 0
            && disk
                .capacity
                .is_some_and(|capacity| disk.used() + grows > capacity)
        {
            return Err(StorageError::NoSpace(name.to_owned()));
        }
        let inode = disk.inode(name)?;
        inode.write(at, bytes);
        Ok(())
    }

    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError> {
        let mut disk = self.disk();
        let content = &disk.inode(name)?.content;
        let from = content.len().min(at as usize);
        let to = content.len().min(from + length);
        Ok(Bytes::copy_from_slice(&content[from..to]))
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.change()?;
        if std::mem::take(&mut disk.fail_sync) {
            disk.inode(name)?.dirty.clear();
            return Err(StorageError::Io(format!("fdatasync of {name} failed")));
        }
        disk.syncs += 1;
        disk.inode(name)?.sync();
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.change()?;
        disk.syncs += 1;
        disk.durable_names = disk.names.clone();
        disk.changes.clear();
        disk.collect();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.change()?;
        let Some(number) = disk.names.remove(from) else {
            return Err(StorageError::NotFound(from.to_owned()));
        };
        disk.names.insert(to.to_owned(), number);
        disk.remember_names();
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.change()?;
        if disk.names.remove(name).is_none() {
            return Err(StorageError::NotFound(name.to_owned()));
        }
        disk.remember_names();
        Ok(())
    }
}
