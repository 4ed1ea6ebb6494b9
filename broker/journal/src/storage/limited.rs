//! A disk with less room than it has, or one that fails: for tests of a whole process on real files.
//!
//! The limit counts the bytes of the files that lie in the folder. It may be moved while the broker
//! runs, as an operator frees or fills a disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::{Storage, StorageError};

/// What is wrong with the disk. Clones are handles of the same faults.
#[derive(Debug, Clone)]
pub struct Faults {
    capacity: Arc<AtomicU64>,
    sync_fails: Arc<AtomicBool>,
}

/// A storage with those faults.
#[derive(Debug, Clone)]
pub struct LimitedStorage<S> {
    inner: S,
    faults: Faults,
}

// === impl Faults ===

impl Default for Faults {
    fn default() -> Self {
        Self {
            capacity: Arc::new(AtomicU64::new(u64::MAX)),
            sync_fails: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl Faults {
    /// The disk takes so many bytes in all, or any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.capacity
            .store(bytes.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// From now on every sync fails.
    pub fn fail_syncs(&self) {
        self.sync_fails.store(true, Ordering::SeqCst);
    }

    fn check_sync(&self, name: &str) -> Result<(), StorageError> {
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(StorageError::Io(format!(
                "fdatasync of {name} failed (injected)"
            )));
        }
        Ok(())
    }
}

// === impl LimitedStorage ===

impl<S: Storage> LimitedStorage<S> {
    /// That storage with these faults.
    pub const fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn check_room(&self, name: &str, until: u64) -> Result<(), StorageError> {
        let capacity = self.faults.capacity.load(Ordering::SeqCst);
        let grows = until.saturating_sub(self.inner.len(name)?);
        if capacity == u64::MAX || grows == 0 {
            return Ok(());
        }
        let mut used = 0;
        for file in self.inner.list()? {
            used += self.inner.len(&file)?;
        }
        if used + grows > capacity {
            return Err(StorageError::NoSpace(name.to_owned()));
        }
        Ok(())
    }
}

impl<S: Storage> Storage for LimitedStorage<S> {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.inner.list()
    }

    fn len(&self, name: &str) -> Result<u64, StorageError> {
        self.inner.len(name)
    }

    fn create(&self, name: &str) -> Result<(), StorageError> {
        self.inner.create(name)
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.check_room(name, at + bytes.len() as u64)?;
        self.inner.write_at(name, at, bytes)
    }

    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError> {
        self.inner.read_at(name, at, length)
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        self.faults.check_sync(name)?;
        self.inner.sync(name)
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.faults.check_sync(".")?;
        self.inner.sync_dir()
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.inner.remove(name)
    }
}
