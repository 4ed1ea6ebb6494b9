//! Acknowledgements.
//!
//! ```text
//! Written on Auto ─┐
//! Ack Client ──────┼──> collected per queue ──flush──> one Ack record ──applied──> answers
//! Ack Individual ──┘
//! Poison ──────────────────────────────────────────> DeadLetter record
//! ```
//! Between the acknowledgement and its record's application an entry is neither in flight nor
//! returned: it stays taken (below its queue's cursor) and is counted as being acked. A proposal
//! of this master either is applied or ends with it. What has no record is gone at once.

use tandemmq_model::{
    AckKind, AckMode, AckRef, ConnId, DeliveryId, MessageId, Offset, RecordKind, Refusal,
    SubscriptionId, TxName,
};

use super::destination::{DestKey, Place};
use super::pending::{AnswerTo, Then};
use super::subscribe::Seen;
use super::subscription::{Held, InFlight, Source, SubKey, Subscription};
use super::{Answered, Context, Live};
use crate::mutants::{self, Mutant};
use crate::records::{self, RANGES_MAX, Reason};
use crate::refusals;
use crate::state::Applied;
use crate::state::dead_letters::DEAD_LETTER_QUEUE;

/// The delivery an acknowledgement means.
enum Target {
    Delivery(SubKey, u64),
    /// A browser's: it takes nothing, so nothing is to be done.
    Browsed,
}

impl Live {
    // === from the session ===

    pub(super) fn ack(
        &mut self,
        cx: &Context<'_>,
        conn: ConnId,
        which: &AckRef,
        kind: AckKind,
        tx: Option<TxName>,
        answer: Option<AnswerTo>,
    ) -> Result<Answered, Refusal> {
        if let Some(name) = &tx {
            self.check_transaction(conn, name)?;
        }
        let target = self
            .find_delivery(cx, conn, which)
            .ok_or_else(|| refusals::unknown_delivery(which))?;
        let Target::Delivery(key, delivery) = target else {
            return Ok(Answered::Now);
        };
        let deliveries = self.acked_with(key, delivery, kind);
        if let Some(name) = tx {
            return self.ack_in_transaction(conn, &name, key, &deliveries, kind);
        }
        let destination = self.subscription(key).destination;
        let mut is_journaled = false;
        let mut buried = Vec::new();
        for delivery in deliveries {
            let Some(item) = self.take_out(key, delivery) else {
                continue;
            };
            match (item.held, kind) {
                (Held::Topic(message), _) => self.topic_consumed(destination, message),
                (Held::Place(place), AckKind::Poison) if self.goes_to_dlq(destination, place) => {
                    buried.push(place);
                }
                (Held::Place(place), _) => is_journaled |= self.consumed(destination, place),
            }
        }
        self.list_subscriber(key);
        if !buried.is_empty() {
            self.bury(conn, destination, buried, answer);
            return Ok(Answered::Later);
        }
        if !is_journaled {
            return Ok(Answered::Now);
        }
        self.collect_acks_of(conn, destination, answer);
        Ok(Answered::Later)
    }

    /// The socket took the last byte of this delivery and of all before it.
    pub(super) fn written(&mut self, conn: ConnId, id: SubscriptionId, delivery: DeliveryId) {
        let Some(key) = self.connections[&conn].subscriptions.get(&id).copied() else {
            return;
        };
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let bytes = subscription.unacked.mark_written(delivery.0);
        let destination = subscription.destination;
        let is_browser = matches!(subscription.source, Source::Browser(_));
        if is_browser || subscription.ack_mode == AckMode::Auto {
            let mut is_journaled = false;
            while let Some(item) = self.take_written(key, delivery.0) {
                match item.held {
                    Held::Place(_) if is_browser => {}
                    Held::Place(place) => is_journaled |= self.consumed(destination, place),
                    Held::Topic(message) => self.topic_consumed(destination, message),
                }
            }
            if is_journaled {
                self.collect_acks_of(conn, destination, None);
            }
            self.list_subscriber(key);
        }
        self.give_room(conn, bytes);
    }

    /// The delivery never reached the socket: as if it had not been made.
    pub(super) fn not_delivered(&mut self, conn: ConnId, id: SubscriptionId, delivery: DeliveryId) {
        let Some(key) = self.connections[&conn].subscriptions.get(&id).copied() else {
            return;
        };
        let Some(item) = self.take_out(key, delivery.0) else {
            return;
        };
        let subscription = self
            .subscriptions
            .get_mut(key)
            .expect("it was found just now");
        let destination = subscription.destination;
        match (item.held, &mut subscription.source) {
            (Held::Topic(message), Source::Topic(waiting)) => {
                let index = waiting.partition_point(|other| other.count < message.count);
                waiting.insert(index, message);
                if let Some(found) = self.destinations.get_mut(destination) {
                    found.in_flight -= 1;
                }
            }
            (Held::Place(place), Source::Browser(browse)) => {
                browse.behind.insert(place);
            }
            (Held::Place(place), _) => self.give_back(destination, place, Seen::No),
            (Held::Topic(_), _) => unreachable!("only topic subscriptions hold a topic's message"),
        }
        self.list_subscriber(key);
    }

    // === which deliveries ===

    fn find_delivery(&self, cx: &Context<'_>, conn: ConnId, which: &AckRef) -> Option<Target> {
        let subscriptions = &self.connections[&conn].subscriptions;
        match which {
            AckRef::Delivery(id, delivery) => {
                let key = *subscriptions.get(id)?;
                self.target(key, |found| {
                    Some(delivery.0).filter(|d| found.unacked.find_out(*d).is_some())
                })
            }
            AckRef::Message(Some(id), message) => {
                let key = *subscriptions.get(id)?;
                self.target(key, |found| self.delivery_of(cx, found, *message))
            }
            AckRef::Message(None, message) => subscriptions.values().find_map(|key| {
                let found = self.subscriptions.get(*key)?;
                if matches!(found.source, Source::Browser(_)) {
                    return None;
                }
                let delivery = self.delivery_of(cx, found, *message)?;
                Some(Target::Delivery(*key, delivery))
            }),
        }
    }

    fn target(
        &self,
        key: SubKey,
        find: impl FnOnce(&Subscription) -> Option<u64>,
    ) -> Option<Target> {
        let found = self.subscriptions.get(key)?;
        if matches!(found.source, Source::Browser(_)) {
            return (found.unacked.last() > 0).then_some(Target::Browsed);
        }
        find(found).map(|delivery| Target::Delivery(key, delivery))
    }

    /// The delivery of that message that is out, if any. Clients acknowledge what is oldest, so
    /// it is near the front.
    fn delivery_of(&self, cx: &Context<'_>, found: &Subscription, id: MessageId) -> Option<u64> {
        let is_it = |item: &&InFlight| match (&item.held, id) {
            (Held::Place(place), MessageId::Persistent(epoch, offset)) => {
                place.is_persistent()
                    && place.offset == offset
                    && cx.state.epoch_at(offset) == epoch
            }
            (Held::Place(place), MessageId::Transient(epoch, count)) => {
                !place.is_persistent() && place.count == count && epoch == self.epoch
            }
            (Held::Topic(message), MessageId::Transient(epoch, count)) => {
                message.count == count && epoch == self.epoch
            }
            (Held::Topic(_), MessageId::Persistent(..)) => false,
        };
        found
            .unacked
            .iter_out()
            .find(is_it)
            .map(|item| item.delivery)
    }

    /// On a `Client` subscription consuming one delivery consumes all before it.
    fn acked_with(&self, key: SubKey, delivery: u64, kind: AckKind) -> Vec<u64> {
        let found = self.subscription(key);
        if kind == AckKind::Poison || found.ack_mode != AckMode::Client {
            return vec![delivery];
        }
        let last = if mutants::on(Mutant::AckTakesLater) {
            u64::MAX
        } else {
            delivery
        };
        let out = found.unacked.iter_out().map(|item| item.delivery);
        out.take_while(|delivery| *delivery <= last).collect()
    }

    fn subscription(&self, key: SubKey) -> &Subscription {
        self.subscriptions.get(key).expect("it was found just now")
    }

    // === taking deliveries out ===

    fn take_out(&mut self, key: SubKey, delivery: u64) -> Option<InFlight> {
        let found = self.subscriptions.get_mut(key)?;
        let item = found.unacked.take(delivery)?;
        if !found.unacked.is_written(delivery) {
            let conn = found.conn;
            self.give_room(conn, u64::from(item.bytes));
        }
        Some(item)
    }

    fn take_written(&mut self, key: SubKey, up_to: u64) -> Option<InFlight> {
        self.subscriptions.get_mut(key)?.unacked.take_front(up_to)
    }

    /// The socket has room for so many more bytes of this connection.
    pub(super) fn give_room(&mut self, conn: ConnId, bytes: u64) {
        let Some(found) = self.connections.get_mut(&conn) else {
            return;
        };
        found.unwritten_bytes -= bytes;
        if !found.has_room() || found.blocked.is_empty() {
            return;
        }
        for key in std::mem::take(&mut found.blocked) {
            if let Some(subscription) = self.subscriptions.get_mut(key) {
                subscription.is_listed = false;
                self.list_subscriber(key);
            }
        }
    }

    /// A message of a queue was consumed. True when its record is to be proposed.
    pub(super) fn consumed(&mut self, key: DestKey, place: Place) -> bool {
        let Some(found) = self.destinations.get_mut(key) else {
            return false;
        };
        found.in_flight -= 1;
        if !place.is_persistent() {
            found.counts.dequeued += 1;
            self.drop_transient(key, place);
            return false;
        }
        found.queue.redeliveries.remove(&place);
        found.queue.acking += 1;
        if found.queue.acks.offsets.is_empty() {
            self.ack_queues.push(key);
        }
        found.queue.acks.offsets.push(place.offset);
        true
    }

    /// Persistent, and not in the dead letter queue already.
    pub(super) fn goes_to_dlq(&self, key: DestKey, place: Place) -> bool {
        let found = self.destinations.get(key);
        place.is_persistent()
            && found.is_some_and(|found| &*found.destination.name != DEAD_LETTER_QUEUE)
    }

    // === collecting and proposing ===

    fn collect_acks_of(&mut self, conn: ConnId, key: DestKey, answer: Option<AnswerTo>) {
        if let Some(answer) = answer {
            let found = self
                .destinations
                .get_mut(key)
                .expect("it has collected offsets");
            found.queue.acks.answers.push(answer);
        }
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        if !std::mem::replace(&mut connection.has_collected_acks, true) {
            self.ack_connections.push(conn);
        }
    }

    /// Proposes what was collected, if some of it came from that connection: its commands take
    /// effect in order.
    pub(super) fn flush_acks_of(&mut self, conn: ConnId) {
        if self
            .connections
            .get(&conn)
            .is_some_and(|found| found.has_collected_acks)
        {
            self.flush_acks();
        }
    }

    pub(super) fn flush_acks(&mut self) {
        for conn in std::mem::take(&mut self.ack_connections) {
            if let Some(found) = self.connections.get_mut(&conn) {
                found.has_collected_acks = false;
            }
        }
        for key in std::mem::take(&mut self.ack_queues) {
            let found = self
                .destinations
                .get_mut(key)
                .expect("a replicated queue stays");
            let batch = std::mem::take(&mut found.queue.acks);
            let name = found.destination.name.clone();
            let ranges = records::ranges_of(&batch.offsets);
            let mut answers = batch.answers;
            let mut parts = ranges.chunks(RANGES_MAX).peekable();
            while let Some(part) = parts.next() {
                let count = part.iter().map(|range| u64::from(range.count)).sum();
                let is_last = parts.peek().is_none();
                let answers = if is_last {
                    std::mem::take(&mut answers)
                } else {
                    Vec::new()
                };
                let body = records::encode_ack(None, &name, part);
                self.propose(
                    RecordKind::Ack,
                    body,
                    Then::Ack {
                        destination: key,
                        count,
                        answers,
                    },
                );
            }
        }
    }

    pub(super) fn acks_applied(&mut self, key: DestKey, count: u64) {
        let found = self
            .destinations
            .get_mut(key)
            .expect("a replicated queue stays");
        found.queue.acking -= count;
        if found.queue.acking == 0 {
            found.settle();
        }
    }

    /// A consumer refused these: they were in flight.
    fn bury(&mut self, conn: ConnId, key: DestKey, places: Vec<Place>, answer: Option<AnswerTo>) {
        let found = self
            .destinations
            .get_mut(key)
            .expect("a replicated queue stays");
        found.in_flight -= places.len() as u64;
        found.queue.acking += places.len() as u64;
        self.flush_acks_of(conn);
        self.propose_burial(key, places, Reason::Poison, answer);
    }

    /// The places count as being acked already.
    pub(super) fn propose_burial(
        &mut self,
        key: DestKey,
        places: Vec<Place>,
        reason: Reason,
        answer: Option<AnswerTo>,
    ) {
        let found = self
            .destinations
            .get(key)
            .expect("a replicated queue stays");
        let offsets: Vec<Offset> = places.iter().map(|place| place.offset).collect();
        let ranges = records::ranges_of(&offsets);
        let body = records::encode_dead_letter(None, reason, &found.destination.name, &ranges);
        let then = Then::DeadLetter {
            destination: key,
            places,
            answer,
        };
        self.propose(RecordKind::DeadLetter, body, then);
    }

    pub(super) fn burial_applied(
        &mut self,
        cx: &Context<'_>,
        key: DestKey,
        places: &[Place],
        applied: Applied,
    ) {
        let found = self
            .destinations
            .get_mut(key)
            .expect("a replicated queue stays");
        let mut redeliveries = Vec::new();
        for place in places {
            found.queue.condemned.remove(place);
            redeliveries.extend(found.queue.redeliveries.remove(place).map(|n| (*place, n)));
        }
        found.queue.acking -= places.len() as u64;
        if found.queue.acking == 0 {
            found.settle();
        }
        let Applied::DeadLettered(moved) = applied else {
            return;
        };
        self.moved(cx, &moved);
        let to = self.destination_of_queue(cx, moved.to);
        let dlq = self
            .destinations
            .get_mut(to)
            .expect("it was found just now");
        dlq.queue.redeliveries.extend(redeliveries);
    }
}
