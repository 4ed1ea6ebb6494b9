//! Row 19: a group recovered by hand from one survivor, and its old members coming back.
//!
//! The survivor's process is stopped, the Lease is read, and then no majority answers. The Lease is
//! swapped at exactly that version to the new group and the list {survivor}, then the status, and only
//! then the survivor's volume: each at any later time, or never. A refused swap leaves the survivor
//! what it was. Receipts that it holds become receipts of the new group. The others come back as blank
//! volumes by row 15d, one at a time.

use super::Model;
use super::state::{GROUPS_MAX, Lease, ORDINALS_MAX, State, Volume};
use super::steps::Steps;

impl Model {
    /// One group, founded by all, before its first election.
    pub(super) fn found(&self, state: &mut State) {
        let mut list = [0; ORDINALS_MAX];
        for (o, place) in list[..self.ordinals].iter_mut().enumerate() {
            *place = o as u8 + 1;
        }
        for slot in &mut state.slots[..self.ordinals] {
            slot.told = slot.claim;
            slot.volume = Volume {
                incarnation: slot.claim,
                claim: slot.claim,
                group: 1,
                config: list,
                ..Volume::default()
            };
        }
        state.lists[1] = list;
        state.groups = 1;
        state.incarnations = self.ordinals as u8;
        state.status = 1;
        state.lease.group = 1;
        state.offer(1);
    }

    /// Does a majority of this volume's Config answer, itself included?
    fn majority_answers(&self, state: &State, o: usize) -> bool {
        let volume = state.slots[o].volume;
        let votes = |v: &usize| self.votes(state, *v, volume.group, &volume.config);
        let count = (0..self.ordinals).filter(votes).count();
        self.is_majority(count, &volume.config)
    }
}

impl Steps<'_> {
    /// All processes but one are down, their volumes in place. One fault, whoever is left.
    pub(super) fn outage(&mut self) {
        let (model, from) = (self.model, self.from);
        if !model.recovers || from.down != 0 {
            return;
        }
        for left in 0..model.ordinals {
            let down = ((1_u8 << model.ordinals) - 1) & !(1 << left);
            let change = |to: &mut State| {
                to.down = down;
                for (o, slot) in to.slots.iter_mut().enumerate() {
                    if down >> o & 1 == 1 {
                        slot.reign = 0;
                    }
                }
            };
            self.fault(change, || format!("all but {left} are down"));
        }
    }

    pub(super) fn recover(&mut self, o: usize) {
        let from = self.from;
        if from.down != 0 && o == 0 {
            self.step(|to| to.down = 0, || "all are up again".into());
        }
        if from.plans[o] == 0 {
            self.ask(o);
        } else {
            self.swap(o, from.plans[o]);
        }
    }

    /// The process is stopped, the Lease is read, then no majority answers.
    fn ask(&mut self, o: usize) {
        let (model, from) = (self.model, self.from);
        let slot = &from.slots[o];
        let group = slot.volume.group;
        let ours = from.lease.there && from.lease.group == group;
        let room = (from.groups as usize) < GROUPS_MAX;
        if !room || !model.is_fit(slot) || !model.is_up(from, o) {
            return;
        }
        let alone = !model.majority_answers(from, o) || model.mutations.recoverlive;
        if !alone || !(ours || model.mutations.recoverblind) {
            return;
        }
        let new = from.groups + 1;
        let mut list = [0; ORDINALS_MAX];
        list[o] = slot.volume.incarnation;
        if model.mutations.keeplist {
            list = slot.volume.config;
        }
        let change = |to: &mut State| {
            to.groups = new;
            to.lists[new as usize] = list;
            to.parents[new as usize] = group;
            to.plans[o] = new;
            to.asked[o] = from.lease.version;
            to.slots[o].reign = 0;
            if model.mutations.volumefirst {
                adopt(to, o, new);
            }
        };
        self.step(change, || {
            format!("{o} is stopped and alone: it will be group {new}, Lease read")
        });
    }

    /// The swaps in their order, then the volume; each at any later time, or never.
    fn swap(&mut self, o: usize, new: u8) {
        let (mutations, from) = (&self.model.mutations, self.from);
        let bit = 1 << new;
        let (in_status, in_lease) = (from.in_status & bit != 0, from.in_lease & bit != 0);
        let lease_may = in_status || !mutations.statusfirst;
        if !in_lease && lease_may && !mutations.recovernocas {
            self.swap_lease(o, new);
        }
        let named = from.lease.there && from.lease.group == new || mutations.noreread;
        let status_may = in_lease && named || mutations.statusfirst;
        let old = from.parents[new as usize];
        let swappable = from.status == old || mutations.recoverblind;
        if !in_status && status_may && swappable && !mutations.recovernocas {
            let change = |to: &mut State| {
                to.status = new;
                to.in_status |= bit;
            };
            self.step(change, || format!("status: {old} becomes {new}, by {o}"));
        }
        let told = in_status || from.status == new || mutations.statuslast;
        let known = in_lease && told && named || mutations.recovernocas || mutations.volumefirst;
        if known {
            let change = |to: &mut State| {
                adopt(to, o, new);
                to.plans[o] = 0;
                to.asked[o] = 0;
            };
            self.step(change, || format!("{o} is group {new} on disk, and starts"));
        } else if !in_lease && from.lease.version != from.asked[o] {
            let change = |to: &mut State| {
                to.plans[o] = 0;
                to.asked[o] = 0;
            };
            self.step(change, || format!("{o} is refused, and starts as it was"));
        }
    }

    fn swap_lease(&mut self, o: usize, new: u8) {
        let (mutations, from) = (&self.model.mutations, self.from);
        let lease = from.lease;
        let current = if mutations.recoverblind {
            true
        } else if mutations.anyversion {
            lease.group == from.parents[new as usize]
        } else {
            lease.version == from.asked[o]
        };
        if lease.there && current {
            let change = |to: &mut State| {
                to.write_lease(Lease {
                    group: new,
                    ..lease
                });
                to.offer(new);
                to.in_lease |= 1 << new;
            };
            self.step(change, || format!("Lease: group {new}, by {o}"));
        }
    }
}

/// The volume has another group, its list, and what of the old group's receipts it holds.
fn adopt(to: &mut State, o: usize, new: u8) {
    let old = to.slots[o].volume;
    if old.group == new {
        return;
    }
    to.receipts[new as usize] = to.receipts[old.group as usize] & old.log;
    let volume = &mut to.slots[o].volume;
    volume.group = new;
    volume.config = to.lists[new as usize];
}
