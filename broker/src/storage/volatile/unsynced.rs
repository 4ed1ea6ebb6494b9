//! The sectors of one file that the disk below does not have yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tandemmq_journal::{Storage, StorageError};

use crate::chance::Chance;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = SECTOR as usize;

/// Sectors that follow one another and are written down by one call. Many enough that 1 MiB takes 16
/// calls, few enough that a kill in between tears it.
const RUN_SECTORS_MAX: u64 = 128;

/// A file's length as readers see it, and its unsynced sectors.
#[derive(Debug)]
pub(super) struct Unsynced {
    length: u64,
    sectors: BTreeMap<u64, Box<[u8; SECTOR_BYTES]>>,
}

impl Unsynced {
    /// All of a file of that length is below.
    pub(super) const fn new(length: u64) -> Self {
        Self {
            length,
            sectors: BTreeMap::new(),
        }
    }

    /// The file's length.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.sectors.len() * SECTOR_BYTES
    }

    /// Numbers of the unsynced sectors.
    pub(super) fn sectors(&self) -> impl Iterator<Item = u64> {
        self.sectors.keys().copied()
    }

    /// Writes into memory.
    pub(super) fn write(
        &mut self,
        below: &impl Storage,
        name: &str,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let end = at + bytes.len() as u64;
        for number in at / SECTOR..end.div_ceil(SECTOR) {
            let start = number * SECTOR;
            let from = at.max(start);
            let to = end.min(start + SECTOR);
            let sector = self.sector(below, name, number, to - from < SECTOR)?;
            sector[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
        }
        self.length = self.length.max(end);
        Ok(())
    }

    /// A sector in memory; with what the disk has of it, if that matters.
    fn sector(
        &mut self,
        below: &impl Storage,
        name: &str,
        number: u64,
        keeps_old: bool,
    ) -> Result<&mut [u8; SECTOR_BYTES], StorageError> {
        match self.sectors.entry(number) {
            Entry::Occupied(sector) => Ok(sector.into_mut()),
            Entry::Vacant(place) => {
                let mut sector = Box::new([0; SECTOR_BYTES]);
                if keeps_old {
                    let old = below.read_at(name, number * SECTOR, SECTOR_BYTES)?;
                    sector[..old.len()].copy_from_slice(&old);
                }
                Ok(place.insert(sector))
            }
        }
    }

    /// Reads what was written, synced or not.
    pub(super) fn read(
        &self,
        below: &impl Storage,
        name: &str,
        at: u64,
        length: usize,
    ) -> Result<Bytes, StorageError> {
        let end = self.length.min(at.saturating_add(length as u64));
        if at >= end {
            return Ok(Bytes::new());
        }
        let stored = below.read_at(name, at, (end - at) as usize)?;
        let touched = at / SECTOR..end.div_ceil(SECTOR);
        if stored.len() as u64 == end - at && self.sectors.range(touched.clone()).next().is_none() {
            return Ok(stored);
        }
        let mut all = BytesMut::zeroed((end - at) as usize);
        all[..stored.len()].copy_from_slice(&stored);
        for (number, sector) in self.sectors.range(touched) {
            let start = number * SECTOR;
            let Range {
                start: from,
                end: to,
            } = at.max(start)..end.min(start + SECTOR);
            all[(from - at) as usize..(to - at) as usize]
                .copy_from_slice(&sector[(from - start) as usize..(to - start) as usize]);
        }
        Ok(all.freeze())
    }

    /// Writes these sectors down, in this order, as far as they are here.
    pub(super) fn write_some_down(
        &mut self,
        below: &impl Storage,
        name: &str,
        numbers: Vec<u64>,
    ) -> Result<(), StorageError> {
        for number in numbers {
            if self.sectors.contains_key(&number) {
                self.write_run_down(below, name, number..number + 1)?;
            }
        }
        Ok(())
    }

    /// Writes all of them down, in pieces and in any order.
    pub(super) fn write_down(
        &mut self,
        below: &impl Storage,
        name: &str,
        chance: &mut Chance,
    ) -> Result<(), StorageError> {
        let mut runs = self.runs();
        chance.shuffle(&mut runs);
        for run in runs {
            self.write_run_down(below, name, run)?;
        }
        Ok(())
    }

    fn runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for number in self.sectors() {
            match runs.last_mut() {
                Some(run) if run.end == number && number - run.start < RUN_SECTORS_MAX => {
                    run.end += 1;
                }
                _ => runs.push(number..number + 1),
            }
        }
        runs
    }

    fn write_run_down(
        &mut self,
        below: &impl Storage,
        name: &str,
        run: Range<u64>,
    ) -> Result<(), StorageError> {
        let start = run.start * SECTOR;
        let mut bytes =
            Vec::with_capacity(self.sectors.len().min(RUN_SECTORS_MAX as usize) * SECTOR_BYTES);
        for number in run.clone() {
            bytes.extend_from_slice(&self.sectors[&number][..]);
        }
        bytes.truncate((self.length - start) as usize);
        below.write_at(name, start, &bytes)?;
        for number in run {
            self.sectors.remove(&number);
        }
        Ok(())
    }
}
