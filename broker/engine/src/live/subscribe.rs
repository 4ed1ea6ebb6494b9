//! Subscriptions come and go; what a gone one held returns to its place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandemmq_model::limits::SUBSCRIPTIONS_MAX;
use tandemmq_model::{ConnId, Refusal, Subscribe, SubscriptionId};

use super::destination::{DestKey, Place};
use super::subscription::{
    Browse, Held, InFlight, Source, Standing, SubKey, Subscription, Unacked,
};
use super::{Answered, Context, Live};
use crate::mutants::{self, Mutant};
use crate::refusals;

/// Whether a message that comes back may have been seen by its consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Maybe,
    No,
}

impl Live {
    pub(super) fn subscribe(
        &mut self,
        cx: &Context<'_>,
        conn: ConnId,
        subscribe: Subscribe,
    ) -> Result<Answered, Refusal> {
        let subscriptions = &self.connections[&conn].subscriptions;
        if subscriptions.contains_key(&subscribe.subscription) {
            return Err(refusals::subscription_exists(subscribe.subscription));
        }
        if subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(refusals::too_many_subscriptions());
        }
        let destination = self.subscribe_destination(cx, conn, &subscribe)?;
        let source = self.source_of(cx, &subscribe);
        let key = self.subscriptions.insert(Subscription {
            conn,
            id: subscribe.subscription,
            destination,
            ack_mode: subscribe.ack_mode,
            prefetch: subscribe.prefetch.max(1) as usize,
            source,
            unacked: Unacked::default(),
            is_listed: false,
        });
        let found = self
            .destinations
            .get_mut(destination)
            .expect("it was made or found just now");
        if subscribe.browser {
            found.browsers += 1;
        } else {
            found.consumers.push(key);
        }
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        connection.subscriptions.insert(subscribe.subscription, key);
        self.list_subscriber(key);
        Ok(Answered::Now)
    }

    fn source_of(&self, cx: &Context<'_>, subscribe: &Subscribe) -> Source {
        let is_queue = subscribe.destination.kind.is_queue();
        match (subscribe.browser, is_queue) {
            (false, true) => Source::Queue,
            (false, false) => Source::Topic(VecDeque::new()),
            (true, _) => Source::Browser(Browse {
                cursor: Place::START,
                bound: Place {
                    offset: cx.state.applied(),
                    count: self.last_count,
                },
                behind: BTreeSet::new(),
                window: BTreeMap::new(),
                reading: 0,
                waits_to_read: false,
                has_ended: false,
            }),
        }
    }

    /// A temporary destination belongs to the connection that subscribes to it first.
    fn subscribe_destination(
        &mut self,
        cx: &Context<'_>,
        conn: ConnId,
        subscribe: &Subscribe,
    ) -> Result<DestKey, Refusal> {
        let destination = &subscribe.destination;
        let is_temporary = destination.kind.is_temporary();
        if let Some(key) = self.destinations.find(destination) {
            let owner = self.destinations.get(key).and_then(|found| found.owner);
            if is_temporary && owner != Some(conn) {
                return Err(refusals::foreign_temporary(destination));
            }
            return Ok(key);
        }
        let owner = is_temporary.then_some(conn);
        let key = self.make_destination(cx, destination, owner)?;
        if is_temporary {
            let connection = self
                .connections
                .get_mut(&conn)
                .expect("commands come from connections");
            connection.temporary.push(key);
        }
        Ok(key)
    }

    /// The socket lives on, and bytes on their way to it cannot be called back: everything that
    /// was out counts as seen.
    pub(super) fn unsubscribe(
        &mut self,
        conn: ConnId,
        id: SubscriptionId,
    ) -> Result<Answered, Refusal> {
        let connection = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        let Some(key) = connection.subscriptions.remove(&id) else {
            return Err(refusals::unknown_subscription(id));
        };
        self.remove_subscription(key, Seen::Maybe);
        Ok(Answered::Now)
    }

    /// The connection has ended: a delivery whose last byte was not handed to the socket was not
    /// seen.
    pub(super) fn remove_subscriptions(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(&conn).expect("it is removed last");
        for key in std::mem::take(&mut connection.subscriptions).into_values() {
            self.remove_subscription(key, Seen::No);
        }
    }

    /// Removes the connection's temporary destinations with what is in them.
    pub(super) fn remove_temporary(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(&conn).expect("it is removed last");
        for key in std::mem::take(&mut connection.temporary) {
            let Some(removed) = self.destinations.remove(key) else {
                continue;
            };
            for transient in removed.queue.transient.into_values() {
                self.memory.free(transient.size);
            }
        }
    }

    /// `unwritten` says what to think of deliveries that were not reported as written.
    fn remove_subscription(&mut self, key: SubKey, unwritten: Seen) {
        let Some(mut subscription) = self.subscriptions.remove(key) else {
            return;
        };
        let destination = subscription.destination;
        let is_browser = matches!(subscription.source, Source::Browser(_));
        if let Some(found) = self.destinations.get_mut(destination) {
            if is_browser {
                found.browsers -= 1;
            } else {
                found.consumers.retain(|consumer| *consumer != key);
            }
        }
        let mut unwritten_bytes = 0;
        let left: Vec<InFlight> = subscription.unacked.drain().collect();
        for item in left {
            let is_written = subscription.unacked.is_written(item.delivery);
            if !is_written {
                unwritten_bytes += u64::from(item.bytes);
            }
            let seen = if is_written { Seen::Maybe } else { unwritten };
            if !is_browser {
                self.left_behind(destination, item, seen);
            }
        }
        match subscription.source {
            Source::Topic(waiting) => {
                for message in waiting {
                    self.release(message);
                }
            }
            Source::Browser(browse) => self.reads.drop_bodies(&browse.window),
            Source::Queue => {}
        }
        self.settle(destination);
        self.give_room(subscription.conn, unwritten_bytes);
    }

    fn left_behind(&mut self, destination: DestKey, item: InFlight, seen: Seen) {
        match (item.held, item.standing) {
            // It belongs to its transaction now.
            (Held::Place(_), Standing::InTransaction) => {}
            (Held::Place(place), _) if mutants::on(Mutant::LostConnectionAcks) => {
                self.consumed(destination, place);
            }
            (Held::Place(place), _) => self.give_back(destination, place, seen),
            (Held::Topic(message), _) => self.topic_consumed(destination, message),
        }
    }

    /// A message that was in flight is at its place again.
    pub(super) fn give_back(&mut self, key: DestKey, place: Place, seen: Seen) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        found.in_flight -= 1;
        if seen == Seen::Maybe && !mutants::on(Mutant::WrittenNotRedelivered) {
            *found.queue.redeliveries.entry(place).or_default() += 1;
        }
        self.appear(key, place);
    }

    /// A message may be taken from now on.
    pub(super) fn appear(&mut self, key: DestKey, place: Place) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        if place <= found.queue.cursor {
            found.queue.behind.insert(place);
        }
        self.list_queue(key);
    }

    pub(super) fn list_queue(&mut self, key: DestKey) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        if !found.queue.is_listed && !found.queue.ready.is_empty() {
            found.queue.is_listed = true;
            self.queues_listed.push_back(key);
        }
    }

    /// Nothing is out and nobody is there: the queue forgets its exceptions.
    pub(super) fn settle(&mut self, key: DestKey) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        found.settle();
        if found.consumers.is_empty() {
            let window = std::mem::take(&mut found.queue.window);
            self.reads.drop_bodies(&window);
        }
    }

    /// Puts a subscription in line for messages, unless it is in line or has no credit.
    pub(super) fn list_subscriber(&mut self, key: SubKey) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        if subscription.is_listed || !subscription.has_credit() {
            return;
        }
        let destination = subscription.destination;
        match &subscription.source {
            Source::Queue => {
                subscription.is_listed = true;
                if let Some(found) = self.destinations.get_mut(destination) {
                    found.queue.ready.push_back(key);
                }
                self.list_queue(destination);
            }
            Source::Topic(waiting) if waiting.is_empty() => {}
            Source::Browser(browse) if !browse.goes_on() => {}
            Source::Topic(_) | Source::Browser(_) => {
                subscription.is_listed = true;
                self.sources_listed.push_back(key);
            }
        }
    }
}
