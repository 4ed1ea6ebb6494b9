//! What a member finds on its disk at a start, and what it makes of it.
//!
//! Batches that follow one another are taken. Where something else stops the walk, three facts
//! decide (`TABLE`): what stands there, whether the place is below the durable mark, and whether
//! the next segment goes on exactly there.
//!
//! Behind the end everything is zeroed. Of what is kept, the part beyond the durable mark is
//! rewritten with the same bytes and synced before it counts: after a crash in the middle of a
//! failing fdatasync the page cache may show bytes that the disk does not have (H11).
//! What is below the mark was acknowledged: it is never cut. A member that finds it damaged stores
//! that first, keeps every file, and has no vote.
//!
//! Before anything is touched the headers of all files are asked for their format: a volume that
//! holds one that is not understood is left as it is.
//!
//! With a checkpoint the walk begins at the segment that goes on behind it; a damaged one is never
//! taken for "nothing was there": the one before it serves, and else the whole log is set aside.

mod formats;
mod open;
mod walk;

use tandemmq_model::{Bytes, Offset};

use crate::checkpoint::Checkpoint;
use crate::control::{self, Control, LogState, Stored};
use crate::format::{FORMAT, FormatError};
use crate::formats::Formats;
use crate::identity::{self, Identity, Witness};
use crate::index::{EpochStartAt, SharedIndex};
use crate::journal::JournalConfig;
use crate::manifest::Manifest;
use crate::segment::{self, Found, PIECE};
use crate::set_aside::{self, SetAside};
use crate::storage::{Storage, StorageError};

/// Why a volume cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// There is a journal, but nothing says whose.
    #[error("the identity file is missing or damaged, but there is a journal: not touched")]
    NoIdentity,
    /// Written by a later version.
    #[error(
        "the journal has format {found}, this version understands up to {understood}: start the \
         newer version again"
    )]
    Newer {
        /// The greatest format in it.
        found: u16,
        /// The greatest that is understood.
        understood: u16,
    },
    /// A record that must not be skipped and is of a kind this version does not know.
    #[error(
        "record {offset} is of kind {kind}, which this version must not skip and does not know; \
         start a later one"
    )]
    UnknownRecord {
        /// Its offset.
        offset: Offset,
        /// Its kind.
        kind: u8,
    },
    /// A segment of another group lies among the others.
    #[error("segment {0} belongs to another group: not touched")]
    Foreign(u64),
    /// The disk failed.
    #[error("reading the journal: {0}")]
    Storage(#[from] StorageError),
}

/// What was found, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Batches taken.
    pub batches: u64,
    /// Batches beyond the durable mark, rewritten and synced.
    pub rewritten: u64,
    /// Something behind the end was zeroed.
    pub torn: bool,
    /// Offset before which a damage below the durable mark ends the log.
    pub damaged_at: Option<Offset>,
    /// The newest checkpoint was damaged; the one before it served.
    pub checkpoint_lost: bool,
    /// The whole log was set aside: it was damaged where no part of it can serve.
    pub set_aside: bool,
}

/// A member as its disk knows it. Everything in the log is synced.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Who it is.
    pub identity: Identity,
    /// What it promised, and whether its log may be trusted.
    pub control: Control,
    /// What it remembers of its peers.
    pub witness: Vec<Witness>,
    /// What was found.
    pub report: Report,
    /// What the log before it means, where it does not begin with the first record.
    pub checkpoint: Option<Checkpoint>,
    /// Config records of the log behind the checkpoint.
    pub configs: Vec<(Offset, Bytes)>,
    pub(crate) stored: Stored,
    pub(crate) manifest: Manifest,
    pub(crate) index: SharedIndex,
    pub(crate) epochs: Vec<EpochStartAt>,
    pub(crate) formats: Formats,
    pub(crate) current_bytes: u64,
    /// Bytes of the batches behind the checkpoint.
    pub(crate) log_bytes: u64,
    pub(crate) side: Side,
    pub(crate) files: Files,
}

/// Survivors that a peer sent for an installation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Side {
    /// Their files, the first one of number 1.
    pub(crate) files: Vec<SideFile>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SideFile {
    pub(crate) first: Offset,
    pub(crate) last: Offset,
    /// Where its batches end.
    pub(crate) end: u64,
    /// That of its header.
    pub(crate) format: u16,
}

impl Side {
    /// The last record of all.
    pub(crate) fn last(&self) -> Offset {
        self.files.last().map_or(Offset::ZERO, |file| file.last)
    }
}

/// What else lies in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Files {
    pub(crate) spares: Vec<u64>,
    /// Bytes of segments, survivors and spares.
    pub(crate) used: u64,
    /// Number of the next file with survivors.
    pub(crate) next_survivors: u64,
    /// The file that makes room for a checkpoint on a full disk is there.
    pub(crate) has_reserve: bool,
}

impl Recovered {
    /// Offset of the last record.
    pub fn last(&self) -> Offset {
        self.index.lock().end.last
    }

    /// The newest checkpoint's offset; 0 without one.
    pub fn checkpoint_offset(&self) -> Offset {
        self.checkpoint
            .as_ref()
            .map_or(Offset::ZERO, |checkpoint| checkpoint.head.offset)
    }
}

/// What stands where the walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Zero,
    Bad,
    Newer(u16),
}

/// What is done where the walk stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    NextSegment,
    End,
    TornTail,
    Damaged,
    /// A later version must be started.
    Refuse,
}

/// One row: what stands there, does the next segment go on, is it below the mark; none = any.
struct Row {
    stands: Option<Kind>,
    goes_on: Option<bool>,
    below_mark: Option<bool>,
    step: Step,
}

/// `Stands` without its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zero,
    Bad,
    Newer,
}

/// Exactly one row fits each case; a test walks them all.
#[rustfmt::skip]
const TABLE: [Row; 6] = [
    Row { stands: Some(Kind::Newer), goes_on: None,        below_mark: None,        step: Step::Refuse },
    Row { stands: Some(Kind::Zero),  goes_on: Some(true),  below_mark: None,        step: Step::NextSegment },
    Row { stands: Some(Kind::Bad),   goes_on: Some(true),  below_mark: None,        step: Step::NextSegment },
    Row { stands: Some(Kind::Zero),  goes_on: Some(false), below_mark: Some(false), step: Step::End },
    Row { stands: Some(Kind::Bad),   goes_on: Some(false), below_mark: Some(false), step: Step::TornTail },
    Row { stands: None, goes_on: Some(false), below_mark: Some(true), step: Step::Damaged },
];

impl Row {
    fn fits(&self, kind: Kind, goes_on: bool, below_mark: bool) -> bool {
        let any_but_newer = self.stands.is_none() && kind != Kind::Newer;
        (any_but_newer || self.stands == Some(kind))
            && self.goes_on.is_none_or(|wanted| wanted == goes_on)
            && self.below_mark.is_none_or(|wanted| wanted == below_mark)
    }
}

impl Stands {
    /// A batch that does not follow the last one is as bad as no batch.
    const fn of(found: &Found) -> Self {
        match found {
            Found::Zero => Self::Zero,
            Found::Bad(FormatError::Newer(format)) => Self::Newer(*format),
            Found::Batch(_) | Found::Bad(_) => Self::Bad,
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Zero => Kind::Zero,
            Self::Bad => Kind::Bad,
            Self::Newer(_) => Kind::Newer,
        }
    }
}

fn decide(kind: Kind, goes_on: bool, below_mark: bool) -> Step {
    let row = TABLE.iter().find(|row| row.fits(kind, goes_on, below_mark));
    row.expect("a test walks every case").step
}

impl RecoverError {
    /// Of a format that this version does not know at all.
    const fn newer(found: u16) -> Self {
        Self::Newer {
            found,
            understood: FORMAT,
        }
    }
}

/// Reads a volume, mends its unsure tail, says what it holds. None: a blank volume.
pub fn recover<S: Storage>(
    storage: &S,
    config: &JournalConfig,
) -> Result<Option<Recovered>, RecoverError> {
    formats::check(storage, config.format_max)?;
    let aside = set_aside::finish(storage)?;
    let names = storage.list()?;
    let identity = match identity::read(storage)? {
        // A volume is formatted control file first: one without an identity was never used.
        None if numbers_of(&names, "journal").is_empty() => return Ok(None),
        None | Some(None) => return Err(RecoverError::NoIdentity),
        Some(Some(identity)) => identity,
    };
    let stored = read_control(storage, names.iter().any(|name| name == control::FILE))?;
    let witness = match storage.read_at(identity::WITNESS_FILE, 0, PIECE) {
        Ok(bytes) => identity::parse_witness(&bytes),
        Err(StorageError::NotFound(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let Some(mut log) = open::open(storage, stored, &identity)? else {
        // Damaged where no part of it can serve: nothing of it is read as log again.
        set_aside::begin(storage, SetAside::Log)?;
        return recover(storage, config);
    };
    log.report.set_aside = aside == Some(SetAside::Log);
    // The manifest as found is the one on the disk before anything goes that it does not list.
    storage.sync_dir()?;
    let files = tidy(storage, config, &log.manifest)?;
    let side = open::side(storage)?;
    Ok(Some(log.finish(identity, witness, files, side)))
}

pub(crate) fn numbers_of(names: &[String], kind: &str) -> Vec<u64> {
    names
        .iter()
        .filter_map(|name| segment::number_in(name, kind))
        .collect()
}

/// A control file that lost a promise makes a member that must not vote.
fn read_control<S: Storage>(storage: &S, exists: bool) -> Result<Stored, StorageError> {
    let lost = |known: Control| Control {
        log_state: LogState::DataLoss,
        ..known
    };
    if !exists {
        return control::create(storage, lost(Control::BLANK));
    }
    let mut stored = match control::newest(control::read(storage)?) {
        // H11 holds here too: after a failed fdatasync the page cache may show a promise that the
        // disk does not have. It is stored again before anybody hears of it.
        control::Found::Sound(stored) | control::Found::Restore(stored) => stored,
        control::Found::Lost(Some(known)) => Stored {
            control: lost(known.control),
            ..known
        },
        control::Found::Lost(None) => return control::create(storage, lost(Control::BLANK)),
    };
    control::write_twice(storage, &mut stored)?;
    Ok(stored)
}

/// Removes what no manifest lists and half-made files; what else is there.
fn tidy<S: Storage>(
    storage: &S,
    config: &JournalConfig,
    manifest: &Manifest,
) -> Result<Files, StorageError> {
    let mut files = Files::default();
    for name in storage.list()? {
        if set_aside::is_aside(&name) {
            continue;
        }
        let bytes = storage.len(&name)?;
        let spare = segment::number_in(&name, "spare");
        let unfit = spare.is_some() && bytes != u64::from(config.segment_bytes);
        if name.ends_with(".tmp") || unfit || open::is_garbage(&name, manifest) {
            storage.remove(&name)?;
            continue;
        }
        files.spares.extend(spare);
        files.has_reserve |= name == "reserve";
        let survivors = segment::number_in(&name, "survivors");
        files.next_survivors = files.next_survivors.max(survivors.unwrap_or(0));
        if spare.or(survivors).is_some() || segment::number_in(&name, "journal").is_some() {
            files.used += bytes;
        }
    }
    files.next_survivors += 1;
    storage.sync_dir()?;
    Ok(files)
}

#[cfg(test)]
mod tests;
