//! A master engine and a slave engine over one log that commits when the test says so.
//!
//! After every committed record both engines must have the same digest. Bodies are read from the
//! log itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tandemmq_engine::{
    Admission, DestinationStats, Engine, EngineConfig, EngineEffect, Picture, PictureReader,
};
use tandemmq_model::{
    AckKind, AckMode, AckRef, BodyKind, ByteString, Bytes, Command, Committed, ConnId,
    DeadLetterOrigin, Delivery, DeliveryId, Destination, Epoch, Message, MessageId, Now, Offset,
    Outcome, Record, RecordKind, RefusalKind, Request, Subscribe, SubscriptionId, Time,
};

/// One delivery as a client would see it.
#[derive(Debug, Clone)]
pub struct Got {
    pub id: u64,
    pub body: String,
    pub message_id: MessageId,
    pub destination: Destination,
    pub redelivered: bool,
    pub origin: Option<DeadLetterOrigin>,
    pub message: Arc<Message>,
    /// A browser's end instead of a message.
    pub is_end: bool,
}

pub struct Bench {
    pub master: Engine,
    pub slave: Engine,
    pub log: Vec<(Epoch, Record)>,
    pub committed: usize,
    pub epoch: Epoch,
    pub now: Now,
    /// Commit everything whenever effects are drained.
    pub commits_at_once: bool,
    /// Answer reads at once.
    pub reads_at_once: bool,
    pub reads: Vec<Offset>,
    /// Offsets that cannot be read.
    pub broken: Vec<Offset>,
    pub reads_seen: usize,
    inbox: BTreeMap<(u64, u32), Vec<Got>>,
    outcomes: BTreeMap<(u64, u64), Outcome>,
    /// Kinds of effects in order, for tests of order: "reply 1", "deliver 1".
    pub trace: Vec<String>,
    last_request: u64,
}

pub fn message(queue: &str, body: &str) -> Message {
    Message {
        destination: Destination::queue(ByteString::from(queue)),
        persistent: true,
        priority: 4,
        timestamp_ms: 1_000,
        expiration_ms: 0,
        correlation_id: None,
        reply_to: None,
        jms_type: None,
        body_kind: BodyKind::Text,
        properties: vec![(
            ByteString::from_static("color"),
            ByteString::from_static("red"),
        )],
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub fn transient(queue: &str, body: &str) -> Message {
    Message {
        persistent: false,
        ..message(queue, body)
    }
}

pub fn topic(name: &str, body: &str) -> Message {
    Message {
        destination: Destination::topic(ByteString::from(name)),
        ..message(name, body)
    }
}

/// Written down in pieces and read back.
pub fn through_bytes(picture: Picture) -> Picture {
    let mut reader = PictureReader::new();
    let mut writer = picture.writer();
    while let Some(piece) = writer.next_piece() {
        reader.push(&piece).unwrap();
    }
    reader.finish().unwrap()
}

impl Bench {
    pub fn new() -> Self {
        Self::with(EngineConfig::default())
    }

    pub fn with(config: EngineConfig) -> Self {
        let mut bench = Self {
            master: Engine::new(config.clone()),
            slave: Engine::new(config),
            log: Vec::new(),
            committed: 0,
            epoch: Epoch(0),
            now: Now {
                boot: Time::from_millis(1_000),
                wall_ms: 1_000_000,
            },
            commits_at_once: true,
            reads_at_once: true,
            reads: Vec::new(),
            broken: Vec::new(),
            reads_seen: 0,
            inbox: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            trace: Vec::new(),
            last_request: 0,
        };
        bench.start_epoch();
        bench
    }

    /// The same, but nothing is committed before `commit`.
    pub fn holding() -> Self {
        let mut bench = Self::new();
        bench.commits_at_once = false;
        bench
    }

    fn start_epoch(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        let record = Record::critical(RecordKind::EpochStart, Bytes::from_static(b"voters"));
        self.log.push((self.epoch, record));
        self.apply_next();
        self.master
            .promote(self.now, self.epoch, Offset(self.log.len() as u64 + 1));
    }

    /// The slave becomes master of a new epoch; what was not committed is cut off. The old master
    /// goes on as slave.
    pub fn fail_over(&mut self) {
        self.log.truncate(self.committed);
        self.master.demote();
        std::mem::swap(&mut self.master, &mut self.slave);
        self.inbox.clear();
        self.outcomes.clear();
        self.reads.clear();
        self.start_epoch();
    }

    // === the log ===

    fn apply_next(&mut self) {
        let offset = Offset(self.committed as u64 + 1);
        let committed = Committed::proven_by_quorum(offset);
        let (epoch, record) = self.log[self.committed].clone();
        self.committed += 1;
        self.master
            .apply(self.now, committed, offset, epoch, &record);
        let idle = Now::default();
        self.slave.apply(idle, committed, offset, epoch, &record);
        assert_eq!(
            self.master.state_digest(),
            self.slave.state_digest(),
            "master and slave agree after offset {offset}"
        );
    }

    /// The slave starts anew from a picture that went through bytes.
    pub fn restore_slave(&mut self) {
        let picture = through_bytes(self.master.picture());
        self.slave = Engine::new(self.slave.config().clone());
        self.slave.restore(picture);
    }

    /// The group puts a record of its own into the log.
    pub fn put_foreign(&mut self) {
        self.drain();
        self.master.skip_record();
        let record = Record::critical(RecordKind::Config, Bytes::from_static(b"members"));
        self.log.push((self.epoch, record));
    }

    /// Commits the next records and lets the master go on.
    pub fn commit(&mut self, count: usize) {
        self.drain();
        for _ in 0..count {
            self.apply_next();
        }
        self.drain();
    }

    pub fn commit_all(&mut self) {
        self.drain();
        while self.committed < self.log.len() {
            self.commit(self.log.len() - self.committed);
        }
    }

    pub fn kinds(&self) -> Vec<RecordKind> {
        self.log
            .iter()
            .map(|(_, record)| record.known_kind().unwrap())
            .collect()
    }

    /// Takes effects until there are none, and commits if it does so at once.
    pub fn run(&mut self) {
        self.drain();
        if self.commits_at_once {
            self.commit_all();
        }
    }

    pub fn drain(&mut self) {
        loop {
            while let Some(effect) = self.master.poll_effect(self.now) {
                self.take(effect);
            }
            if !self.reads_at_once || self.reads.is_empty() {
                return;
            }
            self.answer_reads();
        }
    }

    pub fn answer_reads(&mut self) {
        let offsets = std::mem::take(&mut self.reads);
        let bodies = offsets.into_iter().map(|offset| {
            let record = &self.log[offset.0 as usize - 1].1;
            (
                offset,
                (!self.broken.contains(&offset)).then(|| record.clone()),
            )
        });
        let bodies = bodies.collect();
        self.master.handle_bodies(self.now, bodies);
    }

    fn take(&mut self, effect: EngineEffect) {
        match effect {
            EngineEffect::Propose { record } => self.log.push((self.epoch, record)),
            EngineEffect::Deliver { conn, deliveries } => {
                self.trace.push(format!("deliver {conn}"));
                for delivery in deliveries {
                    self.deliver(conn.0, delivery);
                }
            }
            EngineEffect::Reply {
                conn,
                request,
                outcome,
            } => {
                self.trace.push(format!("reply {conn}"));
                let before = self.outcomes.insert((conn.0, request), outcome);
                assert_eq!(before, None, "a request is answered once");
            }
            EngineEffect::ReadBodies { offsets } => {
                assert!(offsets.is_sorted(), "reads ascend: {offsets:?}");
                self.reads_seen += 1;
                self.reads.extend(offsets);
            }
        }
    }

    fn deliver(&mut self, conn: u64, delivery: Delivery) {
        let (subscription, got) = match delivery {
            Delivery::Message {
                subscription,
                id,
                message_id,
                destination,
                message,
                redelivered,
                origin,
            } => {
                let body = String::from_utf8(message.body.to_vec()).unwrap();
                let id = id.0;
                let is_end = false;
                let got = Got {
                    id,
                    body,
                    message_id,
                    destination,
                    redelivered,
                    origin,
                    message,
                    is_end,
                };
                (subscription, got)
            }
            Delivery::End { subscription } => {
                let message = Arc::new(message("", ""));
                let got = Got {
                    id: 0,
                    body: String::new(),
                    message_id: MessageId::Transient(Epoch(0), 0),
                    destination: message.destination.clone(),
                    redelivered: false,
                    origin: None,
                    message,
                    is_end: true,
                };
                (subscription, got)
            }
        };
        self.inbox
            .entry((conn, subscription.0))
            .or_default()
            .push(got);
    }

    pub fn wait(&mut self, by: Duration) {
        self.now.boot = self.now.boot + by;
        self.now.wall_ms += by.as_millis() as u64;
        self.master.handle_timeout(self.now);
        self.run();
    }

    // === a client ===

    pub fn connect(&mut self, conn: u64) {
        self.master.handle_connected(self.now, ConnId(conn));
        self.run();
    }

    pub fn disconnect(&mut self, conn: u64) {
        self.master.handle_disconnected(self.now, ConnId(conn));
        self.run();
    }

    pub fn command(&mut self, conn: u64, make: impl FnOnce(Request) -> Command) -> u64 {
        let request = self.queue_command(conn, make);
        self.run();
        request
    }

    /// Hands a command in without draining effects.
    pub fn queue_command(&mut self, conn: u64, make: impl FnOnce(Request) -> Command) -> u64 {
        self.last_request += 1;
        let request = Request {
            id: self.last_request,
            wants_receipt: true,
        };
        self.master
            .handle_command(self.now, ConnId(conn), make(request));
        self.last_request
    }

    pub fn send(&mut self, conn: u64, message: Message) -> u64 {
        self.command(conn, |request| Command::Send {
            message,
            tx: None,
            request,
        })
    }

    pub fn send_in(&mut self, conn: u64, tx: &str, message: Message) -> u64 {
        let tx = Some(ByteString::from(tx));
        self.command(conn, |request| Command::Send {
            message,
            tx,
            request,
        })
    }

    pub fn subscribe(
        &mut self,
        conn: u64,
        id: u32,
        queue: &str,
        ack_mode: AckMode,
        prefetch: u32,
    ) -> u64 {
        self.subscribe_to(
            conn,
            id,
            Destination::queue(ByteString::from(queue)),
            ack_mode,
            prefetch,
        )
    }

    pub fn subscribe_to(
        &mut self,
        conn: u64,
        id: u32,
        destination: Destination,
        ack_mode: AckMode,
        prefetch: u32,
    ) -> u64 {
        let subscribe = Subscribe {
            subscription: SubscriptionId(id),
            destination,
            ack_mode,
            prefetch,
            browser: false,
        };
        self.command(conn, |request| Command::Subscribe(subscribe, request))
    }

    pub fn browse(&mut self, conn: u64, id: u32, queue: &str, prefetch: u32) -> u64 {
        let subscribe = Subscribe {
            subscription: SubscriptionId(id),
            destination: Destination::queue(ByteString::from(queue)),
            ack_mode: AckMode::Auto,
            prefetch,
            browser: true,
        };
        self.command(conn, |request| Command::Subscribe(subscribe, request))
    }

    pub fn unsubscribe(&mut self, conn: u64, id: u32) -> u64 {
        self.command(conn, |request| {
            Command::Unsubscribe(SubscriptionId(id), request)
        })
    }

    pub fn written(&mut self, conn: u64, id: u32, delivery: u64) {
        let command = Command::Written(SubscriptionId(id), DeliveryId(delivery));
        self.master.handle_command(self.now, ConnId(conn), command);
        self.run();
    }

    pub fn not_delivered(&mut self, conn: u64, id: u32, delivery: u64) {
        let command = Command::NotDelivered(SubscriptionId(id), DeliveryId(delivery));
        self.master.handle_command(self.now, ConnId(conn), command);
        self.run();
    }

    pub fn ack(&mut self, conn: u64, id: u32, delivery: u64) -> u64 {
        self.ack_as(
            conn,
            AckRef::Delivery(SubscriptionId(id), DeliveryId(delivery)),
            AckKind::Consumed,
            None,
        )
    }

    pub fn nack(&mut self, conn: u64, id: u32, delivery: u64) -> u64 {
        self.ack_as(
            conn,
            AckRef::Delivery(SubscriptionId(id), DeliveryId(delivery)),
            AckKind::Poison,
            None,
        )
    }

    pub fn ack_in(&mut self, conn: u64, tx: &str, id: u32, delivery: u64) -> u64 {
        self.ack_as(
            conn,
            AckRef::Delivery(SubscriptionId(id), DeliveryId(delivery)),
            AckKind::Consumed,
            Some(tx),
        )
    }

    pub fn ack_as(&mut self, conn: u64, which: AckRef, kind: AckKind, tx: Option<&str>) -> u64 {
        let tx = tx.map(ByteString::from);
        self.command(conn, |request| Command::Ack {
            which,
            kind,
            tx,
            request,
        })
    }

    pub fn begin(&mut self, conn: u64, tx: &str) -> u64 {
        self.command(conn, |request| Command::Begin(tx.into(), request))
    }

    pub fn commit_tx(&mut self, conn: u64, tx: &str) -> u64 {
        self.command(conn, |request| Command::Commit(tx.into(), request))
    }

    pub fn abort(&mut self, conn: u64, tx: &str) -> u64 {
        self.command(conn, |request| Command::Abort(tx.into(), request))
    }

    pub fn admit(&mut self, admission: Admission) {
        self.master.set_admission(admission);
        self.run();
    }

    // === what a client saw ===

    /// All that arrived since the last look, by connection and subscription.
    pub fn take_inbox(&mut self) -> BTreeMap<(u64, u32), Vec<Got>> {
        std::mem::take(&mut self.inbox)
    }

    /// What arrived on a subscription since the last look.
    pub fn got(&mut self, conn: u64, id: u32) -> Vec<Got> {
        self.inbox.remove(&(conn, id)).unwrap_or_default()
    }

    pub fn bodies(&mut self, conn: u64, id: u32) -> Vec<String> {
        self.got(conn, id).into_iter().map(|got| got.body).collect()
    }

    /// Reports everything as written that arrived, and returns it.
    pub fn receive(&mut self, conn: u64, id: u32) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            let got = self.got(conn, id);
            let Some(last) = got.iter().rfind(|got| !got.is_end) else {
                all.extend(got);
                return all;
            };
            let last = last.id;
            all.extend(got);
            self.written(conn, id, last);
        }
    }

    pub fn outcome(&self, conn: u64, request: u64) -> Option<&Outcome> {
        self.outcomes.get(&(conn, request))
    }

    pub fn is_done(&self, conn: u64, request: u64) -> bool {
        self.outcome(conn, request) == Some(&Outcome::Done)
    }

    pub fn is_answered(&self, conn: u64, request: u64) -> bool {
        self.outcome(conn, request).is_some()
    }

    pub fn refused(&self, conn: u64, request: u64) -> Option<RefusalKind> {
        match self.outcome(conn, request) {
            Some(Outcome::Refused(refusal)) => Some(refusal.kind),
            _ => None,
        }
    }

    pub fn stats(&self, name: &str) -> DestinationStats {
        let found = self
            .master
            .destinations()
            .find(|stats| &*stats.name == name);
        found.unwrap_or_else(|| panic!("there is a destination {name}"))
    }

    pub fn depth(&self, name: &str) -> u64 {
        self.stats(name).depth
    }
}
