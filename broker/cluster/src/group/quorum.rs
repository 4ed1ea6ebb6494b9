//! Who votes, what a majority is, and the only place that proves something committed.
//!
//! The voters are those of the last Config record in the log, committed or not (`config`); before
//! the first one, the founding list. While a change is under way they are two sets, and every
//! majority is one of each.

use std::collections::BTreeSet;

use tandemmq_model::{Committed, Incarnation, MemberId, Offset, Time};

use crate::mutants::{self, Mutant};

/// The voters of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Voters {
    generation: u64,
    members: Vec<MemberId>,
    /// The set that takes over; empty when no change is under way.
    joining: Vec<MemberId>,
}

impl Voters {
    /// The founding list.
    pub(crate) fn new(members: Vec<MemberId>) -> Self {
        Self::of(0, members, Vec::new())
    }

    pub(crate) fn of(generation: u64, members: Vec<MemberId>, joining: Vec<MemberId>) -> Self {
        assert!(!members.is_empty(), "a group has voters");
        Self {
            generation,
            members,
            joining,
        }
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn members(&self) -> &[MemberId] {
        &self.members
    }

    pub(crate) fn joining(&self) -> &[MemberId] {
        &self.joining
    }

    pub(crate) const fn is_joint(&self) -> bool {
        !self.joining.is_empty()
    }

    fn sets(&self) -> impl Iterator<Item = &[MemberId]> {
        let both = [self.members.as_slice(), self.joining.as_slice()];
        both.into_iter().filter(|set| !set.is_empty())
    }

    /// A voter is an incarnation, never an ordinal.
    pub(crate) fn contains(&self, incarnation: Incarnation) -> bool {
        self.sets()
            .flatten()
            .any(|member| member.incarnation == incarnation)
    }

    /// It votes, and still does once the change that is under way is done.
    pub(crate) fn stays(&self, incarnation: Incarnation) -> bool {
        let last = self.sets().last().unwrap_or_default();
        last.iter().any(|member| member.incarnation == incarnation)
    }

    /// The volume that votes in that place, or will.
    pub(crate) fn incarnation_at(&self, ordinal: u8) -> Option<Incarnation> {
        let sets = self.joining.iter().chain(&self.members);
        let mut here = sets.filter(|member| member.ordinal == ordinal);
        here.next().map(|member| member.incarnation)
    }

    /// True when these incarnations hold a majority of every set; strangers and repetitions do not
    /// count.
    pub(crate) fn is_quorum(&self, votes: impl Iterator<Item = Incarnation>) -> bool {
        let votes: BTreeSet<Incarnation> = votes.collect();
        self.sets().all(|set| {
            let of_set = set
                .iter()
                .filter(|member| votes.contains(&member.incarnation));
            of_set.count() > set.len() / 2
        })
    }

    /// The value that a majority of every set has reached; the least where a member is not known.
    fn reached<T: Ord + Copy>(&self, least: T, values: &[(Incarnation, T)]) -> Option<T> {
        let of_set = |set: &[MemberId]| {
            let value = |member: &MemberId| {
                let known = values.iter().find(|(who, _)| *who == member.incarnation);
                known.map_or(least, |(_, value)| *value)
            };
            let mut all: Vec<T> = set.iter().map(value).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all[set.len() / 2]
        };
        self.sets().map(of_set).min()
    }

    /// The moment at which a majority was heard last.
    pub(crate) fn contact(&self, heard: &[(Incarnation, Time)]) -> Time {
        self.reached(Time::ZERO, heard).unwrap_or(Time::ZERO)
    }

    /// The joint step that puts a volume into its place.
    pub(crate) fn with(&self, newcomer: MemberId) -> Self {
        let others = self
            .members
            .iter()
            .filter(|member| member.ordinal != newcomer.ordinal);
        let mut joining: Vec<MemberId> = others.copied().chain([newcomer]).collect();
        joining.sort_unstable_by_key(|member| member.ordinal);
        if mutants::on(Mutant::NoJoint) {
            return Self::of(self.generation + 1, joining, Vec::new());
        }
        Self::of(self.generation + 1, self.members.clone(), joining)
    }

    /// The step after the joint one.
    pub(crate) fn after_joint(&self) -> Self {
        Self::of(self.generation + 1, self.joining.clone(), Vec::new())
    }
}

/// Row 9. `synced`: what each clean voter acknowledged in this ballot, and the master's own. The
/// answer is the greatest offset that is on the master's own disk and on a majority's of every set,
/// and not below the master's own EpochStart: no record of an older epoch is committed by counting.
pub(crate) fn committed_by_counting(
    voters: &Voters,
    own_start: Offset,
    own_synced: Offset,
    synced: &[(Incarnation, Offset)],
) -> Option<Committed> {
    let counted = voters.reached(Offset::ZERO, synced)?.min(own_synced);
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

    const fn member(n: u8) -> MemberId {
        MemberId {
            ordinal: n % 10,
            incarnation: Incarnation(1 + n as u128),
        }
    }

    fn voters(count: u8) -> Voters {
        Voters::new((0..count).map(member).collect())
    }

    fn synced(offsets: &[u64]) -> Vec<(Incarnation, Offset)> {
        let pairs = offsets.iter().enumerate();
        pairs
            .map(|(n, at)| (Incarnation(1 + n as u128), Offset(*at)))
            .collect()
    }

    /// The first is the master.
    fn counted(voters: &Voters, start: u64, all: &[(Incarnation, Offset)]) -> Option<u64> {
        let counted = committed_by_counting(voters, Offset(start), all[0].1, all);
        counted.map(|committed| committed.offset().0)
    }

    #[test]
    fn commits_what_a_majority_with_the_master_has() {
        assert_eq!(counted(&voters(3), 1, &synced(&[9, 7, 0])), Some(7));
        assert_eq!(counted(&voters(3), 1, &synced(&[9, 7, 8])), Some(8));
        assert_eq!(counted(&voters(5), 1, &synced(&[9, 9, 8, 3, 2])), Some(8));
        assert_eq!(counted(&voters(1), 1, &synced(&[9])), Some(9));
    }

    #[test]
    fn the_master_must_have_it_on_its_own_disk() {
        let two_slaves = synced(&[4, 9, 9]);
        assert_eq!(
            counted(&voters(3), 1, &two_slaves),
            Some(4),
            "two slaves alone do not commit"
        );
    }

    #[test]
    fn h3_nothing_below_the_own_epoch_start_is_committed_by_counting() {
        assert_eq!(counted(&voters(3), 8, &synced(&[9, 7, 7])), None);
        assert_eq!(counted(&voters(3), 8, &synced(&[9, 8, 0])), Some(8));
    }

    #[test]
    fn strangers_and_repetitions_are_no_votes() {
        let three = voters(3);
        assert!(!three.is_quorum([1, 1, 77].into_iter().map(Incarnation)));
        assert!(three.is_quorum([1, 3].into_iter().map(Incarnation)));
    }

    #[test]
    fn a_joint_majority_is_one_of_each_set() {
        let joint = voters(3).with(member(12));
        assert_eq!(
            joint.incarnation_at(2),
            Some(Incarnation(13)),
            "the newcomer of the place"
        );
        let quorum = |votes: &[u128]| joint.is_quorum(votes.iter().copied().map(Incarnation));
        assert!(quorum(&[1, 2]), "a majority of both");
        assert!(!quorum(&[1, 3]), "one of the new set");
        assert!(!quorum(&[1, 13]), "one of the old set");
        let all = [(1, 9), (3, 9), (13, 0)].map(|(n, at)| (Incarnation(n), Offset(at)));
        assert_eq!(
            counted(&joint, 1, &all),
            None,
            "the old set alone does not commit"
        );
        let all = [(1, 9), (2, 8), (13, 0)].map(|(n, at)| (Incarnation(n), Offset(at)));
        assert_eq!(counted(&joint, 1, &all), Some(8));
    }

    #[test]
    fn after_the_joint_step_the_lost_volume_is_no_voter() {
        let after = voters(3).with(member(12)).after_joint();
        assert!(!after.contains(Incarnation(3)) && after.contains(Incarnation(13)));
        assert_eq!((after.generation(), after.members().len()), (2, 3));
    }

    #[test]
    fn who_is_being_replaced_votes_and_does_not_stay() {
        let joint = voters(3).with(member(12));
        assert!(joint.contains(Incarnation(3)) && !joint.stays(Incarnation(3)));
        assert!(joint.stays(Incarnation(13)) && joint.stays(Incarnation(1)));
        assert!(voters(3).stays(Incarnation(3)), "no change is under way");
    }

    #[test]
    fn a_volume_of_a_place_without_a_voter_is_added() {
        let alone = Voters::of(4, vec![member(1)], Vec::new());
        let after = alone.with(member(0)).after_joint();
        assert_eq!(after.members(), [member(0), member(1)]);
    }
}
