//! The disk as the journal sees it: named files in one directory.

/// Why the disk did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The disk, or what this broker may take of it, is full. Retryable.
    #[error("no space left on the disk")]
    NoSpace,
    /// No such file. Fatal where a file was expected.
    #[error("file {0} does not exist")]
    NotFound(String),
    /// The file is there already.
    #[error("file {0} exists already")]
    Exists(String),
    /// Anything else. Fatal: after a failed sync nobody knows what is on the disk.
    #[error("{0}")]
    Io(String),
}

/// Named files of one directory. Shared by the disk thread and the reading threads, so every call
/// takes `&self`.
pub trait Storage: Send + Sync {
    /// Makes an empty file. Its name survives a power cut after `sync_dir` only.
    fn create(&self, name: &str) -> Result<(), StorageError>;
    /// Bytes of a file; none when there is no such file.
    fn len(&self, name: &str) -> Result<Option<u64>, StorageError>;
    /// Fills `buffer` from that position on; fewer bytes only at the end of the file.
    fn read_at(&self, name: &str, at: u64, buffer: &mut [u8]) -> Result<usize, StorageError>;
    /// Writes all parts one behind the other from that position on; the file grows as needed.
    fn write_at(&self, name: &str, at: u64, parts: &[&[u8]]) -> Result<(), StorageError>;
    /// fdatasync: what was written to this file, and its length, survive a power cut.
    fn sync(&self, name: &str) -> Result<(), StorageError>;
    /// What was created, renamed and removed survives a power cut.
    fn sync_dir(&self) -> Result<(), StorageError>;
    /// Gives a file another name, replacing a file that has it.
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;
    /// Removes a file.
    fn remove(&self, name: &str) -> Result<(), StorageError>;
    /// All names, in order.
    fn list(&self) -> Result<Vec<String>, StorageError>;
}
