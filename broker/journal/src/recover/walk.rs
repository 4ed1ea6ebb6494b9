//! The walk: batch after batch, segment after segment, from the checkpoint on.

use tandemmq_model::{Bytes, GroupId, Offset, RecordKind};

use super::{Files, RecoverError, Recovered, Report, Side, Stands, Step, decide};
use crate::batch::Batch;
use crate::checkpoint::Checkpoint;
use crate::control::{self, LogState, Stored};
use crate::format::FormatError;
use crate::formats::Formats;
use crate::identity::{Identity, Witness};
use crate::index::{EpochStartAt, SharedIndex};
use crate::manifest::Manifest;
use crate::mutants::{self, Mutant};
use crate::segment::{self, Cursor, DATA_AT, Found, PIECE, Place, SegmentHeader};
use crate::set_aside;
use crate::storage::Storage;

/// The walk through the segments.
pub(super) struct Walk<'a, S> {
    pub(super) storage: &'a S,
    /// From the one that the walk begins with.
    pub(super) numbers: Vec<u64>,
    /// The member's groups, the present one and those before.
    pub(super) groups: Vec<GroupId>,
    pub(super) stored: Stored,
    pub(super) manifest: Manifest,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) index: SharedIndex,
    pub(super) epochs: Vec<EpochStartAt>,
    pub(super) formats: Formats,
    pub(super) configs: Vec<(Offset, Bytes)>,
    pub(super) report: Report,
    pub(super) current_bytes: u64,
    /// Where the batches beyond the durable mark begin.
    unsure: Option<Place>,
    /// Bytes of the batches behind the checkpoint.
    log_bytes: u64,
    /// The first batch has not been met: the CRC of the one before it is not known.
    fresh: bool,
}

impl<'a, S: Storage> Walk<'a, S> {
    pub(super) fn new(
        storage: &'a S,
        stored: Stored,
        manifest: Manifest,
        groups: Vec<GroupId>,
        checkpoint: Option<Checkpoint>,
    ) -> Self {
        let head = checkpoint.as_ref().map(|checkpoint| &checkpoint.head);
        let start = head.map_or((Offset::ZERO, 0), |head| (head.offset, head.crc));
        Self {
            storage,
            numbers: Vec::new(),
            groups,
            stored,
            manifest,
            epochs: head.map_or_else(Vec::new, |head| head.epochs.clone()),
            index: SharedIndex::new(start),
            formats: Formats::behind(checkpoint.as_ref()),
            checkpoint,
            configs: Vec::new(),
            report: Report::default(),
            current_bytes: 0,
            unsure: None,
            log_bytes: 0,
            fresh: false,
        }
    }

    /// The walk begins with a segment whose first record may be before the checkpoint.
    pub(super) fn begin_at(&mut self, numbers: Vec<u64>, first: Offset) {
        let before = Offset(first.0.saturating_sub(1));
        self.fresh = before < self.kept_up_to();
        self.index.lock().end.last = before;
        self.numbers = numbers;
    }

    pub(super) fn kept_up_to(&self) -> Offset {
        self.checkpoint
            .as_ref()
            .map_or(Offset::ZERO, |checkpoint| checkpoint.head.offset)
    }

    pub(super) fn run(&mut self) -> Result<(), RecoverError> {
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
                    return Err(RecoverError::newer(format));
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
        if batch.base() != end.last.next() || (!self.fresh && batch.previous_crc() != end.crc) {
            return false;
        }
        match self.checkpoint.as_ref().map(|checkpoint| &checkpoint.head) {
            // Before the checkpoint: it must end there, as the checkpoint says.
            Some(head) if batch.base() <= head.offset => {
                let ends_it = batch.last() == head.offset;
                batch.last() < head.offset
                    || ends_it && batch.crc() == head.crc && batch.epoch() == head.epoch
            }
            _ => batch.epoch().0 >= self.epochs.last().map_or(0, |row| row.epoch.0),
        }
    }

    fn take(&mut self, batch: &Batch, place: Place) {
        self.fresh = false;
        if batch.base() > self.kept_up_to() {
            self.take_meaning(batch);
        }
        if batch.last() > self.stored.durable {
            self.unsure.get_or_insert(place);
            self.report.rewritten += 1;
        }
        self.index.lock().add(batch, place);
        self.report.batches += 1;
    }

    /// What the checkpoint does not say already.
    fn take_meaning(&mut self, batch: &Batch) {
        self.log_bytes += batch.bytes().len() as u64;
        self.formats.appended(batch);
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
        // A Config is the only record of its batch.
        let config = batch.records().next();
        if let Some((offset, record)) = config.filter(|(_, r)| r.kind == RecordKind::Config as u8) {
            self.configs.push((offset, record.body));
        }
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
            Err(FormatError::Newer(format)) => return Err(RecoverError::newer(format)),
            Err(_) => return Ok(false),
        };
        if header
            .group
            .is_some_and(|group| !self.groups.contains(&group))
        {
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
            Found::Bad(FormatError::Newer(format)) => return Err(RecoverError::newer(format)),
            Found::Zero | Found::Bad(_) => end.place.is_none(),
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
        let is_empty = self.current_bytes > 0 && self.index.lock().is_empty();
        if is_empty || place.position == 0 {
            // A first segment that never got a batch: its header may not even be on the disk, and
            // a larger batch would leave it empty before the segment that it gets for itself.
            self.storage.remove(&name)?;
            let start = self.index.lock().start;
            self.index.lock().cut(start.0, start.1, None);
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
        let unsure = from.segment..=end.segment;
        for number in self
            .numbers
            .iter()
            .copied()
            .filter(|number| unsure.contains(number))
        {
            let name = segment::name(number);
            // A segment that is unsure from its first batch on has an unsure header, too.
            let whole = number > from.segment || from.position == DATA_AT;
            let begin = if whole { 0 } else { from.position };
            let until = if number == end.segment {
                end.position
            } else {
                self.storage.len(&name)?
            };
            segment::write_again(self.storage, &name, begin, until)?;
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
        let run = set_aside::next_run(&self.storage.list()?);
        for number in self.numbers.iter().filter(|number| **number > keep) {
            let name = segment::name(*number);
            self.storage
                .rename(&name, &format!("damaged-{run:04}-{name}"))?;
        }
        self.storage.sync_dir()?;
        Ok(())
    }

    pub(super) fn finish(
        self,
        identity: Identity,
        witness: Vec<Witness>,
        files: Files,
        side: Side,
    ) -> Recovered {
        Recovered {
            identity,
            control: self.stored.control,
            witness,
            report: self.report,
            checkpoint: self.checkpoint,
            configs: self.configs,
            stored: self.stored,
            manifest: self.manifest,
            index: self.index,
            epochs: self.epochs,
            formats: self.formats,
            current_bytes: self.current_bytes,
            log_bytes: self.log_bytes,
            side,
            files,
        }
    }
}
