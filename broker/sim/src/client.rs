//! Clients: what a producer or consumer program does over its connections, without a protocol.
//!
//! A client knows every broker's address and dials one after the other until one lets it in, as
//! `failover:` does. When its connection dies, what was not answered is *unknown*; a producer sends
//! it again or gives it up, a consumer forgets what it held. Clients speak `Command`s straight to
//! the session of the simulated broker ([`crate::session`]).
//!
//! ```text
//!  Away --dial--> Dialling --let in--> Connected --lost, or had enough--> Away
//! ```
//!
//! Everything a client does and sees goes into the [`History`] at once.

pub(crate) mod consumer;
pub(crate) mod producer;

use std::collections::BTreeMap;
use std::time::Duration;

use tandemmq_model::{
    Command, ConnId, Delivery, Destination, Epoch, MessageId, Outcome, Request, Time, TxName,
};

use crate::oracle::history::{FirstDeliveries, History, TxId};
use crate::payload::{Attempt, SendId};
use crate::rng::Rng;
use consumer::Consumer;
use producer::Producer;

/// Answers a client waits for on one connection at most; it sends nothing new above.
pub(crate) const OUTSTANDING_MAX: usize = 256;

/// A refused message is sent again after so long.
const AGAIN: Duration = Duration::from_millis(20);

/// What a client wants the world to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send this on the connection.
    Command(Box<Command>),
    /// Close the connection without a word.
    Close,
    /// Call `tick` after a while.
    Wake(Duration),
}

/// What stands behind a request that is not answered yet.
#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    /// A SEND outside transactions.
    Send(Attempt),
    /// A SEND inside one.
    SendInTx(Attempt),
    /// A COMMIT of these sends and acks.
    Commit(TxId),
    /// An ABORT.
    Abort,
    /// An ack outside transactions, of all these.
    Ack(Vec<(Destination, MessageId)>),
    /// Whatever needs no judgement: SUBSCRIBE, BEGIN, an ack inside a transaction.
    Other,
}

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Without a connection.
    Away,
    /// A dial is on its way.
    Dialling,
    /// Let in.
    Connected(ConnId),
}

/// What kind of program it is.
#[derive(Debug)]
pub(crate) enum Program {
    /// Sends.
    Producer(Producer),
    /// Receives.
    Consumer(Consumer),
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where it stands.
    pub place: Place,
    /// What it runs.
    pub program: Program,
    link: Link,
    /// When it last heard an answer.
    heard: Time,
}

/// What both kinds of program need of their connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// The client's number.
    pub client: u32,
    /// Connections so far: the number of this one.
    pub conn: u32,
    /// Requests without an answer.
    pub outstanding: BTreeMap<u64, Meaning>,
    /// Random numbers of this client.
    pub rng: Rng,
    /// The broker to dial next.
    pub next_node: usize,
    requests: u64,
    transactions: u32,
    actions: Vec<Action>,
    /// Times that it asked to be woken on this connection and was not yet.
    wakes: u32,
}

// === impl Client ===

impl Client {
    /// A client that has not dialled yet.
    pub(crate) fn new(number: u32, program: Program, rng: Rng) -> Self {
        let link = Link {
            client: number,
            conn: 0,
            outstanding: BTreeMap::new(),
            rng,
            next_node: 0,
            requests: 0,
            transactions: 0,
            actions: Vec::new(),
            wakes: 0,
        };
        Self {
            place: Place::Away,
            program,
            link,
            heard: Time::ZERO,
        }
    }

    /// The broker it dials next, of so many; the one after it comes next time.
    pub(crate) fn choose_node(&mut self, nodes: usize) -> usize {
        self.link.next_node = (self.link.next_node + 1) % nodes;
        self.link.next_node
    }

    /// Its connection's number, counted from 1.
    pub(crate) fn conn_number(&self) -> u32 {
        self.link.conn
    }

    /// Random numbers of this client.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.link.rng
    }

    /// What a request of the present connection means.
    pub(crate) fn meaning(&self, request: u64) -> Option<&Meaning> {
        self.link.outstanding.get(&request)
    }

    /// True when it goes on by itself: somebody who gives it work need not wake it.
    pub(crate) const fn is_awake(&self) -> bool {
        self.link.wakes > 0
    }

    /// The oldest request of the present connection without an answer.
    pub(crate) fn oldest_unanswered(&self) -> Option<(u32, u64)> {
        let oldest = self.link.outstanding.keys().next();
        oldest.map(|request| (self.link.conn, *request))
    }

    /// True when it waits for an answer and has heard none for so long.
    pub(crate) fn has_waited_since(&self, now: Time, patience: Duration) -> bool {
        !self.link.outstanding.is_empty() && now.since(self.heard) >= patience
    }

    /// A broker let it in.
    pub(crate) fn connected(&mut self, now: Time, conn: ConnId, history: &mut History) {
        self.heard = now;
        self.place = Place::Connected(conn);
        self.link.conn += 1;
        self.link.requests = 0;
        self.link.transactions = 0;
        self.link.wakes = 0;
        self.link.outstanding.clear();
        match &mut self.program {
            Program::Producer(producer) => producer.connected(&mut self.link, history),
            Program::Consumer(consumer) => consumer.connected(&mut self.link),
        }
    }

    /// The connection is gone; whatever was not answered is unknown.
    pub(crate) fn lost(&mut self) {
        self.place = Place::Away;
        self.link.actions.clear();
        match &mut self.program {
            Program::Producer(producer) => producer.lost(&mut self.link),
            Program::Consumer(consumer) => consumer.lost(),
        }
        self.link.outstanding.clear();
    }

    /// Time for its next step.
    pub(crate) fn tick(&mut self, history: &mut History) {
        self.link.wakes = self.link.wakes.saturating_sub(1);
        match &mut self.program {
            Program::Producer(producer) => producer.step(&mut self.link, history),
            Program::Consumer(consumer) => consumer.step(&mut self.link, history),
        }
    }

    /// A master gives this answer now; the client will hear of it, or not.
    pub(crate) fn answered_by_master(
        &self,
        request: u64,
        outcome: &Outcome,
        epoch: Epoch,
        history: &mut History,
    ) {
        if *outcome != Outcome::Done {
            if let Some(Meaning::Send(attempt) | Meaning::SendInTx(attempt)) = self.meaning(request)
            {
                history.refused(*attempt);
            }
            return;
        }
        if let Some(Meaning::Ack(messages)) = self.meaning(request) {
            for (destination, message_id) in messages.clone() {
                history.ack_confirmed(destination, message_id, epoch);
            }
        }
    }

    /// An answer arrived, given by the master of that epoch.
    pub(crate) fn answered(
        &mut self,
        now: Time,
        request: u64,
        outcome: &Outcome,
        epoch: Epoch,
        history: &mut History,
    ) {
        self.heard = now;
        let Some(meaning) = self.link.outstanding.remove(&request) else {
            return;
        };
        if let (Meaning::Commit(tx), Outcome::Done) = (&meaning, outcome) {
            history.committed(*tx, epoch);
        }
        match &mut self.program {
            Program::Producer(producer) => {
                producer.answered(&mut self.link, meaning, outcome, history);
            }
            Program::Consumer(consumer) => consumer.answered(&mut self.link, meaning, outcome),
        }
    }

    /// A delivery arrived.
    pub(crate) fn delivered(
        &mut self,
        delivery: &Delivery,
        order: FirstDeliveries,
        history: &mut History,
    ) {
        if let Program::Consumer(consumer) = &mut self.program {
            consumer.delivered(&mut self.link, delivery, order, history);
        }
    }

    /// The next thing it wants done.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        (!self.link.actions.is_empty()).then(|| self.link.actions.remove(0))
    }

    /// Faults are over: from now on it does only what ends.
    pub(crate) fn settle(&mut self) {
        match &mut self.program {
            Program::Producer(producer) => producer.settle(),
            Program::Consumer(consumer) => consumer.settle(),
        }
    }

    /// True when it has nothing left to send or to hear.
    pub(crate) fn is_done(&self) -> bool {
        match &self.program {
            Program::Producer(producer) => producer.is_done() && self.link.outstanding.is_empty(),
            Program::Consumer(consumer) => consumer.is_idle(),
        }
    }
}

// === impl Link ===

impl Link {
    /// Asks for something, with a receipt.
    pub(crate) fn request(&mut self, meaning: Meaning, command: impl FnOnce(Request) -> Command) {
        self.requests += 1;
        self.outstanding.insert(self.requests, meaning);
        let request = Request {
            id: self.requests,
            wants_receipt: true,
        };
        self.actions
            .push(Action::Command(Box::new(command(request))));
    }

    /// Asks for something without a receipt; only a refusal is answered.
    pub(crate) fn tell(&mut self, command: impl FnOnce(Request) -> Command) {
        self.requests += 1;
        let request = Request {
            id: self.requests,
            wants_receipt: false,
        };
        self.actions
            .push(Action::Command(Box::new(command(request))));
    }

    /// Wakes the program after a while.
    pub(crate) fn wake(&mut self, after: Duration) {
        self.wakes += 1;
        self.actions.push(Action::Wake(after));
    }

    /// Wakes the program soon, unless it goes on by itself.
    pub(crate) fn wake_if_asleep(&mut self) {
        if self.wakes == 0 {
            self.wake(AGAIN);
        }
    }

    /// Leaves.
    pub(crate) fn close(&mut self) {
        self.actions.push(Action::Close);
    }

    /// A transaction of this connection with a name of its own.
    pub(crate) fn next_tx(&mut self) -> (TxId, TxName) {
        self.transactions += 1;
        let tx = TxId {
            client: self.client,
            conn: self.conn,
            tx: self.transactions,
        };
        (tx, TxName::from(format!("tx{}", self.transactions)))
    }

    /// The id of this client's message with that number.
    pub(crate) fn send_id(&self, seq: u32) -> SendId {
        SendId {
            producer: self.client,
            seq,
        }
    }
}
