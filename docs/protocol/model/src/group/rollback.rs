//! Row 18: a volume rolled back in place, what its peers remember of it, and its way back.
//!
//! The memory is perfect, shared by all peers (heartbeats carry it) and told before the volume acts:
//! what is checked is that it accuses whenever something that counted was forgotten, and nobody else.
//! That no peer which remembers can be reached is outside (H7). By symmetry it is always member 2.

use super::Model;
use super::quorum::bits;
use super::state::{BALLOTS, Ballot, Member, Role, Snapshot, Standing, State, candidate, epoch};
use super::steps::Steps;

/// The member that is rolled back; the blank volume that takes its place.
pub(super) const ROLLED: usize = 2;
const FRESH: usize = 3;

impl Model {
    /// A peer heard a promise.
    pub(super) fn remember(&self, state: &mut State, v: usize, b: Ballot) {
        if self.rollbacks == 0 {
            return;
        }
        // Whoever follows a ballot knows that its candidate promised it.
        let told = v == ROLLED && candidate(b) != ROLLED || v != ROLLED && candidate(b) == ROLLED;
        if told && epoch(b) > epoch(state.heard) {
            state.heard = b;
        }
    }

    /// A master counts itself: its peers remember that like an ack.
    pub(super) fn remember_own(&self, state: &mut State, m: usize, upto: u8) {
        if self.rollbacks > 0 && m == ROLLED && !self.mutations.masterforgets {
            let counted = &mut state.acks[state.members[m].acting as usize][m];
            *counted = upto.max(*counted);
        }
    }

    /// Row 4's rule, by the greatest (ballot, match) that is remembered.
    pub(super) fn is_accused(&self, state: &State) -> bool {
        let (mutations, me) = (&self.mutations, &state.members[ROLLED]);
        if mutations.nowitness || me.standing != Standing::Member {
            return false;
        }
        let promise = epoch(state.heard) > epoch(me.promise_disk) && !mutations.nopromisememory;
        let acked = |b: &Ballot| state.acks[*b as usize][ROLLED] > 0;
        let greatest = (1..=BALLOTS as Ballot)
            .filter(acked)
            .max_by_key(|b| epoch(*b));
        // Who found damage knows that it lost something: row 14 brings it back.
        let records = !me.repair
            && greatest.is_some_and(|b| {
                let excused = epoch(me.cut_mark) > epoch(b);
                state.acks[b as usize][ROLLED] > me.synced && !excused
            });
        promise || records && !mutations.noackmemory
    }

    /// May it act, or must it hear first what its peers remember?
    pub(super) fn may_act(&self, state: &State, m: usize) -> bool {
        let me = &state.members[m];
        let hears = self.rollbacks > 0 && m == ROLLED && !self.mutations.accusedvotes;
        me.acts() && !(hears && state.rollbacks > 0 && self.is_accused(state))
    }

    /// Has this master a quorum without the accused, which stands by it now and has all that is
    /// committed? What it acked before it promised another says nothing.
    fn confirms(&self, state: &State, m: usize) -> bool {
        let me = &state.members[m];
        if me.role != Role::Master || !self.reigns(state, me) {
            return false;
        }
        let b = me.acting as usize;
        let least = if self.mutations.formatatstart {
            self.start_of(&me.log, me.acting)
        } else {
            state.committed[b] as usize
        };
        let stands_by = |other: &Member| {
            let clean = !other.repair && self.has_vote(other);
            clean && other.promise == me.acting && other.in_step_to() as usize >= least
        };
        let has = |v: &usize| {
            let acked = self.mutations.formatstale && state.acks[b][*v] as usize >= least;
            *v == m || acked || stands_by(&state.members[*v])
        };
        let who = bits((0..self.members).filter(|v| *v != ROLLED && has(v)));
        self.is_quorum(who, self.config(me))
    }
}

impl Steps<'_> {
    /// The steps of a volume that takes no part.
    pub(super) fn way_back(&mut self, m: usize) {
        let (model, me) = (self.model, self.me(m));
        if m != ROLLED || model.rollbacks == 0 {
            return;
        }
        if me.standing == Standing::Member {
            let change = |member: &mut Member| member.standing = Standing::Accused;
            self.emit_member(m, change, || format!("{m} is accused: data_loss"));
        }
        let open = model.goal == 0 || model.rejoins;
        let confirmed = (0..model.members).any(|c| model.confirms(self.from, c));
        if me.standing == Standing::Accused && open && (confirmed || model.mutations.formatearly) {
            self.format(m);
        }
    }

    /// The old volume is set aside, a new one formatted in its place.
    fn format(&mut self, m: usize) {
        let (mutations, me) = (&self.model.mutations, self.me(m));
        if mutations.formatkeeps {
            let blank = |member: &mut Member| {
                *member = Member::NEW;
                member.standing = Standing::Blank;
            };
            self.emit_member(m, blank, || format!("{m} is formatted under its old name"));
            return;
        }
        let mut to = *self.from;
        let kept = me.synced_log();
        if !mutations.countsaside {
            // What it acked counts no more, or a later commit would need its bytes.
            to.acks.iter_mut().for_each(|acks| acks[m] = 0);
        }
        to.members[m] = Member::NEW;
        to.members[m].standing = Standing::SetAside;
        to.members[m].log = kept;
        to.members[m].synced = kept.n;
        if mutations.inherit {
            to.members[FRESH].promise = me.promise_disk;
            to.members[FRESH].promise_disk = me.promise_disk;
        }
        self.emit(to, || {
            format!("{m} is set aside and formatted anew as {FRESH}")
        });
    }

    /// A snapshot is taken, and once restored in place.
    pub(super) fn roll_back(&mut self, m: usize) {
        let (model, me, from) = (self.model, self.me(m), self.from);
        if m != ROLLED || from.rollbacks >= model.rollbacks || me.standing != Standing::Member {
            return;
        }
        let snapshot = from.snapshot;
        if !snapshot.taken && me.repair {
            return;
        }
        if !snapshot.taken {
            let mut to = *from;
            to.snapshot = Snapshot {
                taken: true,
                promise: me.promise_disk,
                log: me.synced_log(),
                cut_mark: me.cut_mark,
            };
            self.emit(to, || format!("snapshot of {m}"));
            return;
        }
        let mut to = *from;
        to.rollbacks += 1;
        to.snapshot = Snapshot::NONE;
        let member = &mut to.members[m];
        member.promise_disk = snapshot.promise;
        member.log = snapshot.log;
        member.cut_mark = snapshot.cut_mark;
        member.repair = false;
        member.need = 0;
        member.restart(snapshot.log.len());
        self.emit(to, || format!("{m} is rolled back to its snapshot"));
    }
}
