//! What can happen next: every step of every member, in a fixed order.
//!
//! Any voter may stand for any higher epoch at any moment: time, suspicion, pre-vote and Lease
//! expiry can only take behaviours away, so they are not here (`live` has them as guards). Messages
//! are sets: lost, doubled, late, reordered.

use super::Model;
use super::state::{BALLOTS, Ballot, Member, State};
use crate::explore::{Names, Out};

/// The steps out of one state.
pub(super) struct Steps<'a> {
    pub model: &'a Model,
    pub from: &'a State,
    pub out: Out<'a, State>,
    pub names: Names,
}

impl Model {
    pub(super) fn steps(&self, from: &State, out: Out<'_, State>, names: Names) {
        Steps {
            model: self,
            from,
            out,
            names,
        }
        .all();
    }
}

impl Steps<'_> {
    fn all(&mut self) {
        let model = self.model;
        self.lease_fault();
        for m in (0..model.members).filter(|m| model.is_up(*m)) {
            self.join(m);
            if model.joins && !model.may_act(self.from, m) {
                self.way_back(m);
                continue;
            }
            self.stand(m);
            self.promise(m);
            self.fetch(m);
            self.lead(m);
            self.write(m);
            self.receive(m);
            self.install(m);
            self.compact(m);
            self.repair(m);
            self.sync(m);
            self.step_down(m);
            if model.goal == 0 {
                self.faults(m);
            }
        }
    }

    /// The member before the step.
    pub(super) fn me(&self, m: usize) -> Member {
        self.from.members[m]
    }

    /// Every ballot there can be, in order.
    pub(super) fn all_ballots() -> impl Iterator<Item = Ballot> {
        1..=BALLOTS as Ballot
    }

    pub(super) fn emit(&mut self, mut to: State, name: impl FnOnce() -> String) {
        self.model.settle(self.from, &mut to);
        let name = if self.names == Names::Wanted {
            name()
        } else {
            String::new()
        };
        (self.out)(name, to);
    }

    /// A step in which one member alone changes.
    pub(super) fn emit_member(
        &mut self,
        m: usize,
        change: impl FnOnce(&mut Member),
        name: impl FnOnce() -> String,
    ) {
        let mut to = *self.from;
        change(&mut to.members[m]);
        self.emit(to, name);
    }
}
