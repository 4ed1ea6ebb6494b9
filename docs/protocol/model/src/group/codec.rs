//! A state as bytes, and back. Two states that differ only in the names of interchangeable members
//! have the same canonical bytes: the least over all renamings.

use super::Model;
use super::state::{
    Ballot, Log, MEMBERS_MAX, Role, START, Standing, State, ballot, candidate, epoch, is_start,
};

/// Member i becomes `renaming[i]`.
pub(super) type Renaming = Vec<usize>;

/// All renamings of `n` members that move only the first `free` of them.
pub(super) fn renamings(n: usize, free: usize) -> Vec<Renaming> {
    let mut all: Vec<Renaming> = vec![vec![]];
    for _ in 0..free {
        let longer = |one: &Renaming| {
            let rest = (0..free).filter(|x| !one.contains(x));
            rest.map(|x| [one.as_slice(), &[x]].concat())
                .collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    for one in &mut all {
        one.extend(free..n);
    }
    all.sort();
    all
}

fn renamed(renaming: &[usize], b: Ballot) -> Ballot {
    if b == 0 {
        0
    } else {
        ballot(epoch(b), renaming[candidate(b)])
    }
}

fn put_log(out: &mut Vec<u8>, renaming: &[usize], log: &Log) {
    out.push(log.n);
    for &(e, payload) in log.kept() {
        let owner = (payload & 0xf) as usize;
        let payload = if is_start(payload) {
            START + renaming[owner] as u8
        } else {
            payload
        };
        out.extend([payload, e]);
    }
}

/// Which parts of a ballot's messages follow.
const REQUEST: u8 = 1;
const STARTED: u8 = 2;
const SENT: u8 = 4;
const COMMITTED: u8 = 8;
const REPLIES: u8 = 16;
const ACKS: u8 = 32;

impl Model {
    /// Mutants in which a crash brings back an old directory.
    fn has_old(&self) -> bool {
        let mutations = &self.mutations;
        mutations.nodirsync || mutations.dropfirst || mutations.nosidesync
    }

    pub(super) fn bytes(&self, state: &State, renaming: &[usize], out: &mut Vec<u8>) {
        out.clear();
        let mut old_name = [0; MEMBERS_MAX];
        for (old, &new) in renaming.iter().enumerate() {
            old_name[new] = old;
        }
        let conflict = u8::from(state.conflict);
        out.extend([
            state.lease,
            state.faults,
            state.next_value,
            state.truth_epoch,
            conflict,
        ]);
        put_log(out, renaming, &state.truth);
        for old in &old_name[..self.members] {
            self.put_member(state, *old, renaming, out);
        }
        if self.compactions > 0 {
            out.push(state.compactions);
        }
        if self.damages > 0 {
            out.push(state.damages);
        }
        if self.rollbacks > 0 {
            let snapshot = &state.snapshot;
            out.extend([state.rollbacks, u8::from(snapshot.taken)]);
            for b in [state.heard, snapshot.promise, snapshot.cut_mark] {
                out.push(renamed(renaming, b));
            }
            put_log(out, renaming, &snapshot.log);
        }
        for (e, c) in self.ballots() {
            self.put_ballot(
                state,
                ballot(e, c),
                ballot(e, old_name[c]),
                renaming,
                &old_name,
                out,
            );
        }
    }

    fn put_member(&self, state: &State, m: usize, renaming: &[usize], out: &mut Vec<u8>) {
        let member = &state.members[m];
        let name = |b| renamed(renaming, b);
        out.extend([
            name(member.promise),
            name(member.promise_disk),
            name(member.acting),
        ]);
        out.extend([member.role as u8, member.synced, member.matched]);
        put_log(out, renaming, &member.log);
        if self.compactions > 0 {
            out.extend([member.base, name(member.side_ballot)]);
            put_log(out, renaming, &member.side);
            if self.has_old() {
                out.push(member.old_base);
                put_log(out, renaming, &member.old);
            }
        }
        if self.damages > 0 {
            out.push(member.need << 1 | u8::from(member.repair));
        }
        if self.joins {
            out.extend([member.standing as u8, member.need]);
        }
        if self.witness || self.rollbacks > 0 {
            out.push(name(member.cut_mark));
        }
    }

    /// `new` is the ballot's name in the bytes, `old` the one in the state.
    fn put_ballot(
        &self,
        state: &State,
        new: Ballot,
        old: Ballot,
        renaming: &[usize],
        old_name: &[usize; MEMBERS_MAX],
        out: &mut Vec<u8>,
    ) {
        let o = old as usize;
        let part = |is: bool, part: u8| if is { part } else { 0 };
        let parts = part(state.requests >> o & 1 == 1, REQUEST)
            | part(state.started >> o & 1 == 1, STARTED)
            | part(state.sent[o].n > 0, SENT)
            | part(state.committed[o] > 0, COMMITTED)
            | part(state.replies[o] != [0; MEMBERS_MAX], REPLIES)
            | part(state.acks[o] != [0; MEMBERS_MAX], ACKS);
        if parts == 0 {
            return;
        }
        out.extend([new, parts]);
        if parts & SENT != 0 {
            put_log(out, renaming, &state.sent[o]);
            if self.compactions > 0 {
                out.push(state.sent_base[o]);
                out.extend(state.checkpoints[o].to_le_bytes());
            }
        }
        if parts & COMMITTED != 0 {
            out.push(state.committed[o]);
        }
        let names = &old_name[..self.members];
        if parts & REPLIES != 0 {
            out.extend(names.iter().map(|old| state.replies[o][*old]));
        }
        if parts & ACKS != 0 {
            out.extend(names.iter().map(|old| state.acks[o][*old]));
        }
    }

    pub(super) fn read(&self, bytes: &[u8]) -> State {
        let mut state = State::FIRST;
        let mut reader = Reader { bytes, at: 0 };
        let get = &mut reader;
        state.lease = get.byte();
        state.faults = get.byte();
        state.next_value = get.byte();
        state.truth_epoch = get.byte();
        state.conflict = get.byte() != 0;
        state.truth = get.log();
        for m in 0..self.members {
            self.read_member(get, &mut state, m);
        }
        if self.compactions > 0 {
            state.compactions = get.byte();
        }
        if self.damages > 0 {
            state.damages = get.byte();
        }
        if self.rollbacks > 0 {
            state.rollbacks = get.byte();
            state.snapshot.taken = get.byte() != 0;
            state.heard = get.byte();
            state.snapshot.promise = get.byte();
            state.snapshot.cut_mark = get.byte();
            state.snapshot.log = get.log();
        }
        while get.at < get.bytes.len() {
            self.read_ballot(get, &mut state);
        }
        state
    }

    fn read_member(&self, get: &mut Reader<'_>, state: &mut State, m: usize) {
        let member = &mut state.members[m];
        member.promise = get.byte();
        member.promise_disk = get.byte();
        member.acting = get.byte();
        member.role = [Role::Slave, Role::Candidate, Role::Master][get.byte() as usize];
        member.synced = get.byte();
        member.matched = get.byte();
        member.log = get.log();
        if self.compactions > 0 {
            member.base = get.byte();
            member.side_ballot = get.byte();
            member.side = get.log();
            if self.has_old() {
                member.old_base = get.byte();
                member.old = get.log();
            }
        }
        if self.damages > 0 {
            let packed = get.byte();
            member.repair = packed & 1 == 1;
            member.need = packed >> 1;
        }
        if self.joins {
            member.standing = Standing::ALL[get.byte() as usize];
            member.need = get.byte();
        }
        if self.witness || self.rollbacks > 0 {
            member.cut_mark = get.byte();
        }
    }

    fn read_ballot(&self, get: &mut Reader<'_>, state: &mut State) {
        let (b, parts) = (get.byte() as usize, get.byte());
        if parts & REQUEST != 0 {
            state.requests |= 1 << b;
        }
        if parts & STARTED != 0 {
            state.started |= 1 << b;
        }
        if parts & SENT != 0 {
            state.sent[b] = get.log();
            if self.compactions > 0 {
                state.sent_base[b] = get.byte();
                state.checkpoints[b] = u16::from_le_bytes([get.byte(), get.byte()]);
            }
        }
        if parts & COMMITTED != 0 {
            state.committed[b] = get.byte();
        }
        if parts & REPLIES != 0 {
            state.replies[b][..self.members].fill_with(|| get.byte());
        }
        if parts & ACKS != 0 {
            state.acks[b][..self.members].fill_with(|| get.byte());
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

    fn log(&mut self) -> Log {
        let mut log = Log::EMPTY;
        for _ in 0..self.byte() {
            let payload = self.byte();
            let e = self.byte();
            log.push((e, payload));
        }
        log
    }
}
