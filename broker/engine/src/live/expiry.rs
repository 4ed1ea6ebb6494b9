//! Expiry: decided by the master alone, when a message is about to be dispatched and by a sweep.
//!
//! A persistent message becomes a dead letter by a record, so that slaves need no clock; what has
//! no record is dropped (ActiveMQ: `processExpired` true, `processNonPersistent` false). What is
//! in flight is its consumer's.

use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use tandemmq_model::Offset;

use super::destination::{DestKey, LiveQueue, Place};
use super::dispatch::entry_at;
use super::{Context, Live};
use crate::records::Reason;
use crate::state::queue::QueueId;

/// Between two sweeps (ActiveMQ: `expireMessagesPeriod`).
pub(crate) const SWEEP_PERIOD: Duration = Duration::from_secs(30);

/// Until the next part of a sweep that found more than it may move at once.
const SWEEP_AGAIN: Duration = Duration::from_millis(100);

/// Expired entries of one queue that one sweep moves: one record of bounded size.
const SWEEP_EXPIRED_MAX: usize = 2_048;

impl Live {
    pub(super) fn sweep(&mut self, cx: &Context<'_>) {
        self.may_drop_idle = true;
        let mut is_cut = false;
        if !self.log.is_paused() {
            let expiring: Vec<QueueId> = cx
                .state
                .queues()
                .filter(|(_, queue)| queue.entries().expiring() > 0)
                .map(|(id, _)| id)
                .collect();
            for id in expiring {
                is_cut |= self.sweep_entries(cx, id);
            }
        }
        self.sweep_transient(cx.now.wall_ms);
        self.sweep_topics(cx.now.wall_ms);
        self.sweep_at = cx.now.boot + if is_cut { SWEEP_AGAIN } else { SWEEP_PERIOD };
    }

    /// True when there may be more.
    fn sweep_entries(&mut self, cx: &Context<'_>, id: QueueId) -> bool {
        let key = self.destination_of_queue(cx, id);
        let Some(found) = self.destinations.get_mut(key) else {
            return false;
        };
        let queue = &mut found.queue;
        let wall_ms = cx.now.wall_ms;
        let entries = cx.state.queue(id).entries();
        let beyond = entries.expired_after(queue.cursor.offset, wall_ms, SWEEP_EXPIRED_MAX);
        let is_cut = beyond.len() == SWEEP_EXPIRED_MAX;
        let behind = queue.behind.iter().copied().filter(|place| {
            entry_at(cx.state, queue, *place).is_some_and(|entry| entry.is_expired(wall_ms))
        });
        let mut places: Vec<Place> = behind.take(SWEEP_EXPIRED_MAX).collect();
        for place in &places {
            queue.behind.remove(place);
        }
        places.extend(condemn(queue, beyond));
        queue.acking += places.len() as u64;
        if !places.is_empty() {
            self.propose_burial(key, places, Reason::Expired, None);
        }
        is_cut
    }

    fn sweep_transient(&mut self, wall_ms: u64) {
        let with_some: Vec<DestKey> = self
            .destinations
            .iter()
            .filter(|(_, found)| !found.queue.transient.is_empty())
            .map(|(key, _)| key)
            .collect();
        for key in with_some {
            for place in self.expired_transient(key, wall_ms) {
                self.drop_transient(key, place);
            }
        }
    }

    fn expired_transient(&mut self, key: DestKey, wall_ms: u64) -> Vec<Place> {
        let Some(found) = self.destinations.get_mut(key) else {
            return Vec::new();
        };
        let queue = &found.queue;
        let beyond = queue
            .transient
            .range((Excluded(queue.cursor), Unbounded))
            .map(|(place, _)| place);
        let expired: Vec<Place> = queue
            .behind
            .iter()
            .chain(beyond)
            .filter(|place| {
                queue
                    .transient
                    .get(place)
                    .is_some_and(|found| found.is_expired(wall_ms))
            })
            .copied()
            .collect();
        found.counts.expired += expired.len() as u64;
        expired
    }
}

/// Marks entries beyond the cursor as not to be taken; returns those that were not yet marked.
fn condemn(queue: &mut LiveQueue, offsets: Vec<Offset>) -> impl Iterator<Item = Place> {
    let places = offsets.into_iter().map(Place::persistent);
    places.filter(|place| !queue.unreadable.contains(place) && queue.condemned.insert(*place))
}
