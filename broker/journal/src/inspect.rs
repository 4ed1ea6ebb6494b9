//! Looking at a volume that no broker uses, without changing a byte of it: `journal verify|dump`.
//!
//! Judged as a start judges it, file by file, but nothing is mended: what a start would take for a
//! torn tail is said to be one, what it would call damage is a problem.

use tandemmq_model::{Epoch, Offset, Record};

use crate::checkpoint;
use crate::control::{self, Control, Found as FoundControl};
use crate::identity::{self, Identity};
use crate::manifest::{FoundManifest, Manifest, OldFile, OldKind};
use crate::recover::numbers_of;
use crate::segment::{self, Cursor, DATA_AT, Found, PIECE, SegmentHeader};
use crate::storage::{Storage, StorageError};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub what: &'static str,
    /// Its first and last record; none without any.
    pub span: Option<(Offset, Offset)>,
    /// Batches, or pieces of a checkpoint.
    pub parts: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// What is worth knowing and no damage.
    pub note: Option<String>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A volume as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Who it is; none: blank, or nothing says whose it is.
    pub identity: Option<Identity>,
    /// Promise, log state, cut mark; none: lost.
    pub control: Option<Control>,
    /// The log is known to be synced up to here.
    pub durable: Offset,
    /// The newest checkpoint.
    pub checkpoint: Option<Offset>,
    /// The record before the log's first one, and the log's last.
    pub log: (Offset, Offset),
    /// The journal's files in the order of their records, then all others that belong to it.
    pub files: Vec<FileReport>,
    /// Files that were set aside: for people.
    pub aside: Vec<String>,
}

impl Inspection {
    /// Everything that is wrong.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|file| Some((file.name.as_str(), file.problem.as_deref()?)))
    }
}

/// What is told of each record.
pub type Each<'a> = &'a mut dyn FnMut(&str, Offset, Epoch, &Record);

/// Reads everything; tells each record that is kept, in the order of the files.
pub fn inspect<S: Storage>(storage: &S, each: Each<'_>) -> Result<Inspection, StorageError> {
    let names = storage.list()?;
    let aside = names.iter().filter(|name| crate::set_aside::is_aside(name));
    let mut found = Inspection {
        identity: None,
        control: None,
        durable: Offset::ZERO,
        checkpoint: None,
        log: (Offset::ZERO, Offset::ZERO),
        files: Vec::new(),
        aside: aside.cloned().collect(),
    };
    found.look_at_member(storage, &names)?;
    let manifest = found.look_at_manifest(storage)?;
    for made in &manifest.checkpoints {
        found.look_at_checkpoint(storage, made.number)?;
    }
    found.checkpoint = manifest.newest().map(|newest| newest.offset);
    for file in &manifest.old {
        found.look_at_old(storage, file, each)?;
    }
    found.look_at_log(storage, &names, &manifest, each)?;
    Ok(found)
}

impl FileReport {
    fn new<S: Storage>(storage: &S, name: &str, what: &'static str) -> Result<Self, StorageError> {
        let bytes = match storage.len(name) {
            Ok(bytes) => bytes,
            Err(StorageError::NotFound(_)) => 0,
            Err(error) => return Err(error),
        };
        Ok(Self {
            name: name.to_owned(),
            what,
            span: None,
            parts: 0,
            bytes,
            note: None,
            problem: None,
        })
    }

    fn wrong(&mut self, text: impl Into<String>) {
        self.problem.get_or_insert_with(|| text.into());
    }
}

impl Inspection {
    fn look_at_member<S: Storage>(
        &mut self,
        storage: &S,
        names: &[String],
    ) -> Result<(), StorageError> {
        for name in [identity::FILE, identity::COPY] {
            if !names.iter().any(|there| there == name) {
                continue;
            }
            let mut report = FileReport::new(storage, name, "identity")?;
            match identity::parse(&storage.read_at(name, 0, 64 * 1024)?) {
                Some(found) => self.identity = self.identity.take().or(Some(found)),
                None => report.wrong("not what was written; the other copy serves if it is sound"),
            }
            self.files.push(report);
        }
        if names.iter().any(|name| name == control::FILE) {
            let mut report = FileReport::new(storage, control::FILE, "promise and log state")?;
            let stored = match control::newest(control::read(storage)?) {
                FoundControl::Sound(stored) => Some(stored),
                FoundControl::Restore(stored) => {
                    report.note =
                        Some("one copy is older or damaged: mended at a start".to_owned());
                    Some(stored)
                }
                FoundControl::Lost(stored) => {
                    report.wrong("both copies of a slot are damaged: a promise may be forgotten");
                    stored
                }
            };
            self.control = stored.map(|stored| stored.control);
            self.durable = stored.map_or(Offset::ZERO, |stored| stored.durable);
            self.files.push(report);
        }
        Ok(())
    }

    fn look_at_manifest<S: Storage>(&mut self, storage: &S) -> Result<Manifest, StorageError> {
        let mut report = FileReport::new(storage, crate::manifest::FILE, "list of files")?;
        let manifest = match Manifest::read(storage)? {
            FoundManifest::None => return Ok(Manifest::default()),
            FoundManifest::Sound(manifest) => manifest,
            FoundManifest::Once(manifest) => {
                report.wrong("one copy is damaged: mended at a start");
                manifest
            }
            FoundManifest::Lost => {
                report.wrong("both copies are damaged: the log is set aside at a start");
                Manifest::default()
            }
        };
        self.files.push(report);
        Ok(manifest)
    }

    fn look_at_checkpoint<S: Storage>(
        &mut self,
        storage: &S,
        number: u64,
    ) -> Result<(), StorageError> {
        let mut report = FileReport::new(storage, &checkpoint::name(number), "checkpoint")?;
        match checkpoint::read(storage, number) {
            Ok(found) => {
                report.span = Some((Offset(1), found.head.offset));
                report.parts = found.image.len() as u64;
            }
            Err(error) => report.wrong(error.to_string()),
        }
        self.files.push(report);
        Ok(())
    }

    fn look_at_old<S: Storage>(
        &mut self,
        storage: &S,
        file: &OldFile,
        each: Each<'_>,
    ) -> Result<(), StorageError> {
        let what = match file.kind {
            OldKind::Segment => "segment before the log",
            OldKind::Survivors => "survivors",
        };
        let mut report = FileReport::new(storage, &file.name(), what)?;
        let end = walk(storage, &mut report, each, |at, _| at < file.end)?;
        if end != file.end {
            report.wrong(format!("ends at byte {end}, should at {}", file.end));
        }
        self.files.push(report);
        Ok(())
    }

    fn look_at_log<S: Storage>(
        &mut self,
        storage: &S,
        names: &[String],
        manifest: &Manifest,
        each: Each<'_>,
    ) -> Result<(), StorageError> {
        let old = |number: &u64| {
            let same = |file: &OldFile| file.kind == OldKind::Segment && file.number == *number;
            manifest.old.iter().any(same)
        };
        let numbers = numbers_of(names, "journal").into_iter();
        let numbers = numbers.filter(|number| *number >= manifest.log_from && !old(number));
        let mut end = None::<Offset>;
        for number in numbers {
            let mut report =
                FileReport::new(storage, &segment::name(number), "segment of the log")?;
            let mut last = end;
            walk(storage, &mut report, each, |_, base| {
                let follows = last.is_none_or(|last| base == last.next());
                last = Some(base);
                follows
            })?;
            let Some((first, to)) = report.span else {
                report.note = Some("no batch yet".to_owned());
                self.files.push(report);
                continue;
            };
            if end.is_some_and(|end| first != end.next()) {
                report.wrong(format!(
                    "begins with {first}, the log before it ends elsewhere"
                ));
            }
            if end.is_none() {
                self.log.0 = Offset(first.0 - 1);
            }
            end = Some(to);
            self.files.push(report);
        }
        let kept = self.checkpoint.unwrap_or_default();
        self.log.1 = end.unwrap_or(kept);
        if end.is_none() {
            self.log.0 = kept;
        }
        self.judge_end();
        Ok(())
    }

    fn judge_end(&mut self) {
        let (end, durable) = (self.log.1, self.durable);
        let last = self.files.last_mut();
        if let Some(last) = last.filter(|_| end < durable) {
            last.wrong(format!(
                "the log ends at {end} and was synced up to {durable}"
            ));
        }
    }
}

/// Walks the batches of one file while `goes_on`; where they end.
fn walk<S: Storage>(
    storage: &S,
    report: &mut FileReport,
    each: Each<'_>,
    mut goes_on: impl FnMut(u64, Offset) -> bool,
) -> Result<u64, StorageError> {
    if report.bytes == 0 {
        report.wrong("it is missing");
        return Ok(0);
    }
    let head = storage.read_at(&report.name, 0, DATA_AT as usize)?;
    if let Err(error) = SegmentHeader::parse(&head) {
        report.wrong(format!("header: {error}"));
    }
    let mut cursor = Cursor::over(storage, report.name.clone(), DATA_AT, PIECE);
    loop {
        let at = cursor.position();
        match cursor.next()? {
            Found::Batch(batch) => {
                let fits = report.span.is_none_or(|(_, last)| batch.base() > last);
                if !fits || report.span.is_none() && !goes_on(at, batch.base()) {
                    return Ok(at);
                }
                let first = report.span.map_or_else(|| batch.base(), |(first, _)| first);
                report.span = Some((first, batch.last()));
                report.parts += 1;
                for (offset, record) in batch.records() {
                    each(&report.name, offset, batch.epoch(), &record);
                }
            }
            Found::Zero => return Ok(at),
            Found::Bad(error) => {
                report.note = Some(format!("byte {at}: {error}"));
                return Ok(at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
