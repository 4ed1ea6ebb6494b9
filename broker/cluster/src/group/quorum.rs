//! Who votes, what a majority is, and the only place that proves something committed.
//!
//! The voters are the founding list: rows 12 and 13 (other Configs) come with the rebuild of lost
//! volumes, and replace `Voters` by the last Config record of the log.

use tandemmq_model::{Committed, Incarnation, MemberId, Offset};

/// The voters of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Voters {
    members: Vec<MemberId>,
}

impl Voters {
    pub(crate) fn new(members: Vec<MemberId>) -> Self {
        assert!(!members.is_empty(), "a group has voters");
        Self { members }
    }

    pub(crate) fn members(&self) -> &[MemberId] {
        &self.members
    }

    /// Voters that make a majority.
    pub(crate) fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// A voter is an incarnation, never an ordinal.
    pub(crate) fn contains(&self, incarnation: Incarnation) -> bool {
        self.members
            .iter()
            .any(|member| member.incarnation == incarnation)
    }

    pub(crate) fn incarnation_at(&self, ordinal: u8) -> Option<Incarnation> {
        self.members
            .iter()
            .find(|m| m.ordinal == ordinal)
            .map(|m| m.incarnation)
    }

    /// True when these incarnations hold a majority; strangers and repetitions do not count.
    pub(crate) fn is_quorum(&self, votes: impl Iterator<Item = Incarnation>) -> bool {
        let votes: std::collections::BTreeSet<_> =
            votes.filter(|vote| self.contains(*vote)).collect();
        votes.len() >= self.quorum()
    }
}

/// Row 9. `matched`: what each *other* clean voter acknowledged in this ballot. The answer is the
/// greatest offset that is on the master's own disk and on a majority's, and not below the
/// master's own EpochStart: no record of an older epoch is committed by counting.
pub(crate) fn committed_by_counting(
    voters: &Voters,
    own_start: Offset,
    own_synced: Offset,
    matched: impl Iterator<Item = Offset>,
) -> Option<Committed> {
    let mut all: Vec<Offset> = matched.map(|offset| offset.min(own_synced)).collect();
    all.push(own_synced);
    all.sort_unstable_by(|a, b| b.cmp(a));
    let counted = *all.get(voters.quorum() - 1)?;
    (counted >= own_start).then(|| Committed::proven_by_quorum(counted))
}

/// Row 10. What a slave of this ballot may apply: what its master committed, as far as its own log
/// is verified and on its own disk.
pub(crate) fn committed_at_slave(masters: Offset, matched: Offset, synced: Offset) -> Committed {
    Committed::proven_by_quorum(masters.min(matched).min(synced))
}

/// What a checkpoint holds was committed before it was made.
pub(crate) const fn committed_by_checkpoint(offset: Offset) -> Committed {
    Committed::proven_by_quorum(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(count: u8) -> Voters {
        let member = |n| MemberId {
            ordinal: n,
            incarnation: Incarnation(1 + u128::from(n)),
        };
        Voters::new((0..count).map(member).collect())
    }

    fn counted(n: u8, start: u64, synced: u64, others: &[u64]) -> Option<u64> {
        let matched = others.iter().map(|offset| Offset(*offset));
        committed_by_counting(&voters(n), Offset(start), Offset(synced), matched)
            .map(|committed| committed.offset().0)
    }

    #[test]
    fn commits_what_a_majority_with_the_master_has() {
        assert_eq!(counted(3, 1, 9, &[7, 0]), Some(7));
        assert_eq!(counted(3, 1, 9, &[7, 8]), Some(8));
        assert_eq!(counted(5, 1, 9, &[9, 8, 3, 2]), Some(8));
        assert_eq!(counted(1, 1, 9, &[]), Some(9));
    }

    #[test]
    fn the_master_must_have_it_on_its_own_disk() {
        assert_eq!(
            counted(3, 1, 4, &[9, 9]),
            Some(4),
            "two slaves alone do not commit"
        );
    }

    #[test]
    fn h3_nothing_below_the_own_epoch_start_is_committed_by_counting() {
        assert_eq!(counted(3, 8, 9, &[7, 7]), None);
        assert_eq!(counted(3, 8, 9, &[8, 0]), Some(8));
    }

    #[test]
    fn strangers_and_repetitions_are_no_votes() {
        let three = voters(3);
        assert!(!three.is_quorum([1, 1, 77].into_iter().map(Incarnation)));
        assert!(three.is_quorum([1, 3].into_iter().map(Incarnation)));
    }
}
