//! The journal's folder on a real disk.
//!
//! Files are opened once and kept; every handle may be used from several threads. Writes are
//! `pwrite`, sync is `fdatasync`: the segments are zero-filled ahead, so no metadata changes with
//! a batch. An error of a sync is passed on as it is; the caller ends the process.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tandemmq_journal::{Storage, StorageError};

/// One member's folder.
#[derive(Debug, Clone)]
pub(crate) struct FileStorage {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    directory: File,
    open: Mutex<BTreeMap<String, Arc<File>>>,
}

impl FileStorage {
    /// Opens the folder; makes it if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let directory = File::open(path)?;
        let open = Mutex::new(BTreeMap::new());
        Ok(Self {
            folder: Arc::new(Folder {
                path: path.to_owned(),
                directory,
                open,
            }),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    fn file(&self, name: &str) -> Result<Arc<File>, StorageError> {
        let mut open = self
            .folder
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(name) {
            return Ok(Arc::clone(file));
        }
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name));
        let file = Arc::new(options.map_err(|error| classify(name, &error))?);
        open.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn forget(&self, name: &str) {
        self.folder
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

fn classify(name: &str, error: &io::Error) -> StorageError {
    match error.kind() {
        ErrorKind::NotFound => StorageError::NotFound(name.to_owned()),
        ErrorKind::AlreadyExists => StorageError::Exists(name.to_owned()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::NoSpace(name.to_owned()),
        _ => StorageError::Io(format!("{name}: {error}")),
    }
}

impl Storage for FileStorage {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        let entries = fs::read_dir(&self.folder.path).map_err(|error| classify(".", &error))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| classify(".", &error))?;
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if let (true, Ok(name)) = (is_file, entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn len(&self, name: &str) -> Result<u64, StorageError> {
        let file = self.file(name)?;
        file.metadata()
            .map(|data| data.len())
            .map_err(|error| classify(name, &error))
    }

    fn create(&self, name: &str) -> Result<(), StorageError> {
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name));
        let file = Arc::new(options.map_err(|error| classify(name, &error))?);
        let mut open = self
            .folder
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.insert(name.to_owned(), file);
        Ok(())
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.file(name)?
            .write_all_at(bytes, at)
            .map_err(|error| classify(name, &error))
    }

    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError> {
        let file = self.file(name)?;
        let mut buffer = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(classify(name, &error)),
            }
        }
        buffer.truncate(filled);
        Ok(buffer.into())
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        self.file(name)?
            .sync_data()
            .map_err(|error| classify(name, &error))
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.folder
            .directory
            .sync_all()
            .map_err(|error| classify(".", &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        fs::rename(self.path(from), self.path(to)).map_err(|error| classify(from, &error))?;
        self.forget(from);
        self.forget(to);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        fs::remove_file(self.path(name)).map_err(|error| classify(name, &error))?;
        self.forget(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tandemmq_journal::contract_tests;

    use super::*;

    #[test]
    fn real_files_keep_the_contract_of_storage() {
        let root = std::env::temp_dir().join(format!("tandemmq-storage-{}", std::process::id()));
        let mut count = 0;
        contract_tests::check(|| {
            count += 1;
            let path = root.join(count.to_string());
            fs::create_dir_all(&path).expect("a folder for the test");
            FileStorage::open(&path).expect("open the folder")
        });
        fs::remove_dir_all(&root).expect("remove the test's folder");
    }
}
