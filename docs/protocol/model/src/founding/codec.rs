//! A state as bytes, and back. Incarnations and claims are renamed in the order in which they are met.

use super::Model;
use super::state::{Backup, GROUPS_MAX, Lease, List, ORDINALS_MAX, Slot, State, Volume};

/// New names for old ones, given out as they come.
struct Names {
    new: [u8; 256],
    given: u8,
    /// The mutant makes names from claims: they are not free.
    fixed: bool,
}

impl Names {
    fn new(fixed: bool) -> Self {
        Self {
            new: [0; 256],
            given: 0,
            fixed,
        }
    }

    fn of(&mut self, old: u8) -> u8 {
        if old == 0 || self.fixed {
            return old;
        }
        let new = &mut self.new[old as usize];
        if *new == 0 {
            self.given += 1;
            *new = self.given;
        }
        *new
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    incarnations: Names,
    claims: Names,
    /// Ordinals in the order of the bytes.
    order: [usize; ORDINALS_MAX],
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    fn claim(&mut self, claim: u8) {
        let name = self.claims.of(claim);
        self.out.push(name);
    }

    fn incarnation(&mut self, incarnation: u8) {
        let name = self.incarnations.of(incarnation);
        self.out.push(name);
    }

    fn list(&mut self, list: &List) {
        for place in self.order {
            self.incarnation(list[place]);
        }
    }

    fn volume(&mut self, volume: &Volume) {
        self.incarnation(volume.incarnation);
        if volume.incarnation == 0 {
            return;
        }
        self.claim(volume.claim);
        self.out.push(volume.group);
        if volume.group != 0 {
            self.put(&[volume.epoch, volume.last_epoch, volume.length, volume.log]);
            self.list(&volume.config);
        }
    }

    fn lease(&mut self, lease: &Lease) {
        self.put(&[
            u8::from(lease.there),
            lease.version,
            lease.proposal,
            lease.group,
        ]);
    }
}

impl Model {
    pub(super) fn bytes(&self, state: &State, order: [usize; ORDINALS_MAX], out: &mut Vec<u8>) {
        out.clear();
        let fixed = self.mutations.keepname;
        let (incarnations, claims) = (Names::new(fixed), Names::new(fixed));
        let mut w = Writer {
            out,
            incarnations,
            claims,
            order,
        };
        for place in order {
            let slot = &state.slots[place];
            w.volume(&slot.volume);
            w.claim(slot.claim);
            w.claim(slot.told);
            w.out.push(slot.reign);
        }
        w.volume(&state.snapshot);
        w.volume(&state.shelf);
        let shelf = order
            .iter()
            .position(|o| *o + 1 == state.shelf_ordinal as usize);
        w.out.push(shelf.map_or(0, |place| place as u8 + 1));
        w.claim(state.shelf_claim);
        w.lease(&state.lease);
        w.put(&[state.status, state.version, u8::from(state.backup.taken)]);
        if state.backup.taken {
            w.lease(&state.backup.lease);
            w.put(&[state.backup.status, state.backup.version]);
        }
        for ask in &state.asks {
            w.put(&[u8::from(ask.on), ask.version]);
            w.list(&ask.got);
        }
        w.list(&state.heard);
        w.put(&[state.offers, state.groups]);
        for group in 1..=state.groups as usize {
            w.list(&state.lists[group]);
            w.out.push(state.receipts[group]);
        }
        let met = [w.incarnations.given, w.claims.given];
        w.put(&if fixed {
            [state.incarnations, state.claims]
        } else {
            met
        });
        let lost = u8::from(state.lost_lease) | u8::from(state.lost_status) << 1;
        let flags = lost | u8::from(state.void) << 2 | state.bad << 3;
        w.put(&[state.records, state.faults, flags]);
        if self.recovers {
            w.put(&state.parents[1..]);
            let bits = [state.reigned, state.gave, state.in_status, state.in_lease];
            w.put(&bits);
            let down = order
                .iter()
                .enumerate()
                .fold(0, |set, (place, o)| set | (state.down >> o & 1) << place);
            w.put(&[down, u8::from(state.unknown)]);
            for o in order {
                w.put(&[state.plans[o], state.asked[o]]);
            }
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn list(&mut self) -> List {
        std::array::from_fn(|_| self.byte())
    }

    fn volume(&mut self) -> Volume {
        let mut volume = Volume {
            incarnation: self.byte(),
            ..Volume::default()
        };
        if volume.incarnation == 0 {
            return volume;
        }
        volume.claim = self.byte();
        volume.group = self.byte();
        if volume.group != 0 {
            volume.epoch = self.byte();
            volume.last_epoch = self.byte();
            volume.length = self.byte();
            volume.log = self.byte();
            volume.config = self.list();
        }
        volume
    }

    fn lease(&mut self) -> Lease {
        let there = self.byte() != 0;
        Lease {
            there,
            version: self.byte(),
            proposal: self.byte(),
            group: self.byte(),
        }
    }
}

pub(super) fn read(bytes: &[u8]) -> State {
    let mut r = Reader { bytes, at: 0 };
    let mut state = State::default();
    for slot in &mut state.slots {
        let volume = r.volume();
        *slot = Slot {
            volume,
            claim: r.byte(),
            told: r.byte(),
            reign: r.byte(),
        };
    }
    state.snapshot = r.volume();
    state.shelf = r.volume();
    state.shelf_ordinal = r.byte();
    state.shelf_claim = r.byte();
    state.lease = r.lease();
    state.status = r.byte();
    state.version = r.byte();
    if r.byte() != 0 {
        let lease = r.lease();
        state.backup = Backup {
            taken: true,
            lease,
            status: r.byte(),
            version: r.byte(),
        };
    }
    for ask in &mut state.asks {
        ask.on = r.byte() != 0;
        ask.version = r.byte();
        ask.got = r.list();
    }
    state.heard = r.list();
    state.offers = r.byte();
    state.groups = r.byte();
    for group in 1..=state.groups as usize {
        assert!(
            group <= GROUPS_MAX,
            "a search founds no more groups than there are places"
        );
        state.lists[group] = r.list();
        state.receipts[group] = r.byte();
    }
    state.incarnations = r.byte();
    state.claims = r.byte();
    state.records = r.byte();
    state.faults = r.byte();
    let flags = r.byte();
    state.lost_lease = flags & 1 != 0;
    state.lost_status = flags & 2 != 0;
    state.void = flags & 4 != 0;
    state.bad = flags >> 3;
    if r.at < bytes.len() {
        state.parents[1..].fill_with(|| r.byte());
        state.reigned = r.byte();
        state.gave = r.byte();
        state.in_status = r.byte();
        state.in_lease = r.byte();
        state.down = r.byte();
        state.unknown = r.byte() != 0;
        for o in 0..state.plans.len() {
            state.plans[o] = r.byte();
            state.asked[o] = r.byte();
        }
    }
    state
}
