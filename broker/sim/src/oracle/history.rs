//! What clients did and saw, and whether it fits what they may rely on (design §8).
//!
//! - acknowledged ⊆ consumed, once the queues are drained;
//! - whatever is received was sent, and one SEND frame is enqueued at most once;
//! - of all receptions of one enqueued message at most one carries no redelivered flag;
//! - first deliveries to one subscription are in the order of their producer's connection;
//! - what was consumed, and confirmed as consumed, is not dispatched again by that master or a
//!   later one (an earlier one may, inside its last 800 ms: its acks never commit);
//! - a transaction is visible whole or not at all.
//!
//! A browser's copies and topic messages have weaker rules: they were sent, nothing more.

use std::collections::{BTreeMap, BTreeSet};

use tandemmq_model::{AckMode, Destination, Epoch, MessageId};

use super::{Invariant, Violation};
use crate::payload::{Attempt, SendId};

/// One transaction of one connection of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId {
    /// Whose.
    pub client: u32,
    /// On which of its connections.
    pub conn: u32,
    /// Which there.
    pub tx: u32,
}

/// One subscription of one connection of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey {
    /// Whose.
    pub client: u32,
    /// On which of its connections.
    pub conn: u32,
    /// Which there.
    pub subscription: u32,
}

/// What kind of guarantee a sent message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Persistent, to a queue: a receipt means it is on a quorum's disks.
    Durable,
    /// Everything else: may be lost with its master.
    BestEffort,
}

/// One message as a client got it.
#[derive(Debug, Clone)]
pub struct Reception {
    /// By which subscription.
    pub key: SubscriptionKey,
    /// From where.
    pub destination: Destination,
    /// Its stable name.
    pub message_id: MessageId,
    /// What its body says.
    pub attempt: Attempt,
    /// JMSRedelivered.
    pub redelivered: bool,
    /// Whether its subscription keeps the order of producers.
    pub order: FirstDeliveries,
}

/// Whether first deliveries to a subscription keep the order of their producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstDeliveries {
    /// It was alone at its queue all the time.
    Ordered,
    /// Others took from the queue too: what they gave back comes late.
    Competing,
}

#[derive(Debug)]
struct Sent {
    promise: Promise,
    written: u32,
    acknowledged: bool,
    consumed: bool,
}

#[derive(Debug, Default)]
struct Tx {
    sends: BTreeSet<SendId>,
    acks: Vec<(Destination, MessageId)>,
    commit_sent: bool,
    committed: bool,
}

/// Totals of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// SEND frames written.
    pub written: u64,
    /// Durable messages acknowledged, in or out of transactions.
    pub acknowledged: u64,
    /// Messages received.
    pub received: u64,
    /// Of those with the redelivered flag.
    pub redelivered: u64,
    /// Transactions confirmed.
    pub committed: u64,
    /// Acks confirmed.
    pub acks_confirmed: u64,
}

/// The record of one run.
#[derive(Debug, Default)]
pub struct History {
    sent: BTreeMap<SendId, Sent>,
    attempts: BTreeSet<Attempt>,
    /// Of an attempt: the message it became.
    enqueued: BTreeMap<Attempt, MessageId>,
    names: BTreeMap<MessageId, Attempt>,
    /// Receptions without a flag.
    unflagged: BTreeSet<(Destination, MessageId)>,
    /// Last index of a first delivery per subscription and producer's connection.
    order: BTreeMap<(SubscriptionKey, u32, u32), u32>,
    confirmed: BTreeMap<(Destination, MessageId), Epoch>,
    transactions: BTreeMap<TxId, Tx>,
    visible: BTreeSet<Attempt>,
    totals: Totals,
    violations: Vec<Violation>,
}

// === impl History ===

impl History {
    /// A client wrote a SEND frame.
    pub fn sent(&mut self, attempt: Attempt, promise: Promise) {
        let sent = self.sent.entry(attempt.id).or_insert(Sent {
            promise,
            written: 0,
            acknowledged: false,
            consumed: false,
        });
        sent.written += 1;
        self.totals.written += 1;
        self.attempts.insert(attempt);
        if attempt.tx != 0 {
            self.transactions
                .entry(tx_of(&attempt))
                .or_default()
                .sends
                .insert(attempt.id);
        }
    }

    /// The receipt of a SEND outside a transaction.
    pub fn acknowledged(&mut self, id: SendId) {
        let Some(sent) = self.sent.get_mut(&id) else {
            self.violate(
                Invariant::NeverSent,
                format!("a receipt for {id:?}, never sent"),
            );
            return;
        };
        if sent.promise == Promise::Durable && !sent.acknowledged {
            sent.acknowledged = true;
            self.totals.acknowledged += 1;
        }
    }

    /// A client wrote COMMIT.
    pub fn commit_sent(&mut self, tx: TxId) {
        let entry = self.transactions.entry(tx).or_default();
        entry.commit_sent = true;
        for (_, message_id) in entry.acks.clone() {
            self.consume(message_id);
        }
    }

    /// The receipt of a COMMIT, given by the master of that epoch.
    pub fn committed(&mut self, tx: TxId, epoch: Epoch) {
        self.totals.committed += 1;
        let entry = self.transactions.entry(tx).or_default();
        entry.committed = true;
        let sends: Vec<SendId> = entry.sends.iter().copied().collect();
        let acks = entry.acks.clone();
        for id in sends {
            self.acknowledged(id);
        }
        for (destination, message_id) in acks {
            self.confirm(destination, message_id, epoch);
        }
    }

    /// A client wrote an ack (consumed or poison) for a message.
    pub fn ack_sent(
        &mut self,
        destination: &Destination,
        message_id: MessageId,
        tx: Option<TxId>,
        poison: bool,
    ) {
        if let Some(tx) = tx {
            let entry = self.transactions.entry(tx).or_default();
            entry.acks.push((destination.clone(), message_id));
        } else if !poison {
            self.consume(message_id);
        }
    }

    /// The receipt of an ack outside a transaction, given by the master of that epoch.
    pub fn ack_confirmed(&mut self, destination: Destination, message_id: MessageId, epoch: Epoch) {
        self.totals.acks_confirmed += 1;
        self.confirm(destination, message_id, epoch);
    }

    /// A delivery's last byte was handed to a socket; that consumes it on an auto subscription.
    pub fn written(&mut self, mode: AckMode, message_id: MessageId, attempt: Attempt) {
        self.names.entry(message_id).or_insert(attempt);
        self.visible.insert(attempt);
        if mode == AckMode::Auto {
            self.consume(message_id);
        }
    }

    /// A master hands a message to a consumer.
    pub fn dispatched(&mut self, epoch: Epoch, destination: &Destination, message_id: MessageId) {
        let key = (destination.clone(), message_id);
        let Some(confirmed) = self.confirmed.get(&key) else {
            return;
        };
        if *confirmed <= epoch {
            let text = format!(
                "{message_id} of {destination} was confirmed consumed in epoch {confirmed} and is \
                 dispatched again in epoch {epoch}"
            );
            self.violate(Invariant::CameBack, text);
        }
    }

    /// A browser or topic subscriber got a copy.
    pub fn copied(&mut self, attempt: Attempt) {
        self.totals.received += 1;
        self.check_sent(attempt);
    }

    /// A consumer of a queue got a message.
    pub fn received(&mut self, reception: &Reception) {
        self.totals.received += 1;
        self.totals.redelivered += u64::from(reception.redelivered);
        self.check_sent(reception.attempt);
        self.check_enqueued_once(reception.attempt, reception.message_id);
        self.check_visible(reception.attempt);
        if !reception.redelivered {
            self.check_first(reception);
        }
    }

    /// The queues are empty and nobody holds anything: what was acknowledged was consumed.
    pub fn finish(&mut self) {
        let lost: Vec<SendId> = self
            .sent
            .iter()
            .filter(|(_, sent)| sent.acknowledged && !sent.consumed)
            .map(|(id, _)| *id)
            .collect();
        if let Some(first) = lost.first() {
            let text = format!(
                "{} acknowledged messages were consumed by nobody, the first is {first:?}",
                lost.len()
            );
            self.violate(Invariant::AckedLost, text);
        }
        self.check_transactions_whole();
    }

    /// The broker refused that frame: it had no effect, and its transaction goes on without it.
    pub fn refused(&mut self, attempt: Attempt) {
        self.attempts.remove(&attempt);
        if let Some(entry) = self.transactions.get_mut(&tx_of(&attempt)) {
            entry.sends.remove(&attempt.id);
        }
    }

    /// Frames sent in this transaction.
    pub fn attempts_of(&self, tx: TxId) -> Vec<Attempt> {
        let sends = self.transactions.get(&tx).map(|entry| &entry.sends);
        let of_tx = |id: &SendId| {
            let least = Attempt {
                id: *id,
                conn: 0,
                index: 0,
                tx: 0,
            };
            let mut of_id = self
                .attempts
                .range(least..)
                .take_while(|attempt| attempt.id == *id);
            of_id.find(|attempt| tx_of(attempt) == tx).copied()
        };
        sends.into_iter().flatten().filter_map(of_tx).collect()
    }

    /// What was counted.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Durable messages written that have no receipt yet.
    pub fn unacknowledged(&self) -> usize {
        self.sent
            .values()
            .filter(|s| s.promise == Promise::Durable && !s.acknowledged)
            .count()
    }

    /// The first violation.
    pub fn violation(&mut self) -> Option<Violation> {
        (!self.violations.is_empty()).then(|| self.violations.remove(0))
    }

    fn violate(&mut self, invariant: Invariant, text: String) {
        self.violations.push(Violation::new(invariant, text));
    }

    fn consume(&mut self, message_id: MessageId) {
        let Some(attempt) = self.names.get(&message_id) else {
            return;
        };
        if let Some(sent) = self.sent.get_mut(&attempt.id) {
            sent.consumed = true;
        }
    }

    fn confirm(&mut self, destination: Destination, message_id: MessageId, epoch: Epoch) {
        self.consume(message_id);
        let confirmed = self
            .confirmed
            .entry((destination, message_id))
            .or_insert(epoch);
        *confirmed = epoch.min(*confirmed);
    }

    fn check_sent(&mut self, attempt: Attempt) {
        if !self.attempts.contains(&attempt) {
            self.violate(
                Invariant::NeverSent,
                format!("{attempt:?} was received, never sent"),
            );
        }
    }

    fn check_enqueued_once(&mut self, attempt: Attempt, message_id: MessageId) {
        self.names.entry(message_id).or_insert(attempt);
        let first = *self.enqueued.entry(attempt).or_insert(message_id);
        if first != message_id {
            let text = format!("{attempt:?} was enqueued as {first} and as {message_id}");
            self.violate(Invariant::EnqueuedTwice, text);
        }
    }

    fn check_visible(&mut self, attempt: Attempt) {
        self.visible.insert(attempt);
        if attempt.tx == 0 {
            return;
        }
        let tx = tx_of(&attempt);
        if !self.transactions.get(&tx).is_some_and(|tx| tx.commit_sent) {
            let text = format!("{attempt:?} was received, {tx:?} never committed");
            self.violate(Invariant::I17TxAtomic, text);
        }
    }

    fn check_first(&mut self, reception: &Reception) {
        let place = (reception.destination.clone(), reception.message_id);
        if !self.unflagged.insert(place) {
            let text = format!(
                "{} of {} was received twice without the redelivered flag",
                reception.message_id, reception.destination
            );
            self.violate(Invariant::NotFlagged, text);
        }
        // A transaction becomes visible at its commit: it has no order with what is sent beside it.
        if reception.attempt.tx != 0
            || reception.order == FirstDeliveries::Competing
            || reception.destination.name == "ActiveMQ.DLQ"
        {
            return;
        }
        let Attempt {
            id, conn, index, ..
        } = reception.attempt;
        let last = self
            .order
            .entry((reception.key, id.producer, conn))
            .or_insert(0);
        if *last >= index {
            let text = format!(
                "{:?} got frame {index} of producer {} connection {conn} after its frame {last}",
                reception.key, id.producer
            );
            self.violate(Invariant::OutOfOrder, text);
            return;
        }
        *last = index;
    }

    /// Whatever of a durable transaction was consumed tells that all of it is visible; messages
    /// of best effort may have been lost with a master and say nothing.
    fn check_transactions_whole(&mut self) {
        let mut broken = Vec::new();
        for (tx, entry) in &self.transactions {
            let durable: Vec<SendId> = entry
                .sends
                .iter()
                .copied()
                .filter(|id| self.sent[id].promise == Promise::Durable)
                .collect();
            let visible = durable
                .iter()
                .filter(|id| self.is_visible(**id, *tx))
                .count();
            if visible != 0 && visible != durable.len() {
                broken.push(format!(
                    "{tx:?}: {visible} of {} messages are visible",
                    durable.len()
                ));
            }
        }
        for text in broken {
            self.violate(Invariant::I17TxAtomic, text);
        }
    }

    fn is_visible(&self, id: SendId, tx: TxId) -> bool {
        let least = Attempt {
            id,
            conn: 0,
            index: 0,
            tx: 0,
        };
        let mut of_id = self
            .visible
            .range(least..)
            .take_while(|attempt| attempt.id == id);
        of_id.any(|attempt| tx_of(attempt) == tx)
    }
}

fn tx_of(attempt: &Attempt) -> TxId {
    TxId {
        client: attempt.id.producer,
        conn: attempt.conn,
        tx: attempt.tx,
    }
}

#[cfg(test)]
mod tests;
