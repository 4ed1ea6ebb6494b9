//! The disk that a broker's journal lies on: real files, or with `testing.disk` one that loses what
//! was not synced and fails when asked to.

use std::path::Path;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tandemmq_journal::{Storage, StorageError};

use super::FileStorage;
use super::faulty::FaultyStorage;
use super::volatile::VolatileStorage;
use crate::config::{Config, TestingDisk};

/// What a file system writes at the least.
const BLOCK: u64 = 4_096;

/// A disk that counts what is written to it.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    kind: Kind,
    written: Counter,
}

#[derive(Debug, Clone)]
enum Kind {
    /// As it is.
    Files(FileStorage),
    /// For tests.
    Volatile(FaultyStorage<VolatileStorage<FileStorage>>),
}

impl Disk {
    /// Opens that folder as the configuration says; makes it if it is not there. `written` counts
    /// bytes, in whole blocks: what Linux counts in `/proc` is whole folios, up to 2 MiB for each
    /// write.
    pub(crate) fn open(
        config: &Config,
        folder: &Path,
        seed: u64,
        written: Counter,
    ) -> anyhow::Result<Self> {
        let files = FileStorage::open(folder)?;
        let kind = match config.testing.disk {
            TestingDisk::Durable => Kind::Files(files),
            TestingDisk::Volatile => {
                tracing::warn!(
                    seed,
                    "testing.disk is volatile: a kill loses what is not synced"
                );
                let volatile = VolatileStorage::open(files, seed)?;
                Kind::Volatile(FaultyStorage::new(volatile, &config.data_dir))
            }
        };
        Ok(Self { kind, written })
    }
}

/// The same call of whichever it is.
macro_rules! either {
    ($disk:expr, $call:ident($($argument:expr),*)) => {
        match &$disk.kind {
            Kind::Files(files) => files.$call($($argument),*),
            Kind::Volatile(volatile) => volatile.$call($($argument),*),
        }
    };
}

impl Storage for Disk {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        either!(self, list())
    }

    fn len(&self, name: &str) -> Result<u64, StorageError> {
        either!(self, len(name))
    }

    fn create(&self, name: &str) -> Result<(), StorageError> {
        either!(self, create(name))
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StorageError> {
        either!(self, write_at(name, at, bytes))?;
        let blocks = (at + bytes.len() as u64).div_ceil(BLOCK) - at / BLOCK;
        self.written.inc_by(blocks * BLOCK);
        Ok(())
    }

    fn read_at(&self, name: &str, at: u64, length: usize) -> Result<Bytes, StorageError> {
        either!(self, read_at(name, at, length))
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        either!(self, sync(name))
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        either!(self, sync_dir())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        either!(self, rename(from, to))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        either!(self, remove(name))
    }
}
