//! What operator, founder and volumes do. `reign` has the elections, `faults` the rest.

use super::Model;
use super::state::{Ask, GROUPS_MAX, Lease, ORDINALS_MAX, Slot, State, Volume};
use crate::explore::{Names, Out};

/// The steps out of one state.
pub(super) struct Steps<'a> {
    pub model: &'a Model,
    pub from: &'a State,
    pub out: Out<'a, State>,
    pub names: Names,
}

impl Steps<'_> {
    pub(super) fn all(&mut self) {
        self.operator();
        for founder in 0..self.model.founders {
            self.founder(founder);
        }
        for o in 0..self.model.ordinals {
            self.volume(o);
        }
        self.faults();
    }

    pub(super) fn emit(&mut self, mut to: State, name: impl FnOnce() -> String) {
        self.model.settle(&mut to);
        let name = if self.names == Names::Wanted {
            name()
        } else {
            String::new()
        };
        (self.out)(name, to);
    }

    pub(super) fn step(&mut self, change: impl FnOnce(&mut State), name: impl FnOnce() -> String) {
        let mut to = *self.from;
        change(&mut to);
        self.emit(to, name);
    }

    fn operator(&mut self) {
        let (from, lease) = (self.from, self.from.lease);
        for o in 0..self.model.ordinals {
            let slot = &from.slots[o];
            let (claim, group) = (slot.claim, slot.volume.group);
            if slot.told != claim {
                let name = || format!("operator tells pod {o} its claim {claim}");
                self.step(|to| to.slots[o].told = claim, name);
            }
            let contradicts = lease.group != 0 && lease.group != group;
            let strange = self.model.recovers && contradicts && !self.model.mutations.learnany;
            let answers = self.model.is_up(from, o) && self.model.is_fit(slot);
            if from.status == 0 && answers && !strange {
                let name = || format!("operator learns the group {group} from {o}");
                self.step(|to| to.status = group, name);
            }
        }
        if lease.there {
            self.operator_at_lease(lease)
        } else {
            self.create_lease()
        }
    }

    fn create_lease(&mut self) {
        let group = self.from.status;
        let change = |to: &mut State| {
            to.write_lease(Lease {
                there: true,
                group,
                ..Lease::default()
            });
            to.offer(group);
        };
        self.step(change, || {
            format!("operator creates the Lease with group {group}")
        });
    }

    fn operator_at_lease(&mut self, lease: Lease) {
        let status = self.from.status;
        if status == 0 && lease.group != 0 {
            let name = || format!("operator copies group {} into the status", lease.group);
            self.step(|to| to.status = lease.group, name);
        }
        if status != 0 && lease.group == 0 {
            let change = |to: &mut State| {
                to.write_lease(Lease {
                    group: status,
                    proposal: 0,
                    ..lease
                });
                to.offer(status);
            };
            self.step(change, || {
                format!("operator writes group {status} into the Lease")
            });
        }
        if status == 0 && lease.group == 0 && lease.proposal != 0 {
            let name = || format!("operator confirms group {} in the status", lease.proposal);
            self.step(|to| to.status = lease.proposal, name);
        }
    }

    /// Row 15a. A second founder is the first one's process after a pause: it may finish at any time.
    fn founder(&mut self, f: usize) {
        let (from, model, lease) = (self.from, self.model, self.from.lease);
        let ask = from.asks[f];
        if !ask.on {
            let first = f == 0 || from.asks[0].on;
            let free = lease.there && lease.group == 0 && lease.proposal == 0;
            if first && free && model.is_blank(&from.slots[0]) {
                let mut got = [0; ORDINALS_MAX];
                got[0] = from.slots[0].volume.incarnation;
                let fresh = Ask {
                    on: true,
                    version: lease.version,
                    got,
                };
                let name = || format!("founder {f} asks, Lease at {}", lease.version);
                self.step(|to| to.asks[f] = fresh, name);
            }
            return;
        }
        for o in 1..model.ordinals {
            self.answer(f, &ask, o);
        }
        let answers = ask.got[..model.ordinals]
            .iter()
            .filter(|x| **x != 0)
            .count();
        let enough =
            answers == model.ordinals || model.mutations.majority && 2 * answers > model.ordinals;
        let current = lease.version == ask.version || model.mutations.blindcas;
        if enough && (from.groups as usize) < GROUPS_MAX && lease.there && current {
            self.propose(f, &ask);
        }
        if lease.version != ask.version {
            self.step(
                |to| forget(to, f),
                || format!("founder {f} is refused and forgets"),
            );
        }
    }

    fn answer(&mut self, f: usize, ask: &Ask, o: usize) {
        let (from, slot) = (self.from, &self.from.slots[o]);
        if self.model.mutations.staleanswers {
            let heard = from.heard[o];
            if heard != 0 && ask.got[o] != heard {
                let name = || format!("founder {f} takes an old answer of {o}");
                self.step(|to| to.asks[f].got[o] = heard, name);
            }
            return;
        }
        let incarnation = slot.volume.incarnation;
        if self.model.is_blank(slot) && ask.got[o] != incarnation {
            let name = || format!("{o} answers founder {f}: blank, {incarnation}");
            self.step(|to| to.asks[f].got[o] = incarnation, name);
        }
    }

    fn propose(&mut self, f: usize, ask: &Ask) {
        let (noconfirm, list) = (self.model.mutations.noconfirm, ask.got);
        let group = self.from.groups + 1;
        let change = |to: &mut State| {
            to.groups = group;
            to.lists[group as usize] = list;
            forget(to, f);
            to.write_lease(to.lease);
            if noconfirm {
                to.lease.group = group;
                to.offer(group);
            } else {
                to.lease.proposal = group;
            }
        };
        self.step(change, || {
            format!("founder {f} writes group {group} {list:?} into the Lease")
        });
    }

    fn volume(&mut self, o: usize) {
        let (model, from, slot) = (self.model, self.from, self.from.slots[o]);
        let incarnation = slot.volume.incarnation;
        let unheard = o > 0 && model.is_blank(&slot) && from.heard[o] != incarnation;
        if model.mutations.staleanswers && unheard {
            let name = || format!("{o} says: blank, {incarnation}");
            self.step(|to| to.heard[o] = incarnation, name);
        }
        self.format(o, &slot);
        if model.is_blank(&slot) && (slot.told != 0 || model.mutations.nouid) {
            for group in 1..=from.groups {
                self.adopt(o, &slot, group);
            }
        }
        if model.is_fit(&slot) && model.is_up(from, o) {
            self.reign(o);
        }
        if model.recovers {
            self.recover(o);
        }
    }

    /// Row 16. A blank volume with a foreign stamp is formatted again.
    fn format(&mut self, o: usize, slot: &Slot) {
        let mutations = &self.model.mutations;
        let told = slot.told != 0 || mutations.stamplate;
        let ignored = mutations.stamplate || mutations.nouid;
        let foreign = slot.volume.claim != slot.told && !ignored;
        if !told || slot.volume.group != 0 || slot.volume.incarnation != 0 && !foreign {
            return;
        }
        let mut to = *self.from;
        to.incarnations += 1;
        // The mutant makes its name from the claim.
        let incarnation = if mutations.keepname {
            100 + slot.claim
        } else {
            to.incarnations
        };
        let claim = if mutations.stamplate { 0 } else { slot.told };
        to.slots[o].volume = Volume {
            incarnation,
            claim,
            ..Volume::default()
        };
        self.emit(to, || {
            format!("{o} formats its volume: incarnation {incarnation}")
        });
    }

    /// Row 15c.
    fn adopt(&mut self, o: usize, slot: &Slot, group: u8) {
        let (from, mutations) = (self.from, &self.model.mutations);
        let list = from.lists[group as usize];
        let listed = list[o] == slot.volume.incarnation || mutations.byordinal;
        if from.offers >> group & 1 == 0 || !listed {
            return;
        }
        let change = |to: &mut State| {
            let volume = &mut to.slots[o].volume;
            volume.group = group;
            volume.config = list;
            if mutations.stamplate {
                volume.claim = slot.told;
            }
        };
        self.step(change, || format!("{o} adopts group {group}"));
    }
}

/// The first place is always the one in use.
fn forget(to: &mut State, f: usize) {
    to.asks[f] = Ask::default();
    if f == 0 {
        to.asks.swap(0, 1);
    }
}
