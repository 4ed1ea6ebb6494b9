//! What a member remembers of its peers: of each incarnation the greatest promise and the greatest
//! (ballot, match) it ever heard.
//!
//! A volume that was rolled back forgets promises and acknowledged records; its peers do not. A
//! promise above its own accuses it always; a match accuses it only when its tail is below and its
//! durable *cut mark* is not above that ballot: a healthy slave that was made to cut an uncommitted
//! record must not be expelled. Losing this table weakens the detection, nothing else.

use std::collections::BTreeMap;

use tandemmq_journal::{LogState, Witness};
use tandemmq_model::{Ballot, Incarnation, Offset};

use crate::mutants::{self, Mutant};

/// Incarnations remembered. A group has at most 7 members; replaced volumes leave their memory
/// behind, the smallest promise goes first when the table is full.
pub(crate) const WITNESSES_MAX: usize = 64;

#[derive(Debug, Clone, Default)]
pub(crate) struct WitnessTable {
    rows: BTreeMap<Incarnation, Witness>,
}

impl WitnessTable {
    pub(crate) fn new(rows: Vec<Witness>) -> Self {
        Self {
            rows: rows.into_iter().map(|row| (row.incarnation, row)).collect(),
        }
    }

    pub(crate) fn rows(&self) -> Vec<Witness> {
        self.rows.values().copied().collect()
    }

    /// The least offset that any of these is known to have.
    pub(crate) fn least_match(&self, of: impl Iterator<Item = Incarnation>) -> Offset {
        let known = |one: Incarnation| self.of(one).map_or(Offset::ZERO, |row| row.matched.1);
        of.map(known).min().unwrap_or(Offset(u64::MAX))
    }

    pub(crate) fn of(&self, incarnation: Incarnation) -> Option<Witness> {
        self.rows.get(&incarnation).copied()
    }

    /// Keeps what is greater; true when something changed.
    pub(crate) fn remember(&mut self, heard: Witness) -> bool {
        let row = self.rows.entry(heard.incarnation).or_insert(Witness {
            incarnation: heard.incarnation,
            promise: Ballot::NONE,
            matched: (Ballot::NONE, Offset::ZERO),
        });
        let before = *row;
        if heard.promise.epoch > row.promise.epoch {
            row.promise = heard.promise;
        }
        let key = |(ballot, offset): (Ballot, Offset)| (ballot.epoch, offset);
        if key(heard.matched) > key(row.matched) {
            row.matched = heard.matched;
        }
        let changed = *row != before;
        self.forget_the_oldest();
        changed
    }

    fn forget_the_oldest(&mut self) {
        while self.rows.len() > WITNESSES_MAX {
            let oldest = self.rows.values().min_by_key(|row| row.promise.epoch);
            let Some(oldest) = oldest.map(|row| row.incarnation) else {
                return;
            };
            self.rows.remove(&oldest);
        }
    }
}

/// Why a member is accused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Accusation {
    #[error("it promised {remembered} and says {own}")]
    ForgottenPromise { remembered: Ballot, own: Ballot },
    #[error("it acknowledged up to {remembered} in epoch {epoch} and ends at {tail}")]
    ForgottenRecords {
        remembered: Offset,
        epoch: u64,
        tail: Offset,
    },
}

/// A member that knows of its damage is not accused of what it lost: it has no vote until it has
/// everything again. A forgotten promise accuses always.
pub(crate) fn tail_to_judge(log_state: LogState, tail: Offset) -> Offset {
    let knows = matches!(log_state, LogState::NeedsRepair | LogState::Learner);
    if knows && !mutants::on(Mutant::DamagedAccused) {
        return Offset(u64::MAX);
    }
    tail
}

/// Row 4's rule: does this memory accuse a member that says this of itself?
pub(crate) fn judge(
    memory: &Witness,
    own_promise: Ballot,
    tail: Offset,
    cut_mark: Ballot,
) -> Result<(), Accusation> {
    let same_epoch_other_ballot = memory.promise.epoch == own_promise.epoch
        && memory.promise != own_promise
        && memory.promise != Ballot::NONE;
    if memory.promise.epoch > own_promise.epoch || same_epoch_other_ballot {
        return Err(Accusation::ForgottenPromise {
            remembered: memory.promise,
            own: own_promise,
        });
    }
    let (ballot, matched) = memory.matched;
    if tail < matched && cut_mark.epoch <= ballot.epoch {
        return Err(Accusation::ForgottenRecords {
            remembered: matched,
            epoch: ballot.epoch.0,
            tail,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tandemmq_model::{BootNonce, Epoch, MemberId};

    use super::*;

    fn ballot(epoch: u64) -> Ballot {
        Ballot {
            epoch: Epoch(epoch),
            member: MemberId::default(),
            boot: BootNonce(1),
        }
    }

    fn memory(promise: u64, match_epoch: u64, matched: u64) -> Witness {
        Witness {
            incarnation: Incarnation(9),
            promise: ballot(promise),
            matched: (ballot(match_epoch), Offset(matched)),
        }
    }

    #[test]
    fn a_forgotten_promise_accuses_always() {
        let accused = judge(&memory(5, 1, 0), ballot(4), Offset(100), ballot(9));
        assert!(matches!(accused, Err(Accusation::ForgottenPromise { .. })));
    }

    #[test]
    fn h7_forgotten_records_accuse_a_volume_that_never_had_to_cut() {
        let accused = judge(&memory(5, 5, 10), ballot(5), Offset(9), ballot(4));
        assert!(matches!(accused, Err(Accusation::ForgottenRecords { .. })));
    }

    #[test]
    fn a_slave_that_had_to_cut_in_a_later_ballot_is_not_accused() {
        assert_eq!(
            judge(&memory(5, 5, 10), ballot(6), Offset(9), ballot(6)),
            Ok(())
        );
    }

    #[test]
    fn who_has_all_it_said_is_not_accused() {
        assert_eq!(
            judge(&memory(5, 5, 10), ballot(5), Offset(10), ballot(0)),
            Ok(())
        );
    }

    #[test]
    fn memory_only_grows() {
        let mut table = WitnessTable::default();
        assert!(table.remember(memory(5, 5, 10)));
        assert!(!table.remember(memory(4, 5, 9)));
        assert!(
            !table.remember(memory(5, 4, 99)),
            "a later ballot beats a greater offset"
        );
        assert_eq!(table.of(Incarnation(9)), Some(memory(5, 5, 10)));
    }
}
