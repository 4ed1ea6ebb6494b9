//! Rows 13, 15d, 19: a blank volume is told to join, learns, is clean, and becomes a voter.
//!
//! Blank → learner → clean → in a joint Config → in the final one. It is clean, on disk, *before* the
//! joint record is written (`cleanlate`, the other order, leaves a group without a master). The Lease
//! is not here: that only a master of its group tells Join is `founding`'s.

use super::Model;
use super::quorum::bits;
use super::rollback::ROLLED;
use super::state::{CFG, Log, Member, Role, START, Standing, State, ballot};
use super::steps::Steps;

impl Model {
    /// The first state. A recovered group is its survivor: a log, and a promise above all it saw.
    pub(super) fn founded(&self) -> State {
        let mut state = State::FIRST;
        if !self.joins {
            return state;
        }
        let founders = self.voter_sets(0).0[0];
        for (m, member) in state.members[..self.members].iter_mut().enumerate() {
            if founders >> m & 1 == 0 {
                member.standing = Standing::Blank;
            }
        }
        if self.grows {
            self.recover(&mut state);
        }
        state
    }

    fn recover(&self, state: &mut State) {
        let survivor = &mut state.members[0];
        let low = self.mutations.lowepoch;
        let written = if low { 2 } else { 1 };
        survivor.log = Log::EMPTY;
        survivor.log.push((written, START));
        survivor.synced = 1;
        let promise = if low { 0 } else { ballot(1, 0) };
        survivor.promise = promise;
        survivor.promise_disk = promise;
        survivor.acting = promise;
        state.truth = survivor.log;
        state.truth_epoch = if low { 0 } else { 1 };
    }

    /// A learner and an accused volume have no vote.
    pub(super) fn has_vote(&self, member: &Member) -> bool {
        match member.standing {
            Standing::Member => true,
            Standing::Learner => self.mutations.learnervotes,
            Standing::Accused => self.mutations.accusedvotes,
            Standing::Blank | Standing::SetAside => false,
        }
    }

    pub(super) fn acks_unclean(&self, member: &Member) -> bool {
        member.standing == Standing::Learner && self.mutations.ackunclean
    }

    /// Members that take part, as bits.
    pub(super) fn acting(&self, state: &State) -> u32 {
        bits((0..self.members).filter(|v| self.may_act(state, *v)))
    }

    /// Row 13: whoever the joint record adds is clean and has what this master has committed.
    pub(super) fn is_ready(&self, state: &State, m: usize, joint: u8) -> bool {
        if !self.joins {
            return true;
        }
        let b = state.members[m].acting;
        let committed = state.committed[b as usize];
        let ready = |v: usize| {
            let new = &state.members[v];
            if self.mutations.nocatchup {
                return new.acts();
            }
            if self.mutations.cleanlate {
                return new.acts() && new.promise == b && new.in_step_to() >= committed;
            }
            state.acks[b as usize][v] >= committed
        };
        let added = self.voter_sets(joint + 1).0[0] & !self.voter_sets(joint - 1).0[0];
        (0..self.members).all(|v| added >> v & 1 == 0 || ready(v))
    }

    /// Has it, on disk and in step, a record that makes it a voter?
    pub(super) fn knows_itself(&self, m: usize, member: &Member) -> bool {
        let upto = member.in_step_to() as usize;
        let config = self.config_of(&member.log.prefix(upto));
        self.is_voter(m, config)
    }

    /// Is this volume free to be told Join? The one that takes a place waits until it is formatted.
    fn is_free(&self, state: &State, v: usize) -> bool {
        let aside = state.members[ROLLED].standing == Standing::SetAside;
        state.members[v].standing == Standing::Blank
            && (self.rollbacks == 0 || v == ROLLED || aside)
    }

    /// All changes are made and committed, and everybody in the last Config is clean; or nothing was
    /// lost that asks for a change.
    pub(super) fn is_whole(&self, state: &State) -> bool {
        let rolled = &state.members[ROLLED];
        if self.rollbacks > 0 && rolled.standing == Standing::Member && !self.is_accused(state) {
            return true;
        }
        let last = 2 * self.changes;
        let made = state.truth.kept().iter().any(|r| r.1 == CFG + last);
        let clean = |v: usize| state.members[v].standing == Standing::Member;
        made && (0..self.members).all(|v| !self.is_voter(v, last) || clean(v))
    }
}

impl Steps<'_> {
    /// Row 15d: a master whose EpochStart is committed tells a blank volume to join. One durable step:
    /// learner, group id and the master's ballot as promise.
    pub(super) fn join(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        let mutations = &model.mutations;
        let closed = model.goal > 0 && !model.rejoins;
        if !model.joins || me.role != Role::Master || closed {
            return;
        }
        if !model.reigns(self.from, &me) && !mutations.joinearly {
            return;
        }
        for v in (0..model.members).filter(|v| *v != m) {
            let again = mutations.joinagain && self.me(v).standing == Standing::Member;
            if !model.is_free(self.from, v) && !again {
                continue;
            }
            let change = |member: &mut Member| {
                let promise = member.promise_disk;
                *member = Member::NEW;
                member.standing = Standing::Learner;
                member.promise = if mutations.joinblind {
                    promise
                } else {
                    me.acting
                };
                member.promise_disk = member.promise;
                member.acting = member.promise;
            };
            self.emit_member(v, change, || format!("{m} tells {v} to join"));
            if mutations.joinclean {
                let change = |member: &mut Member| member.standing = Standing::Member;
                self.emit_member(v, change, || {
                    format!("{v} joins {m} and crashes before learner")
                });
            }
        }
    }
}
