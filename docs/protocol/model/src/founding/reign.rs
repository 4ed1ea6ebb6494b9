//! A master's life in three steps: an election with its EpochStart committed, a receipt, a volume
//! replaced in the Config. Each happens with every set of members that allows it.

use super::state::{
    BESIDE_VOLUME, GROUPS_MAX, LACKS_RECEIPT, Lease, List, OLD_GROUP, State, THOUGH_KNOWN, Volume,
};
use super::steps::Steps;

/// The ordinals of a set of bits.
fn of(set: u32) -> impl Iterator<Item = usize> {
    (0..u32::BITS as usize).filter(move |v| set >> v & 1 == 1)
}

impl Steps<'_> {
    pub(super) fn reign(&mut self, o: usize) {
        let (model, from) = (self.model, self.from);
        let me = from.slots[o];
        let group = me.volume.group;
        for set in (1..1_u32 << model.ordinals).filter(|set| set >> o & 1 == 1) {
            let fit = |v: usize| {
                let other = from.slots[v].volume.group;
                let passes = model.mutations.oldvotes && from.is_ancestor(other, group);
                let ours = other == group || passes;
                model.is_up(from, v) && model.is_fit(&from.slots[v]) && ours
            };
            if !of(set).all(fit) {
                continue;
            }
            self.elect(o, set);
            let replaced = of(set).any(|v| from.slots[v].volume.epoch > me.reign);
            if me.reign == 0 || replaced {
                continue;
            }
            let votes = |v: &usize| model.votes(from, *v, group, &me.volume.config);
            if !model.is_majority(of(set).filter(votes).count(), &me.volume.config) {
                continue;
            }
            if from.records < model.records {
                self.receipt(o, set);
            }
            for j in 0..model.ordinals {
                self.replace(o, set, j);
            }
        }
    }

    /// Rows 2 to 9 in one.
    fn elect(&mut self, o: usize, set: u32) {
        let (model, from) = (self.model, self.from);
        let group = from.slots[o].volume.group;
        let volumes = || of(set).map(|v| from.slots[v].volume);
        let best = volumes()
            .max_by_key(Volume::tail)
            .expect("a set has a member");
        let votes = |v: &usize| model.votes(from, *v, group, &best.config);
        let count = of(set).filter(votes).count();
        let epoch = volumes()
            .map(|v| v.epoch)
            .max()
            .expect("a set has a member")
            + 1;
        let first = best.last_epoch == 0 && !model.mutations.firstbymajority;
        let enough = if first {
            count == model.size(&best.config)
        } else {
            model.is_majority(count, &best.config)
        };
        let lease = from.lease;
        let ours = lease.there && (lease.group == 0 || lease.group == group);
        let uncalled = model.mutations.recovernocas && from.parents[group as usize] != 0;
        let blind = model.mutations.leaseblind || uncalled;
        if epoch > model.epochs || !enough || !(ours || blind) || !votes(&o) {
            return;
        }
        let mut to = *from;
        for v in of(set) {
            let slot = &mut to.slots[v];
            slot.reign = 0;
            slot.volume.epoch = epoch;
            slot.volume.last_epoch = epoch;
            slot.volume.length = best.length;
            slot.volume.log = best.log;
            slot.volume.config = best.config;
            slot.volume.group = group;
        }
        to.slots[o].reign = epoch;
        if model.recovers {
            to.reigned |= 1 << group;
        }
        if lease.there && lease.group == 0 && !blind {
            to.write_lease(Lease {
                proposal: 0,
                group,
                ..lease
            });
            to.offer(group);
        }
        // Every candidate swaps the Lease (row 2): a new version.
        if model.recovers && lease.there && to.lease.version == lease.version {
            to.write_lease(lease);
        }
        let receipts = from.receipts[group as usize];
        if best.log & receipts != receipts {
            to.bad |= LACKS_RECEIPT;
        }
        self.emit(to, || {
            let log = best.log;
            format!("{o} reigns in epoch {epoch} of group {group} with {set:b}, log {log:b}")
        });
    }

    /// The master's log, one record longer, on every member of the set.
    fn put(to: &mut State, master: &Volume, reign: u8, set: u32, config: List, record: u8) {
        for v in of(set) {
            let volume = &mut to.slots[v].volume;
            volume.epoch = reign;
            volume.last_epoch = reign;
            volume.length = master.length + 1;
            volume.log = master.log | record;
            volume.config = config;
            volume.group = master.group;
        }
    }

    fn receipt(&mut self, o: usize, set: u32) {
        let from = self.from;
        let me = from.slots[o];
        let (group, record) = (me.volume.group, 1 << from.records);
        let mut to = *from;
        Self::put(&mut to, &me.volume, me.reign, set, me.volume.config, record);
        to.receipts[group as usize] |= record;
        to.records += 1;
        if self.model.recovers {
            to.gave |= 1 << group;
        }
        let related = |h: u8| from.is_ancestor(h, group) || from.is_ancestor(group, h);
        let other = |h: u8| h != group && from.receipts[h as usize] != 0 && !related(h);
        let recovered = from.parents[group as usize] != 0;
        let fresh = from.receipts[group as usize] == 0 || recovered;
        let second = (1..=GROUPS_MAX as u8).any(other) && fresh;
        let succeeded =
            |h: u8| from.reigned >> h & 1 == 1 && from.is_ancestor(group, h) && !from.unknown;
        if (1..=GROUPS_MAX as u8).any(succeeded) {
            to.bad |= OLD_GROUP;
        }
        if second && !from.void {
            to.bad |= THOUGH_KNOWN;
        }
        let volumes = from.slots[..self.model.ordinals]
            .iter()
            .map(|slot| slot.volume.group);
        if second && volumes.into_iter().any(|g| g != 0 && other(g)) {
            to.bad |= BESIDE_VOLUME;
        }
        self.emit(to, || {
            format!(
                "{o} gives receipt {} in group {group} with {set:b}",
                from.records
            )
        });
    }

    /// Row 15d: a blank volume becomes the voter of its ordinal, by both majorities, in one step.
    fn replace(&mut self, o: usize, set: u32, j: usize) {
        let (model, from) = (self.model, self.from);
        let (me, new) = (from.slots[o], &from.slots[j]);
        let incarnation = new.volume.incarnation;
        let blank = model.is_up(from, j) && model.is_blank(new) && new.told != 0;
        if set >> j & 1 == 1 || !blank || me.volume.config[j] == incarnation {
            return;
        }
        let mut config = me.volume.config;
        config[j] = incarnation;
        let listed = |v: &usize| from.slots[*v].volume.incarnation == config[*v];
        if !model.is_majority(of(set).filter(listed).count() + 1, &config) {
            return;
        }
        let mut to = *from;
        to.slots[j].volume.claim = new.told;
        if model.mutations.joinvotes {
            to.slots[j].volume.group = me.volume.group;
            to.slots[j].volume.config = config;
        }
        Self::put(&mut to, &me.volume, me.reign, set, config, 0);
        if !model.mutations.joinvotes {
            let master = to.slots[o].volume;
            let Volume {
                incarnation, claim, ..
            } = to.slots[j].volume;
            to.slots[j].volume = Volume {
                incarnation,
                claim,
                ..master
            };
        }
        self.emit(to, || {
            let old = me.volume.config[j];
            format!("{o} puts {incarnation} in place of {old} at {j} by {set:b}")
        });
    }
}
