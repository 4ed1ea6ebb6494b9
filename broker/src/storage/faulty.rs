//! A disk that hangs, is full or fails when a file says so. For tests with real processes only.
//!
//! Before each change it looks for `testing.faults` in the broker's `dataDir`, takes the file away
//! and does what its lines say:
//!
//! ```text
//! stall 10s     writes, syncs and changes of names wait for so long; reads go on, as from a cache
//! full 10s      for so long no file is made and none grows
//! fail-sync     the next sync fails
//! ```
//! The file is taken away first, so that a process that ended because of it does not end again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandemmq_journal::{Storage, StorageError};

/// The file's name in `dataDir`.
pub(crate) const FILE: &str = "testing.faults";

/// One line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Changes hang.
    Stall(Duration),
    /// Nothing grows.
    Full(Duration),
    /// The next sync fails.
    FailSync,
}

/// A disk with those faults over another one. Clones are handles of the same disk.
#[derive(Debug, Clone)]
pub(crate) struct FaultyStorage<S> {
    below: S,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct Faults {
    file: PathBuf,
    now: Mutex<Now>,
}

/// Which faults hold.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    stalled_until: Option<Instant>,
    full_until: Option<Instant>,
    sync_fails: bool,
}

// === impl Fault ===

impl Fault {
    /// The line that asks for it.
    #[cfg(test)]
    pub(crate) fn line(self) -> String {
        match self {
            Self::Stall(time) => format!("stall {}ms\n", time.as_millis()),
            Self::Full(time) => format!("full {}ms\n", time.as_millis()),
            Self::FailSync => "fail-sync\n".to_owned(),
        }
    }

    /// Asks the broker of that `dataDir` for it. The rename makes the file appear whole.
    #[cfg(test)]
    pub(crate) fn ask(self, data_dir: &Path) -> std::io::Result<()> {
        let beside = data_dir.join(format!("{FILE}.new"));
        fs::write(&beside, self.line())?;
        fs::rename(beside, data_dir.join(FILE))
    }

    fn parse(line: &str) -> Result<Self, String> {
        let (word, time) = line.split_once(' ').unwrap_or((line, ""));
        let wrong = || format!("{line:?}: allowed are stall TIME, full TIME, fail-sync");
        let time = crate::cli::parse_duration(time);
        match word {
            "fail-sync" => Ok(Self::FailSync),
            "stall" => time.map(Self::Stall).map_err(|_| wrong()),
            "full" => time.map(Self::Full).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

// === impl Faults ===

impl Faults {
    /// What holds now, after a look at the file.
    fn now(&self) -> Now {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        for line in self.take_lines() {
            match Fault::parse(&line) {
                Ok(fault) => {
                    tracing::warn!(?fault, "a fault of the disk begins, as {FILE} asks");
                    now.begin(fault);
                }
                Err(text) => tracing::warn!("{FILE}: {text}"),
            }
        }
        let answer = *now;
        now.sync_fails = false;
        answer
    }

    fn take_lines(&self) -> Vec<String> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(%error, "cannot read {FILE}");
                }
                return Vec::new();
            }
        };
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::warn!(%error, "cannot take {FILE} away");
            return Vec::new();
        }
        text.lines().map(str::to_owned).collect()
    }
}

impl Now {
    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Stall(time) => self.stalled_until = Some(Instant::now() + time),
            Fault::Full(time) => self.full_until = Some(Instant::now() + time),
            Fault::FailSync => self.sync_fails = true,
        }
    }

    fn stall(&self) {
        if let Some(until) = self.stalled_until {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }

    fn check_room(&self, name: &str) -> Result<(), StorageError> {
        match self.full_until {
            Some(until) if Instant::now() < until => Err(StorageError::NoSpace(name.to_owned())),
            _ => Ok(()),
        }
    }
}

// === impl FaultyStorage ===

impl<S: Storage> FaultyStorage<S> {
    /// The faults that are asked for in that `dataDir`.
    pub(crate) fn new(below: S, data_dir: &Path) -> Self {
        let faults = Faults {
            file: data_dir.join(FILE),
            now: Mutex::default(),
        };
        Self {
            below,
            faults: Arc::new(faults),
        }
    }

    /// Waits while the disk hangs; then what else is wrong with it.
    fn change(&self) -> Now {
        let now = self.faults.now();
        now.stall();
        now
    }

    fn check_sync(&self, name: &str) -> Result<(), StorageError> {
        match self.change().sync_fails {
            true => Err(StorageError::Io(format!(
                "fdatasync of {name} failed, as {FILE} asked"
            ))),
            false => Ok(()),
        }
    }
}

impl<S: Storage> Storage for FaultyStorage<S> {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.below.list()
    }

    fn len(&self, name: &str) -> Result<u64, StorageError> {
        self.below.len(name)
    }

    fn create(&self, name: &str) -> Result<(), StorageError> {
        self.change().check_room(name)?;
        self.below.create(name)
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let now = self.change();
        if at + bytes.len() as u64 > self.below.len(name)? {
            now.check_room(name)?;
        }
        self.below.write_at(name, at, bytes)
    }

    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError> {
        self.below.read_at(name, at, length)
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        self.check_sync(name)?;
        self.below.sync(name)
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.check_sync(".")?;
        self.below.sync_dir()
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.change();
        self.below.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.change();
        self.below.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use tandemmq_journal::{MemStorage, contract_tests};

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn without_a_file_it_keeps_the_contract_of_storage() {
        let folder = TempDir::new();
        contract_tests::check(|| FaultyStorage::new(MemStorage::new(), folder.path()));
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let time = Duration::from_millis(1_500);
        for fault in [Fault::Stall(time), Fault::Full(time), Fault::FailSync] {
            assert_eq!(Fault::parse(fault.line().trim_end()), Ok(fault));
        }
        for line in ["", "stall", "stall x", "full 1h", "burn"] {
            assert!(
                Fault::parse(line).unwrap_err().contains("allowed"),
                "{line}"
            );
        }
    }

    #[test]
    fn one_sync_fails_and_the_file_is_gone() {
        let folder = TempDir::new();
        let storage = FaultyStorage::new(MemStorage::new(), folder.path());
        storage.create("a").unwrap();
        Fault::FailSync.ask(folder.path()).unwrap();
        assert!(matches!(storage.sync("a"), Err(StorageError::Io(_))));
        assert!(storage.sync("a").is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_takes_only_what_does_not_grow() {
        let folder = TempDir::new();
        let storage = FaultyStorage::new(MemStorage::new(), folder.path());
        storage.create("a").unwrap();
        storage.write_at("a", 0, b"123").unwrap();
        Fault::Full(Duration::from_secs(60))
            .ask(folder.path())
            .unwrap();
        let no_space = |name: &str| Err(StorageError::NoSpace(name.to_owned()));
        assert_eq!(storage.create("b"), no_space("b"));
        assert_eq!(storage.write_at("a", 1, b"234"), no_space("a"));
        assert_eq!(storage.write_at("a", 0, b"321"), Ok(()));
        Fault::Full(Duration::ZERO).ask(folder.path()).unwrap();
        assert_eq!(storage.create("b"), Ok(()));
    }

    #[test]
    fn a_stalled_disk_waits_and_still_reads() {
        let folder = TempDir::new();
        let storage = FaultyStorage::new(MemStorage::new(), folder.path());
        storage.create("a").unwrap();
        let time = Duration::from_millis(80);
        Fault::Stall(time).ask(folder.path()).unwrap();
        let begun = Instant::now();
        storage.write_at("a", 0, b"1").unwrap();
        assert!(begun.elapsed() >= time);
        assert_eq!(&storage.read_at("a", 0, 9).unwrap()[..], b"1");
    }
}
