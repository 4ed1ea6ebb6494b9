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

use tandemmq_model::{GroupId, Offset};

use crate::batch::Batch;
use crate::control::{self, Control, LogState, Stored};
use crate::format::FormatError;
use crate::identity::{self, Identity, Witness};
use crate::index::{EpochStartAt, SharedIndex};
use crate::journal::JournalConfig;
use crate::mutants::{self, Mutant};
use crate::segment::{self, Cursor, DATA_AT, Found, PIECE, Place, SegmentHeader};
use crate::storage::{Storage, StorageError};

/// Why a volume cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// There is a journal, but nothing says whose.
    #[error("the identity file is missing or damaged, but there is a journal: not touched")]
    NoIdentity,
    /// Written by a later version.
    #[error("the journal has format {0}; this version cannot read it, start a later one")]
    Newer(u16),
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
    pub(crate) stored: Stored,
    pub(crate) index: SharedIndex,
    pub(crate) epochs: Vec<EpochStartAt>,
    pub(crate) current_bytes: u64,
    pub(crate) spares: Vec<u64>,
    pub(crate) used: u64,
}

impl Recovered {
    /// Offset of the last record.
    pub fn last(&self) -> Offset {
        self.index.lock().end.last
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

/// Reads a volume, mends its unsure tail, says what it holds. None: a blank volume.
pub fn recover<S: Storage>(
    storage: &S,
    config: &JournalConfig,
) -> Result<Option<Recovered>, RecoverError> {
    let names = storage.list()?;
    let has = |name: &str| names.iter().any(|there| there == name);
    let numbers = numbers_of(&names, "journal");
    if !has(identity::FILE) {
        // A volume is formatted control file first: one without an identity was never used.
        return if numbers.is_empty() {
            Ok(None)
        } else {
            Err(RecoverError::NoIdentity)
        };
    }
    let bytes = storage.read_at(identity::FILE, 0, PIECE)?;
    let identity = identity::parse(&bytes).ok_or(RecoverError::NoIdentity)?;
    let stored = read_control(storage, has(control::FILE))?;
    let witness = if has(identity::WITNESS_FILE) {
        identity::parse_witness(&storage.read_at(identity::WITNESS_FILE, 0, PIECE)?)
    } else {
        Vec::new()
    };
    let group = identity.group.as_ref().map(|group| group.id);
    let mut walk = Walk::new(storage, stored, &numbers, group);
    walk.run()?;
    let (spares, used) = tidy(storage, config)?;
    Ok(Some(walk.finish(identity, witness, spares, used)))
}

fn numbers_of(names: &[String], kind: &str) -> Vec<u64> {
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

/// Removes half-made files; what spares there are, and the bytes of all files.
fn tidy<S: Storage>(storage: &S, config: &JournalConfig) -> Result<(Vec<u64>, u64), StorageError> {
    let (mut spares, mut used) = (Vec::new(), 0);
    for name in storage.list()? {
        let bytes = storage.len(&name)?;
        let spare = segment::number_in(&name, "spare");
        let unfit = spare.is_some() && bytes != u64::from(config.segment_bytes);
        if name.ends_with(".tmp") || unfit {
            storage.remove(&name)?;
            continue;
        }
        spares.extend(spare);
        if spare.is_some() || segment::number_in(&name, "journal").is_some() {
            used += bytes;
        }
    }
    storage.sync_dir()?;
    Ok((spares, used))
}

/// The walk through the segments.
struct Walk<'a, S> {
    storage: &'a S,
    numbers: &'a [u64],
    group: Option<GroupId>,
    stored: Stored,
    index: SharedIndex,
    epochs: Vec<EpochStartAt>,
    report: Report,
    current_bytes: u64,
    /// Where the batches beyond the durable mark begin.
    unsure: Option<Place>,
}

impl<'a, S: Storage> Walk<'a, S> {
    fn new(storage: &'a S, stored: Stored, numbers: &'a [u64], group: Option<GroupId>) -> Self {
        Self {
            storage,
            numbers,
            group,
            stored,
            index: SharedIndex::new(),
            epochs: Vec::new(),
            report: Report::default(),
            current_bytes: 0,
            unsure: None,
        }
    }

    fn run(&mut self) -> Result<(), RecoverError> {
        let mut at = 0;
        loop {
            let walked = match self.numbers.get(at) {
                Some(number) if at > 0 || self.goes_on(Some(*number))? => self.segment(*number)?,
                // No first segment, or one whose header is no header.
                first => (
                    first.map(|n| Place {
                        segment: *n,
                        position: 0,
                    }),
                    Stands::Zero,
                ),
            };
            let (place, stands) = walked;
            let next = self.numbers.get(at + 1).copied();
            let goes_on =
                place.is_some() && self.index.lock().end.place.is_some() && self.goes_on(next)?;
            let below = self.index.lock().end.last < self.stored.durable
                && !mutants::on(Mutant::DamageTakenForTornTail);
            match decide(stands.kind(), goes_on, below) {
                Step::NextSegment => at += 1,
                Step::End => return self.end(place, false),
                Step::TornTail => return self.end(place, true),
                Step::Damaged => return self.damaged(),
                Step::Refuse => {
                    let Stands::Newer(format) = stands else {
                        unreachable!("only a newer format is refused")
                    };
                    return Err(RecoverError::Newer(format));
                }
            }
        }
    }

    /// Takes the batches of one segment; where and before what it stopped.
    fn segment(&mut self, number: u64) -> Result<(Option<Place>, Stands), RecoverError> {
        self.current_bytes = self.storage.len(&segment::name(number))?;
        self.index.lock().roll(number);
        let mut cursor = Cursor::new(
            self.storage,
            Place {
                segment: number,
                position: DATA_AT,
            },
            PIECE,
        );
        loop {
            let place = Place {
                segment: number,
                position: cursor.position(),
            };
            match cursor.next()? {
                Found::Batch(batch) if self.fits(&batch) => {
                    if let Some((offset, kind)) = batch.must_stop_at() {
                        return Err(RecoverError::UnknownRecord { offset, kind });
                    }
                    self.take(&batch, place);
                }
                stops => return Ok((Some(place), Stands::of(&stops))),
            }
        }
    }

    /// It follows the last one, and epochs do not go back.
    fn fits(&self, batch: &Batch) -> bool {
        let end = self.index.lock().end;
        let epoch = self.epochs.last().map_or(0, |row| row.epoch.0);
        batch.base() == end.last.next()
            && batch.previous_crc() == end.crc
            && batch.epoch().0 >= epoch
    }

    fn take(&mut self, batch: &Batch, place: Place) {
        if self
            .epochs
            .last()
            .is_none_or(|row| row.epoch < batch.epoch())
        {
            self.epochs.push(EpochStartAt {
                epoch: batch.epoch(),
                first: batch.base(),
            });
        }
        if batch.last() > self.stored.durable {
            self.unsure.get_or_insert(place);
            self.report.rewritten += 1;
        }
        self.index.lock().add(batch, place);
        self.report.batches += 1;
    }

    /// Does that segment begin exactly where the log is now?
    fn goes_on(&self, number: Option<u64>) -> Result<bool, RecoverError> {
        let Some(number) = number else {
            return Ok(false);
        };
        let name = segment::name(number);
        let head = self.storage.read_at(&name, 0, DATA_AT as usize)?;
        let header = match SegmentHeader::parse(&head) {
            Ok(header) => header,
            Err(FormatError::Newer(format)) => return Err(RecoverError::Newer(format)),
            Err(_) => return Ok(false),
        };
        if header.group.is_some() && header.group != self.group {
            return Err(RecoverError::Foreign(number));
        }
        let end = self.index.lock().end;
        if header.number != number || header.base != end.last.next() {
            return Ok(false);
        }
        let mut first = Cursor::new(
            self.storage,
            Place {
                segment: number,
                position: DATA_AT,
            },
            PIECE,
        );
        Ok(match first.next()? {
            Found::Batch(batch) => self.fits(&batch),
            Found::Bad(FormatError::Newer(format)) => return Err(RecoverError::Newer(format)),
            Found::Zero | Found::Bad(_) => end.place.is_none() && header.base == Offset(1),
        })
    }

    /// The log ends here: nothing may stand behind it, and what is unsure is made sure.
    fn end(&mut self, place: Option<Place>, torn: bool) -> Result<(), RecoverError> {
        self.report.torn = torn;
        let keep = place.map(|place| place.segment);
        for number in self
            .numbers
            .iter()
            .rev()
            .filter(|number| keep.is_none_or(|k| **number > k))
        {
            self.storage.remove(&segment::name(*number))?;
            self.report.torn = true;
        }
        self.storage.sync_dir()?;
        let Some(place) = place else { return Ok(()) };
        let name = segment::name(place.segment);
        if self.index.lock().end.last == Offset::ZERO {
            // A first segment that never got a batch: its header may not even be on the disk, and
            // a larger batch would leave it empty before the segment that it gets for itself.
            self.storage.remove(&name)?;
            self.index.lock().cut(Offset::ZERO, 0, None);
            self.current_bytes = 0;
            return Ok(self.storage.sync_dir()?);
        }
        if segment::zero(self.storage, &name, place.position, self.current_bytes)? {
            self.report.torn = true;
            self.storage.sync(&name)?;
        }
        self.rewrite_unsure(place)?;
        Ok(())
    }

    /// The same bytes again, then fdatasync, then they count.
    fn rewrite_unsure(&mut self, end: Place) -> Result<(), RecoverError> {
        if mutants::on(Mutant::UnsureTailTrusted) {
            return Ok(());
        }
        let Some(from) = self.unsure else {
            return Ok(());
        };
        for number in from.segment..=end.segment {
            let name = segment::name(number);
            // A segment that is unsure from its first batch on has an unsure header, too.
            let whole = number > from.segment || from.position == DATA_AT;
            let begin = if whole { 0 } else { from.position };
            let until = if number == end.segment {
                end.position
            } else {
                self.storage.len(&name)?
            };
            let mut at = begin;
            while at < until {
                let bytes = self
                    .storage
                    .read_at(&name, at, PIECE.min((until - at) as usize))?;
                self.storage.write_at(&name, at, &bytes)?;
                at += bytes.len() as u64;
            }
            self.storage.sync(&name)?;
        }
        self.stored.durable = self.index.lock().end.last;
        self.stored.sequence += 1;
        control::write(self.storage, &self.stored)?;
        Ok(())
    }

    /// Damage below the mark: stored first, then the log ends before it. Every file is kept: those
    /// behind get another name, so that nothing of them is read as log.
    fn damaged(&mut self) -> Result<(), RecoverError> {
        let end = self.index.lock().end;
        self.report.damaged_at = Some(end.last.next());
        if self.stored.control.log_state == LogState::Clean {
            self.stored.control.log_state = LogState::NeedsRepair;
        }
        self.stored.sequence += 1;
        control::write(self.storage, &self.stored)?;
        let keep = end.place.map_or(0, |place| place.segment);
        for number in self.numbers.iter().filter(|number| **number > keep) {
            let name = segment::name(*number);
            self.storage
                .rename(&name, &format!("damaged-{number:016}"))?;
        }
        self.storage.sync_dir()?;
        Ok(())
    }

    fn finish(
        self,
        identity: Identity,
        witness: Vec<Witness>,
        spares: Vec<u64>,
        used: u64,
    ) -> Recovered {
        Recovered {
            identity,
            control: self.stored.control,
            witness,
            report: self.report,
            stored: self.stored,
            index: self.index,
            epochs: self.epochs,
            current_bytes: self.current_bytes,
            spares,
            used,
        }
    }
}

#[cfg(test)]
mod tests;
