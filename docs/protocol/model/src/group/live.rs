//! Of every reachable state: with no further fault, does some run lead where the group must get?
//!
//! L1: each least quorum of clean members gets a master with its EpochStart committed, alone.
//! L2: the same while its master hands over. L3: a damaged member gets its vote back with all up.
//! L4 (with `prevote`): all who are up get into step with one master. This is possibility, not
//! fairness: that the run is taken depends on time, which is not modelled.

use std::collections::HashSet;

use super::Model;
use super::quorum::bits;
use super::state::{MEMBERS_MAX, Member, Role, State, ballot, candidate, epoch};
use super::steps::Steps;
use crate::explore::{Names, mix};

/// States that a search inside one state has seen.
struct Visited<'a> {
    model: &'a Model,
    seen: HashSet<u64>,
    buffer: Vec<u8>,
}

impl<'a> Visited<'a> {
    fn new(model: &'a Model) -> Self {
        Self {
            model,
            seen: HashSet::new(),
            buffer: Vec::new(),
        }
    }

    fn is_new(&mut self, state: &State) -> bool {
        self.model
            .bytes(state, &self.model.renamings[0], &mut self.buffer);
        self.seen.insert(mix(&self.buffer))
    }
}

impl Model {
    /// The model that looks from `state` on: these members are up, a fresh epoch is the goal.
    fn ahead(&self, state: &State, up: u32, prevote: bool) -> Self {
        let promised = state.members[..self.members]
            .iter()
            .filter(|m| m.acts())
            .map(|m| epoch(m.promise));
        let goal = promised.max().expect("a group has a member") + 1;
        let epochs = goal + usize::from(prevote);
        Self {
            up,
            goal,
            epochs,
            prevote,
            live: false,
            ..self.clone()
        }
    }

    /// Can the members of `up` alone commit a new EpochStart? With `leaves` that master hands over:
    /// it may still replicate in its ballot, another member must lead.
    fn possible(&self, state: &State, up: u32, leaves: Option<usize>) -> bool {
        let ahead = self.ahead(state, up, self.prevote);
        let mut visited = Visited::new(&ahead);
        let mut stack = vec![ahead.without_older(state, leaves.is_some())];
        while let Some(now) = stack.pop() {
            if !visited.is_new(&now) {
                continue;
            }
            if (0..self.members).any(|c| ahead.is_there(&now, c, leaves)) {
                return true;
            }
            let mut visit = |_, next: State| {
                if leaves.is_none_or(|l| self.may_leave(state, &now, &next, l)) {
                    stack.push(next);
                }
            };
            ahead.steps(&now, &mut visit, Names::Skipped);
        }
        false
    }

    /// What is under way in older ballots may be lost, but for a master that still rules.
    fn without_older(&self, state: &State, handing_over: bool) -> State {
        let mut kept = *state;
        for b in Steps::all_ballots().filter(|b| epoch(*b) < self.goal) {
            let owner = &kept.members[candidate(b)];
            let rules = owner.role == Role::Master && owner.acting == b;
            if (self.prevote || handing_over) && candidate(b) < self.members && rules {
                continue;
            }
            kept.requests &= !(1 << b);
            kept.replies[b as usize] = [0; MEMBERS_MAX];
            kept.unsend(b as usize);
        }
        kept
    }

    /// Is `c` the master that was looked for?
    fn is_there(&self, now: &State, c: usize, leaves: Option<usize>) -> bool {
        let member = &now.members[c];
        if member.role != Role::Master || leaves == Some(c) || !self.reigns(now, member) {
            return false;
        }
        if !self.prevote {
            return member.acting == ballot(self.goal, c);
        }
        let start = self.start_of(&member.log, member.acting);
        let in_step = |v: usize| {
            let other = &now.members[v];
            other.acting == member.acting && other.in_step_to() as usize >= start
        };
        self.is_up(c) && (0..self.members).all(|v| !self.is_up(v) || v == c || in_step(v))
    }

    /// A master that hands over does not stand itself; the mutant is gone once it has let go.
    fn may_leave(&self, first: &State, now: &State, next: &State, l: usize) -> bool {
        let (was, old, new) = (&first.members[l], &now.members[l], &next.members[l]);
        if new.role != Role::Slave && new.acting != was.acting {
            return false;
        }
        let work = |m: &Member| (m.synced, m.matched, m.log.n);
        !(self.mutations.exitearly && old.promise != was.promise && work(new) != work(old))
    }

    pub(super) fn stuck(&self, state: &State) -> Option<&'static str> {
        let all = self.acting(state);
        let ups = 1..1_u32 << self.members;
        for up in ups.filter(|up| up & !all == 0 && self.is_least_quorum(state, *up)) {
            if !self.possible(state, up, None) {
                return Some("L1 Stuck: a quorum is up and can have no master");
            }
            let leaves = |m: &usize| !self.prevote && self.may_hand_over(state, up, *m);
            if (0..self.members)
                .filter(leaves)
                .any(|m| !self.possible(state, up, Some(m)))
            {
                return Some("L2 HandOverStuck");
            }
        }
        (self.prevote && !self.possible(state, all, None)).then_some("L4 NotAllInStep")
    }

    /// A quorum of clean members, by the Config in the best log among them, and none to spare.
    fn is_least_quorum(&self, state: &State, up: u32) -> bool {
        let members = &state.members;
        let who = || (0..self.members).filter(|v| up >> *v & 1 == 1);
        let best = who()
            .max_by_key(|v| members[*v].log.tail())
            .expect("somebody is up");
        let config = self.config_of(&members[best].log);
        let clean = who().all(|v| !members[v].repair);
        let spare = || who().any(|v| self.is_quorum(up & !(1 << v), config));
        let founded = !self.unanimous || who().any(|v| members[v].log.n > 0);
        clean && self.is_quorum(up, config) && !spare() && founded
    }

    /// Where members come and go, only to one that has the whole log (row 17).
    fn may_hand_over(&self, state: &State, up: u32, m: usize) -> bool {
        let master = &state.members[m];
        let target = |v: usize| {
            let other = &state.members[v];
            let whole = other.in_step_to() == master.log.n;
            v != m && up >> v & 1 == 1 && other.acting == master.acting && whole
        };
        let rules = up >> m & 1 == 1 && master.role == Role::Master;
        rules && (!self.reconfig && !self.in_step || (0..self.members).any(target))
    }

    /// Everybody up who takes part: does the group come to its last Config, with all of it clean?
    pub(super) fn unjoined(&self, state: &State) -> Option<&'static str> {
        let mut ahead = self.ahead(state, bits(0..self.members), false);
        ahead.rejoins = true;
        let mut visited = Visited::new(&ahead);
        let mut stack = vec![*state];
        while let Some(now) = stack.pop() {
            if self.is_whole(&now) {
                return None;
            }
            if visited.is_new(&now) {
                ahead.steps(&now, &mut |_, next| stack.push(next), Names::Skipped);
            }
        }
        Some("L5 JoinStuck")
    }

    /// Everybody up, one member damaged: does it get its vote back?
    pub(super) fn unrepaired(&self, state: &State) -> Option<&'static str> {
        let damaged = (0..self.members).find(|v| state.members[*v].repair)?;
        let ahead = self.ahead(state, bits(0..self.members), false);
        let mut visited = Visited::new(&ahead);
        let mut stack = vec![*state];
        while let Some(now) = stack.pop() {
            if !now.members[damaged].repair {
                return None;
            }
            if visited.is_new(&now) {
                ahead.steps(&now, &mut |_, next| stack.push(next), Names::Skipped);
            }
        }
        Some("L3 RepairStuck")
    }
}
