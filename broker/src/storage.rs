//! The journal's folder on a real disk.
//!
//! Files are opened once and kept; every handle may be used from several threads. Writes are
//! `pwrite`, sync is `fdatasync`: the segments are zero-filled ahead, so no metadata changes with
//! a batch. An error of a sync is passed on as it is; the caller ends the process.
//!
//! The folder's own name is made durable, too: a journal in a folder that a power cut forgets is gone.

mod disk;
pub(crate) mod faulty;
mod volatile;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tandemmq_journal::{Storage, StorageError};

pub(crate) use disk::Disk;

/// Files kept open. A log of 64 MiB segments has this many in 8 GiB; older ones are opened again when
/// a slave or a consumer reads them. Far below the usual limit of 1,024 for a process.
const OPEN_FILES_MAX: usize = 128;

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
        make_durable(path)?;
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
        make_place(&mut open);
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

/// Makes a folder and what is missing above it, each name synced in its parent.
fn make_durable(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_durable(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// Closes a file that is used no more by us; who holds it still goes on.
fn make_place(open: &mut BTreeMap<String, Arc<File>>) {
    if open.len() >= OPEN_FILES_MAX {
        // The oldest segment: names count upwards.
        let oldest = open
            .keys()
            .find(|name| name.starts_with("journal-"))
            .cloned();
        if let Some(oldest) = oldest {
            open.remove(&oldest);
        }
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
        make_place(&mut open);
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
    fn files_beyond_those_kept_open_are_opened_again() {
        let path = std::env::temp_dir().join(format!("tandemmq-open-{}/a/b", std::process::id()));
        let storage = FileStorage::open(&path).expect("a folder in folders that are not there");
        let names: Vec<_> = (0..3 * OPEN_FILES_MAX)
            .map(|n| format!("journal-{n:016}"))
            .collect();
        for name in &names {
            storage.create(name).expect("create");
            storage.write_at(name, 0, name.as_bytes()).expect("write");
        }
        for name in &names {
            assert_eq!(
                &storage.read_at(name, 0, 99).expect("read")[..],
                name.as_bytes()
            );
        }
        let open = storage.folder.open.lock().expect("nobody panicked").len();
        assert!(open <= OPEN_FILES_MAX, "{open} files are open");
        let root = path
            .parent()
            .and_then(Path::parent)
            .expect("it has parents");
        fs::remove_dir_all(root).expect("remove the test's folder");
    }

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
