//! What people and machines do to volumes, Lease and status: lost, wiped, detached, restored.

use super::state::{Backup, Lease, State, Volume};
use super::steps::Steps;

/// Is the pod's claim the one it had?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    Same,
    New,
}

impl Steps<'_> {
    pub(super) fn faults(&mut self) {
        let (model, from) = (self.model, self.from);
        for o in 0..model.ordinals {
            let volume = from.slots[o].volume;
            if model.snapshots && from.snapshot.incarnation == 0 && volume.incarnation != 0 {
                self.step(|to| to.snapshot = volume, || format!("snapshot of {o}"));
            }
        }
        if model.backups && !from.backup.taken {
            let (lease, status, version) = (from.lease, from.status, from.version);
            let backup = Backup {
                taken: true,
                lease,
                status,
                version,
            };
            self.step(
                |to| to.backup = backup,
                || "backup of Lease and status".into(),
            );
        }
        if from.faults >= model.faults {
            return;
        }
        self.api_faults();
        self.outage();
        for o in 0..model.ordinals {
            self.volume_faults(o);
        }
    }

    pub(super) fn fault(&mut self, change: impl FnOnce(&mut State), name: impl FnOnce() -> String) {
        let counted = |to: &mut State| {
            to.faults += 1;
            change(to);
        };
        self.step(counted, name);
    }

    fn api_faults(&mut self) {
        let (from, backup) = (self.from, self.from.backup);
        if from.lease.there {
            let change = |to: &mut State| {
                to.lease = Lease::default();
                to.lost_lease = true;
            };
            self.fault(change, || "Lease deleted".into());
        }
        if from.status != 0 {
            let change = |to: &mut State| {
                to.status = 0;
                to.lost_status = true;
            };
            self.fault(change, || "status lost".into());
        }
        if !backup.taken {
            return;
        }
        if backup.lease.there && backup.lease != from.lease {
            let change = |to: &mut State| {
                to.write_lease(backup.lease);
                to.lost_lease |= backup.lease.group == 0;
            };
            self.fault(change, || "Lease restored".into());
        }
        // Versions are used a second time.
        let change = |to: &mut State| {
            to.lease = backup.lease;
            to.status = backup.status;
            to.version = backup.version;
            to.lost_lease |= backup.lease.group == 0;
            to.lost_status |= backup.status == 0;
        };
        self.fault(change, || "etcd restored".into());
    }

    fn volume_faults(&mut self, o: usize) {
        let (model, from) = (self.model, self.from);
        let (slot, snapshot) = (from.slots[o], from.snapshot);
        let stale_claim = model.mutations.configmap;
        let pod = move |to: &mut State, volume: Volume, claim: Claim| {
            let place = &mut to.slots[o];
            if claim == Claim::New {
                to.claims += 1;
                place.claim = to.claims;
                if !stale_claim {
                    place.told = 0;
                }
            }
            place.reign = 0;
            place.volume = volume;
            to.plans[o] = 0;
            to.asked[o] = 0;
        };
        let none = Volume::default();
        if slot.volume.incarnation != 0 {
            let name = || format!("volume of {o} lost, new claim");
            self.fault(|to| pod(to, none, Claim::New), name);
            let name = || format!("volume of {o} wiped in place");
            self.fault(|to| pod(to, none, Claim::Same), name);
            if model.detached && from.shelf_ordinal == 0 && slot.volume.group != 0 {
                let change = |to: &mut State| {
                    to.shelf = slot.volume;
                    to.shelf_ordinal = 1 + o as u8;
                    to.shelf_claim = slot.claim;
                    pod(to, none, Claim::New);
                };
                self.fault(change, || format!("volume of {o} detached, new claim"));
            }
            if from.shelf_ordinal == 1 + o as u8 {
                let change = |to: &mut State| {
                    pod(to, from.shelf, Claim::Same);
                    to.slots[o].claim = from.shelf_claim;
                    to.slots[o].told = if stale_claim { slot.told } else { 0 };
                    to.shelf = none;
                    to.shelf_ordinal = 0;
                    to.shelf_claim = 0;
                };
                self.fault(change, || format!("detached volume of {o} comes back"));
            }
        }
        if snapshot.incarnation != 0 {
            let name = || format!("snapshot restored under a new claim at {o}");
            self.fault(|to| pod(to, snapshot, Claim::New), name);
            if model.in_place && snapshot.incarnation == slot.volume.incarnation {
                let name = || format!("volume of {o} rolled back in place");
                self.fault(|to| pod(to, snapshot, Claim::Same), name);
            }
        }
    }
}
