//! Rows 7 to 10, 13: write, receive, fdatasync. Acks and commits are settled in `quorum`.

use super::state::{Ballot, CFG, Log, Member, Role, candidate, epoch, is_client};
use super::steps::Steps;

impl Steps<'_> {
    /// A client's record, once the EpochStart is committed, or the next Config record.
    pub(super) fn write(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        if me.role != Role::Master || model.goal > 0 && !model.rejoins {
            return;
        }
        let ready = model.reigns(self.from, &me);
        if ready && self.from.next_value <= model.values && model.goal == 0 {
            self.write_record(m, self.from.next_value);
        }
        if model.reconfig && (ready || model.mutations.cfgearly) {
            self.write_config(m);
        }
    }

    fn write_record(&mut self, m: usize, payload: u8) {
        let me = self.me(m);
        let mut to = *self.from;
        to.members[m].log.push((epoch(me.acting) as u8, payload));
        to.sent[me.acting as usize] = to.members[m].log;
        if is_client(payload) {
            to.next_value += 1;
        }
        self.emit(to, || {
            let what = if is_client(payload) {
                "record"
            } else {
                "config"
            };
            format!("{m} writes {what} {payload} at {}", me.log.len() + 1)
        });
    }

    /// Row 13: the joint record, then the final one; only a master of the new set goes on.
    fn write_config(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        let config = model.config_of(&me.log);
        if config >= 2 * model.changes {
            return;
        }
        let joint = config | 1;
        let new_voters = model.voter_sets(joint + 1).0[0];
        if new_voters >> m & 1 == 0 {
            return;
        }
        let upto = self.from.committed[me.acting as usize] as usize;
        let committed = config == 0 || (1..=upto).any(|i| me.log.at(i).1 == CFG + config);
        let pending = config % 2 == 1;
        let ready = model.is_ready(self.from, m, joint);
        if !pending && (model.mutations.nopending || committed) && ready {
            let first = if model.mutations.nojoint {
                joint + 1
            } else {
                joint
            };
            self.write_record(m, CFG + first);
        }
        if pending && (model.mutations.earlyfinal || committed) {
            self.write_record(m, CFG + joint + 1);
        }
    }

    /// Row 7, one record at a time: an Append of n records is n of them in a row.
    pub(super) fn receive(&mut self, m: usize) {
        for b in Self::all_ballots() {
            let sent = self.from.sent[b as usize];
            let gone = self.model.goal > 0 && !self.model.is_up(candidate(b));
            if sent.n == 0 || candidate(b) == m || gone || !self.follows(&self.me(m), b) {
                continue;
            }
            for offset in self.from.sent_base[b as usize] as usize + 1..=sent.len() {
                self.receive_record(m, b, &sent, offset);
            }
            self.receive_checkpoints(m, b, &sent);
        }
    }

    /// Guard: ballot = promise, or higher: then it is promised first, on disk.
    fn follows(&self, me: &Member, b: Ballot) -> bool {
        let (e, promised, mutations) = (epoch(b), epoch(me.promise), &self.model.mutations);
        if mutations.nofence {
            me.role == Role::Slave || e > promised
        } else if mutations.bynumber {
            e > promised || e == promised && me.role == Role::Slave
        } else {
            e > promised || b == me.promise
        }
    }

    fn receive_record(&mut self, m: usize, b: Ballot, sent: &Log, offset: usize) {
        let (mutations, me) = (&self.model.mutations, self.me(m));
        // A record at or below the own checkpoint is committed: there, and equal.
        let covered = offset <= me.base as usize;
        if offset > 1 && !covered && !me.log.has(offset - 1, sent.at(offset - 1).0) {
            return;
        }
        let mut to = *self.from;
        let member = &mut to.members[m];
        if epoch(b) >= epoch(me.promise) {
            member.promise = b;
        }
        if !mutations.nosync {
            member.promise_disk = member.promise;
        }
        let matched = if b == me.acting { me.matched } else { 0 };
        if b != me.acting {
            member.need = 0;
        }
        member.acting = b;
        member.role = Role::Slave;
        let there = me.log.has(offset, sent.at(offset).0) && !mutations.truncdup;
        if covered || there {
            member.matched = matched.max(offset as u8);
        } else {
            if offset as u8 <= member.synced && !mutations.nocutmark {
                member.cut_mark = b;
            }
            member.log.cut(offset - 1);
            member.log.push(sent.at(offset));
            member.synced = member.synced.min(offset as u8 - 1);
            member.matched = offset as u8;
        }
        if member.differs(&me) {
            self.emit(to, || {
                let (e, c) = (epoch(b), candidate(b));
                format!("{m} receives record {offset} of epoch {e} from {c}")
            });
        }
    }

    pub(super) fn sync(&mut self, m: usize) {
        let me = self.me(m);
        if me.synced < me.log.n {
            let change = |member: &mut Member| member.synced = member.log.n;
            self.emit_member(m, change, || format!("{m} fdatasync to {}", me.log.n));
        }
    }
}
