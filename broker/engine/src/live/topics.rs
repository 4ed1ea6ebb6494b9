//! Topics: each message goes to the subscriptions of the moment, and to nobody else.
//!
//! Never journaled. A message takes memory while a subscription has it waiting or in flight.

use std::collections::VecDeque;
use std::sync::Arc;

use tandemmq_model::{Message, MessageId};

use super::destination::DestKey;
use super::dispatch::{Made, Round};
use super::subscription::{Held, Source, SubKey};
use super::{Context, Live};

/// One message of a topic, shared by all who have it.
#[derive(Debug)]
pub(crate) struct TopicMessage {
    pub message: Arc<Message>,
    /// Its number in the epoch.
    pub count: u64,
    /// What it takes of the memory limit until nobody has it any more.
    pub size: u64,
}

impl Live {
    pub(super) fn fan_out(&mut self, key: DestKey, message: Arc<TopicMessage>) {
        let Some(found) = self.destinations.get_mut(key) else {
            return self.release(message);
        };
        found.counts.enqueued += 1;
        for consumer in found.consumers.clone() {
            let subscription = self.subscriptions.get_mut(consumer);
            let subscription = subscription.expect("a topic lists the subscriptions it has");
            if let Source::Topic(waiting) = &mut subscription.source {
                waiting.push_back(message.clone());
                self.list_subscriber(consumer);
            }
        }
        self.release(message);
    }

    /// One holder less. With the last one its memory is free.
    pub(super) fn release(&mut self, message: Arc<TopicMessage>) {
        if let Some(last) = Arc::into_inner(message) {
            self.memory.free(last.size);
        }
    }

    /// A delivery is consumed.
    pub(super) fn topic_consumed(&mut self, key: DestKey, message: Arc<TopicMessage>) {
        if let Some(found) = self.destinations.get_mut(key) {
            found.in_flight -= 1;
            found.counts.dequeued += 1;
        }
        self.release(message);
    }

    /// Delivers what waits for one subscription as far as its credit goes.
    pub(super) fn deliver_topic(&mut self, cx: &Context<'_>, key: SubKey, round: &mut Round) {
        while self.may_take(key) {
            let subscription = self.subscriptions.get_mut(key).expect("it may take");
            let destination = subscription.destination;
            let Source::Topic(waiting) = &mut subscription.source else {
                return;
            };
            let Some(next) = waiting.pop_front() else {
                subscription.is_listed = false;
                break;
            };
            if next.message.is_expired(cx.now.wall_ms) {
                if let Some(found) = self.destinations.get_mut(destination) {
                    found.counts.expired += 1;
                }
                self.release(next);
                continue;
            }
            let Some(found) = self.destinations.get(destination) else {
                return;
            };
            let name = found.destination.clone();
            let message_id = MessageId::Transient(self.epoch, next.count);
            let message = next.message.clone();
            let made = Made {
                message_id,
                destination: name,
                message,
                redelivered: false,
                origin: None,
            };
            self.deliver(key, Held::Topic(next), made, round);
        }
    }

    /// Drops what has expired while it waited for credit.
    pub(super) fn sweep_topics(&mut self, wall_ms: u64) {
        let topics = self
            .destinations
            .iter()
            .filter(|(_, found)| !found.destination.kind.is_queue());
        for key in topics.map(|(key, _)| key).collect::<Vec<_>>() {
            let Some(found) = self.destinations.get(key) else {
                continue;
            };
            for consumer in found.consumers.clone() {
                let Some(subscription) = self.subscriptions.get_mut(consumer) else {
                    continue;
                };
                let Source::Topic(waiting) = &mut subscription.source else {
                    continue;
                };
                let is_expired = |waiting: &Arc<TopicMessage>| waiting.message.is_expired(wall_ms);
                let (gone, kept): (VecDeque<_>, _) =
                    std::mem::take(waiting).into_iter().partition(is_expired);
                *waiting = kept;
                if let Some(found) = self.destinations.get_mut(key) {
                    found.counts.expired += gone.len() as u64;
                }
                for message in gone {
                    self.release(message);
                }
            }
        }
    }
}
