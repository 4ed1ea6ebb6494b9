//! Producers and consumers whose every step is written down for the checker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::checker::{Checker, ConnectionNo, ID_HEADER, Received, SendId};
use crate::stomp_client::receiver::{self, Ack, AckReceipts, Sink};
use crate::stomp_client::sender::{self, Source, Unknown};
use crate::stomp_client::{ClientError, Failover};

/// A broker that answers no SEND for so long is hung; another may be master already.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(3);

/// What all clients of a run share. Everything runs on one thread.
#[derive(Clone, Default)]
pub(super) struct Run {
    /// The facts.
    pub(super) checker: Rc<RefCell<Checker>>,
    outage: Rc<Outage>,
    /// Refusals and losses, for people.
    pub(super) figures: Rc<Figures>,
}

/// Counts that are no facts for the checker.
#[derive(Default)]
pub(super) struct Figures {
    /// Receipts.
    pub(super) acknowledged: Cell<u64>,
    /// Messages read.
    pub(super) received: Cell<u64>,
    /// Connections lost.
    pub(super) lost: Cell<u64>,
    /// The last refusal's words.
    pub(super) refusal: RefCell<Option<String>>,
}

/// How long clients were without a master: from `begin` to the first RECEIPT on a connection that
/// was opened later.
#[derive(Default)]
struct Outage {
    since: Cell<Option<Instant>>,
    ended: Cell<Option<Instant>>,
}

/// A producer's plan.
pub(super) struct Produce {
    /// Its number in the checker.
    pub(super) producer: u32,
    /// Where to.
    pub(super) queue: String,
    /// How many; none: until told to stop.
    pub(super) count: Option<u64>,
    /// Sends without a receipt at once.
    pub(super) window: usize,
    /// Between two messages.
    pub(super) pause: Duration,
    /// Bytes of a body.
    pub(super) bytes: usize,
}

/// A consumer's plan.
pub(super) struct Consume {
    /// Its number in the checker.
    pub(super) consumer: u32,
    /// Where from.
    pub(super) queue: String,
    /// Ends when no message came for so long; none: when told to stop.
    pub(super) idle: Option<Duration>,
}

struct JudgedSource {
    run: Run,
    plan: Produce,
    body: bytes::Bytes,
    connected: Instant,
}

struct JudgedSink {
    run: Run,
    consumer: u32,
    queue: String,
    connection: ConnectionNo,
    /// Whose ACKs have no RECEIPT yet.
    unanswered: BTreeMap<String, SendId>,
}

// === impl Run ===

impl Run {
    /// An outage begins now.
    pub(super) fn begin_outage(&self) {
        self.outage.since.set(Some(Instant::now()));
        self.outage.ended.set(None);
    }

    /// How long it was, once it is over.
    pub(super) fn outage(&self) -> Option<Duration> {
        Some(self.outage.ended.get()? - self.outage.since.get()?)
    }

    /// Starts a producer; it ends with its count or when told to stop.
    pub(super) fn produce(
        &self,
        mut failover: Failover,
        plan: Produce,
        mut stop: watch::Receiver<bool>,
    ) -> JoinHandle<Result<(), ClientError>> {
        let sender_plan = sender::Plan {
            count: plan.count,
            window: plan.window,
            pause: plan.pause,
            receipt_timeout: RECEIPT_TIMEOUT,
            unknown: Unknown::Leave,
        };
        let body = crate::stomp_client::body_of(plan.bytes);
        let mut source = JudgedSource {
            run: self.clone(),
            plan,
            body,
            connected: Instant::now(),
        };
        tokio::task::spawn_local(async move {
            sender::send_all(&mut failover, &sender_plan, &mut source, &mut stop).await
        })
    }

    /// Starts a consumer.
    pub(super) fn consume(
        &self,
        mut failover: Failover,
        plan: Consume,
        mut stop: watch::Receiver<bool>,
    ) -> JoinHandle<Result<receiver::End, ClientError>> {
        let receiver_plan = receiver::Plan {
            destination: format!("/queue/{}", plan.queue),
            ack: Ack::Individual,
            receipts: AckReceipts::Each,
            prefetch: None,
            count: None,
            idle: plan.idle,
            pause: Duration::ZERO,
        };
        let mut sink = JudgedSink {
            run: self.clone(),
            consumer: plan.consumer,
            queue: plan.queue,
            connection: self.checker.borrow_mut().opened(),
            unanswered: BTreeMap::new(),
        };
        tokio::task::spawn_local(async move {
            receiver::receive_all(&mut failover, &receiver_plan, &mut sink, &mut stop).await
        })
    }
}

/// The persistent SEND of a checked message, without a receipt.
pub(super) fn send_frame(queue: &str, id: SendId, body: &bytes::Bytes) -> Frame {
    Frame::new("SEND")
        .header("destination", format!("/queue/{queue}"))
        .header("persistent", "true")
        .header(ID_HEADER, id.to_string())
        .body(body.clone())
}

/// The id that a MESSAGE carries; 0-0, which is never sent, when it carries none.
pub(super) fn id_of(frame: &Frame) -> SendId {
    let id = frame.get(ID_HEADER).and_then(SendId::parse);
    id.unwrap_or(SendId {
        producer: 0,
        sequence: 0,
    })
}

fn add_one(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

// === impl JudgedSource ===

impl JudgedSource {
    const fn id(&self, sequence: u64) -> SendId {
        SendId {
            producer: self.plan.producer,
            sequence,
        }
    }
}

impl Source for JudgedSource {
    fn frame(&mut self, sequence: u64) -> Frame {
        send_frame(&self.plan.queue, self.id(sequence), &self.body)
    }

    fn written(&mut self, sequence: u64) {
        self.run.checker.borrow_mut().written(self.id(sequence));
    }

    fn acknowledged(&mut self, sequence: u64) {
        self.run
            .checker
            .borrow_mut()
            .acknowledged(self.id(sequence));
        add_one(&self.run.figures.acknowledged);
        let outage = &self.run.outage;
        if outage.ended.get().is_none() && outage.since.get().is_some_and(|at| self.connected > at)
        {
            outage.ended.set(Some(Instant::now()));
        }
    }

    fn refused(&mut self, sequence: u64, text: &str) {
        self.run.checker.borrow_mut().refused(self.id(sequence));
        self.run.figures.refusal.replace(Some(text.to_owned()));
    }

    fn connected(&mut self, _address: &str) {
        self.connected = Instant::now();
    }

    fn lost(&mut self, _error: &ClientError) {
        add_one(&self.run.figures.lost);
    }
}

// === impl JudgedSink ===

impl Sink for JudgedSink {
    fn connected(&mut self, _address: &str) {
        self.connection = self.run.checker.borrow_mut().opened();
        self.unanswered.clear();
    }

    fn received(&mut self, frame: &Frame) {
        let id = id_of(frame);
        let message_id = frame.get("message-id").unwrap_or("no message-id");
        add_one(&self.run.figures.received);
        self.unanswered.insert(message_id.to_owned(), id);
        self.run.checker.borrow_mut().received(&Received {
            id,
            message_id,
            redelivered: frame.get("redelivered") == Some("true"),
            destination: &self.queue,
            consumer: self.consumer,
            connection: self.connection,
        });
    }

    fn consumed(&mut self, message_id: &str) {
        if let Some(id) = self.unanswered.remove(message_id) {
            self.run.checker.borrow_mut().consumed(id, message_id);
        }
    }

    fn refused(&mut self, text: &str) {
        self.run.figures.refusal.replace(Some(text.to_owned()));
    }

    fn lost(&mut self, _error: &ClientError) {
        add_one(&self.run.figures.lost);
    }
}
