//! Rows 2 to 6 and 17: stand, promise, fetch, lead, step down.

use super::Model;
use super::quorum::bits;
use super::state::{Ballot, Member, Role, START, State, ballot, candidate, epoch};
use super::steps::Steps;

impl Model {
    /// A quorum of those that are up hears no valid master: one in the ballot that the hearer promised.
    fn is_prevoted(&self, state: &State, m: usize) -> bool {
        let members = &state.members;
        let hears = |v: usize| {
            (0..self.members).any(|w| {
                self.is_up(w)
                    && members[w].role == Role::Master
                    && (self.mutations.hearsany || members[w].acting == members[v].promise)
            })
        };
        let yes = bits((0..self.members).filter(|v| self.is_up(*v) && !hears(*v)));
        self.is_quorum(yes, self.config_of(&members[m].log))
    }

    /// A quorum that is up stands by this master's ballot.
    fn is_followed(&self, state: &State, m: usize) -> bool {
        let me = &state.members[m];
        let follows = |v: &usize| {
            let other = &state.members[*v];
            let counts = self.mutations.norefusal || !other.repair;
            self.is_up(*v) && other.promise == me.acting && counts
        };
        self.is_quorum(
            bits((0..self.members).filter(follows)),
            self.config_of(&me.log),
        )
    }

    /// Somebody who is up promised another ballot, of the same epoch or a higher one.
    fn is_refused(&self, state: &State, m: usize) -> bool {
        let acting = state.members[m].acting;
        let least = epoch(acting) + usize::from(self.mutations.refusehigher);
        let refuses = |v: usize| {
            let promise = state.members[v].promise;
            self.is_up(v) && promise != acting && epoch(promise) >= least
        };
        !self.mutations.norefusal && (0..self.members).any(refuses)
    }

    fn may_stand(&self, state: &State, m: usize, e: usize) -> bool {
        let me = &state.members[m];
        if self.goal > 0 {
            let later = self.prevote && e == self.goal + 1;
            if e != self.goal && !later || self.prevote && !self.is_prevoted(state, m) {
                return false;
            }
        }
        (!me.repair || self.mutations.repairvotes)
            && self.has_vote(me)
            && me.role != Role::Master
            && self.is_voter(m, self.config(me))
            && (self.lease_faults.is_none() || e > state.lease as usize)
    }
}

/// What a PromiseRep told: last epoch, length.
fn told(reply: u8) -> (u8, u8) {
    ((reply - 1) >> 4, (reply - 1) & 15)
}

impl Steps<'_> {
    /// Row 2. Lease compare-and-swap, own promise on disk, then the requests go out.
    pub(super) fn stand(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        for e in epoch(me.promise) + 1..=model.epochs {
            if !model.may_stand(self.from, m, e) {
                continue;
            }
            let b = ballot(e, m);
            let mut to = *self.from;
            if model.lease_faults.is_some() {
                to.lease = e as u8;
            }
            let member = &mut to.members[m];
            member.promise = b;
            if !model.mutations.nosync_self {
                member.promise_disk = b;
            }
            member.acting = b;
            member.matched = 0;
            member.role = Role::Candidate;
            member.need = 0;
            to.requests |= 1 << b;
            self.emit(to, || format!("{m} stands for epoch {e}"));
        }
    }

    /// Row 3. A durable promise to one candidate per epoch, then the reply with the durable tail.
    pub(super) fn promise(&mut self, m: usize) {
        for b in Self::all_ballots() {
            let under_way = self.from.requests >> b & 1 == 1;
            let old = self.model.goal > 0 && epoch(b) < self.model.goal;
            if under_way && candidate(b) != m && !old && self.grants(&self.me(m), b) {
                self.promise_to(m, b);
            }
        }
    }

    fn grants(&self, me: &Member, b: Ballot) -> bool {
        if self.model.mutations.bynumber {
            epoch(b) >= epoch(me.promise) && me.promise != b
        } else {
            epoch(b) > epoch(me.promise)
        }
    }

    fn promise_to(&mut self, m: usize, b: Ballot) {
        let (mutations, me) = (&self.model.mutations, self.me(m));
        let mut to = *self.from;
        let durable = me.synced_log();
        // A set in the TLA+ module. One slot is enough: a voter answers a ballot once, unless its
        // promise was lost, and then the least tail does the most harm.
        let reply = 1 + (durable.last_epoch() << 4 | durable.n);
        let slot = &mut to.replies[b as usize][m];
        let clean = !me.repair || mutations.repairvotes;
        if (*slot == 0 || reply < *slot) && clean && self.model.has_vote(&me) {
            *slot = reply;
        }
        let member = &mut to.members[m];
        member.promise = b;
        if !mutations.nosync {
            member.promise_disk = b;
        }
        let master_stays = mutations.masterkeeps && me.role == Role::Master;
        let slave_stays = mutations.ackold && me.role == Role::Slave;
        if !master_stays && !slave_stays {
            member.role = Role::Slave;
            member.acting = b;
            member.matched = 0;
            member.need = 0;
        }
        self.model.remember(&mut to, m, b);
        self.emit(to, || {
            let (e, c, tail) = (epoch(b), candidate(b), durable.kept());
            format!("{m} promises epoch {e} to {c}, durable tail {tail:?}")
        });
    }

    /// Row 5. Pulls a better tail from a member that still stands by this ballot.
    pub(super) fn fetch(&mut self, m: usize) {
        let (mutations, me) = (&self.model.mutations, self.me(m));
        if me.role != Role::Candidate {
            return;
        }
        for v in 0..self.model.members {
            let (server, reply) = (self.me(v), self.from.replies[me.acting as usize][v]);
            if reply == 0 || v == m || me.log.tail() >= told(reply) {
                continue;
            }
            let stands_by = mutations.fetchnotag || server.promise == me.acting;
            let clean = !server.repair || mutations.fetchdamaged;
            if stands_by && clean && self.model.is_up(v) {
                self.fetch_from(m, v);
            }
        }
    }

    fn fetch_from(&mut self, m: usize, v: usize) {
        let (mutations, me, server) = (&self.model.mutations, self.me(m), self.me(v));
        let (mut log, base) = (server.synced_log(), server.base as usize);
        // The server has no records up to its checkpoint: that comes first.
        if self.model.lacks(&me, &log.prefix(base)) && !mutations.fetchbase {
            if !mutations.nofetchck && (me.side != log.prefix(base) || me.side_ballot != me.acting)
            {
                let change = |member: &mut Member| {
                    member.side = log.prefix(base);
                    member.side_ballot = me.acting;
                };
                self.emit_member(m, change, || {
                    format!("{m} reads the checkpoint {base} of {v}")
                });
            }
            return;
        }
        if mutations.fetchbase && base > 0 {
            let mut mixed = me.log.prefix(base);
            log.kept()[base..]
                .iter()
                .for_each(|record| mixed.push(*record));
            log = mixed;
        }
        if log == me.log {
            return;
        }
        let same = me.log.common(&log) as u8;
        let change = |member: &mut Member| {
            if same < me.synced && !mutations.nocutmark {
                member.cut_mark = me.acting;
            }
            member.log = log;
            member.synced = me.synced.min(same);
        };
        self.emit_member(m, change, || format!("{m} fetches the tail of {v}"));
    }

    /// Row 6. A quorum of the Config of the log as adopted, nobody in it with a greater tail.
    pub(super) fn lead(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        if me.role != Role::Candidate {
            return;
        }
        let replies = &self.from.replies[me.acting as usize];
        let fits = |v: &usize| {
            let reply = replies[*v];
            *v == m || reply != 0 && (model.mutations.skiprec || me.log.tail() >= told(reply))
        };
        let who = bits((0..model.members).filter(fits));
        if !self.first_is_unanimous(&me, who) {
            return;
        }
        let config = model.config(&me);
        let judged_by = if model.mutations.oldcfg { 0 } else { config };
        let votes = model.mutations.oldcfg || model.is_voter(m, config);
        if !model.is_quorum(who, judged_by) || !votes {
            return;
        }
        let (b, mut to) = (me.acting as usize, *self.from);
        let member = &mut to.members[m];
        member.role = Role::Master;
        member.log.push((epoch(me.acting) as u8, START + m as u8));
        to.sent[b] = member.log;
        to.sent_base[b] = me.base;
        if me.base > 0 {
            to.checkpoints[b] |= 1 << me.base;
        }
        to.started |= 1 << me.acting;
        self.emit(to, || format!("{m} leads epoch {}", epoch(me.acting)));
    }

    /// A damaged member's reply has no vote, but it shows that the member belongs to the group.
    fn first_is_unanimous(&self, me: &Member, who: u32) -> bool {
        let shows = |v: usize| {
            let other = self.me(v);
            who >> v & 1 == 1 || other.repair && other.promise == me.acting
        };
        !self.model.unanimous || me.log.n > 0 || (0..self.model.members).all(shows)
    }

    /// Row 17. No quorum's answer for a whole lease duration, or a refusal.
    pub(super) fn step_down(&mut self, m: usize) {
        let model = self.model;
        if self.me(m).role != Role::Master {
            return;
        }
        let moved = || !model.is_followed(self.from, m) || model.is_refused(self.from, m);
        if model.stepdown || model.goal > 0 && (!model.prevote || moved()) {
            let change = |member: &mut Member| {
                member.role = Role::Slave;
                member.matched = 0;
            };
            self.emit_member(m, change, || format!("{m} steps down"));
        }
    }

    pub(super) fn lease_fault(&mut self) {
        let faults = self.model.lease_faults.unwrap_or(0);
        if self.from.faults >= faults || self.model.goal > 0 {
            return;
        }
        for e in 0..self.from.lease {
            let mut to = *self.from;
            to.lease = e;
            to.faults += 1;
            self.emit(to, || format!("the Lease falls back to epoch {e}"));
        }
    }
}
