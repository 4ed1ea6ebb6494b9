//! Dispatch: who gets which message next.
//!
//! A queue is listed when it may have both a message and a consumer with credit. Its consumers
//! take turns, one message each. A message is taken in the order of places, only when its record
//! is applied (committed), and only with its body at hand: a missing one is read first, and the
//! queue waits for it, so that the order holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tandemmq_model::{
    ConnId, DeadLetterOrigin, Delivery, DeliveryId, Destination, Message, MessageId, Offset,
};

use super::bodies::UNREADABLE_MAX;
use super::destination::{DestKey, LiveDestination, LiveQueue, Place};
use super::subscription::{Held, Source, SubKey};
use super::{Context, Live};
use crate::EngineEffect;
use crate::mutants::{self, Mutant};
use crate::records::{self, Reason};
use crate::state::State;
use crate::state::chunks::Entry;

/// Messages that one queue dispatches before the next one has its turn.
const ROUND_MESSAGES_MAX: usize = 256;

/// Expired entries that one round moves away.
const ROUND_EXPIRED_MAX: usize = 1_024;

/// Deliveries made in one step, by connection.
pub(crate) type Round = BTreeMap<ConnId, Vec<Delivery>>;

/// A delivery without its numbers.
pub(crate) struct Made {
    pub message_id: MessageId,
    pub destination: Destination,
    pub message: Arc<Message>,
    pub redelivered: bool,
    pub origin: Option<DeadLetterOrigin>,
}

/// What a queue has for its next consumer.
enum Next {
    Message {
        place: Place,
        made: Made,
    },
    /// The body of the next entry is not here.
    Unread,
    Nothing,
}

impl Live {
    /// One step of dispatch. False when there is nothing to do.
    pub(super) fn dispatch_next(&mut self, cx: &Context<'_>) -> bool {
        let mut round = Round::new();
        if let Some((key, offset, body)) = self.early.pop_front() {
            self.deliver_early(cx, key, offset, &body, &mut round);
        } else if let Some(key) = self.queues_listed.pop_front() {
            self.dispatch_queue(cx, key, &mut round);
        } else if let Some(key) = self.sources_listed.pop_front() {
            self.dispatch_source(cx, key, &mut round);
        } else {
            return false;
        }
        for (conn, deliveries) in round {
            self.effects
                .push_back(EngineEffect::Deliver { conn, deliveries });
        }
        true
    }

    fn dispatch_source(&mut self, cx: &Context<'_>, key: SubKey, round: &mut Round) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        subscription.is_listed = false;
        match subscription.source {
            Source::Topic(_) => self.deliver_topic(cx, key, round),
            Source::Browser(_) => self.deliver_browser(cx, key, round),
            Source::Queue => {}
        }
    }

    fn dispatch_queue(&mut self, cx: &Context<'_>, key: DestKey, round: &mut Round) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        found.queue.is_listed = false;
        let mut expired = Vec::new();
        let mut has_more = true;
        for _ in 0..ROUND_MESSAGES_MAX {
            let Some(taker) = self.next_taker(key) else {
                self.trim_queue_window(key);
                has_more = false;
                break;
            };
            match self.next_message(cx, key, &mut expired) {
                Next::Message { place, made } => {
                    self.deliver(taker, Held::Place(place), made, round);
                    self.end_turn(key, taker);
                }
                Next::Unread => {
                    self.read_queue(cx, key);
                    has_more = false;
                    break;
                }
                Next::Nothing => {
                    has_more = expired.len() >= ROUND_EXPIRED_MAX;
                    break;
                }
            }
        }
        if !expired.is_empty() {
            self.propose_burial(key, expired, Reason::Expired, None);
        }
        if has_more {
            self.list_queue(key);
        }
    }

    // === who ===

    /// The consumer whose turn it is; it stays first in line.
    fn next_taker(&mut self, key: DestKey) -> Option<SubKey> {
        loop {
            let taker = *self.destinations.get(key)?.queue.ready.front()?;
            if self.may_take(taker) {
                return Some(taker);
            }
            self.destinations.get_mut(key)?.queue.ready.pop_front();
        }
    }

    /// True when the subscription may get one more message now. If not, it is out of its line;
    /// one that only waits for the socket is noted with its connection.
    pub(super) fn may_take(&mut self, key: SubKey) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return false;
        };
        subscription.is_listed = false;
        let Some(connection) = self.connections.get_mut(&subscription.conn) else {
            return false;
        };
        if !subscription.has_credit() || connection.is_leaving {
            return false;
        }
        subscription.is_listed = true;
        if !connection.has_room() {
            connection.blocked.push(key);
            return false;
        }
        true
    }

    /// The consumer goes to the end of the line if it has credit left.
    fn end_turn(&mut self, key: DestKey, taker: SubKey) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        found.queue.ready.pop_front();
        let Some(subscription) = self.subscriptions.get_mut(taker) else {
            return;
        };
        subscription.is_listed = subscription.has_credit();
        if subscription.is_listed {
            found.queue.ready.push_back(taker);
        }
    }

    // === what ===

    /// Takes the next message out of its queue.
    fn next_message(&mut self, cx: &Context<'_>, key: DestKey, expired: &mut Vec<Place>) -> Next {
        loop {
            let Some(found) = self.destinations.get_mut(key) else {
                return Next::Nothing;
            };
            let queue = &mut found.queue;
            if expired.len() >= ROUND_EXPIRED_MAX || queue.unreadable.len() >= UNREADABLE_MAX {
                return Next::Nothing;
            }
            let Some(place) = next_place(cx.state, queue) else {
                return Next::Nothing;
            };
            if queue.condemned.contains(&place) || queue.unreadable.contains(&place) {
                pass(queue, place);
                continue;
            }
            let (body, entry) = if place.is_persistent() {
                let Some(entry) = entry_at(cx.state, queue, place) else {
                    pass(queue, place);
                    continue;
                };
                if entry.is_expired(cx.now.wall_ms) {
                    pass(queue, place);
                    queue.acking += 1;
                    expired.push(place);
                    continue;
                }
                if queue.reading > 0 || queue.waits_to_read {
                    return Next::Nothing;
                }
                match self.take_body(key, place.offset) {
                    Some(body) => (body, Some(entry)),
                    None => return Next::Unread,
                }
            } else {
                let transient = &queue.transient[&place];
                if transient.is_expired(cx.now.wall_ms) {
                    pass(queue, place);
                    found.counts.expired += 1;
                    self.drop_transient(key, place);
                    continue;
                }
                (transient.body.clone(), None)
            };
            let Some(message) = self.decode(cx, key, place, &body) else {
                continue;
            };
            return self.take(cx, key, place, entry, message);
        }
    }

    fn take_body(&mut self, key: DestKey, offset: Offset) -> Option<Bytes> {
        let queue = &mut self.destinations.get_mut(key)?.queue;
        if let Some(body) = queue.window.remove(&offset) {
            self.reads.used(&body);
            return Some(body);
        }
        self.bodies.take(offset)
    }

    /// None for a body that makes no message: it counts as unreadable.
    fn decode(
        &mut self,
        cx: &Context<'_>,
        key: DestKey,
        place: Place,
        body: &Bytes,
    ) -> Option<Message> {
        match records::decode_message(body) {
            Ok(message) => Some(message),
            Err(_) => {
                self.set_unreadable(cx.now, key, place);
                None
            }
        }
    }

    fn take(
        &mut self,
        cx: &Context<'_>,
        key: DestKey,
        place: Place,
        entry: Option<Entry>,
        message: Message,
    ) -> Next {
        let Some(found) = self.destinations.get_mut(key) else {
            return Next::Nothing;
        };
        pass(&mut found.queue, place);
        found.in_flight += 1;
        let made = make(cx, self.epoch, found, place, entry, message);
        Next::Message { place, made }
    }

    /// Numbers a delivery and notes it with its subscription.
    pub(super) fn deliver(&mut self, key: SubKey, held: Held, made: Made, round: &mut Round) {
        let subscription = self.subscriptions.get_mut(key).expect("it may take");
        let is_browser = matches!(subscription.source, Source::Browser(_));
        let bytes = u32::try_from(made.message.memory_size()).unwrap_or(u32::MAX);
        let is_topic = matches!(held, Held::Topic(_));
        let id = DeliveryId(subscription.unacked.push(held, bytes));
        let connection = self.connections.get_mut(&subscription.conn);
        connection.expect("it may take").unwritten_bytes += u64::from(bytes);
        if let Some(found) = self.destinations.get_mut(subscription.destination) {
            found.counts.dispatched += u64::from(!is_browser);
            found.in_flight += u64::from(is_topic);
        }
        let Made {
            message_id,
            destination,
            message,
            redelivered,
            origin,
        } = made;
        round
            .entry(subscription.conn)
            .or_default()
            .push(Delivery::Message {
                subscription: subscription.id,
                id,
                message_id,
                destination,
                message,
                redelivered,
                origin,
            });
    }

    /// Seeded fault: a message goes out when it is proposed.
    fn deliver_early(
        &mut self,
        cx: &Context<'_>,
        key: DestKey,
        offset: Offset,
        body: &Bytes,
        round: &mut Round,
    ) {
        if !mutants::on(Mutant::DispatchBeforeCommit) || offset <= cx.state.applied() {
            return;
        }
        let Some(taker) = self.next_taker(key) else {
            return;
        };
        let Ok(message) = records::decode_message(body) else {
            return;
        };
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        let place = Place::persistent(offset);
        found.queue.cursor = found.queue.cursor.max(place);
        found.in_flight += 1;
        let mut made = make(cx, self.epoch, found, place, None, message);
        made.message_id = MessageId::Persistent(self.epoch, offset);
        self.early_taken.insert(offset);
        self.deliver(taker, Held::Place(place), made, round);
        self.end_turn(key, taker);
    }
}

/// A delivery of that message of the queue.
pub(super) fn make(
    cx: &Context<'_>,
    epoch: tandemmq_model::Epoch,
    found: &LiveDestination,
    place: Place,
    entry: Option<Entry>,
    mut message: Message,
) -> Made {
    let origin = entry
        .and_then(|entry| entry.origin())
        .and_then(|id| cx.state.origins().get(id));
    let origin = origin.map(|origin| DeadLetterOrigin {
        destination: Destination::queue(origin.queue.clone()),
        cause: origin.cause.clone(),
    });
    if origin.is_some() {
        // A dead letter no longer expires.
        message.expiration_ms = 0;
    }
    let message_id = match place.is_persistent() {
        true => MessageId::Persistent(cx.state.epoch_at(place.offset), place.offset),
        false => MessageId::Transient(epoch, place.count),
    };
    let redelivered = found.queue.redeliveries.contains_key(&place)
        || entry.is_some_and(|entry| entry.was_delivered() || cx.state.is_older(entry.offset));
    Made {
        message_id,
        destination: found.destination.clone(),
        message: Arc::new(message),
        redelivered,
        origin,
    }
}

pub(super) fn entry_at(state: &State, queue: &LiveQueue, place: Place) -> Option<Entry> {
    state
        .queue(queue.state?)
        .entries()
        .get(place.offset)
        .copied()
}

fn next_place(state: &State, queue: &LiveQueue) -> Option<Place> {
    queue
        .behind
        .first()
        .copied()
        .or_else(|| place_after(state, queue, queue.cursor))
}

/// The first place beyond that one whose message may be taken: applied, or non-persistent with
/// everything proposed before it applied.
pub(super) fn place_after(state: &State, queue: &LiveQueue, cursor: Place) -> Option<Place> {
    let entries = queue.state.map(|id| state.queue(id).entries());
    let persistent = entries.and_then(|entries| entries.next_after(cursor.offset));
    let persistent = persistent.map(|entry| Place::persistent(entry.offset));
    if queue.transient.is_empty() {
        return persistent;
    }
    let beyond = (
        std::ops::Bound::Excluded(cursor),
        std::ops::Bound::Unbounded,
    );
    let transient = queue
        .transient
        .range(beyond)
        .next()
        .map(|(place, _)| *place);
    let transient = transient.filter(|place| place.offset <= state.applied());
    match (persistent, transient) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The message of that place is taken, or not to be taken.
fn pass(queue: &mut LiveQueue, place: Place) {
    if !queue.behind.remove(&place) {
        queue.condemned.remove(&place);
        queue.cursor = queue.cursor.max(place);
    }
}
