//! Producers and consumers whose every step is written down for the checker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
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
    /// From each write to its receipt, while somebody wants to know.
    pub(super) latencies: RefCell<Option<Vec<Duration>>>,
    /// The last refusal's words.
    pub(super) refusal: RefCell<Option<String>>,
}

/// How long clients were without a master: from `begin` to the first RECEIPT that proves its end.
#[derive(Default)]
struct Outage {
    since: Cell<Option<Instant>>,
    proof: Cell<Proof>,
    ended: Cell<Option<Instant>>,
}

/// Which RECEIPT ends an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Proof {
    /// One on a connection that was opened later: the old master is gone.
    #[default]
    NewConnection,
    /// One for a message that was written later: for faults that the clients' broker may outlive,
    /// begun once they are done.
    NewMessage,
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
    connected: Instant,
    /// When each unanswered message was written.
    written: BTreeMap<u64, Instant>,
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
    pub(super) fn begin_outage(&self, proof: Proof) {
        self.outage.proof.set(proof);
        self.outage.since.set(Some(Instant::now()));
        self.outage.ended.set(None);
    }

    /// How long it was, once it is over.
    pub(super) fn outage(&self) -> Option<Duration> {
        Some(self.outage.ended.get()? - self.outage.since.get()?)
    }

    /// From now on each receipt's latency is kept.
    pub(super) fn begin_latencies(&self) {
        self.figures.latencies.replace(Some(Vec::new()));
    }

    /// The latencies since then; no more are kept.
    pub(super) fn take_latencies(&self) -> Vec<Duration> {
        self.figures.latencies.take().unwrap_or_default()
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
        let mut source = JudgedSource {
            run: self.clone(),
            plan,
            connected: Instant::now(),
            written: BTreeMap::new(),
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
pub(super) fn send_frame(queue: &str, id: SendId, bytes: usize) -> Frame {
    Frame::new("SEND")
        .header("destination", format!("/queue/{queue}"))
        .header("persistent", "true")
        .header(ID_HEADER, id.to_string())
        .body(body_of(id, bytes))
}

/// A body of that many bytes that no other message has: its id and its length, again and again.
fn body_of(id: SendId, bytes: usize) -> Bytes {
    let pattern = format!("{id} {bytes} ");
    let mut body = Vec::with_capacity(bytes + pattern.len());
    while body.len() < bytes {
        body.extend_from_slice(pattern.as_bytes());
    }
    body.truncate(bytes);
    body.into()
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

// === impl Outage ===

impl Outage {
    /// A RECEIPT for a message of that connection.
    fn receipt(&self, connected: Instant, written: Instant) {
        let proves = match self.proof.get() {
            Proof::NewConnection => connected,
            Proof::NewMessage => written,
        };
        if self.ended.get().is_none() && self.since.get().is_some_and(|at| proves > at) {
            self.ended.set(Some(Instant::now()));
        }
    }
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
        send_frame(&self.plan.queue, self.id(sequence), self.plan.bytes)
    }

    fn written(&mut self, sequence: u64) {
        self.written.insert(sequence, Instant::now());
        self.run.checker.borrow_mut().written(self.id(sequence));
    }

    fn acknowledged(&mut self, sequence: u64) {
        self.run
            .checker
            .borrow_mut()
            .acknowledged(self.id(sequence));
        add_one(&self.run.figures.acknowledged);
        let Some(written) = self.written.remove(&sequence) else {
            return;
        };
        if let Some(latencies) = &mut *self.run.figures.latencies.borrow_mut() {
            latencies.push(written.elapsed());
        }
        self.run.outage.receipt(self.connected, written);
    }

    fn unknown(&mut self, sequence: u64) {
        self.written.remove(&sequence);
    }

    fn refused(&mut self, sequence: u64, text: &str) {
        self.written.remove(&sequence);
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
        if frame.body != body_of(id, frame.body.len()) {
            self.run.checker.borrow_mut().wrong_body(id, message_id);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_belongs_to_one_message_and_one_length() {
        let id = |sequence| SendId {
            producer: 1,
            sequence,
        };
        assert_eq!(&body_of(id(7), 12)[..], b"1-7 12 1-7 1");
        let bodies = [body_of(id(7), 64), body_of(id(8), 64)];
        assert_ne!(bodies[0], bodies[1]);
        assert_ne!(
            bodies[0].slice(..32),
            body_of(id(7), 32),
            "a shorter one is another"
        );
    }

    #[test]
    fn an_outage_ends_with_the_receipt_that_proves_it() {
        let run = Run::default();
        let before = Instant::now();
        run.begin_outage(Proof::NewConnection);
        let after = Instant::now() + Duration::from_millis(1);
        run.outage.receipt(before, after);
        assert_eq!(run.outage(), None, "an old connection proves nothing");
        run.begin_outage(Proof::NewMessage);
        run.outage.receipt(before, after);
        assert!(run.outage().is_some());
    }
}
