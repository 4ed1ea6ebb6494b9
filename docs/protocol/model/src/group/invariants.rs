//! What must hold in every state, and what a search must have seen to be believed.
//!
//! `hard` leaves the damage itself: two masters of one epoch (I1), two committed logs (I6, I9), a
//! master without what is committed (I7). The others name the step at which it becomes possible.

use super::Model;
use super::rollback::ROLLED;
use super::state::{
    BALLOTS, Ballot, CFG, Member, Role, Standing, State, ballot, epoch, is_client, is_start,
};

/// Names of what `seen` counts, in its order.
pub(super) const SEEN: &[&str] = &[
    "records of 2 epochs committed",
    "3 EpochStarts committed",
    "2 masters at once",
    "record lost unacked",
    "config final",
    "joint aborted",
    "checkpoint in a side directory",
    "a slave's log starts at a checkpoint it was sent",
    "master with records after a checkpoint",
    "second config final",
    "damaged member clean again",
    "learner clean",
    "accused",
    "formatted anew",
    "rejoined",
];

impl Model {
    pub(super) fn broken(&self, state: &State) -> Option<&'static str> {
        let soft = !self.hard;
        self.one_master(state)
            .or_else(|| soft.then(|| self.logs_match(state)).flatten())
            .or_else(|| soft.then(|| self.words_kept(state)).flatten())
            .or_else(|| self.witness.then(|| self.accused(state)).flatten())
            .or_else(|| soft.then(|| self.logs_sound(state)).flatten())
            .or_else(|| state.conflict.then_some("I6/I9 CommittedStable"))
            .or_else(|| self.master_complete(state))
            .or_else(|| self.applied(state))
            .or_else(|| soft.then(|| self.recoverable(state)).flatten())
            .or_else(|| self.live.then(|| self.stuck(state)).flatten())
            .or_else(|| self.live.then(|| self.unrepaired(state)).flatten())
            .or_else(|| {
                self.rollbacks
                    .gt(&0)
                    .then(|| self.salvaged(state))
                    .flatten()
            })
            .or_else(|| {
                let back = self.live && (self.grows || self.rollbacks > 0);
                back.then(|| self.unjoined(state)).flatten()
            })
    }

    fn one_master(&self, state: &State) -> Option<&'static str> {
        for e in 1..=self.epochs {
            let starts = |c: &usize| state.started >> ballot(e, *c) & 1 == 1;
            if (0..self.members).filter(starts).count() > 1 {
                return Some("I1 OneStartPerEpoch");
            }
            let rules = |c: &usize| {
                let member = &state.members[*c];
                member.role == Role::Master && epoch(member.acting) == e
            };
            if (0..self.members).filter(rules).count() > 1 {
                return Some("I1 OneMasterPerEpoch");
            }
        }
        None
    }

    /// I4: two logs with a record of one epoch at one offset are equal up to there.
    fn logs_match(&self, state: &State) -> Option<&'static str> {
        let members = &state.members[..self.members];
        for (i, a) in members.iter().enumerate() {
            for b in &members[..i] {
                let shorter = a.log.len().min(b.log.len());
                let meet = (1..=shorter)
                    .rev()
                    .find(|k| a.log.at(*k).0 == b.log.at(*k).0);
                if meet.is_some_and(|k| a.log.common(&b.log) < k) {
                    return Some("I4 LogMatching");
                }
            }
        }
        None
    }

    /// I2, I3, I13: whoever answered or acked stands by it, on disk.
    fn words_kept(&self, state: &State) -> Option<&'static str> {
        for b in 1..=BALLOTS {
            for (v, member) in state.members[..self.members].iter().enumerate() {
                if state.rollbacks > 0 && v == ROLLED {
                    continue; // It forgot: that is the fault.
                }
                let (reply, ack) = (state.replies[b][v], state.acks[b][v]);
                let below = epoch(member.promise_disk) < epoch(b as Ballot);
                if reply != 0 && below {
                    return Some("I2 PromiseKept");
                }
                if ack != 0 && below {
                    return Some("I3 NoStaleAck");
                }
                let stands_by = member.promise as usize == b;
                if state.damages == 0 && stands_by && ack > member.synced {
                    return Some("I13 AckTrue");
                }
            }
        }
        None
    }

    /// W1 again, and S: what is set aside is in use elsewhere.
    fn salvaged(&self, state: &State) -> Option<&'static str> {
        if state.rollbacks == 0 && self.is_accused(state) {
            return Some("W1 healthy member accused");
        }
        let aside = &state.members[ROLLED];
        let held = aside.standing == Standing::SetAside && state.truth.is_prefix_of(&aside.log);
        let holds = |m: &Member| m.acts() && state.truth.is_prefix_of(&m.synced_log());
        let lost = held && !state.members[..self.members].iter().any(holds);
        lost.then_some("S what was set aside is nowhere else")
    }

    /// W1: a peer that remembers an ack beyond the tail accuses, unless the cut mark is of a later ballot.
    fn accused(&self, state: &State) -> Option<&'static str> {
        for b in 1..=BALLOTS {
            for (v, member) in state.members[..self.members].iter().enumerate() {
                let excused = epoch(member.cut_mark) > epoch(b as Ballot);
                // Who found damage knows that it lost something: row 14 brings it back.
                let judged = !member.repair || self.mutations.accusedamaged;
                if state.acks[b][v] > member.synced && !excused && judged {
                    return Some("W1 healthy member accused");
                }
            }
        }
        None
    }

    /// I5, I14: epochs in a log never fall; a checkpoint is a prefix of what is committed.
    fn logs_sound(&self, state: &State) -> Option<&'static str> {
        for member in &state.members[..self.members] {
            if member
                .log
                .kept()
                .windows(2)
                .any(|pair| pair[0].0 > pair[1].0)
            {
                return Some("I5 LogMonotonic");
            }
        }
        for member in &state.members[..self.members] {
            let own = member.log.prefix(member.base as usize);
            let sound = member.base <= member.synced && own.is_prefix_of(&state.truth);
            if !sound || !member.side.is_prefix_of(&state.truth) {
                return Some("I14 CheckpointCommitted");
            }
        }
        None
    }

    fn master_complete(&self, state: &State) -> Option<&'static str> {
        let lacks = state.members[..self.members].iter().any(|member| {
            member.role == Role::Master
                && epoch(member.acting) >= state.truth_epoch as usize
                && !state.truth.is_prefix_of(&member.log)
        });
        lacks.then_some("I7 LeaderComplete")
    }

    /// What any slave may apply right now is committed (row 10).
    fn applied(&self, state: &State) -> Option<&'static str> {
        let unmatched = self.mutations.applyunmatched;
        if self.hard && !unmatched {
            return None;
        }
        for member in &state.members[..self.members] {
            if member.role != Role::Slave || member.acting == 0 {
                continue;
            }
            let own = if unmatched {
                member.log.n
            } else {
                member.matched
            };
            let upto = state.committed[member.acting as usize].min(own) as usize;
            let there = upto <= member.log.len() && upto <= state.truth.len();
            if !there || member.log.common(&state.truth) < upto {
                return Some("ApplySafe");
            }
        }
        None
    }

    /// Every majority finds all receipted records on disk.
    fn recoverable(&self, state: &State) -> Option<&'static str> {
        if self.reconfig {
            return None;
        }
        let members = &state.members[..self.members];
        let have = members
            .iter()
            .filter(|m| state.truth.is_prefix_of(&m.synced_log()))
            .count();
        (have + (state.damages as usize) < self.members / 2 + 1).then_some("Recoverable")
    }

    pub(super) fn count_seen(&self, state: &State, hits: &mut [u64]) {
        let truth = &state.truth;
        let members = &state.members[..self.members];
        let clients: Vec<u8> = truth
            .kept()
            .iter()
            .filter(|r| is_client(r.1))
            .map(|r| r.0)
            .collect();
        let starts = truth.kept().iter().filter(|r| is_start(r.1)).count();
        let masters = members.iter().filter(|m| m.role == Role::Master).count();
        let lost = |of: &dyn Fn(u8) -> bool| {
            let both = |log: &super::state::Log| {
                let mut pairs = log.kept().iter().zip(truth.kept());
                pairs.any(|(sent, kept)| of(sent.1) && sent != kept)
            };
            state.sent.iter().any(both)
        };
        let config = |payload: u8| truth.kept().iter().any(|r| r.1 == payload);
        let started = members.iter().filter(|m| m.base > 0).count();
        let seen = [
            clients.windows(2).any(|pair| pair[0] != pair[1]),
            starts >= 3,
            masters >= 2,
            lost(&is_client),
            config(CFG + 2),
            lost(&|payload| payload == CFG + 1),
            members.iter().any(|m| m.side.n > 0),
            started > state.compactions as usize
                && members.iter().any(|m| m.base > 0 && m.log.n > m.base),
            members.iter().any(|m| {
                m.role == Role::Master && m.base > 0 && is_client(m.log.at(m.log.len()).1)
            }),
            config(CFG + 4),
            state.damages > 0 && members.iter().all(|m| !m.repair),
            self.joins && !self.grows && members[3].standing == Standing::Member,
            members.iter().any(|m| m.standing == Standing::Accused),
            members.iter().any(|m| m.standing == Standing::SetAside),
            self.joins && truth.n > 0 && self.is_whole(state) && config(CFG + 2 * self.changes),
        ];
        for (hit, seen) in hits.iter_mut().zip(seen) {
            *hit += u64::from(seen);
        }
    }
}
