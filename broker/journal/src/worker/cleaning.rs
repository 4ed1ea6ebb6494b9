//! Cleaning up behind a checkpoint: old files without a live record go, and the survivors of mostly
//! dead ones are copied together, so that one old message never pins the disk.
//!
//! ```text
//! plan: bytes live in each old file --> manifest without the dead ones
//!   --> per run of sparse neighbours: copy, sync, manifest with the copy in their place
//!   --> files removed or recycled, one a step
//! ```
//! Every kept file is at least half alive afterwards. A file is removed only when no manifest lists
//! it; a crash in between leaves garbage that the next start removes.

use std::collections::VecDeque;

use tandemmq_model::Offset;

use super::checkpointing::Picture;
use super::{DiskWorker, Task};
use crate::batch::Batch;
use crate::format::{BATCH_HEADER, RECORD_HEADER};
use crate::manifest::{OldFile, OldKind};
use crate::mutants::{self, Mutant};
use crate::read::{ReadDone, ReadOp, Reader, Wanted};
use crate::segment::{self, DATA_AT, SegmentHeader};
use crate::storage::{Storage, StorageError};

/// Bytes copied in one step: a read, a write and an fdatasync of some milliseconds in all.
const COPY_BYTES: usize = 512 * 1024;

/// A cleaning under way.
#[derive(Debug)]
pub(super) struct Cleaning {
    /// None once everything is planned.
    image: Option<Picture>,
    runs: VecDeque<Run>,
    copying: Option<Copying>,
    garbage: VecDeque<OldFile>,
    /// Other files to be removed.
    pub(super) files: VecDeque<String>,
}

/// Neighbours whose survivors go into one file.
#[derive(Debug)]
struct Run {
    files: Vec<OldFile>,
    survivors: Vec<Offset>,
}

#[derive(Debug)]
struct Copying {
    run: Run,
    number: u64,
    copied: usize,
    position: u64,
    span: Option<(Offset, Offset)>,
}

/// What of an old file is alive.
#[derive(Debug, Clone, Copy, Default)]
struct Alive {
    records: u64,
    bytes: u64,
}

impl Cleaning {
    pub(super) const fn new(image: Picture) -> Self {
        Self {
            image: Some(image),
            runs: VecDeque::new(),
            copying: None,
            garbage: VecDeque::new(),
            files: VecDeque::new(),
        }
    }

    /// Only files to be removed.
    pub(super) fn of(garbage: Vec<OldFile>, files: Vec<String>) -> Self {
        Self {
            image: None,
            runs: VecDeque::new(),
            copying: None,
            garbage: garbage.into(),
            files: files.into(),
        }
    }
}

impl<S: Storage> DiskWorker<S> {
    pub(super) fn step_cleaning(&mut self, mut task: Cleaning) -> Result<(), StorageError> {
        if let Some(image) = task.image.take() {
            self.plan(&mut task, &image)?;
        } else if let Some(file) = task.garbage.pop_front() {
            self.discard(&file)?;
        } else if let Some(name) = task.files.pop_front() {
            self.remove_quietly(&name)?;
        } else if let Some(copying) = task.copying.take() {
            task.copying = self.copy(copying, &mut task.garbage)?;
        } else if let Some(run) = task.runs.pop_front() {
            task.copying = Some(self.begin_copy(run)?);
        } else {
            return Ok(());
        }
        self.task = Some(Task::Cleaning(task));
        Ok(())
    }

    /// Drops what is dead, lists what is sparse.
    fn plan(&mut self, task: &mut Cleaning, image: &Picture) -> Result<(), StorageError> {
        let files = self.manifest.old.clone();
        let mut alive = vec![Alive::default(); files.len()];
        let mut at = 0;
        image.live(&mut |offset, length| {
            if let Some(index) = file_of(&files, offset, &mut at) {
                alive[index].records += 1;
                alive[index].bytes += u64::from(length) + RECORD_HEADER as u64;
            }
        });
        if mutants::on(Mutant::LiveTakenForDead) {
            alive.iter_mut().for_each(|alive| *alive = Alive::default());
        }
        self.plan_runs(task, image, &files, &alive)?;
        let kept = files
            .iter()
            .zip(&alive)
            .filter(|(_, alive)| alive.records > 0);
        let kept: Vec<OldFile> = kept.map(|(file, _)| *file).collect();
        let dead = files
            .iter()
            .zip(&alive)
            .filter(|(_, alive)| alive.records == 0);
        task.garbage.extend(dead.map(|(file, _)| *file));
        if kept.len() < files.len() {
            self.list_old(kept)?;
        }
        Ok(())
    }

    fn plan_runs(
        &self,
        task: &mut Cleaning,
        image: &Picture,
        files: &[OldFile],
        alive: &[Alive],
    ) -> Result<(), StorageError> {
        let (mut run, mut bytes) = (Vec::new(), 0);
        let mut runs = Vec::new();
        for (file, alive) in files.iter().zip(alive) {
            if alive.records == 0 {
                continue;
            }
            let sparse = alive.bytes * 2 < self.storage.len(&file.name())?;
            let full = bytes + alive.bytes > u64::from(self.config.segment_bytes);
            if (!sparse || full) && !run.is_empty() {
                runs.push(std::mem::take(&mut run));
                bytes = 0;
            }
            if sparse {
                run.push(*file);
                bytes += alive.bytes;
            }
        }
        runs.extend((!run.is_empty()).then_some(run));
        task.runs = with_survivors(runs, image);
        Ok(())
    }

    fn list_old(&mut self, files: Vec<OldFile>) -> Result<(), StorageError> {
        let mut manifest = self.manifest.clone();
        manifest.old = files;
        self.with_reserve(|this| manifest.write(&this.storage))?;
        self.manifest = manifest;
        self.index.lock().set_old(&self.manifest.old);
        Ok(())
    }

    /// No manifest lists it any more.
    fn discard(&mut self, file: &OldFile) -> Result<(), StorageError> {
        let name = file.name();
        if file.kind == OldKind::Segment && self.recycle(&name)? {
            return Ok(());
        }
        let bytes = self.storage.len(&name)?;
        self.storage.remove(&name)?;
        self.used -= bytes.min(self.used);
        // There is room again, as far as is known.
        self.disk_full = false;
        self.blocked = false;
        Ok(())
    }

    // === copying forward ===

    fn begin_copy(&mut self, run: Run) -> Result<Copying, StorageError> {
        let number = self.next_survivors;
        self.next_survivors += 1;
        Ok(Copying {
            run,
            number,
            copied: 0,
            position: DATA_AT,
            span: None,
        })
    }

    fn copy(
        &mut self,
        mut copying: Copying,
        garbage: &mut VecDeque<OldFile>,
    ) -> Result<Option<Copying>, StorageError> {
        let left = &copying.run.survivors[copying.copied..];
        if left.is_empty() {
            return self.end_copy(copying, garbage).map(|()| None);
        }
        let reader = Reader::over(self.storage.clone(), self.index.clone());
        let op = ReadOp {
            what: Wanted::Survivors {
                offsets: left.to_vec(),
                bytes_max: COPY_BYTES,
            },
        };
        let (batches, to) = match reader.read(&op) {
            ReadDone::Survivors(batches, to) => (batches, to),
            other => {
                self.news.damaged = Some(format!("copying forward: {other:?}"));
                self.remove_quietly(&segment::survivors_name(copying.number))?;
                return Ok(None);
            }
        };
        copying.copied += left.iter().take_while(|offset| **offset <= to).count();
        let name = segment::survivors_name(copying.number);
        let (number, position) = ((copying.number, self.kept_format), copying.position);
        let written =
            self.with_reserve(|this| this.write_survivors(&name, number, position, &batches));
        if let Err(StorageError::NoSpace(_)) = &written {
            self.used -= (copying.position - DATA_AT).min(self.used);
            self.remove_quietly(&name)?;
        }
        let end = written?;
        self.used += end - copying.position;
        copying.position = end;
        copying.span = widen(copying.span, &batches);
        Ok(Some(copying))
    }

    /// Appends batches to a file of survivors, made at the first with that number and format; where
    /// it ends now.
    pub(super) fn write_survivors(
        &self,
        name: &str,
        (number, format): (u64, u16),
        position: u64,
        batches: &[Batch],
    ) -> Result<u64, StorageError> {
        let Some(first) = batches.first() else {
            return Ok(position);
        };
        if position == DATA_AT {
            self.remove_quietly(name)?;
            self.storage.create(name)?;
            let header = SegmentHeader {
                format,
                number,
                base: first.base(),
                epoch: first.epoch(),
                group: self.group,
            };
            self.storage.write_at(name, 0, &header.encode())?;
        }
        let mut at = position;
        for batch in batches {
            self.storage.write_at(name, at, batch.bytes())?;
            at += batch.bytes().len() as u64;
        }
        if !(mutants::on(Mutant::SideNotSynced) && name == segment::side_name(number)) {
            self.storage.sync(name)?;
        }
        Ok(at)
    }

    fn end_copy(
        &mut self,
        copying: Copying,
        garbage: &mut VecDeque<OldFile>,
    ) -> Result<(), StorageError> {
        self.storage.sync_dir()?;
        let copy = copying.span.map(|(first, last)| OldFile {
            kind: OldKind::Survivors,
            number: copying.number,
            first,
            last,
            end: copying.position,
        });
        let replaced = |file: &OldFile| copying.run.files.contains(file);
        let mut files = Vec::with_capacity(self.manifest.old.len());
        let mut copy = copy;
        for file in &self.manifest.old {
            if replaced(file) {
                files.extend(copy.take());
            } else {
                files.push(*file);
            }
        }
        self.list_old(files)?;
        garbage.extend(copying.run.files);
        Ok(())
    }
}

/// The file that may hold that offset; `at` remembers the last answer, as neighbours come together.
fn file_of(files: &[OldFile], offset: Offset, at: &mut usize) -> Option<usize> {
    let holds = |file: &OldFile| file.first <= offset && offset <= file.last;
    if files.get(*at).is_some_and(holds) {
        return Some(*at);
    }
    let next = files.partition_point(|file| file.first <= offset);
    *at = next.checked_sub(1)?;
    holds(&files[*at]).then_some(*at)
}

/// Collects the live offsets of the files of all runs.
fn with_survivors(runs: Vec<Vec<OldFile>>, image: &Picture) -> VecDeque<Run> {
    let files: Vec<OldFile> = runs.iter().flatten().copied().collect();
    let mut survivors = Vec::new();
    let mut at = 0;
    if !files.is_empty() {
        image.live(&mut |offset, _| {
            if file_of(&files, offset, &mut at).is_some() {
                survivors.push(offset);
            }
        });
    }
    survivors.sort_unstable();
    let mut rest = survivors.as_slice();
    let mut all = VecDeque::new();
    for files in runs {
        let last = files.last().map_or(Offset::ZERO, |file| file.last);
        let (mine, others) = rest.split_at(rest.partition_point(|offset| *offset <= last));
        rest = others;
        all.push_back(Run {
            files,
            survivors: mine.to_vec(),
        });
    }
    all
}

fn widen(span: Option<(Offset, Offset)>, batches: &[Batch]) -> Option<(Offset, Offset)> {
    let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
        return span;
    };
    let begin = span.map_or_else(|| first.base(), |(begin, _)| begin);
    Some((begin, last.last()))
}

/// A batch's own bytes count little against the records in it.
const _: () = assert!(BATCH_HEADER < 64, "a survivor's batch is small");
