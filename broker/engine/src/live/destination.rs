//! Destinations as the master serves them.
//!
//! A queue's place in the order of dispatch:
//! ```text
//!   offset   3   5   8   9  12 | 15  16  20 ...
//!            .   R   .   T   . ^ cursor
//! ```
//! Everything up to `cursor` was taken (in flight, being acknowledged, or gone), except what
//! stands in `behind`: it came back (R) or appeared late (T: its transaction committed after
//! later entries were taken). So what is in flight needs no mark in the replicated entries.
//!
//! Non-persistent messages stand between the persistent ones: a place is (offset of the last
//! record proposed before, count), a persistent one has count 0.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tandemmq_model::{ConnId, Destination, Offset};

use super::slab::{Key, Slab};
use super::subscription::SubKey;
use super::transient::Transient;
use crate::state::queue::QueueId;

pub(crate) type DestKey = Key<LiveDestination>;

/// Where a message stands in its queue, always, whatever happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub offset: Offset,
    /// 0 for a persistent message, else counted over the epoch.
    pub count: u64,
}

impl Place {
    /// Before every message.
    pub(crate) const START: Self = Self {
        offset: Offset::ZERO,
        count: 0,
    };

    pub(crate) const fn persistent(offset: Offset) -> Self {
        Self { offset, count: 0 }
    }

    pub(crate) const fn is_persistent(self) -> bool {
        self.count == 0
    }
}

/// Counts since the promotion.
#[derive(Debug, Default)]
pub(crate) struct LiveCounts {
    pub enqueued: u64,
    pub dequeued: u64,
    pub dispatched: u64,
    pub expired: u64,
}

#[derive(Debug)]
pub(crate) struct LiveDestination {
    pub destination: Destination,
    /// The connection a temporary destination lives with.
    pub owner: Option<ConnId>,
    /// Subscriptions that take messages.
    pub consumers: Vec<SubKey>,
    /// Browsers; they take nothing.
    pub browsers: usize,
    pub in_flight: u64,
    /// Sends that are on their way here: proposed, or kept by an open transaction.
    pub coming: u64,
    pub counts: LiveCounts,
    /// Only used of the two kinds of queue.
    pub queue: LiveQueue,
}

#[derive(Debug)]
pub(crate) struct LiveQueue {
    /// Where its persistent entries are; none while there never was one.
    pub state: Option<QueueId>,
    /// Consumers with credit, in the order of their turns.
    pub ready: VecDeque<SubKey>,
    pub cursor: Place,
    pub behind: BTreeSet<Place>,
    /// How often a message was written and came back, where that is not 0.
    pub redeliveries: BTreeMap<Place, u32>,
    /// Beyond the cursor, but proposed as dead letters: not to be taken.
    pub condemned: BTreeSet<Place>,
    /// Entries whose acknowledgement or burial is proposed and not applied.
    pub acking: u64,
    /// Acknowledged offsets not yet proposed.
    pub acks: AckBatch,
    pub transient: BTreeMap<Place, Transient>,
    /// Bodies that were paged in.
    pub window: BTreeMap<Offset, Bytes>,
    /// Bodies asked for and not here yet.
    pub reading: usize,
    /// Too many reads are out: it asks when one is answered.
    pub waits_to_read: bool,
    /// Could not be read; tried again later.
    pub unreadable: BTreeSet<Place>,
    /// Waits in the list of queues to dispatch.
    pub is_listed: bool,
}

/// Acknowledgements that will share one record.
#[derive(Debug, Default)]
pub(crate) struct AckBatch {
    pub offsets: Vec<Offset>,
    pub answers: Vec<super::pending::AnswerTo>,
}

impl LiveQueue {
    fn new(state: Option<QueueId>) -> Self {
        Self {
            state,
            ready: VecDeque::new(),
            cursor: Place::START,
            behind: BTreeSet::new(),
            redeliveries: BTreeMap::new(),
            condemned: BTreeSet::new(),
            acking: 0,
            acks: AckBatch::default(),
            transient: BTreeMap::new(),
            window: BTreeMap::new(),
            reading: 0,
            waits_to_read: false,
            unreadable: BTreeSet::new(),
            is_listed: false,
        }
    }
}

impl LiveDestination {
    pub(crate) fn new(
        destination: Destination,
        owner: Option<ConnId>,
        state: Option<QueueId>,
    ) -> Self {
        Self {
            destination,
            owner,
            consumers: Vec::new(),
            browsers: 0,
            in_flight: 0,
            coming: 0,
            counts: LiveCounts::default(),
            queue: LiveQueue::new(state),
        }
    }

    /// Nobody would miss it.
    pub(crate) fn is_idle(&self) -> bool {
        self.owner.is_none()
            && self.queue.state.is_none()
            && self.consumers.is_empty()
            && self.browsers == 0
            && self.in_flight == 0
            && self.coming == 0
            && self.queue.transient.is_empty()
    }

    /// With no consumer and nothing out, all that is there is untaken: the exceptions go.
    pub(crate) fn settle(&mut self) {
        if self.consumers.is_empty() && self.in_flight == 0 && self.queue.acking == 0 {
            assert!(
                self.queue.condemned.is_empty(),
                "what is condemned counts as being acked"
            );
            self.queue.cursor = Place::START;
            self.queue.behind.clear();
            self.queue.unreadable.clear();
        }
    }
}

/// All destinations that the master serves, by name and by key.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    slab: Slab<LiveDestination>,
    by_name: BTreeMap<Destination, DestKey>,
    /// By the queue's number in the State.
    by_queue: Vec<Option<DestKey>>,
    /// How many are in `by_queue`.
    linked: usize,
}

impl Destinations {
    pub(crate) fn find(&self, destination: &Destination) -> Option<DestKey> {
        self.by_name.get(destination).copied()
    }

    pub(crate) fn of_queue(&self, queue: QueueId) -> Option<DestKey> {
        self.by_queue.get(queue.index()).copied().flatten()
    }

    pub(crate) fn get(&self, key: DestKey) -> Option<&LiveDestination> {
        self.slab.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: DestKey) -> Option<&mut LiveDestination> {
        self.slab.get_mut(key)
    }

    /// Those without entries in the State.
    pub(crate) fn unlinked(&self) -> usize {
        self.slab.len() - self.linked
    }

    /// Removes those that nobody would miss.
    pub(crate) fn drop_idle(&mut self) {
        let idle = self.slab.iter().filter(|(_, found)| found.is_idle());
        for key in idle.map(|(key, _)| key).collect::<Vec<_>>() {
            self.remove(key);
        }
    }

    /// Ordered by kind and name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DestKey, &LiveDestination)> {
        self.by_name
            .values()
            .filter_map(|key| self.slab.get(*key).map(|found| (*key, found)))
    }

    /// A send is on its way to that destination.
    pub(crate) fn expect_send(&mut self, key: DestKey) {
        if let Some(found) = self.slab.get_mut(key) {
            found.coming += 1;
        }
    }

    /// It has arrived, or will not.
    pub(crate) fn send_ended(&mut self, key: DestKey) {
        if let Some(found) = self.slab.get_mut(key) {
            found.coming -= 1;
        }
    }

    pub(crate) fn insert(&mut self, destination: LiveDestination) -> DestKey {
        let (name, state) = (destination.destination.clone(), destination.queue.state);
        let key = self.slab.insert(destination);
        assert!(
            self.by_name.insert(name, key).is_none(),
            "a destination is made once"
        );
        if let Some(queue) = state {
            self.link(key, queue);
        }
        key
    }

    /// The queue has entries in the State from now on.
    pub(crate) fn link(&mut self, key: DestKey, queue: QueueId) {
        let found = self
            .slab
            .get_mut(key)
            .expect("a queue is linked while it is here");
        found.queue.state = Some(queue);
        if self.by_queue.len() <= queue.index() {
            self.by_queue.resize(queue.index() + 1, None);
        }
        if self.by_queue[queue.index()].replace(key).is_none() {
            self.linked += 1;
        }
    }

    /// Only of those without entries in the State.
    pub(crate) fn remove(&mut self, key: DestKey) -> Option<LiveDestination> {
        let removed = self.slab.remove(key)?;
        assert!(removed.queue.state.is_none(), "a replicated queue stays");
        self.by_name.remove(&removed.destination);
        Some(removed)
    }
}
