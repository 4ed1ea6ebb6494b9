//! What the journal needs of a disk: a folder of named files.
//!
//! Assumptions about the medium: what was written and then synced survives a crash, unless it is
//! damaged later; what was not synced may survive in any part; a file's name survives only after
//! `sync_dir`; after a failed sync nothing about the file's unsynced bytes is known.

pub mod contract_tests;
mod limited;
mod mem;

use bytes::Bytes;

pub use limited::{Faults, LimitedStorage};
pub use mem::MemStorage;

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The disk is full. Retryable once there is room.
    #[error("no space left for {0}")]
    NoSpace(String),
    /// There is no such file.
    #[error("no file {0}")]
    NotFound(String),
    /// There is such a file already.
    #[error("file {0} exists")]
    Exists(String),
    /// Anything else. After a failed sync: fatal for the process, never retried.
    #[error("{0}")]
    Io(String),
}

/// A folder of named files. Handles are cheap to clone and may be used from several threads.
pub trait Storage: Clone + Send + 'static {
    /// Names of all files, sorted.
    fn list(&self) -> Result<Vec<String>, StorageError>;
    /// Bytes of a file.
    fn len(&self, name: &str) -> Result<u64, StorageError>;
    /// Makes an empty file; `Exists` if there is one.
    fn create(&self, name: &str) -> Result<(), StorageError>;
    /// Writes all of it at that place, growing the file if need be.
    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError>;
    /// Reads up to `length` bytes from that place; fewer at the end of the file.
    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError>;
    /// fdatasync.
    fn sync(&self, name: &str) -> Result<(), StorageError>;
    /// Makes created, renamed and removed names durable.
    fn sync_dir(&self) -> Result<(), StorageError>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;
    /// Removes a file.
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Writes a small file whole: beside, synced, renamed, folder synced.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let beside = format!("{name}.tmp");
        match self.remove(&beside) {
            Ok(()) | Err(StorageError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        self.create(&beside)?;
        self.write_at(&beside, 0, bytes)?;
        self.sync(&beside)?;
        self.rename(&beside, name)?;
        self.sync_dir()
    }
}
