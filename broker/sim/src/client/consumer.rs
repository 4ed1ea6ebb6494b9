//! A consumer: subscribes, works on one message after the other, acknowledges in its own way.
//!
//! What it holds (received, not acknowledged) is forgotten when its connection dies: the broker
//! must deliver it again. A message is worked on after a think time; then it is acknowledged
//! (alone, or all up to it), refused as poison, or acknowledged inside a transaction that commits
//! or aborts. After an abort the messages stay with it, not acknowledged, as ActiveMQ does.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tandemmq_model::{
    AckKind, AckMode, AckRef, Command, Delivery, DeliveryId, Destination, MessageId, Outcome,
    Subscribe, SubscriptionId, TxName,
};

use super::{Link, Meaning};
use crate::oracle::history::{FirstDeliveries, History, Reception, SubscriptionKey, TxId};
use crate::oracle::{Invariant, Violation};
use crate::payload::Attempt;

const MAIN: SubscriptionId = SubscriptionId(1);

/// How a consumer works.
#[derive(Debug, Clone)]
pub struct ConsumerPlan {
    /// From where.
    pub destination: Destination,
    /// How it acknowledges.
    pub mode: AckMode,
    /// Deliveries that may be out.
    pub prefetch: u32,
    /// Work on one message.
    pub think: (Duration, Duration),
    /// Acks of a thousand that open a transaction.
    pub tx_permille: u32,
    /// Of a thousand transactions so many are aborted.
    pub abort_permille: u32,
    /// Messages of a thousand that are refused as poison.
    pub poison_permille: u32,
    /// After so many of a thousand messages it leaves without a word.
    pub leave_permille: u32,
    /// After so many of a thousand messages it looks into the queue.
    pub browse_permille: u32,
    /// Messages of one ack on a `Client` subscription at most.
    pub cumulative_max: usize,
}

impl ConsumerPlan {
    /// Takes and acknowledges one message after the other, at once.
    pub(crate) const fn plain(destination: Destination) -> Self {
        Self {
            destination,
            mode: AckMode::Individual,
            prefetch: 10,
            think: (Duration::ZERO, Duration::ZERO),
            tx_permille: 0,
            abort_permille: 0,
            poison_permille: 0,
            leave_permille: 0,
            browse_permille: 0,
            cumulative_max: 1,
        }
    }
}

#[derive(Debug, Clone)]
struct Held {
    id: DeliveryId,
    message_id: MessageId,
    destination: Destination,
}

#[derive(Debug)]
struct OpenTx {
    tx: TxId,
    name: TxName,
    held: Vec<Held>,
    left: u64,
}

/// The state of one consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    plan: ConsumerPlan,
    todo: VecDeque<Held>,
    done: VecDeque<Held>,
    open: Option<OpenTx>,
    /// Acknowledged in a transaction that is not answered.
    ending: Vec<Held>,
    out: BTreeSet<DeliveryId>,
    browsers: u32,
    waking: bool,
    settled: bool,
    violation: Option<Violation>,
}

// === impl Consumer ===

impl Consumer {
    /// A consumer that has not subscribed.
    pub(crate) fn new(plan: ConsumerPlan) -> Self {
        Self {
            plan,
            todo: VecDeque::new(),
            done: VecDeque::new(),
            open: None,
            ending: Vec::new(),
            out: BTreeSet::new(),
            browsers: 0,
            waking: false,
            settled: false,
            violation: None,
        }
    }

    /// True when it holds nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.todo.is_empty() && self.done.is_empty() && self.open.is_none()
    }

    /// What it saw that must not be.
    pub(crate) fn violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    pub(super) fn connected(&mut self, link: &mut Link) {
        let subscribe = Subscribe {
            subscription: MAIN,
            destination: self.plan.destination.clone(),
            ack_mode: self.plan.mode,
            prefetch: self.plan.prefetch,
            browser: false,
        };
        link.request(Meaning::Other, |request| {
            Command::Subscribe(subscribe, request)
        });
    }

    pub(super) fn lost(&mut self) {
        self.todo.clear();
        self.done.clear();
        self.open = None;
        self.ending.clear();
        self.out.clear();
        self.browsers = 0;
        self.waking = false;
    }

    pub(super) fn delivered(
        &mut self,
        link: &mut Link,
        delivery: &Delivery,
        order: FirstDeliveries,
        history: &mut History,
    ) {
        let Delivery::Message {
            subscription,
            id,
            message_id,
            destination,
            message,
            redelivered,
            ..
        } = delivery
        else {
            return;
        };
        let Some(attempt) = Attempt::find(&message.body) else {
            let text = format!("{message_id} of {destination} has a body nobody sent");
            self.violation = Some(Violation::new(Invariant::NeverSent, text));
            return;
        };
        if *subscription != MAIN || !destination.kind.is_queue() {
            history.copied(attempt);
            return;
        }
        let reception = Reception {
            key: SubscriptionKey {
                client: link.client,
                conn: link.conn,
                subscription: 1,
            },
            destination: destination.clone(),
            message_id: *message_id,
            attempt,
            redelivered: *redelivered,
            order,
        };
        history.received(&reception);
        if self.plan.mode != AckMode::Auto {
            self.hold(link, *id, *message_id, destination.clone());
        }
    }

    pub(super) fn step(&mut self, link: &mut Link, history: &mut History) {
        self.waking = false;
        let Some(held) = self.todo.pop_front() else {
            return;
        };
        if !self.settled && link.rng.permille(self.plan.leave_permille) {
            link.close();
            return;
        }
        if !self.settled && link.rng.permille(self.plan.browse_permille) {
            self.browse(link);
        }
        self.work(link, held, history);
        self.think(link);
    }

    pub(super) fn answered(&mut self, link: &mut Link, meaning: Meaning, outcome: &Outcome) {
        match (meaning, outcome) {
            (Meaning::Commit(_), Outcome::Done) => self.ending.clear(),
            (Meaning::Abort, Outcome::Done) => {
                // They are still ours, not acknowledged: work on them again.
                for held in std::mem::take(&mut self.ending) {
                    self.out.insert(held.id);
                    self.todo.push_back(held);
                }
                self.think(link);
            }
            // An operation that was refused had no effect; a new connection starts clean.
            (_, Outcome::Refused(_)) => link.close(),
            _ => {}
        }
    }

    fn hold(&mut self, link: &mut Link, id: DeliveryId, at: MessageId, from: Destination) {
        self.out.insert(id);
        // Inside a transaction an ack makes room for more; outside the prefetch is a bound.
        let in_tx = self.open.as_ref().map_or(0, |tx| tx.held.len()) + self.ending.len();
        if self.out.len() > self.plan.prefetch as usize + in_tx {
            let text = format!(
                "client {} holds {} deliveries, prefetch {}",
                link.client,
                self.out.len(),
                self.plan.prefetch
            );
            self.violation = Some(Violation::new(Invariant::Prefetch, text));
        }
        self.todo.push_back(Held {
            id,
            message_id: at,
            destination: from,
        });
        self.think(link);
    }

    fn think(&mut self, link: &mut Link) {
        if !self.waking && !self.todo.is_empty() {
            self.waking = true;
            let (least, most) = self.plan.think;
            let think = link.rng.duration(least, most);
            link.wake(think);
        }
    }

    fn work(&mut self, link: &mut Link, held: Held, history: &mut History) {
        if self.open.is_some() {
            self.ack_in_tx(link, held, history);
        } else if !self.settled && link.rng.permille(self.plan.poison_permille) {
            self.poison(link, held, history);
        } else if !self.settled
            && self.plan.mode == AckMode::Individual
            && self.ending.is_empty()
            && link.rng.permille(self.plan.tx_permille)
        {
            let (tx, name) = link.next_tx();
            let named = name.clone();
            link.request(Meaning::Other, |request| Command::Begin(named, request));
            let left = link.rng.between(1, u64::from(self.plan.prefetch.min(4)));
            self.open = Some(OpenTx {
                tx,
                name,
                held: Vec::new(),
                left,
            });
            self.ack_in_tx(link, held, history);
        } else {
            self.ack(link, held, history);
        }
    }

    fn ack(&mut self, link: &mut Link, held: Held, history: &mut History) {
        self.done.push_back(held);
        let wait_for_more = self.plan.mode == AckMode::Client
            && self.done.len() < self.plan.cumulative_max.min(self.plan.prefetch as usize)
            && !self.todo.is_empty();
        if !wait_for_more {
            self.ack_done(link, history);
        }
    }

    fn ack_done(&mut self, link: &mut Link, history: &mut History) {
        let covered: Vec<Held> = self.done.drain(..).collect();
        let Some(last) = covered.last().map(|held| held.id) else {
            return;
        };
        for held in &covered {
            self.out.remove(&held.id);
            history.ack_sent(&held.destination, held.message_id, None, false);
        }
        let messages = covered
            .into_iter()
            .map(|held| (held.destination, held.message_id))
            .collect();
        send_ack(link, Meaning::Ack(messages), last, AckKind::Consumed, None);
    }

    fn poison(&mut self, link: &mut Link, held: Held, history: &mut History) {
        self.out.remove(&held.id);
        history.ack_sent(&held.destination, held.message_id, None, true);
        let messages = vec![(held.destination, held.message_id)];
        send_ack(link, Meaning::Ack(messages), held.id, AckKind::Poison, None);
        if self.todo.is_empty() {
            self.ack_done(link, history); // What waited for more gets no more.
        }
    }

    fn ack_in_tx(&mut self, link: &mut Link, held: Held, history: &mut History) {
        let open = self.open.as_mut().expect("the caller looked");
        history.ack_sent(&held.destination, held.message_id, Some(open.tx), false);
        self.out.remove(&held.id);
        send_ack(
            link,
            Meaning::Other,
            held.id,
            AckKind::Consumed,
            Some(open.name.clone()),
        );
        open.held.push(held);
        open.left -= 1;
        if open.left == 0 || self.todo.is_empty() {
            self.end_tx(link, history);
        }
    }

    fn end_tx(&mut self, link: &mut Link, history: &mut History) {
        let Some(OpenTx { tx, name, held, .. }) = self.open.take() else {
            return;
        };
        self.ending = held;
        if !self.settled && link.rng.permille(self.plan.abort_permille) {
            link.request(Meaning::Abort, |request| Command::Abort(name, request));
        } else {
            history.commit_sent(tx);
            link.request(Meaning::Commit(tx), |request| {
                Command::Commit(name, request)
            });
        }
    }

    fn browse(&mut self, link: &mut Link) {
        self.browsers += 1;
        let subscribe = Subscribe {
            subscription: SubscriptionId(1 + self.browsers),
            destination: self.plan.destination.clone(),
            ack_mode: AckMode::Auto,
            prefetch: 5,
            browser: true,
        };
        link.request(Meaning::Other, |request| {
            Command::Subscribe(subscribe, request)
        });
    }
}

fn send_ack(link: &mut Link, meaning: Meaning, id: DeliveryId, kind: AckKind, tx: Option<TxName>) {
    let which = AckRef::Delivery(MAIN, id);
    let wants_receipt = matches!(meaning, Meaning::Ack(_)) && link.rng.coin();
    if wants_receipt || tx.is_some() {
        link.request(meaning, |request| Command::Ack {
            which,
            kind,
            tx,
            request,
        });
    } else {
        link.tell(|request| Command::Ack {
            which,
            kind,
            tx,
            request,
        });
    }
}
