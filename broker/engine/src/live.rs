//! The master's half: connections, subscriptions, what is in flight, non-persistent messages.
//!
//! Made at promotion, dropped whole at demotion; nothing of it is ever written down. It reads the
//! State and changes it only by proposing records. Commands are taken at once; dispatch happens
//! when effects are polled, so that what arrives together shares deliveries and records.
//!
//! Not here: what a record means (`state`), how it is written (`records`).

mod acks;
mod bodies;
mod browser;
mod connection;
mod destination;
mod dispatch;
mod expiry;
mod parking;
mod pending;
mod sends;
mod slab;
mod subscribe;
mod subscription;
mod topics;
mod transactions;
mod transient;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tandemmq_model::{
    Command, ConnId, Epoch, Now, Offset, Outcome, Record, RecordKind, Refusal, Request, Time,
};

use crate::mutants::{self, Mutant};
use crate::state::queue::QueueId;
use crate::state::{Applied, Moved, State};
use crate::{Admission, Backlog, EngineConfig, EngineEffect};

use bodies::{Bodies, Reads};
use connection::Connection;
pub(crate) use destination::LiveDestination;
use destination::{DestKey, Destinations, Place};
use expiry::SWEEP_PERIOD;
use pending::{AnswerTo, Proposals, Then};
use slab::Slab;
use subscription::{SubKey, Subscription};
use transient::Memory;

/// What a step may look at besides Live itself.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub state: &'a State,
    pub config: &'a EngineConfig,
    pub admission: &'a Admission,
    pub now: Now,
}

/// When an accepted command is answered.
enum Answered {
    Now,
    /// When its record is applied.
    Later,
}

#[derive(Debug)]
pub(crate) struct Live {
    epoch: Epoch,
    effects: VecDeque<EngineEffect>,
    log: Proposals,
    connections: BTreeMap<ConnId, Connection>,
    subscriptions: Slab<Subscription>,
    destinations: Destinations,
    memory: Memory,
    bodies: Bodies,
    reads: Reads,
    /// Queues that may have something to dispatch.
    queues_listed: VecDeque<DestKey>,
    /// Topic subscriptions and browsers that may have something to deliver.
    sources_listed: VecDeque<SubKey>,
    /// Queues with non-persistent messages that wait for records before them.
    waiting_for_offset: VecDeque<(Offset, DestKey)>,
    /// Queues with collected acknowledgements, and the connections these came from.
    ack_queues: Vec<DestKey>,
    ack_connections: Vec<ConnId>,
    /// Connections with parked commands.
    parked: BTreeSet<ConnId>,
    parked_bytes: usize,
    sweep_at: Time,
    /// Unreadable entries, and when to try them again; all wait equally long, so in order.
    retries: VecDeque<(Time, DestKey, Place)>,
    /// An idle destination may be looked for when the limit is reached: once between two sweeps.
    may_drop_idle: bool,
    last_count: u64,
    last_tx: u64,
    /// Only of the seeded fault `DispatchBeforeCommit`.
    early: VecDeque<(DestKey, Offset, Bytes)>,
    early_taken: BTreeSet<Offset>,
}

impl Live {
    pub(crate) fn new(cx: &Context<'_>, epoch: Epoch, next: Offset) -> Self {
        Self {
            epoch,
            effects: VecDeque::new(),
            log: Proposals::new(next, *cx.admission == Admission::PauseDispatch),
            connections: BTreeMap::new(),
            subscriptions: Slab::default(),
            destinations: Destinations::default(),
            memory: Memory::new(cx.config.transient_bytes_max),
            bodies: Bodies::new(cx.config.body_cache_bytes_max),
            reads: Reads::default(),
            queues_listed: VecDeque::new(),
            sources_listed: VecDeque::new(),
            waiting_for_offset: VecDeque::new(),
            ack_queues: Vec::new(),
            ack_connections: Vec::new(),
            parked: BTreeSet::new(),
            parked_bytes: 0,
            sweep_at: cx.now.boot + SWEEP_PERIOD,
            retries: VecDeque::new(),
            may_drop_idle: true,
            last_count: 0,
            last_tx: 0,
            early: VecDeque::new(),
            early_taken: BTreeSet::new(),
        }
    }

    // === commands ===

    pub(crate) fn handle_connected(&mut self, conn: ConnId) {
        let before = self.connections.insert(conn, Connection::default());
        assert!(
            before.is_none(),
            "a connection's number is never used again"
        );
    }

    pub(crate) fn handle_command(&mut self, cx: &Context<'_>, conn: ConnId, command: Command) {
        if !self.connections.contains_key(&conn) {
            return;
        }
        if self.must_park(conn, &command) {
            self.park(cx, conn, command);
        } else {
            self.execute(cx, conn, command);
        }
    }

    fn execute(&mut self, cx: &Context<'_>, conn: ConnId, command: Command) {
        let to = |request: Request| {
            request.wants_receipt.then_some(AnswerTo {
                conn,
                request: request.id,
            })
        };
        let (request, result) = match command {
            Command::Send {
                message,
                tx,
                request,
            } => (request, self.send(cx, conn, message, tx, to(request))),
            Command::Subscribe(subscribe, request) => {
                (request, self.subscribe(cx, conn, subscribe))
            }
            Command::Unsubscribe(id, request) => (request, self.unsubscribe(conn, id)),
            Command::Ack {
                which,
                kind,
                tx,
                request,
            } => (request, self.ack(cx, conn, &which, kind, tx, to(request))),
            Command::Begin(name, request) => (request, self.begin(conn, name)),
            Command::Commit(name, request) => (request, self.commit(cx, conn, &name, to(request))),
            Command::Abort(name, request) => (request, self.abort(conn, &name, to(request))),
            Command::Disconnect(request) => (request, Ok(self.leave(cx, conn, to(request)))),
            Command::Written(id, delivery) => return self.written(conn, id, delivery),
            Command::NotDelivered(id, delivery) => return self.not_delivered(conn, id, delivery),
        };
        match result {
            Ok(Answered::Now) if request.wants_receipt => {
                self.answer(AnswerTo {
                    conn,
                    request: request.id,
                });
            }
            Ok(_) => {}
            Err(refusal) => self.refuse(conn, request.id, refusal),
        }
    }

    /// DISCONNECT: answered when all that was proposed is applied.
    fn leave(&mut self, cx: &Context<'_>, conn: ConnId, answer: Option<AnswerTo>) -> Answered {
        self.flush_acks_of(conn);
        let found = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        found.is_leaving = true;
        let backlog = self.log.backlog();
        if backlog.records == 0 && self.log.last() <= cx.state.applied() {
            return Answered::Now;
        }
        if let Some(answer) = answer {
            self.log.push_barrier(answer);
        }
        Answered::Later
    }

    pub(crate) fn handle_disconnected(&mut self, conn: ConnId) {
        if !self.connections.contains_key(&conn) {
            return;
        }
        self.forget_parked(conn);
        self.roll_back_all(conn);
        self.remove_subscriptions(conn);
        self.remove_temporary(conn);
        self.connections.remove(&conn);
    }

    // === the log ===

    /// Proposes a record after all that this connection did before.
    fn propose_for(&mut self, conn: ConnId, kind: RecordKind, body: Bytes, then: Then) {
        self.flush_acks_of(conn);
        self.propose(kind, body, then);
    }

    fn propose(&mut self, kind: RecordKind, body: Bytes, mut then: Then) {
        if mutants::on(early_answer_of(kind)) {
            for answer in then.take_answers() {
                self.answer(answer);
            }
        }
        if let Some(record) = self.log.propose(Record::critical(kind, body), then) {
            self.effects.push_back(EngineEffect::Propose { record });
        }
    }

    /// The next offset is not ours.
    pub(crate) fn skip_record(&mut self) {
        let is_propose = |effect: &EngineEffect| matches!(effect, EngineEffect::Propose { .. });
        assert!(
            !self.effects.iter().any(is_propose),
            "what was proposed before is appended before"
        );
        self.log.skip();
    }

    /// A record was applied: one of ours, or one that was skipped.
    pub(crate) fn applied(&mut self, cx: &Context<'_>, offset: Offset, applied: Applied) {
        if let Some(then) = self.log.applied(offset) {
            self.proposal_applied(cx, offset, then, applied);
        }
        self.wake_transient(offset);
    }

    fn proposal_applied(&mut self, cx: &Context<'_>, offset: Offset, then: Then, applied: Applied) {
        assert_ne!(
            applied,
            Applied::Undecodable,
            "what this engine encodes it can decode"
        );
        let answers = match (then, applied) {
            (
                Then::Enqueue {
                    destination,
                    body,
                    answer,
                },
                applied,
            ) => {
                self.destinations.send_ended(destination);
                if let Applied::Enqueued { queue } = applied {
                    self.message_applied(destination, queue, offset);
                }
                self.bodies.insert(offset, body);
                Vec::from_iter(answer)
            }
            (
                Then::Ack {
                    destination,
                    count,
                    answers,
                },
                _,
            ) => {
                self.acks_applied(destination, count);
                answers
            }
            (
                Then::DeadLetter {
                    destination,
                    places,
                    answer,
                },
                applied,
            ) => {
                self.burial_applied(cx, destination, &places, applied);
                Vec::from_iter(answer)
            }
            (Then::KeepAside, _) => Vec::new(),
            (
                Then::Commit {
                    acked,
                    sends,
                    answer,
                },
                Applied::Committed { entries, moved },
            ) => {
                self.commit_applied(cx, acked, &entries, &moved);
                self.publish(cx, sends);
                Vec::from_iter(answer)
            }
            (Then::RollBack { answer }, Applied::RolledBack { entries }) => {
                for offset in entries {
                    self.bodies.forget(offset);
                }
                Vec::from_iter(answer)
            }
            (then, applied) => panic!("{applied:?} does not belong to {then:?}"),
        };
        for answer in answers {
            self.answer(answer);
        }
    }

    fn message_applied(&mut self, key: DestKey, queue: QueueId, offset: Offset) {
        let found = self
            .destinations
            .get(key)
            .expect("a replicated queue stays");
        if found.queue.state.is_none() {
            self.destinations.link(key, queue);
        }
        if !self.early_taken.remove(&offset) {
            self.appear(key, Place::persistent(offset));
        }
    }

    /// Entries moved to the dead letter queue.
    fn moved(&mut self, cx: &Context<'_>, moved: &Moved) {
        let to = self.destination_of_queue(cx, moved.to);
        for offset in &moved.offsets {
            self.appear(to, Place::persistent(*offset));
        }
    }

    // === answers ===

    fn answer(&mut self, to: AnswerTo) {
        self.reply(to.conn, to.request, Outcome::Done);
    }

    fn refuse(&mut self, conn: ConnId, request: u64, refusal: Refusal) {
        self.reply(conn, request, Outcome::Refused(refusal));
    }

    fn reply(&mut self, conn: ConnId, request: u64, outcome: Outcome) {
        if self.connections.contains_key(&conn) {
            self.effects.push_back(EngineEffect::Reply {
                conn,
                request,
                outcome,
            });
        }
    }

    // === effects and time ===

    pub(crate) fn poll_effect(&mut self, cx: &Context<'_>) -> Option<EngineEffect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            while let Some(answer) = self.log.pop_barrier(cx.state.applied()) {
                self.answer(answer);
            }
            if self.memory.has_freed {
                self.run_parked(cx);
            }
            if !self.log.is_paused() {
                self.flush_acks();
                if self.effects.is_empty() && !self.dispatch_next(cx) {
                    return self.effects.pop_front();
                }
            } else if self.effects.is_empty() {
                return None;
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &Context<'_>) {
        let now = cx.now.boot;
        while let Some((_, key, place)) = self.retries.pop_front_if(|(at, ..)| *at <= now) {
            self.retry_unreadable(key, place);
        }
        if self
            .parked_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.run_parked(cx);
        }
        if self.sweep_at <= now {
            self.sweep(cx);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        let retry = self.retries.front().map_or(Time::NEVER, |(at, ..)| *at);
        self.sweep_at
            .min(retry)
            .min(self.parked_deadline().unwrap_or(Time::NEVER))
    }

    pub(crate) fn set_admission(&mut self, admission: &Admission) {
        if *admission == Admission::PauseDispatch {
            self.log.pause();
        } else if self.log.is_paused() {
            let records = self.log.resume();
            self.effects.extend(
                records
                    .into_iter()
                    .map(|record| EngineEffect::Propose { record }),
            );
        }
    }

    pub(crate) fn backlog(&self) -> Backlog {
        self.log.backlog()
    }

    /// Ordered by kind and name.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = &LiveDestination> {
        self.destinations.iter().map(|(_, found)| found)
    }
}

/// The seeded fault that answers a record of that kind too early.
const fn early_answer_of(kind: RecordKind) -> Mutant {
    match kind {
        RecordKind::Ack | RecordKind::DeadLetter => Mutant::AckReceiptBeforeCommit,
        _ => Mutant::ReceiptBeforeCommit,
    }
}
