//! Comparing two logs and putting foreign batches behind the own ones (rows 5 and 7).
//!
//! A log is whole batches; a batch is made once, by the master of one epoch. Two logs that hold the
//! same epoch at one offset are equal up to there, so the greatest such offset is where they part,
//! and it is the end of a batch in both.
//!
//! Nothing is cut but at a record that differs in epoch: a late or doubled Append of a prefix that
//! is there already changes nothing.

use tandemmq_journal::{Batch, Journal};
use tandemmq_model::{Ballot, Epoch, Now, Offset};

use super::Group;
use crate::Effect;
use crate::config_record;
use crate::mutants::{self, Mutant};
use crate::peer::{EPOCHS_MAX, EpochFirst, Tail};

/// How far the batches of one message could be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// All of them are in the log now.
    All,
    /// The log holds something else before the first one.
    Gap,
    /// No room on the disk for the rest.
    NoRoom,
    /// They contradict what can be true; nothing more was done.
    Broken,
}

impl Group {
    /// Row 7 without the ballot: `prev` must be there, then each batch is kept if it is there,
    /// else appended, after a cut if something else is there. Calls `verified` for what now equals
    /// the sender's log.
    pub(super) fn place(
        &mut self,
        now: Now,
        ballot: Ballot,
        prev: Tail,
        batches: &[Batch],
        mut verified: impl FnMut(&mut Self, Offset),
    ) -> Placed {
        if self.journal.epoch_at(prev.offset) != Some(prev.epoch) {
            return Placed::Gap;
        }
        verified(self, prev.offset);
        let mut end = prev.offset;
        for batch in batches {
            if batch.base() != end.next() || batch.epoch() > ballot.epoch {
                return Placed::Broken;
            }
            match self.place_one(now, ballot, batch) {
                Placed::All => {}
                other => return other,
            }
            end = batch.last();
            verified(self, end);
        }
        Placed::All
    }

    fn place_one(&mut self, now: Now, ballot: Ballot, batch: &Batch) -> Placed {
        let there = batch.base() <= self.journal.appended();
        let same = self.journal.epoch_at(batch.base()) == Some(batch.epoch());
        if there && same && !mutants::on(Mutant::CutOnEveryAppend) {
            let whole = batch.last() <= self.journal.appended();
            return if whole { Placed::All } else { Placed::Broken };
        }
        let before = Offset(batch.base().0 - 1);
        if self
            .journal
            .epoch_at(before)
            .is_none_or(|epoch| epoch > batch.epoch())
        {
            return Placed::Broken; // Epochs along a log never decrease.
        }
        if batch.format() < self.journal.format_at(before) {
            return Placed::Broken; // Nor do formats.
        }
        if !self.journal.has_room_for(batch) {
            self.missed_append = Some(batch.bytes().len());
            return Placed::NoRoom;
        }
        if there && !self.cut(now, ballot, before) {
            return Placed::Broken;
        }
        let known = self.journal.last_crc();
        if known.is_some_and(|crc| crc != batch.previous_crc()) {
            return Placed::Broken;
        }
        let Ok(config) = config_record::of_batch(batch) else {
            return Placed::Broken;
        };
        self.journal.append(batch.clone());
        if let Some(voters) = config {
            self.push_config(batch.base(), voters);
        }
        Placed::All
    }

    /// Cuts the own log behind `to`. The cut mark goes to disk before the cut does, `synced` is
    /// lowered in the same step. False, and the end of the process, when that would take away
    /// something committed.
    fn cut(&mut self, _now: Now, ballot: Ballot, to: Offset) -> bool {
        if !self.nothing_committed_is_cut(to) {
            self.effects.push_back(Effect::Abort {
                reason: format!(
                    "{ballot} asks to cut the log behind {to}, but {} is committed",
                    self.committed
                ),
            });
            return false;
        }
        if to < self.journal.synced() && !mutants::on(Mutant::NoCutMark) {
            self.cut_mark = ballot;
            self.store_control();
        }
        self.journal.cut(to);
        self.cut_configs(to);
        self.matched = self.matched.min(to);
        true
    }

    /// Our epoch table up to an offset, its last rows.
    pub(super) fn epoch_rows(&self, up_to: Offset) -> Vec<EpochFirst> {
        let rows = self.journal.epochs();
        let end = rows.partition_point(|row| row.first <= up_to);
        let begin = end.saturating_sub(EPOCHS_MAX);
        rows[begin..end]
            .iter()
            .map(|r| EpochFirst {
                epoch: r.epoch,
                first: r.first,
            })
            .collect()
    }

    /// The greatest offset not above `most` that our log and the described one have in common; a
    /// guess below the described rows when they do not reach down far enough.
    pub(super) fn common_point(
        &self,
        most: Offset,
        appended: Offset,
        rows: &[EpochFirst],
    ) -> Offset {
        let mut at = appended.min(most);
        while at > Offset::ZERO {
            let Some(theirs) = rows.iter().rev().find(|row| row.first <= at) else {
                return at.min(
                    rows.first()
                        .map_or(Offset::ZERO, |row| Offset(row.first.0 - 1)),
                );
            };
            let ours = self.journal.epoch_at(at).unwrap_or(Epoch(0));
            at = match ours.cmp(&theirs.epoch) {
                std::cmp::Ordering::Equal => return at,
                std::cmp::Ordering::Greater => Offset(first_of(&self.journal, ours).0 - 1),
                std::cmp::Ordering::Less => Offset(theirs.first.0.saturating_sub(1)),
            };
        }
        Offset::ZERO
    }

    pub(super) fn tail_at(&self, offset: Offset) -> Tail {
        let epoch = self.journal.epoch_at(offset).unwrap_or(Epoch(0));
        Tail { epoch, offset }
    }
}

fn first_of(journal: &Journal, epoch: Epoch) -> Offset {
    let row = journal.epochs().iter().find(|row| row.epoch == epoch);
    row.map_or(Offset(1), |row| row.first)
}
