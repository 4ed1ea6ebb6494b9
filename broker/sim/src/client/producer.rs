//! A producer: sends numbered messages, alone or in transactions, and hears their receipts.
//!
//! Every message is either new, waiting to be sent again (its first frame was refused, or its
//! connection died unanswered), or done. Order on one connection is the order of the numbers,
//! except for refused ones.

use std::collections::VecDeque;
use std::time::Duration;

use tandemmq_model::{BodyKind, Command, Destination, Message, Outcome};

use super::{Link, Meaning, OUTSTANDING_MAX};
use crate::oracle::history::{History, Promise, TxId};
use crate::payload::{Attempt, SendId};

/// What to do about a message whose connection died before its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// Send it again: it may be enqueued twice, as two sends.
    SendAgain,
    /// Forget it: it is enqueued or not.
    GiveUp,
}

/// How a producer works.
#[derive(Debug, Clone)]
pub struct ProducerPlan {
    /// Where to.
    pub destination: Destination,
    /// JMSDeliveryMode.
    pub persistent: bool,
    /// How many in the whole run.
    pub messages: u32,
    /// Sends that may be unanswered.
    pub window: usize,
    /// Between two sends.
    pub pause: (Duration, Duration),
    /// Of a thousand sends so many open a transaction.
    pub tx_permille: u32,
    /// Messages of a transaction at most.
    pub tx_messages_max: u64,
    /// Of a thousand transactions so many are aborted.
    pub abort_permille: u32,
    /// Filler bytes of a body at most.
    pub filler_max: u64,
    /// Of a thousand messages so many expire soon.
    pub expire_permille: u32,
    /// About unanswered messages.
    pub after_loss: AfterLoss,
}

impl ProducerPlan {
    /// Durable messages one by one, as soon as there are any to send.
    pub(crate) const fn plain(destination: Destination) -> Self {
        Self {
            destination,
            persistent: true,
            messages: 0,
            window: 64,
            pause: (Duration::ZERO, Duration::from_millis(2)),
            tx_permille: 0,
            tx_messages_max: 1,
            abort_permille: 0,
            filler_max: 0,
            expire_permille: 0,
            after_loss: AfterLoss::SendAgain,
        }
    }
}

/// The state of one producer.
#[derive(Debug)]
pub(crate) struct Producer {
    plan: ProducerPlan,
    next_seq: u32,
    again: VecDeque<SendId>,
    index: u32,
    /// Members of the transaction whose COMMIT or ABORT is not answered.
    in_tx: Vec<SendId>,
    hurry: bool,
    filler: usize,
    wall_ms: u64,
}

// === impl Producer ===

impl Producer {
    /// A producer that has sent nothing.
    pub(crate) fn new(plan: ProducerPlan) -> Self {
        Self {
            plan,
            next_seq: 1,
            again: VecDeque::new(),
            index: 0,
            in_tx: Vec::new(),
            hurry: false,
            filler: 0,
            wall_ms: 0,
        }
    }

    /// True when nothing is left to be sent.
    pub(crate) fn is_done(&self) -> bool {
        self.again.is_empty() && self.next_seq > self.plan.messages && self.in_tx.is_empty()
    }

    /// So many more messages, their bodies so many bytes longer.
    pub(crate) fn offer(&mut self, messages: u32, bytes: usize) {
        self.plan.messages += messages;
        self.filler = bytes;
    }

    /// Messages that it was ever to send.
    pub(crate) const fn offered(&self) -> u32 {
        self.plan.messages
    }

    /// From now on all it sends is in transactions of up to so many messages.
    pub(crate) const fn send_in_transactions(&mut self, messages: u64) {
        self.plan.tx_permille = 1_000;
        self.plan.tx_messages_max = messages;
    }

    /// From now on it forgets what is unanswered when its connection dies.
    pub(crate) const fn give_up_the_lost(&mut self) {
        self.plan.after_loss = AfterLoss::GiveUp;
    }

    /// True when its receipts mean "on a quorum's disks".
    pub(crate) fn is_durable(&self) -> bool {
        self.plan.persistent && self.plan.destination.kind.is_queue()
    }

    /// The wall clock, for expirations.
    pub(crate) fn set_wall(&mut self, wall_ms: u64) {
        self.wall_ms = wall_ms;
    }

    pub(super) fn settle(&mut self) {
        self.hurry = true;
    }

    pub(super) fn connected(&mut self, link: &mut Link, history: &mut History) {
        self.index = 0;
        self.step(link, history);
    }

    pub(super) fn lost(&mut self, link: &mut Link) {
        let mut unknown: Vec<SendId> = std::mem::take(&mut self.in_tx);
        unknown.extend(
            link.outstanding
                .values()
                .filter_map(|meaning| match meaning {
                    Meaning::Send(attempt) => Some(attempt.id),
                    _ => None,
                }),
        );
        unknown.sort_unstable();
        unknown.dedup();
        if self.plan.after_loss == AfterLoss::SendAgain {
            for id in unknown.into_iter().rev() {
                self.again.push_front(id);
            }
        }
    }

    pub(super) fn step(&mut self, link: &mut Link, history: &mut History) {
        if self.in_tx.is_empty()
            && link.outstanding.len() < self.plan.window.min(OUTSTANDING_MAX)
            && !self.nothing_new()
        {
            if link.outstanding.is_empty() && link.rng.permille(self.plan.tx_permille) {
                self.transaction(link, history);
            } else if let Some(id) = self.next_id(link) {
                self.send(link, id, None, history);
            }
        }
        if !self.is_done() {
            let (least, most) = self.plan.pause;
            let pause = if self.hurry {
                Duration::from_millis(1)
            } else {
                most
            };
            let pause = link.rng.duration(least.min(pause), pause);
            link.wake(pause);
        }
    }

    pub(super) fn answered(
        &mut self,
        link: &mut Link,
        meaning: Meaning,
        outcome: &Outcome,
        history: &mut History,
    ) {
        match (meaning, outcome) {
            (Meaning::Send(attempt), Outcome::Done) => history.acknowledged(attempt.id),
            (Meaning::Send(attempt), Outcome::Refused(_)) => {
                self.again.push_back(attempt.id);
                link.wake_if_asleep();
            }
            (Meaning::SendInTx(attempt), Outcome::Refused(_)) => {
                // The transaction goes on without it; it is sent again later.
                self.in_tx.retain(|id| *id != attempt.id);
                self.again.push_back(attempt.id);
                link.wake_if_asleep();
            }
            (Meaning::Commit(_) | Meaning::Abort, Outcome::Done) => self.in_tx.clear(),
            (Meaning::Commit(_) | Meaning::Abort, Outcome::Refused(_)) => {
                // Refused: it had no effect, and the transaction stays open. Leaving ends it.
                link.close();
            }
            _ => {}
        }
    }

    fn nothing_new(&self) -> bool {
        self.again.is_empty() && self.next_seq > self.plan.messages
    }

    fn next_id(&mut self, link: &Link) -> Option<SendId> {
        if let Some(id) = self.again.pop_front() {
            return Some(id);
        }
        if self.next_seq > self.plan.messages {
            return None;
        }
        self.next_seq += 1;
        Some(link.send_id(self.next_seq - 1))
    }

    fn transaction(&mut self, link: &mut Link, history: &mut History) {
        let (tx, name) = link.next_tx();
        link.request(Meaning::Other, |request| {
            Command::Begin(name.clone(), request)
        });
        let wanted = link.rng.between(1, self.plan.tx_messages_max);
        for _ in 0..wanted {
            let Some(id) = self.next_id(link) else { break };
            self.in_tx.push(id);
            self.send(link, id, Some((tx, name.clone())), history);
        }
        if link.rng.permille(self.plan.abort_permille) {
            link.request(Meaning::Abort, |request| Command::Abort(name, request));
        } else {
            history.commit_sent(tx);
            link.request(Meaning::Commit(tx), |request| {
                Command::Commit(name, request)
            });
        }
    }

    fn send(
        &mut self,
        link: &mut Link,
        id: SendId,
        tx: Option<(TxId, tandemmq_model::TxName)>,
        history: &mut History,
    ) {
        self.index += 1;
        let number = tx.as_ref().map_or(0, |(tx, _)| tx.tx);
        let attempt = Attempt {
            id,
            conn: link.conn,
            index: self.index,
            tx: number,
        };
        history.sent(
            attempt,
            if self.is_durable() {
                Promise::Durable
            } else {
                Promise::BestEffort
            },
        );
        let message = self.message(link, attempt);
        let meaning = if tx.is_some() {
            Meaning::SendInTx(attempt)
        } else {
            Meaning::Send(attempt)
        };
        let name = tx.map(|(_, name)| name);
        link.request(meaning, |request| Command::Send {
            message,
            tx: name,
            request,
        });
    }

    fn message(&self, link: &mut Link, attempt: Attempt) -> Message {
        let filler = self.filler + link.rng.below(self.plan.filler_max + 1) as usize;
        let expires = link.rng.permille(self.plan.expire_permille);
        let expiration_ms = if expires {
            self.wall_ms + link.rng.between(1, 800)
        } else {
            0
        };
        Message {
            destination: self.plan.destination.clone(),
            persistent: self.plan.persistent,
            priority: 4,
            timestamp_ms: self.wall_ms,
            expiration_ms,
            correlation_id: None,
            reply_to: None,
            jms_type: None,
            body_kind: BodyKind::Bytes,
            properties: Vec::new(),
            body: attempt.body(filler),
        }
    }
}
