//! Founding, identity and recovery (rows 14 to 16, 19): one group name, N ordinals, and everything that can happen
//! to volumes, the Lease and the status that the operator keeps.
//!
//! Elections and commits are single steps here (`group` takes them apart). What is fine-grained is who
//! a volume is, what it answers, and which object of the API knows about the group.
//!
//! F0: no group gives its first receipt while a volume of a group with receipts is in place. F1: nor
//! while Lease or status knew that group, or would have known but for our own order of writes. F2: no
//! master of a group lacks one of its receipts, whatever is lost. F3: no group gives a receipt once the
//! group that was recovered from it has had a master, unless Lease and status were both lost since.

mod codec;
mod faults;
mod recover;
mod reign;
mod state;
mod steps;

use crate::args::Args;
use crate::explore::{Names, Out, Spec};
use state::{GROUPS_MAX, Lease, List, Slot, State};

crate::mutations! {
    /// Weakenings of founding and identity, one switch each.
    Mutations {
        /// Row 15a: proposes on the answers of a majority.
        majority,
        /// Row 15a: takes answers to older questions.
        staleanswers,
        /// Row 15a: writes the proposal whatever the resourceVersion.
        blindcas,
        /// Row 15b: a proposal needs no confirmation.
        noconfirm,
        /// Row 16: a voter is an ordinal, not an incarnation.
        byordinal,
        /// Row 16: the name is made from the volume claim, so it survives a wipe.
        keepname,
        /// Row 16: the stamped volume id is not compared.
        nouid,
        /// Row 16: volume ids are given by ordinal, so they may be stale.
        configmap,
        /// Row 16: the volume id is stamped at adoption.
        stamplate,
        /// Row 15d: a joining volume votes before it has caught up.
        joinvotes,
        /// Row 6: the first election by majority.
        firstbymajority,
        /// Row 2: an election does not look at the group in the Lease.
        leaseblind,

        /// Row 19: although a majority answers.
        recoverlive,
        /// Row 19: no swap; the recovered group's elections do not look at the Lease.
        recovernocas,
        /// Row 19: the swap takes whatever group Lease and status name.
        recoverblind,
        /// Row 19: the swap asks for the old group, not for the version read before the question.
        anyversion,
        /// Row 19: the survivor's volume first, then the swaps.
        volumefirst,
        /// Row 19: the status before the Lease.
        statusfirst,
        /// Row 19: the Lease is not read again before the later writes.
        noreread,
        /// Row 19: the survivor's volume before the status.
        statuslast,
        /// Row 19: a volume of the old group votes in the new one, as its ordinal.
        oldvotes,
        /// Row 19: the new Config keeps the old list.
        keeplist,
        /// Row 15d: the status is learnt from a volume of any group, whatever the Lease says.
        learnany,
    }
}

/// Bounds of a search, and which kinds of faults it has.
pub struct Model {
    ordinals: usize,
    epochs: u8,
    records: u8,
    faults: u8,
    /// A volume is rolled back under the same claim: documented as not found.
    in_place: bool,
    detached: bool,
    backups: bool,
    snapshots: bool,
    /// Only what volumes themselves must guarantee is judged.
    volumes_only: bool,
    founders: usize,
    /// Row 19: starts with a founded group, and a group may be recovered from a survivor.
    recovers: bool,
    mutations: Mutations,
}

impl Model {
    /// Command, ordinals, epochs, records, then options.
    pub fn new(args: &Args) -> Self {
        let recovers = args.has("recover");
        Self {
            ordinals: args.number(1),
            epochs: args.number(2) as u8,
            records: args.number(3) as u8,
            faults: args.option_number("faults").unwrap_or(2) as u8,
            in_place: args.has("inplace"),
            detached: !args.has("noshelf"),
            backups: !args.has("nobackup"),
            snapshots: !args.has("nosnap"),
            volumes_only: args.has("volumes"),
            founders: args
                .option_number("asks")
                .unwrap_or(if recovers { 0 } else { 2 }),
            recovers,
            mutations: Mutations::new(args),
        }
    }

    /// May this volume act for its group at all?
    fn is_fit(&self, slot: &Slot) -> bool {
        let told = slot.told != 0 && slot.told == slot.volume.claim;
        slot.volume.group != 0 && (self.mutations.nouid || told)
    }

    /// Does it answer that it is blank?
    fn is_blank(&self, slot: &Slot) -> bool {
        let mutations = &self.mutations;
        let told = slot.told != 0 && slot.told == slot.volume.claim;
        let formatted = slot.volume.incarnation != 0 && slot.volume.group == 0;
        formatted && (mutations.nouid || mutations.stamplate || told)
    }

    fn votes(&self, state: &State, o: usize, group: u8, config: &List) -> bool {
        let slot = &state.slots[o];
        let old = slot.volume.group;
        let passes = self.mutations.oldvotes && state.is_ancestor(old, group) && config[o] != 0;
        let listed = slot.volume.incarnation == config[o] || self.mutations.byordinal;
        self.is_up(state, o) && self.is_fit(slot) && (old == group && listed || passes)
    }

    fn is_up(&self, state: &State, o: usize) -> bool {
        state.down >> o & 1 == 0 && state.plans[o] == 0
    }

    /// Of the places that this Config fills.
    fn is_majority(&self, count: usize, config: &List) -> bool {
        2 * count > self.size(config)
    }

    fn size(&self, config: &List) -> usize {
        config[..self.ordinals].iter().filter(|x| **x != 0).count()
    }

    /// What every step ends with: who still knows which group there is.
    fn settle(&self, state: &mut State) {
        let lease = state.lease;
        let mut known = state.status != 0 || lease.there && lease.group != 0;
        let mut any = false;
        for group in 1..=GROUPS_MAX {
            if state.receipts[group] != 0 {
                any = true;
                let volumes = state.slots[..self.ordinals].iter().map(|s| s.volume.group);
                known |= volumes.into_iter().any(|g| g as usize == group);
            }
        }
        if lease.group != 0 {
            state.lost_lease = false;
        }
        if state.status != 0 {
            state.lost_status = false;
        }
        state.unknown |= self.recovers && state.lost_lease && state.lost_status;
        if any && !known && state.lost_lease && state.lost_status {
            state.void = true;
        }
    }
}

impl Spec for Model {
    type State = State;
    const SEEN: &'static [&'static str] = &[
        "two groups founded",
        "receipts of two groups (all knowledge lost)",
        "a volume replaced in the Config, receipts after it",
        "two volumes replaced",
        "stranger kept out",
        "late founder refused by the CAS",
        "a group recovered, receipts after it",
        "a member added to a recovered group",
        "two groups recovered from one",
    ];

    fn first(&self) -> State {
        let mut state = State {
            version: 1,
            claims: self.ordinals as u8,
            ..Default::default()
        };
        state.lease = Lease {
            there: true,
            version: 1,
            proposal: 0,
            group: 0,
        };
        for (o, slot) in state.slots[..self.ordinals].iter_mut().enumerate() {
            slot.claim = o as u8 + 1;
        }
        if self.recovers {
            self.found(&mut state);
        }
        state
    }

    fn successors(&self, state: &State, out: Out<'_, State>, names: Names) {
        steps::Steps {
            model: self,
            from: state,
            out,
            names,
        }
        .all();
    }

    fn violated(&self, state: &State) -> Option<&'static str> {
        if state.bad & state::LACKS_RECEIPT != 0 {
            return Some("F2 a master without a receipted record");
        }
        if state.bad & state::BESIDE_VOLUME != 0 {
            return Some("F0 a second group gives receipts beside a volume of the first");
        }
        if state.bad & state::OLD_GROUP != 0 {
            return Some("F3 a group gives receipts after the one recovered from it");
        }
        let known = state.bad & state::THOUGH_KNOWN != 0 && !self.volumes_only;
        known.then_some("F1 a second group gives receipts though the first was known")
    }

    fn seen(&self, state: &State, hits: &mut [u64]) {
        let slots = &state.slots[..self.ordinals];
        let replaced = |slot: &Slot| {
            let (group, config) = (slot.volume.group, &slot.volume.config);
            let founding = &state.lists[group as usize];
            let differs = |k: &usize| config[*k] != founding[*k];
            if group == 0 {
                0
            } else {
                (0..self.ordinals).filter(differs).count()
            }
        };
        let receipted = state.receipts.iter().filter(|r| **r != 0).count();
        let stranger = |s: &Slot| s.volume.group != 0 && s.told != 0 && s.told != s.volume.claim;
        let seen = [
            state.groups >= 2,
            receipted >= 2,
            slots
                .iter()
                .any(|s| replaced(s) >= 1 && s.volume.log.count_ones() >= 2),
            slots.iter().any(|s| replaced(s) >= 2),
            slots.iter().any(stranger),
            state.asks.iter().any(|ask| {
                let whole = ask.got[..self.ordinals].iter().all(|x| *x != 0);
                ask.on && state.lease.version != ask.version && whole
            }),
            (1..=GROUPS_MAX).any(|g| state.parents[g] != 0 && state.gave >> g & 1 == 1),
            slots.iter().any(|s| {
                let group = s.volume.group as usize;
                state.parents[group] != 0 && self.size(&s.volume.config) > 1
            }),
            (2..=GROUPS_MAX)
                .any(|g| state.parents[g] != 0 && state.parents[g] == state.parents[g - 1]),
        ];
        for (hit, seen) in hits.iter_mut().zip(seen) {
            *hit += u64::from(seen);
        }
    }

    /// Ordinals 1 and 2 are alike.
    fn canonical(&self, state: &State, best: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        self.bytes(state, [0, 1, 2], best);
        if self.ordinals == 3 {
            self.bytes(state, [0, 2, 1], scratch);
            if *scratch < *best {
                std::mem::swap(scratch, best);
            }
        }
    }

    fn decode(&self, bytes: &[u8]) -> State {
        codec::read(bytes)
    }
}
