//! What one persistent message costs the engine: send, commit, dispatch, acknowledgement, and the
//! same on a slave; what it takes in memory and in a picture. Prints, never asserts a figure.
//!
//! `cargo run --release -p tandemmq-engine --example speed`

use std::hint::black_box;
use std::time::{Duration, Instant};

use tandemmq_engine::{Engine, EngineConfig, EngineEffect, PictureReader};
use tandemmq_model::{
    AckKind, AckMode, AckRef, BodyKind, ByteString, Bytes, Command, Committed, ConnId, Delivery,
    DeliveryId, Destination, Epoch, Message, Now, Offset, Record, RecordKind, Request, Subscribe,
    SubscriptionId,
};

const BATCH: usize = 500;

/// Messages of a picture.
const MANY: usize = 1_000_000;

struct Bench {
    master: Engine,
    slave: Engine,
    log: Vec<Record>,
    applied: usize,
    now: Now,
    delivered: u64,
    last_delivery: u64,
    replies: u64,
    slave_time: Duration,
    read: Vec<Offset>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            master: Engine::new(EngineConfig::default()),
            slave: Engine::new(EngineConfig::default()),
            log: vec![Record::critical(RecordKind::EpochStart, Bytes::new())],
            applied: 0,
            now: Now::default(),
            delivered: 0,
            last_delivery: 0,
            replies: 0,
            slave_time: Duration::ZERO,
            read: Vec::new(),
        };
        bench.commit();
        bench.master.promote(bench.now, Epoch(1), Offset(2));
        for conn in [1, 2] {
            bench.master.handle_connected(bench.now, ConnId(conn));
        }
        bench
    }

    fn drain(&mut self) {
        while let Some(effect) = self.master.poll_effect(self.now) {
            match effect {
                EngineEffect::Propose { record } => self.log.push(record),
                EngineEffect::Reply { .. } => self.replies += 1,
                EngineEffect::Deliver { deliveries, .. } => {
                    for delivery in black_box(deliveries) {
                        if let Delivery::Message { id, .. } = delivery {
                            self.delivered += 1;
                            self.last_delivery = id.0;
                        }
                    }
                }
                EngineEffect::ReadBodies { offsets } => self.read.extend(offsets),
            }
            if !self.read.is_empty() {
                let bodies = std::mem::take(&mut self.read);
                let record = |offset: Offset| Some(self.log[offset.0 as usize - 1].clone());
                let bodies = bodies
                    .into_iter()
                    .map(|offset| (offset, record(offset)))
                    .collect();
                self.master.handle_bodies(self.now, bodies);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn commit(&mut self) {
        let from = self.applied;
        let committed = Committed::proven_by_quorum(Offset(self.log.len() as u64));
        for (index, record) in self.log[from..].iter().enumerate() {
            let offset = Offset((from + index) as u64 + 1);
            self.master
                .apply(self.now, committed, offset, Epoch(1), record);
        }
        let start = Instant::now();
        for (index, record) in self.log[from..].iter().enumerate() {
            let offset = Offset((from + index) as u64 + 1);
            self.slave
                .apply(self.now, committed, offset, Epoch(1), record);
        }
        self.slave_time += start.elapsed();
        self.applied = self.log.len();
    }

    fn command(&mut self, conn: u64, command: Command) {
        self.master.handle_command(self.now, ConnId(conn), command);
    }

    fn send(&mut self, id: usize, body: &Bytes) {
        let message = Message {
            destination: Destination::queue(ByteString::from_static("orders.incoming")),
            persistent: true,
            priority: 4,
            timestamp_ms: 1,
            expiration_ms: 0,
            correlation_id: None,
            reply_to: None,
            jms_type: None,
            body_kind: BodyKind::Bytes,
            properties: vec![(
                ByteString::from_static("color"),
                ByteString::from_static("red"),
            )],
            body: body.clone(),
        };
        let request = Request {
            id: id as u64,
            wants_receipt: true,
        };
        self.command(
            1,
            Command::Send {
                message,
                tx: None,
                request,
            },
        );
    }

    fn subscribe(&mut self, ack_mode: AckMode, prefetch: u32) {
        let subscribe = Subscribe {
            subscription: SubscriptionId(1),
            destination: Destination::queue("orders.incoming"),
            ack_mode,
            prefetch,
            browser: false,
        };
        self.command(2, Command::Subscribe(subscribe, request()));
    }
}

const fn request() -> Request {
    Request {
        id: 1,
        wants_receipt: false,
    }
}

fn report(name: &str, count: usize, all: Duration, slave: Duration) {
    let each = |time: Duration| time.as_nanos() / count as u128;
    println!(
        "{name:<52} master {:>5} ns, slave {:>4} ns",
        each(all - slave),
        each(slave)
    );
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn flow(name: &str, ack_mode: AckMode, body: &Bytes) {
    const COUNT: usize = 400_000;
    let mut bench = Bench::new();
    bench.subscribe(ack_mode, 1_000);
    let start = Instant::now();
    for batch in 0..COUNT / BATCH {
        for n in 0..BATCH {
            bench.send(batch * BATCH + n, body);
        }
        bench.drain();
        bench.commit();
        bench.drain();
        let (first, last) = (bench.last_delivery - BATCH as u64 + 1, bench.last_delivery);
        for id in first..=last {
            bench.command(2, Command::Written(SubscriptionId(1), DeliveryId(id)));
            if ack_mode == AckMode::Individual {
                let which = AckRef::Delivery(SubscriptionId(1), DeliveryId(id));
                let kind = AckKind::Consumed;
                bench.command(
                    2,
                    Command::Ack {
                        which,
                        kind,
                        tx: None,
                        request: request(),
                    },
                );
            }
        }
        bench.drain();
        bench.commit();
        bench
            .log
            .iter_mut()
            .rev()
            .take(2 * BATCH)
            .for_each(|record| record.body.clear());
    }
    bench.drain();
    assert_eq!(
        (bench.delivered, bench.replies),
        (COUNT as u64, COUNT as u64)
    );
    assert_eq!(bench.master.state_digest(), bench.slave.state_digest());
    report(name, COUNT, start.elapsed(), bench.slave_time);
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn deep() {
    const COUNT: usize = 1_000_000;
    let body = Bytes::from_static(&[7; 100]);
    let mut bench = Bench::new();
    let start = Instant::now();
    for n in 0..COUNT {
        bench.send(n, &body);
        if n % BATCH == BATCH - 1 {
            bench.drain();
            bench.commit();
        }
    }
    report(
        "fill a queue with 1,000,000 messages, each",
        COUNT,
        start.elapsed(),
        bench.slave_time,
    );
    bench.slave_time = Duration::ZERO;
    let start = Instant::now();
    bench.subscribe(AckMode::Auto, 1_000);
    let mut last = 0;
    loop {
        bench.drain();
        if bench.last_delivery == last {
            break;
        }
        last = bench.last_delivery;
        bench.command(2, Command::Written(SubscriptionId(1), DeliveryId(last)));
        bench.drain();
        bench.commit();
    }
    assert_eq!(bench.delivered, COUNT as u64);
    report(
        "empty it (auto, bodies read in windows), each",
        COUNT,
        start.elapsed(),
        bench.slave_time,
    );
}

/// An engine with a million messages over so many queues.
struct Filled {
    engine: Engine,
    queues: usize,
    differs: bool,
    /// Kept, so that nothing of it is used again while memory is measured.
    records: Vec<Record>,
    bytes_each: f64,
}

impl Filled {
    fn new(queues: usize, differs: bool) -> Self {
        let count = if differs {
            queues.max(1_000) * 3
        } else {
            queues
        };
        let records: Vec<Record> = (0..count)
            .map(|n| enqueue(&format!("queue.{}", n % queues), n, differs))
            .collect();
        let mut engine = Engine::new(EngineConfig::default());
        let before = resident_bytes();
        for n in 0..MANY {
            let offset = Offset(n as u64 + 1);
            let committed = Committed::proven_by_quorum(offset);
            let record = &records[n % records.len()];
            engine.apply(Now::default(), committed, offset, Epoch(1), record);
        }
        let bytes_each = resident_bytes().saturating_sub(before) as f64 / MANY as f64;
        Self {
            engine,
            queues,
            differs,
            records,
            bytes_each,
        }
    }
}

/// The record that a master makes of a message, alike or each with a size and an expiration.
fn enqueue(queue: &str, n: usize, differs: bool) -> Record {
    let mut bench = Bench::new();
    let size = if differs { 100 + n * 37 % 900 } else { 100 };
    let message = Message {
        destination: Destination::queue(ByteString::from(queue)),
        persistent: true,
        priority: 4,
        timestamp_ms: 1,
        expiration_ms: if differs {
            1_700_000_000_000 + n as u64 * 997
        } else {
            0
        },
        correlation_id: None,
        reply_to: None,
        jms_type: None,
        body_kind: BodyKind::Bytes,
        properties: Vec::new(),
        body: Bytes::from(vec![7; size]),
    };
    let tx = None;
    let request = request();
    bench.command(
        1,
        Command::Send {
            message,
            tx,
            request,
        },
    );
    bench.drain();
    bench.log.pop().expect("a send is proposed")
}

/// Memory of this process that is in use; 0 where it cannot be read.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4_096
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn timed<T>(step: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = black_box(step());
    (done, start.elapsed())
}

/// Takes a picture, writes it down and reads it back.
fn picture(filled: &mut Filled) {
    let engine = &mut filled.engine;
    let (picture, taking) = timed(|| engine.picture());
    let (_, again) = timed(|| engine.picture());
    let (_, walking) = timed(|| {
        let mut bytes = 0u64;
        picture.live(&mut |_, length| bytes += u64::from(length));
        bytes
    });
    let (_, digesting) = timed(|| picture.digest());
    let mut writer = picture.writer();
    let mut pieces = Vec::new();
    let mut longest = Duration::ZERO;
    let mut encoding = Duration::ZERO;
    while let (Some(piece), time) = timed(|| writer.next_piece()) {
        pieces.push(piece);
        longest = longest.max(time);
        encoding += time;
    }
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    let (restored, decoding) = timed(|| {
        let mut reader = PictureReader::new();
        for piece in &pieces {
            reader.push(piece).expect("it was written just now");
        }
        reader.finish().expect("it was written just now")
    });
    assert_eq!(restored.digest(), engine.state_digest());
    let offset = engine.applied().next();
    let committed = Committed::proven_by_quorum(offset);
    let record = &filled.records[0];
    let (_, first) = timed(|| engine.apply(Now::default(), committed, offset, Epoch(1), record));
    println!(
        "{MANY} messages in {} queues, {}: bytes each {:.1} in memory, {:.1} in a picture\n  \
         picture() {taking:.1?} ({again:.1?} the second time), next apply {first:.1?}\n  \
         live() {walking:.1?}, digest() {digesting:.1?}\n  \
         encode {encoding:.1?} in {} pieces, longest {longest:.1?}; decode with digest {decoding:.1?}",
        filled.queues,
        if filled.differs {
            "each unlike"
        } else {
            "all alike"
        },
        filled.bytes_each,
        bytes as f64 / MANY as f64,
        pieces.len(),
    );
}

fn main() {
    let kinds = [1, 100, 10_000].map(|queues| [(queues, false), (queues, true)]);
    let fill = |(queues, differs)| Filled::new(queues, differs);
    let mut all: Vec<Filled> = kinds.into_iter().flatten().map(fill).collect();
    all.iter_mut().for_each(picture);
    drop(all);
    let small = Bytes::from_static(&[7; 100]);
    let large = Bytes::from(vec![7; 1_024]);
    flow("send, dispatch, auto ack; 100 bytes", AckMode::Auto, &small);
    flow("send, dispatch, auto ack; 1 KiB", AckMode::Auto, &large);
    flow(
        "send, dispatch, individual ack; 1 KiB",
        AckMode::Individual,
        &large,
    );
    deep();
}
