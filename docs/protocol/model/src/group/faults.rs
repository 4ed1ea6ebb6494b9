//! What a machine does to a member: crash, damaged journal, a disk that is lost.

use super::state::{Log, Member};
use super::steps::Steps;

impl Steps<'_> {
    pub(super) fn faults(&mut self, m: usize) {
        let me = self.me(m);
        if me.old_base > 0 {
            let change = |member: &mut Member| forget_old(member);
            self.emit_member(m, change, || format!("{m}: the directory reaches the disk"));
        }
        for kept in me.synced as usize..=me.log.len() {
            self.crash(m, kept);
        }
        self.damage(m);
        self.roll_back(m);
        if self.model.mutations.amnesia && self.from.faults < 1 {
            let mut to = *self.from;
            to.faults += 1;
            to.members[m] = Member::NEW;
            self.emit(to, || format!("{m} loses its disk and keeps its name"));
        }
    }

    /// Keeps any prefix beyond the synced one; a side directory survives or not.
    fn crash(&mut self, m: usize, kept: usize) {
        let me = self.me(m);
        let crashed = |member: &mut Member| {
            member.restart(kept);
            member.need = 0;
            forget_old(member);
        };
        if me.old_base > 0 {
            let change = |member: &mut Member| {
                crashed(member);
                member.log = me.old;
                member.synced = me.old.n;
                member.base = me.old_base - 1;
                forget_side(member);
            };
            self.emit_member(m, change, || {
                format!("{m} crashes, the old directory is back")
            });
        }
        if me.side.n > 0 {
            let change = |member: &mut Member| {
                crashed(member);
                forget_side(member);
            };
            self.emit_member(m, change, || {
                format!("{m} crashes, keeps {kept} records, side directory gone")
            });
        }
        let mut after = me;
        crashed(&mut after);
        if after.differs(&me) {
            self.emit_member(m, crashed, || format!("{m} crashes, keeps {kept} records"));
        }
    }

    /// A journal found damaged at the start, by its checksums.
    fn damage(&mut self, m: usize) {
        let me = self.me(m);
        if self.from.damages >= self.model.damages {
            return;
        }
        for kept in 0..me.synced as usize {
            if kept > 0 && kept < me.base as usize {
                continue; // The checkpoint is whole or gone.
            }
            let mut to = *self.from;
            to.damages += 1;
            let member = &mut to.members[m];
            member.restart(kept);
            if kept < me.base as usize {
                member.base = 0;
            }
            member.repair = true;
            member.need = 0;
            forget_side(member);
            self.emit(to, || format!("{m} finds its journal damaged after {kept}"));
        }
    }
}

fn forget_old(member: &mut Member) {
    member.old_base = 0;
    member.old = Log::EMPTY;
}

fn forget_side(member: &mut Member) {
    member.side = Log::EMPTY;
    member.side_ballot = 0;
}
