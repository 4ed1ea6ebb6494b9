//! Rows 12 and 14: checkpoints, installs, and the way back of a damaged member.

use super::Model;
use super::state::{Ballot, Log, Member, Role, Standing, candidate, epoch};
use super::steps::Steps;

impl Model {
    /// A checkpoint is installed only where the own log has no record (its offset, its epoch).
    pub(super) fn lacks(&self, member: &Member, checkpoint: &Log) -> bool {
        let offset = checkpoint.len();
        if self.mutations.row12 && member.role == Role::Slave {
            return offset > member.synced as usize;
        }
        offset > member.base as usize && !member.log.has(offset, checkpoint.at(offset).0)
    }
}

impl Steps<'_> {
    /// A checkpoint from the master of this ballot, into the side directory.
    pub(super) fn receive_checkpoints(&mut self, m: usize, b: Ballot, sent: &Log) {
        let (me, e) = (self.me(m), epoch(b));
        for offset in 1..=sent.len() {
            let checkpoint = sent.prefix(offset);
            let was_sent = self.from.checkpoints[b as usize] >> offset & 1 == 1;
            if !was_sent || !self.model.lacks(&me, &checkpoint) {
                continue;
            }
            let mut to = *self.from;
            let member = &mut to.members[m];
            if e >= epoch(me.promise) {
                member.promise = b;
            }
            member.promise_disk = member.promise;
            if b != me.acting && e >= epoch(me.promise) {
                member.matched = 0;
                member.need = 0;
                member.acting = b;
                member.role = Role::Slave;
            }
            member.side = checkpoint;
            member.side_ballot = b;
            let view = |x: &Member| (x.side, x.side_ballot, x.acting);
            if view(member) != view(&me) {
                let c = candidate(b);
                self.emit(to, || {
                    format!("{m} receives the checkpoint {offset} of epoch {e} from {c}")
                });
            }
        }
    }

    /// The switch, one job of the disk thread: check again, swap, nothing old is left.
    pub(super) fn install(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        let mutations = &model.mutations;
        let stands_by = me.side_ballot == me.promise || mutations.noballot;
        if me.side.n == 0 || me.role == Role::Master || !stands_by {
            return;
        }
        if !mutations.norecheck && !model.lacks(&me, &me.side) {
            return;
        }
        let offset = me.side.len();
        let fits = mutations.row12 && me.log.has(offset, me.side.at(offset).0);
        let change = |member: &mut Member| {
            if !mutations.nocutmark && !mutations.nocutinstall {
                member.cut_mark = me.side_ballot;
            }
            member.log = me.side;
            if mutations.keepsuffix || fits {
                me.log
                    .kept()
                    .iter()
                    .skip(offset)
                    .for_each(|record| member.log.push(*record));
            }
            member.base = offset as u8;
            member.synced = member.log.n;
            if me.role == Role::Slave {
                let mine = me.side_ballot == me.acting || mutations.noballot;
                member.matched = if mine { offset as u8 } else { 0 };
            }
            if mutations.prominside {
                // The copy that was made when the checkpoint arrived.
                member.promise_disk = me.side_ballot;
                member.promise = me.side_ballot;
                member.acting = me.side_ballot;
            }
            if mutations.nodirsync {
                member.old = me.synced_log();
                member.old_base = 1 + me.base;
            }
            if mutations.nosidesync {
                member.old = Log::EMPTY;
                member.old_base = 1;
            }
            member.side = Log::EMPTY;
            member.side_ballot = 0;
        };
        self.emit_member(m, change, || {
            format!("{m} installs the checkpoint {offset}")
        });
    }

    /// A checkpoint is taken and the journal before it dropped. Whatever is committed may be applied:
    /// a superset, the member need not know it yet.
    pub(super) fn compact(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        if self.from.compactions >= model.compactions || model.goal > 0 {
            return;
        }
        let committed = me.log.common(&self.from.truth);
        for offset in me.base as usize + 1..=me.synced as usize {
            if !model.mutations.ckunapplied && committed < offset {
                break;
            }
            let mut to = *self.from;
            to.compactions += 1;
            let member = &mut to.members[m];
            member.base = offset as u8;
            if model.mutations.dropfirst {
                member.old = Log::EMPTY;
                member.old_base = 1;
            }
            if me.role == Role::Master {
                to.checkpoints[me.acting as usize] |= 1 << offset;
            }
            self.emit(to, || {
                format!("{m} takes checkpoint {offset} and drops the journal before it")
            });
        }
    }

    /// Row 14: a learner until it holds what it may have acked.
    pub(super) fn repair(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        let learns = me.standing == Standing::Learner;
        if !(me.repair || learns) || me.role != Role::Slave || me.acting == 0 {
            return;
        }
        let c = candidate(me.acting);
        let master = self.me(c);
        let rules = master.role == Role::Master && master.acting == me.acting;
        if me.need == 0 && rules && model.is_up(c) && model.reigns(self.from, &master) {
            let committed = self.from.committed[me.acting as usize];
            let need = if model.mutations.cleanearly {
                committed
            } else {
                master.log.n
            };
            let change = |member: &mut Member| member.need = need;
            self.emit_member(m, change, || format!("{m} asks {c} what it needs: {need}"));
        }
        let caught_up = if learns && model.mutations.cleanlate {
            model.knows_itself(m, &me)
        } else {
            me.need > 0 && me.in_step_to() >= me.need
        };
        if caught_up && !model.mutations.cleannever {
            // What it acked in older ballots it may have lost and not got back: never committed.
            let marks = !model.mutations.nocutclean;
            let change = |member: &mut Member| {
                if marks {
                    member.cut_mark = me.acting;
                }
                member.repair = false;
                member.need = 0;
                member.standing = Standing::Member;
            };
            self.emit_member(m, change, || format!("{m} is clean again"));
        }
    }
}
