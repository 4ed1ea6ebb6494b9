//! Local transactions.
//!
//! Sends and acknowledgements of persistent messages are journaled as they come, with the
//! transaction's key, and take effect with its TxCommit record. What has no record (non-persistent
//! sends, their acknowledgements) waits here and takes effect in the same step; a transaction
//! without any record commits at once.
//!
//! A delivery acknowledged in a transaction stays listed with its subscription, without taking
//! credit (ActiveMQ extends the prefetch so that a transaction may consume more than that), and
//! is out again after an abort. When its subscription goes first, it belongs to the transaction.

use std::sync::Arc;

use tandemmq_model::limits::{TRANSACTION_BYTES_MAX, TRANSACTION_MESSAGES_MAX, TRANSACTIONS_MAX};
use tandemmq_model::{AckKind, ConnId, Offset, RecordKind, Refusal, TxName};

use super::destination::{DestKey, Place};
use super::pending::{AnswerTo, Then};
use super::subscribe::Seen;
use super::subscription::{Held, SubKey};
use super::topics::TopicMessage;
use super::transient::Transient;
use super::{Answered, Context, Live};
use crate::records::{self, RANGES_MAX, Reason, TxKey};
use crate::refusals;
use crate::state::Moved;
use crate::state::queue::QueueId;

/// Bytes that an acknowledgement counts for in its transaction's size.
const ACK_BYTES: usize = 64;

#[derive(Debug)]
pub(crate) struct Transaction {
    key: TxKey,
    /// Some of it is in the log.
    is_journaled: bool,
    operations: usize,
    bytes: usize,
    sends: Vec<HeldSend>,
    acks: Vec<TxAck>,
}

/// A send without a record; its memory is taken.
#[derive(Debug)]
pub(crate) enum HeldSend {
    Queue {
        destination: DestKey,
        place: Place,
        transient: Transient,
    },
    Topic {
        destination: DestKey,
        message: Arc<TopicMessage>,
    },
}

#[derive(Debug)]
struct TxAck {
    subscription: SubKey,
    destination: DestKey,
    delivery: u64,
    /// None for a topic's message.
    place: Option<Place>,
}

impl Live {
    pub(super) fn begin(&mut self, conn: ConnId, name: TxName) -> Result<Answered, Refusal> {
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        if connection.transactions.contains_key(&name) {
            return Err(refusals::transaction_exists(&name));
        }
        if connection.transactions.len() >= TRANSACTIONS_MAX {
            return Err(refusals::too_many_transactions());
        }
        self.last_tx += 1;
        let transaction = Transaction {
            key: TxKey(self.last_tx),
            is_journaled: false,
            operations: 0,
            bytes: 0,
            sends: Vec::new(),
            acks: Vec::new(),
        };
        connection.transactions.insert(name, transaction);
        Ok(Answered::Now)
    }

    // === operations ===

    pub(super) fn check_transaction(&self, conn: ConnId, name: &TxName) -> Result<(), Refusal> {
        match self.connections[&conn].transactions.contains_key(name) {
            true => Ok(()),
            false => Err(refusals::unknown_transaction(name)),
        }
    }

    pub(super) fn transaction_key(&self, conn: ConnId, name: &TxName) -> TxKey {
        self.connections[&conn].transactions[name].key
    }

    fn transaction(&mut self, conn: ConnId, name: &TxName) -> &mut Transaction {
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        connection
            .transactions
            .get_mut(name)
            .expect("it was checked before")
    }

    /// One more operation of so many bytes, if the limits of the connection allow it.
    pub(super) fn count_operation(
        &mut self,
        conn: ConnId,
        name: &TxName,
        bytes: usize,
    ) -> Result<(), Refusal> {
        self.count_operations(conn, name, 1, bytes)
    }

    fn count_operations(
        &mut self,
        conn: ConnId,
        name: &TxName,
        operations: usize,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        if connection.tx_operations + operations > TRANSACTION_MESSAGES_MAX
            || connection.tx_bytes + bytes > TRANSACTION_BYTES_MAX
        {
            return Err(refusals::transaction_too_large());
        }
        connection.tx_operations += operations;
        connection.tx_bytes += bytes;
        let transaction = self.transaction(conn, name);
        transaction.operations += operations;
        transaction.bytes += bytes;
        Ok(())
    }

    pub(super) fn set_journaled(&mut self, conn: ConnId, name: &TxName) {
        self.transaction(conn, name).is_journaled = true;
    }

    pub(super) fn keep_send(
        &mut self,
        conn: ConnId,
        name: &TxName,
        send: HeldSend,
    ) -> Result<Answered, Refusal> {
        let bytes = match &send {
            HeldSend::Queue { transient, .. } => transient.body.len(),
            HeldSend::Topic { message, .. } => message.message.memory_size(),
        };
        if let Err(refusal) = self.count_operation(conn, name, bytes) {
            self.forget_send(send);
            return Err(refusal);
        }
        self.transaction(conn, name).sends.push(send);
        Ok(Answered::Now)
    }

    pub(super) fn ack_in_transaction(
        &mut self,
        conn: ConnId,
        name: &TxName,
        key: SubKey,
        deliveries: &[u64],
        kind: AckKind,
    ) -> Result<Answered, Refusal> {
        let count = deliveries.len();
        self.count_operations(conn, name, count, count * ACK_BYTES)?;
        let subscription = self
            .subscriptions
            .get_mut(key)
            .expect("it was found just now");
        let destination = subscription.destination;
        let mut offsets = Vec::new();
        let mut acks = Vec::new();
        for &delivery in deliveries {
            let item = subscription
                .unacked
                .find_out(delivery)
                .expect("it was found just now");
            let place = match &item.held {
                Held::Place(place) => Some(*place),
                Held::Topic(_) => None,
            };
            offsets.extend(
                place
                    .filter(|place| place.is_persistent())
                    .map(|place| place.offset),
            );
            subscription.unacked.enter_transaction(delivery);
            acks.push(TxAck {
                subscription: key,
                destination,
                delivery,
                place,
            });
        }
        self.transaction(conn, name).acks.extend(acks);
        self.journal_acks(conn, name, destination, &offsets, kind);
        self.list_subscriber(key);
        Ok(Answered::Now)
    }

    fn journal_acks(
        &mut self,
        conn: ConnId,
        name: &TxName,
        destination: DestKey,
        offsets: &[Offset],
        kind: AckKind,
    ) {
        let Some(first) = offsets.first() else { return };
        let is_burial =
            kind == AckKind::Poison && self.goes_to_dlq(destination, Place::persistent(*first));
        let queue = self
            .destinations
            .get(destination)
            .expect("a replicated queue stays");
        let queue = queue.destination.name.clone();
        let transaction = self.transaction(conn, name);
        transaction.is_journaled = true;
        let tx = Some(transaction.key);
        for part in records::ranges_of(offsets).chunks(RANGES_MAX) {
            let (kind, body) = if is_burial {
                let body = records::encode_dead_letter(tx, Reason::Poison, &queue, part);
                (RecordKind::DeadLetter, body)
            } else {
                (RecordKind::Ack, records::encode_ack(tx, &queue, part))
            };
            self.propose_for(conn, kind, body, Then::KeepAside);
        }
    }

    // === ends ===

    fn take_transaction(&mut self, conn: ConnId, name: &TxName) -> Result<Transaction, Refusal> {
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        let Some(transaction) = connection.transactions.remove(name) else {
            return Err(refusals::unknown_transaction(name));
        };
        connection.tx_operations -= transaction.operations;
        connection.tx_bytes -= transaction.bytes;
        Ok(transaction)
    }

    pub(super) fn commit(
        &mut self,
        cx: &Context<'_>,
        conn: ConnId,
        name: &TxName,
        answer: Option<AnswerTo>,
    ) -> Result<Answered, Refusal> {
        let transaction = self.take_transaction(conn, name)?;
        let mut acked = Vec::new();
        for ack in &transaction.acks {
            acked.extend(self.consume_in_transaction(ack));
        }
        if !transaction.is_journaled {
            self.publish(cx, transaction.sends);
            return Ok(Answered::Now);
        }
        let then = Then::Commit {
            acked,
            sends: transaction.sends,
            answer,
        };
        self.propose_for(
            conn,
            RecordKind::TxCommit,
            records::encode_tx(transaction.key),
            then,
        );
        Ok(Answered::Later)
    }

    /// The delivery is consumed for good. Returns its queue when it is acked by a record.
    fn consume_in_transaction(&mut self, ack: &TxAck) -> Option<DestKey> {
        if let Some(subscription) = self.subscriptions.get_mut(ack.subscription) {
            let item = subscription.unacked.take_from_transaction(ack.delivery);
            let item = item.expect("what is in a transaction stays listed");
            if !subscription.unacked.is_written(ack.delivery) {
                let conn = subscription.conn;
                self.give_room(conn, u64::from(item.bytes));
            }
            if let Held::Topic(message) = item.held {
                self.topic_consumed(ack.destination, message);
            }
        }
        let place = ack.place?;
        let found = self.destinations.get_mut(ack.destination)?;
        found.in_flight -= 1;
        if place.is_persistent() {
            found.queue.redeliveries.remove(&place);
            found.queue.acking += 1;
            return Some(ack.destination);
        }
        found.counts.dequeued += 1;
        self.drop_transient(ack.destination, place);
        None
    }

    pub(super) fn commit_applied(
        &mut self,
        cx: &Context<'_>,
        acked: Vec<DestKey>,
        entries: &[(QueueId, Offset)],
        moved: &[Moved],
    ) {
        for key in acked {
            self.acks_applied(key, 1);
        }
        for (queue, offset) in entries {
            let key = self.destination_of_queue(cx, *queue);
            self.appear(key, Place::persistent(*offset));
        }
        for moved in moved {
            self.moved(cx, moved);
        }
    }

    pub(super) fn abort(
        &mut self,
        conn: ConnId,
        name: &TxName,
        answer: Option<AnswerTo>,
    ) -> Result<Answered, Refusal> {
        let transaction = self.take_transaction(conn, name)?;
        for ack in &transaction.acks {
            self.return_from_transaction(ack);
        }
        for send in transaction.sends {
            self.forget_send(send);
        }
        if !transaction.is_journaled {
            return Ok(Answered::Now);
        }
        let then = Then::RollBack { answer };
        self.propose_for(
            conn,
            RecordKind::TxRollback,
            records::encode_tx(transaction.key),
            then,
        );
        Ok(Answered::Later)
    }

    /// After an abort the delivery stays with its consumer, not acknowledged; without a consumer
    /// it goes back to its place.
    fn return_from_transaction(&mut self, ack: &TxAck) {
        if let Some(subscription) = self.subscriptions.get_mut(ack.subscription) {
            subscription.unacked.leave_transaction(ack.delivery);
        } else if let Some(place) = ack.place {
            self.give_back(ack.destination, place, Seen::Maybe);
            self.settle(ack.destination);
        }
    }

    /// The connection is lost: everything it had open is rolled back.
    pub(super) fn roll_back_all(&mut self, conn: ConnId) {
        let names: Vec<TxName> = self.connections[&conn]
            .transactions
            .keys()
            .cloned()
            .collect();
        for name in names {
            // It cannot be refused: the name was read just now, and nobody waits for an answer.
            let _ = self.abort(conn, &name, None);
        }
    }

    // === sends without a record ===

    /// They take effect.
    pub(super) fn publish(&mut self, cx: &Context<'_>, sends: Vec<HeldSend>) {
        for send in sends {
            self.destinations.send_ended(send.destination());
            match send {
                HeldSend::Queue {
                    destination,
                    place,
                    transient,
                } => {
                    self.put_transient(destination, place, transient);
                }
                HeldSend::Topic {
                    destination,
                    message,
                } => self.fan_out(destination, message),
            }
        }
        self.wake_transient(cx.state.applied());
    }

    fn forget_send(&mut self, send: HeldSend) {
        self.destinations.send_ended(send.destination());
        match send {
            HeldSend::Queue { transient, .. } => self.memory.free(transient.size),
            HeldSend::Topic { message, .. } => self.release(message),
        }
    }
}

impl HeldSend {
    const fn destination(&self) -> DestKey {
        match self {
            Self::Queue { destination, .. } | Self::Topic { destination, .. } => *destination,
        }
    }
}
