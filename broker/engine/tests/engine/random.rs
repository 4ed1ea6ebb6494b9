//! Random operations against a naive model that keeps one record of facts for each message.
//!
//! The model knows at which offset a message becomes visible and at which it goes; everything else
//! follows from the committed offset. After each operation the deliveries of one queue must be
//! exactly the first of what was available, marked as redelivered exactly when they must be, and
//! nothing may be left for a consumer that has credit.

use std::collections::{BTreeMap, BTreeSet};

use tandemmq_engine::EngineConfig;
use tandemmq_model::{AckKind, AckMode, AckRef, DeliveryId, RecordKind, SubscriptionId};

use crate::bench::{Bench, message, transient};

const DLQ: &str = "ActiveMQ.DLQ";
const QUEUES: [&str; 3] = ["Q0", "Q1", "Q2"];

/// xorshift64*: small, seeded, good enough to choose operations.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())].clone())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acked,
    Dead,
}

#[derive(Debug, Clone)]
struct Fact {
    queue: &'static str,
    persistent: bool,
    place: (u64, u64),
    /// The record that makes it visible; none: its transaction is open.
    visible_at: Option<u64>,
    /// The record that takes it away.
    goes_at: Option<(u64, Fate)>,
    gone: bool,
    holder: Option<Holder>,
    seen: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    conn: u64,
    sub: u32,
    delivery: u64,
    tx: Option<String>,
}

struct Sub {
    queue: &'static str,
    mode: AckMode,
    prefetch: u32,
    last: u64,
    written: u64,
    /// An abort may put more back than the prefetch allows.
    may_exceed: bool,
}

#[derive(Default)]
struct Client {
    subs: BTreeMap<u32, Sub>,
    /// Messages sent and acknowledged in each open transaction.
    txs: BTreeMap<String, Vec<(u64, Option<Fate>)>>,
}

struct World {
    bench: Bench,
    dice: Dice,
    facts: BTreeMap<u64, Fact>,
    clients: BTreeMap<u64, Client>,
    epoch_start: u64,
    last_message: u64,
    last_conn: u64,
    last_sub: u32,
    last_tx: u64,
    /// Requests that the record at that offset answers.
    requests: Vec<(u64, u64, u64)>,
    counts: Counts,
}

/// What a run did: one that did nothing proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub delivered: usize,
    pub redelivered: usize,
    pub dead: usize,
    pub committed_transactions: usize,
    pub fail_overs: usize,
    pub restored: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let cache = [0, 2_000, 1 << 20][dice.below(3)];
        let config = EngineConfig {
            body_cache_bytes_max: cache,
            ..EngineConfig::default()
        };
        let mut bench = Bench::with(config);
        bench.commits_at_once = false;
        Self {
            bench,
            dice,
            facts: BTreeMap::new(),
            clients: BTreeMap::new(),
            epoch_start: 1,
            last_message: 0,
            last_conn: 0,
            last_sub: 0,
            last_tx: 0,
            requests: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn committed(&self) -> u64 {
        self.bench.committed as u64
    }

    fn is_visible(&self, fact: &Fact) -> bool {
        let committed = self.committed();
        !fact.gone && fact.visible_at.is_some_and(|at| at <= committed)
    }

    fn is_available(&self, fact: &Fact) -> bool {
        self.is_visible(fact) && fact.holder.is_none() && fact.goes_at.is_none()
    }

    // === one operation ===

    fn step(&mut self) {
        match self.dice.below(100) {
            0..3 => self.connect(),
            3..5 => self.disconnect(),
            5..30 => self.send(),
            30..36 => self.subscribe(),
            36..38 => self.unsubscribe(),
            38..55 => self.written(),
            55..58 => self.not_delivered(),
            58..72 => self.ack(),
            72..76 => self.begin(),
            76..81 => self.end_transaction(),
            81..97 => self.commit(),
            97..99 => self.bench.put_foreign(),
            _ if self.dice.chance(30) => self.fail_over(),
            _ => self.restore_slave(),
        }
        self.check();
    }

    fn connect(&mut self) {
        if self.clients.len() < 4 {
            self.last_conn += 1;
            self.bench.connect(self.last_conn);
            self.clients.insert(self.last_conn, Client::default());
        }
    }

    fn conn(&mut self) -> Option<u64> {
        let conns: Vec<u64> = self.clients.keys().copied().collect();
        self.dice.pick(&conns)
    }

    fn sub(&mut self) -> Option<(u64, u32)> {
        let all: Vec<(u64, u32)> = self
            .clients
            .iter()
            .flat_map(|(conn, client)| client.subs.keys().map(|sub| (*conn, *sub)))
            .collect();
        self.dice.pick(&all)
    }

    fn tx_of(&mut self, conn: u64) -> Option<String> {
        let names: Vec<String> = self.clients[&conn].txs.keys().cloned().collect();
        if self.dice.chance(50) {
            self.dice.pick(&names)
        } else {
            None
        }
    }

    fn send(&mut self) {
        let Some(conn) = self.conn() else { return };
        let queue = self.dice.pick(&QUEUES).unwrap();
        let tx = self.tx_of(conn);
        let persistent = self.dice.chance(75);
        self.last_message += 1;
        let id = self.last_message;
        let body = format!("m{id}");
        let sent = if persistent {
            message(queue, &body)
        } else {
            transient(queue, &body)
        };
        let before = self.bench.log.len() as u64;
        let request = match &tx {
            Some(tx) => self.bench.send_in(conn, tx, sent),
            None => self.bench.send(conn, sent),
        };
        let last = self.bench.log.len() as u64;
        if persistent && tx.is_none() {
            self.requests.push((conn, request, last));
        } else {
            assert!(self.bench.is_done(conn, request), "answered at once");
        }
        let place = if persistent { (last, 0) } else { (last, id) };
        if persistent {
            assert_eq!(self.bench.kinds().last(), Some(&RecordKind::Enqueue));
        } else {
            assert!(
                last == before || tx.is_none(),
                "a non-persistent send makes no record"
            );
        }
        let visible_at = if tx.is_some() { None } else { Some(last) };
        let fact = Fact {
            queue,
            persistent,
            place,
            visible_at,
            goes_at: None,
            gone: false,
            holder: None,
            seen: false,
        };
        self.facts.insert(id, fact);
        if let Some(tx) = tx {
            self.tx(conn, &tx).push((id, None));
        }
    }

    fn tx(&mut self, conn: u64, name: &str) -> &mut Vec<(u64, Option<Fate>)> {
        self.clients
            .get_mut(&conn)
            .unwrap()
            .txs
            .get_mut(name)
            .unwrap()
    }

    fn subscribe(&mut self) {
        let Some(conn) = self.conn() else { return };
        if self.clients[&conn].subs.len() >= 3 {
            return;
        }
        let queue = self
            .dice
            .pick(&[QUEUES[0], QUEUES[1], QUEUES[2], DLQ])
            .unwrap();
        let modes = [AckMode::Auto, AckMode::Client, AckMode::Individual];
        let mode = self.dice.pick(&modes).unwrap();
        let prefetch = 1 + self.dice.below(5) as u32;
        self.last_sub += 1;
        self.bench
            .subscribe(conn, self.last_sub, queue, mode, prefetch);
        let sub = Sub {
            queue,
            mode,
            prefetch,
            last: 0,
            written: 0,
            may_exceed: false,
        };
        self.clients
            .get_mut(&conn)
            .unwrap()
            .subs
            .insert(self.last_sub, sub);
    }

    fn unsubscribe(&mut self) {
        let Some((conn, sub)) = self.sub() else {
            return;
        };
        self.clients.get_mut(&conn).unwrap().subs.remove(&sub);
        for fact in self.facts.values_mut() {
            if fact
                .holder
                .as_ref()
                .is_some_and(|h| h.conn == conn && h.sub == sub && h.tx.is_none())
            {
                fact.holder = None;
                fact.seen = true;
            }
        }
        self.bench.unsubscribe(conn, sub);
    }

    fn disconnect(&mut self) {
        let Some(conn) = self.conn() else { return };
        let client = self.clients.remove(&conn).unwrap();
        for (name, operations) in client.txs {
            self.roll_back(conn, &name, operations, &client.subs);
        }
        for fact in self.facts.values_mut() {
            let Some(holder) = fact.holder.clone().filter(|h| h.conn == conn) else {
                continue;
            };
            fact.seen |= client.subs[&holder.sub].written >= holder.delivery;
            fact.holder = None;
        }
        self.bench.disconnect(conn);
    }

    /// Sends are gone; acknowledged deliveries are out again, or back without their consumer.
    fn roll_back(
        &mut self,
        conn: u64,
        name: &str,
        operations: Vec<(u64, Option<Fate>)>,
        subs: &BTreeMap<u32, Sub>,
    ) {
        for (id, fate) in operations {
            let fact = self.facts.get_mut(&id).unwrap();
            if fate.is_none() {
                fact.gone = true;
                continue;
            }
            let holder = fact.holder.as_mut().unwrap();
            assert_eq!((holder.conn, holder.tx.as_deref()), (conn, Some(name)));
            holder.tx = None;
            if !subs.contains_key(&holder.sub) {
                fact.holder = None;
                fact.seen = true;
            }
        }
    }

    fn written(&mut self) {
        let Some((conn, sub)) = self.sub() else {
            return;
        };
        let found = self
            .clients
            .get_mut(&conn)
            .unwrap()
            .subs
            .get_mut(&sub)
            .unwrap();
        if found.written == found.last {
            return;
        }
        let up_to =
            found.written + 1 + self.dice.below((found.last - found.written) as usize) as u64;
        found.written = up_to;
        let is_auto = found.mode == AckMode::Auto;
        let taken = self.held(conn, sub, |delivery| delivery <= up_to);
        self.bench.written(conn, sub, up_to);
        if is_auto {
            self.taken(&taken, Fate::Acked);
        }
    }

    /// Messages out on a subscription, in the order of delivery.
    fn held(&self, conn: u64, sub: u32, is_meant: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut held: Vec<(u64, u64)> = self
            .facts
            .iter()
            .filter_map(|(id, fact)| fact.holder.as_ref().map(|holder| (id, holder)))
            .filter(|(_, h)| h.conn == conn && h.sub == sub && h.tx.is_none())
            .map(|(id, holder)| (holder.delivery, *id))
            .filter(|(delivery, _)| is_meant(*delivery))
            .collect();
        held.sort_unstable();
        held.into_iter().map(|(_, id)| id).collect()
    }

    /// These were acknowledged just now: the last record of the log does it.
    fn taken(&mut self, ids: &[u64], fate: Fate) {
        let at = self.bench.log.len() as u64;
        for id in ids {
            let fact = self.facts.get_mut(id).unwrap();
            fact.holder = None;
            if fact.persistent {
                let fate = if fact.queue == DLQ { Fate::Acked } else { fate };
                fact.goes_at = Some((at, fate));
            } else {
                fact.gone = true;
            }
        }
    }

    fn not_delivered(&mut self) {
        let Some((conn, sub)) = self.sub() else {
            return;
        };
        let written = self.clients[&conn].subs[&sub].written;
        let unwritten = self.held(conn, sub, |delivery| delivery > written);
        let Some(id) = self.dice.pick(&unwritten) else {
            return;
        };
        let fact = self.facts.get_mut(&id).unwrap();
        let delivery = fact.holder.take().unwrap().delivery;
        self.bench.not_delivered(conn, sub, delivery);
    }

    fn ack(&mut self) {
        let Some((conn, sub)) = self.sub() else {
            return;
        };
        let (mode, written) = {
            let found = &self.clients[&conn].subs[&sub];
            (found.mode, found.written)
        };
        let held = self.held(conn, sub, |delivery| delivery <= written);
        let Some(id) = self.dice.pick(&held) else {
            return;
        };
        let delivery = self.facts[&id].holder.as_ref().unwrap().delivery;
        let kind = if self.dice.chance(20) {
            AckKind::Poison
        } else {
            AckKind::Consumed
        };
        let tx = self.tx_of(conn);
        let ids = if kind == AckKind::Consumed && mode == AckMode::Client {
            self.held(conn, sub, |other| other <= delivery)
        } else {
            vec![id]
        };
        let fate = if kind == AckKind::Poison {
            Fate::Dead
        } else {
            Fate::Acked
        };
        let which = AckRef::Delivery(SubscriptionId(sub), DeliveryId(delivery));
        let request = self.bench.ack_as(conn, which, kind, tx.as_deref());
        if tx.is_none() && ids.iter().any(|id| self.facts[id].persistent) {
            self.requests
                .push((conn, request, self.bench.log.len() as u64));
        } else {
            assert!(self.bench.is_done(conn, request), "answered at once");
        }
        match tx {
            None => self.taken(&ids, fate),
            Some(tx) => {
                for id in ids {
                    self.facts.get_mut(&id).unwrap().holder.as_mut().unwrap().tx = Some(tx.clone());
                    self.tx(conn, &tx).push((id, Some(fate)));
                }
            }
        }
    }

    fn begin(&mut self) {
        let Some(conn) = self.conn() else { return };
        self.last_tx += 1;
        let name = format!("t{}", self.last_tx);
        self.bench.begin(conn, &name);
        self.clients
            .get_mut(&conn)
            .unwrap()
            .txs
            .insert(name, Vec::new());
    }

    fn end_transaction(&mut self) {
        let Some(conn) = self.conn() else { return };
        let names: Vec<String> = self.clients[&conn].txs.keys().cloned().collect();
        let Some(name) = self.dice.pick(&names) else {
            return;
        };
        let client = self.clients.get_mut(&conn).unwrap();
        let operations = client.txs.remove(&name).unwrap();
        if self.dice.chance(30) {
            for sub in client.subs.values_mut() {
                sub.may_exceed = true;
            }
            let subs = std::mem::take(&mut client.subs);
            self.roll_back(conn, &name, operations, &subs);
            self.clients.get_mut(&conn).unwrap().subs = subs;
            self.bench.abort(conn, &name);
            return;
        }
        // Without a record in it, it takes effect at once.
        let is_journaled = operations.iter().any(|(id, _)| self.facts[id].persistent);
        self.bench.commit_tx(conn, &name);
        let at = if is_journaled {
            self.bench.log.len() as u64
        } else {
            0
        };
        if is_journaled {
            assert_eq!(self.bench.kinds().last(), Some(&RecordKind::TxCommit));
        }
        self.counts.committed_transactions += 1;
        for (id, fate) in operations {
            let fact = self.facts.get_mut(&id).unwrap();
            match fate {
                None if fact.persistent => fact.visible_at = Some(at),
                None => fact.visible_at = Some(at.max(fact.place.0)),
                Some(fate) => self.taken(&[id], fate),
            }
        }
    }

    fn commit(&mut self) {
        let waiting = self.bench.log.len() - self.bench.committed;
        if waiting > 0 {
            let count = 1 + self.dice.below(waiting);
            self.bench.commit(count);
            self.settle();
        }
    }

    /// Facts that the committed offset has decided.
    fn settle(&mut self) {
        let committed = self.committed();
        for fact in self.facts.values_mut() {
            match fact.goes_at {
                Some((at, Fate::Acked)) if at <= committed => fact.gone = true,
                Some((at, Fate::Dead)) if at <= committed => {
                    fact.queue = DLQ;
                    fact.goes_at = None;
                    fact.seen = true;
                    self.counts.dead += 1;
                }
                _ => {}
            }
        }
    }

    fn fail_over(&mut self) {
        self.counts.fail_overs += 1;
        let committed = self.committed();
        for fact in self.facts.values_mut() {
            fact.holder = None;
            fact.goes_at = fact.goes_at.filter(|(at, _)| *at <= committed);
            fact.gone |= !fact.persistent || fact.visible_at.is_none_or(|at| at > committed);
        }
        self.clients.clear();
        self.requests.clear();
        self.bench.fail_over();
        self.epoch_start = self.bench.log.len() as u64;
    }

    /// The slave goes on from a picture, and may be master later.
    fn restore_slave(&mut self) {
        self.counts.restored += 1;
        let mut live = BTreeMap::new();
        let picture = self.bench.master.picture();
        picture.live(&mut |offset, length| {
            live.insert(offset.0, length);
        });
        for (offset, length) in &live {
            let body = &self.bench.log[*offset as usize - 1].1.body;
            assert_eq!(body.len(), *length as usize, "length of {offset}");
        }
        let committed = self.committed();
        let is_needed = |fact: &Fact| fact.persistent && !fact.gone && fact.place.0 <= committed;
        for fact in self.facts.values().filter(|fact| is_needed(fact)) {
            assert!(live.contains_key(&fact.place.0), "still needed: {fact:?}");
        }
        self.bench.restore_slave();
    }

    // === checks ===

    fn check(&mut self) {
        self.settle();
        self.check_deliveries();
        self.check_nothing_left();
        self.check_depths();
        self.check_answers();
    }

    /// Nothing is answered before its record is committed, and everything then.
    fn check_answers(&mut self) {
        let committed = self.committed();
        for (conn, request, at) in std::mem::take(&mut self.requests) {
            let is_due = at <= committed && self.clients.contains_key(&conn);
            if is_due {
                assert!(
                    self.bench.is_done(conn, request),
                    "the request at {at} is answered"
                );
            } else if self.clients.contains_key(&conn) {
                assert!(
                    !self.bench.is_answered(conn, request),
                    "{at} is not committed"
                );
                self.requests.push((conn, request, at));
            }
        }
    }

    fn check_deliveries(&mut self) {
        let inbox = self.bench.take_inbox();
        let mut delivered: BTreeMap<&str, BTreeSet<(u64, u64)>> = BTreeMap::new();
        let mut available: BTreeMap<&str, BTreeSet<(u64, u64)>> = BTreeMap::new();
        for fact in self.facts.values() {
            if self.is_available(fact) {
                available.entry(fact.queue).or_default().insert(fact.place);
            }
        }
        for ((conn, sub), all) in inbox {
            for got in all {
                let id: u64 = got.body[1..].parse().unwrap();
                let found = self
                    .clients
                    .get_mut(&conn)
                    .unwrap()
                    .subs
                    .get_mut(&sub)
                    .unwrap();
                found.last += 1;
                assert_eq!(got.id, found.last, "deliveries are counted from 1");
                let queue = found.queue;
                let fact = self.facts[&id].clone();
                assert!(
                    self.is_available(&fact),
                    "m{id} is nobody's to have: {fact:?}"
                );
                assert_eq!((fact.queue, &*got.destination.name), (queue, queue));
                let is_older = fact.persistent && fact.place.0 < self.epoch_start;
                assert_eq!(got.redelivered, fact.seen || is_older, "m{id}: {fact:?}");
                assert_eq!(got.origin.is_some(), queue == DLQ);
                self.counts.delivered += 1;
                self.counts.redelivered += usize::from(got.redelivered);
                delivered.entry(queue).or_default().insert(fact.place);
                let holder = Holder {
                    conn,
                    sub,
                    delivery: got.id,
                    tx: None,
                };
                self.facts.get_mut(&id).unwrap().holder = Some(holder);
            }
        }
        for (queue, places) in delivered {
            let first: BTreeSet<_> = available[queue]
                .iter()
                .take(places.len())
                .copied()
                .collect();
            assert_eq!(places, first, "{queue} gives its first messages first");
        }
    }

    fn check_nothing_left(&mut self) {
        for (conn, client) in &self.clients {
            for (id, sub) in &client.subs {
                let out = self.held(*conn, *id, |_| true).len();
                assert!(
                    out <= sub.prefetch as usize || sub.may_exceed,
                    "{out} are out"
                );
                if out >= sub.prefetch as usize {
                    continue;
                }
                let left = self
                    .facts
                    .iter()
                    .find(|(_, fact)| fact.queue == sub.queue && self.is_available(fact));
                assert!(left.is_none(), "{conn}/{id} has credit, and {left:?} waits");
            }
        }
    }

    fn check_depths(&self) {
        for stats in self.bench.master.destinations() {
            let committed = self.committed();
            let here = self.facts.values().filter(|fact| {
                let is_put = match fact.persistent {
                    true => self.is_visible(fact),
                    // It is in memory before it may be taken.
                    false => {
                        !fact.gone
                            && fact
                                .visible_at
                                .is_some_and(|at| at <= committed || at == fact.place.0)
                    }
                };
                fact.queue == &*stats.name && is_put
            });
            assert_eq!(stats.depth, here.count() as u64, "depth of {}", stats.name);
        }
    }

    /// Everything is committed and consumed: what is visible comes once, the rest never.
    fn finish(&mut self) {
        for conn in self.clients.keys().copied().collect::<Vec<_>>() {
            let client = self.clients.remove(&conn).unwrap();
            for (name, operations) in client.txs {
                self.roll_back(conn, &name, operations, &client.subs);
            }
            for fact in self.facts.values_mut() {
                fact.holder = fact.holder.take().filter(|holder| holder.conn != conn);
            }
            self.bench.disconnect(conn);
        }
        self.bench.commit_all();
        self.settle();
        self.bench.commits_at_once = true;
        self.bench.take_inbox();
        let conn = self.last_conn + 1;
        self.bench.connect(conn);
        for (n, queue) in [QUEUES[0], QUEUES[1], QUEUES[2], DLQ]
            .into_iter()
            .enumerate()
        {
            self.bench
                .subscribe(conn, n as u32, queue, AckMode::Auto, 100);
            let got = self.bench.receive(conn, n as u32);
            let bodies: Vec<String> = got.into_iter().map(|got| got.body).collect();
            let mut wanted: Vec<((u64, u64), String)> = self
                .facts
                .iter()
                .filter(|(_, fact)| fact.queue == queue && self.is_available(fact))
                .map(|(id, fact)| (fact.place, format!("m{id}")))
                .collect();
            wanted.sort_unstable();
            let wanted: Vec<String> = wanted.into_iter().map(|(_, body)| body).collect();
            assert_eq!(bodies, wanted, "what is left in {queue}");
        }
        for stats in self.bench.master.destinations() {
            assert_eq!(
                (stats.depth, stats.in_flight),
                (0, 0),
                "{} is empty",
                stats.name
            );
        }
        assert_eq!(
            self.bench.master.backlog(),
            tandemmq_engine::Backlog::default()
        );
    }
}

/// One seed from start to end; panics where the engine breaks a rule.
pub fn run(seed: u64, steps: usize) -> Counts {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.finish();
    world.counts
}

#[test]
fn random_operations_agree_with_the_naive_model() {
    let mut all = Counts::default();
    for seed in 1..=150 {
        let counts = run(seed, 500);
        all.delivered += counts.delivered;
        all.redelivered += counts.redelivered;
        all.dead += counts.dead;
        all.committed_transactions += counts.committed_transactions;
        all.fail_overs += counts.fail_overs;
        all.restored += counts.restored;
    }
    println!("{all:?}");
    assert!(
        all.delivered > 5_000 && all.redelivered > 500 && all.dead > 100,
        "{all:?}"
    );
    assert!(
        all.committed_transactions > 200 && all.fail_overs > 50 && all.restored > 200,
        "{all:?}"
    );
}
