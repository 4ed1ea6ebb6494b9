//! Who counts: Configs, quorums, and what they commit.
//!
//! The Config of a log is its last Config record, committed or not. Acks and commits are settled
//! inside the step that makes them possible. That loses nothing: an ack that is never used equals
//! one never sent, and a later commit is an earlier one with less to keep.

use super::Model;
use super::rollback::ROLLED;
use super::state::{
    Ballot, CFG, Log, MEMBERS_MAX, Member, Role, START, Standing, State, ballot, candidate, epoch,
    is_config,
};

impl Model {
    /// 0: the first; odd: joint; even: final. The first change replaces c by d, the second b by c.
    pub(super) fn config_of(&self, log: &Log) -> u8 {
        self.config_above(log, 0)
    }

    /// What a member itself takes for the Config; the mutant's checkpoints do not carry it.
    pub(super) fn config(&self, member: &Member) -> u8 {
        let hidden = if self.mutations.cknocfg {
            member.base as usize
        } else {
            0
        };
        self.config_above(&member.log, hidden)
    }

    fn config_above(&self, log: &Log, hidden: usize) -> u8 {
        if !self.reconfig {
            return 0;
        }
        let last = log
            .kept()
            .iter()
            .skip(hidden)
            .rev()
            .find(|record| is_config(record.1));
        last.map_or(0, |record| record.1 - CFG)
    }

    /// Voter sets of a Config, as bits. With five members the second change replaces d by e.
    pub(super) fn voter_sets(&self, config: u8) -> ([u32; 2], usize) {
        if !self.reconfig {
            return ([(1 << self.members) - 1, 0], 1);
        }
        let finals = if self.mutations.twoatonce {
            [0b0001, (1 << self.members) - 1, 0]
        } else if self.grows {
            [0b0001, 0b0011, 0b0111]
        } else {
            let third = if self.members == 5 { 0b10011 } else { 0b1101 };
            [0b0111, 0b1011, third]
        };
        let k = config as usize / 2;
        if config.is_multiple_of(2) {
            ([finals[k], 0], 1)
        } else {
            ([finals[k], finals[k + 1]], 2)
        }
    }

    pub(super) fn is_quorum(&self, mut who: u32, config: u8) -> bool {
        if self.mutations.ordinal && who & 0b1000 != 0 {
            who |= 0b0100;
        }
        let (sets, n) = self.voter_sets(config);
        sets[..n]
            .iter()
            .all(|set| 2 * (who & set).count_ones() > set.count_ones())
    }

    pub(super) fn is_voter(&self, member: usize, config: u8) -> bool {
        let (sets, n) = self.voter_sets(config);
        sets[..n].iter().any(|set| set >> member & 1 == 1)
    }

    /// Offset of the EpochStart of this ballot; no offset reaches it while there is none.
    pub(super) fn start_of(&self, log: &Log, b: Ballot) -> usize {
        let start = (epoch(b) as u8, START + candidate(b) as u8);
        log.kept()
            .iter()
            .position(|record| *record == start)
            .map_or(usize::MAX, |at| at + 1)
    }

    /// Is the EpochStart of this member's ballot in its log and committed?
    pub(super) fn reigns(&self, state: &State, member: &Member) -> bool {
        let committed = state.committed[member.acting as usize] as usize;
        committed >= self.start_of(&member.log, member.acting)
    }

    /// Everything that follows from a step at once: acks, then commits, then what no one can use.
    pub(super) fn settle(&self, before: &State, state: &mut State) {
        for v in 0..self.members {
            self.ack(before, state, v);
        }
        for m in 0..self.members {
            if state.members[m].role == Role::Master {
                self.commit(state, m);
            }
        }
        self.forget(state);
    }

    fn ack(&self, before: &State, state: &mut State, v: usize) {
        let (member, mutations) = (&state.members[v], &self.mutations);
        if member.role != Role::Slave || member.acting == 0 {
            return;
        }
        let unclean = member.repair && !mutations.repairacks;
        if unclean || !(self.has_vote(member) || self.acks_unclean(member)) {
            return;
        }
        let upto = if mutations.ackunsynced {
            member.matched
        } else if mutations.ackunverified {
            member.synced
        } else if mutations.nolower {
            member
                .matched
                .min(member.synced.max(before.members[v].synced))
        } else {
            member.in_step_to()
        };
        let b = member.acting as usize;
        let ack = &mut state.acks[b][v];
        *ack = upto.max(*ack);
        if *ack > 0 {
            self.remember(state, v, b as Ballot);
        }
    }

    fn commit(&self, state: &mut State, m: usize) {
        let member = &state.members[m];
        let (b, log) = (member.acting as usize, member.log);
        let least = if self.mutations.fig8 {
            1
        } else {
            self.start_of(&log, member.acting)
        };
        for upto in (least.max(state.committed[b] as usize + 1)..=log.len()).rev() {
            if !self.mutations.selfunsynced && (member.synced as usize) < upto {
                continue;
            }
            let acked = |v: &usize| *v == m || state.acks[b][*v] as usize >= upto;
            let who = bits((0..self.members).filter(acked));
            if !self.is_quorum(who, self.config(member)) {
                continue;
            }
            let new = log.prefix(upto);
            state.committed[b] = upto as u8;
            self.remember_own(state, m, upto as u8);
            if state.truth.is_prefix_of(&new) {
                state.truth = new;
                state.truth_epoch = epoch(b as Ballot) as u8;
            } else if !new.is_prefix_of(&state.truth) {
                state.conflict = true;
            }
            return;
        }
    }

    /// Drops what no member can act on any more (the VIEW of the TLA+ module).
    fn forget(&self, state: &mut State) {
        let mutations = &self.mutations;
        for member in &mut state.members[..self.members] {
            let stale = member.side.n > 0 && member.side_ballot != member.promise;
            if stale && !mutations.noballot {
                member.side = Log::EMPTY;
                member.side_ballot = 0;
            }
        }
        let promised = state.members[..self.members]
            .iter()
            .filter(|m| m.acts() || self.mutations.joinblind && m.standing == Standing::Blank)
            .map(|m| epoch(m.promise_disk));
        let lowest = promised.min().expect("a group has a member");
        for (e, c) in self.ballots() {
            let b = ballot(e, c) as usize;
            let live = lowest <= e;
            let owner = &state.members[c];
            let acts = |role| owner.role == role && owner.acting as usize == b;
            let (stands, rules) = (acts(Role::Candidate), acts(Role::Master));
            if !(lowest < e || mutations.bynumber && live) {
                state.requests &= !(1 << b);
            }
            if !stands {
                state.replies[b] = [0; MEMBERS_MAX];
            }
            if !(live || mutations.nofence || mutations.noballot) {
                state.unsend(b);
            }
            if !(live || rules) {
                if self.rollbacks > 0 {
                    let kept = state.acks[b][ROLLED];
                    state.acks[b] = [0; MEMBERS_MAX];
                    state.acks[b][ROLLED] = kept;
                } else if !self.witness {
                    state.acks[b] = [0; MEMBERS_MAX];
                }
                state.committed[b] = 0;
            }
        }
    }

    /// Every (epoch, candidate) within the bounds of the search.
    pub(super) fn ballots(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let members = self.members;
        (1..=self.epochs).flat_map(move |e| (0..members).map(move |c| (e, c)))
    }
}

impl State {
    /// What the master of this ballot sent is under way no more.
    pub(super) fn unsend(&mut self, b: usize) {
        self.sent[b] = Log::EMPTY;
        self.sent_base[b] = 0;
        self.checkpoints[b] = 0;
    }
}

/// A set of members as bits.
pub(super) fn bits(who: impl Iterator<Item = usize>) -> u32 {
    who.fold(0, |set, v| set | 1 << v)
}
