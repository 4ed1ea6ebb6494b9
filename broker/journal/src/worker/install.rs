//! Row 12, the disk's part: survivors from a peer beside the log, then one switch to them and their
//! checkpoint.
//!
//! ```text
//! side-1, side-2, ... (synced as they come; a start finds them again)
//! checkpoint of the same offset, by steps --> Prepared
//! Switch: mark not above it, side files renamed, folder synced, manifest --> the new journal
//! ```
//! Of the old journal nothing is left then: its files are garbage. A crash before the manifest
//! leaves the old journal, one after it the new one.

use std::collections::BTreeSet;

use tandemmq_model::Offset;

use super::checkpointing::Prepared;
use super::cleaning::Cleaning;
use super::{DiskWorker, Task};
use crate::batch::Batch;
use crate::checkpoint;
use crate::manifest::{Manifest, OldFile, OldKind};
use crate::mutants::{self, Mutant};
use crate::recover::{SideFile, numbers_of};
use crate::segment::{self, DATA_AT};
use crate::storage::{Storage, StorageError};

impl<S: Storage> DiskWorker<S> {
    /// Appends what a peer sent; what is there already is not written again. No room: what came is
    /// not kept, and the installation begins again later.
    pub(super) fn store_side(&mut self, batches: &[Batch]) -> Result<(), StorageError> {
        let last = self.side.last();
        let fresh = batches.iter().filter(|batch| batch.base() > last);
        let fresh: Vec<Batch> = fresh.cloned().collect();
        let (Some(first), Some(end)) = (fresh.first(), fresh.last()) else {
            // Sent again, as the installation was begun again: what waits for it must hear of it.
            self.news.side = Some(last);
            return Ok(());
        };
        let (first, last) = (first.base(), end.last());
        let full = |file: &SideFile| file.end >= u64::from(self.config.segment_bytes);
        let format = fresh.iter().map(Batch::format).max().unwrap_or_default();
        let fits = |file: &SideFile| !full(file) && file.format >= format;
        let file = self.side.files.last().copied().filter(fits);
        let format = file.map_or(format, |file| file.format);
        let number = self.side.files.len() as u64 + u64::from(file.is_none());
        let name = segment::side_name(number);
        let position = file.map_or(DATA_AT, |file| file.end);
        let write =
            |this: &mut Self| this.write_survivors(&name, (number, format), position, &fresh);
        match self.with_reserve(write) {
            Ok(end) => {
                match file {
                    Some(_) => drop(self.side.files.pop()),
                    None => self.storage.sync_dir()?,
                }
                let first = file.map_or(first, |file| file.first);
                self.side.files.push(SideFile {
                    first,
                    last,
                    end,
                    format,
                });
                self.news.side = Some(last);
                Ok(())
            }
            Err(StorageError::NoSpace(_)) => {
                self.news.side_failed = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The installation is not wanted any more, or not now. What a peer sent stays for the next.
    pub(super) fn abandon_install(&mut self) -> Result<(), StorageError> {
        if let Some(Task::Prepared(prepared)) = &self.task {
            let name = checkpoint::name(prepared.made.number);
            self.remove_quietly(&name)?;
        }
        if !matches!(self.task, Some(Task::Cleaning(_))) {
            self.task = None;
        }
        Ok(())
    }

    /// The switch. Not prepared: nothing happens, and nothing is told.
    pub(super) fn switch(&mut self, touched: &mut BTreeSet<String>) -> Result<(), StorageError> {
        let Some(Task::Prepared(prepared)) = self.task.take() else {
            return Ok(());
        };
        let Prepared { made, format } = prepared;
        // The few blocks of control file and manifest must be there, also on a full disk.
        self.give_up_reserve()?;
        self.drop_filling()?;
        if self.stored.durable > made.offset {
            self.stored.durable = made.offset;
            self.stored.sequence += 1;
            crate::control::write(&self.storage, &self.stored)?;
        }
        let before = std::mem::take(&mut self.manifest);
        let old = self.take_side()?;
        let next = self.index.lock().next_segment;
        self.manifest = Manifest {
            sequence: before.sequence,
            log_from: next,
            checkpoints: vec![made],
            old,
        };
        if mutants::on(Mutant::SwitchNotDurable) {
            self.manifest.sequence += 1;
        } else {
            self.manifest.write(&self.storage)?;
        }
        let left = self.left_of(&before)?;
        let mut index = self.index.lock();
        index.begin_change();
        index.restart((made.offset, made.crc), &self.manifest.old);
        index.checkpoints = vec![made.number];
        drop(index);
        touched.clear();
        self.deferred.clear();
        self.current_bytes = 0;
        self.format = format;
        self.kept_format = format;
        self.synced = made.offset;
        self.store_control()?;
        self.news.switched = Some(made);
        self.task = Some(Task::Cleaning(left));
        Ok(())
    }

    /// The side files become files of survivors.
    fn take_side(&mut self) -> Result<Vec<OldFile>, StorageError> {
        let side = std::mem::take(&mut self.side);
        let mut old = Vec::new();
        for (place, part) in side.files.iter().enumerate() {
            let name = segment::side_name(place as u64 + 1);
            let number = self.next_survivors;
            self.next_survivors += 1;
            let file = OldFile {
                kind: OldKind::Survivors,
                number,
                first: part.first,
                last: part.last,
                end: part.end,
            };
            self.renumber(&name, number)?;
            self.used += self.storage.len(&name)?;
            self.storage.rename(&name, &file.name())?;
            old.push(file);
        }
        self.storage.sync_dir()?;
        Ok(old)
    }

    /// The header names the file it stands in.
    fn renumber(&self, name: &str, number: u64) -> Result<(), StorageError> {
        let head = self.storage.read_at(name, 0, DATA_AT as usize)?;
        let header = segment::SegmentHeader::parse(&head)
            .map_err(|error| StorageError::Io(format!("{name}: {error}")))?;
        let header = segment::SegmentHeader { number, ..header };
        self.storage.write_at(name, 0, &header.encode())?;
        if mutants::on(Mutant::SideNotSynced) {
            return Ok(());
        }
        self.storage.sync(name)
    }

    /// Files of the journal that was switched away from.
    fn left_of(&self, before: &Manifest) -> Result<Cleaning, StorageError> {
        let mut files = Vec::new();
        let names = self.storage.list()?;
        for number in numbers_of(&names, "journal") {
            files.push(OldFile {
                kind: OldKind::Segment,
                number,
                first: Offset::ZERO,
                last: Offset::ZERO,
                end: 0,
            });
        }
        let survivors = before
            .old
            .iter()
            .filter(|file| file.kind == OldKind::Survivors);
        files.extend(survivors);
        let checkpoints = before.checkpoints.iter();
        let names = checkpoints.map(|checkpoint| checkpoint::name(checkpoint.number));
        Ok(Cleaning::of(files, names.collect()))
    }
}
