//! One `up` a folder: an exclusive flock on `up.lock`, which also names the owner's process.
//!
//! The kernel gives the lock back when its owner dies, however it dies, so a lock file that is left
//! behind means nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

const FILE_NAME: &str = "up.lock";

/// Held while it lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Why the folder is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process runs a cluster there.
    #[error("{folder} is in use by process {pid}; stop that one first, or choose another --dir")]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The owner, as the file says.
        pid: String,
    },
    /// The folder cannot be used at all.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl FolderLock {
    /// Takes the folder, which must exist.
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(FILE_NAME);
        let io_error = |error| LockError::Io {
            file: path.clone(),
            error,
        };
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = options.map_err(io_error)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // The owner may be about to write it; its absence changes nothing.
                let _ = file.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() {
                    "unknown".into()
                } else {
                    pid.trim().into()
                };
                return Err(LockError::InUse {
                    folder: folder.to_owned(),
                    pid,
                });
            }
            Err(error) => return Err(io_error(error.into())),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(io_error)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::temp_folder::TempFolder;

    #[test]
    fn a_second_owner_is_refused_and_told_who_is_first() {
        let folder = TempFolder::create("lock").unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let refused = FolderLock::take(folder.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {};", std::process::id())),
            "{refused}"
        );
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }
}
