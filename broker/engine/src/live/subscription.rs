//! One subscription and what is out to it.
//!
//! ```text
//!  delivered ──Written──> written ──Ack──> gone          (Client, Individual)
//!      │                     │
//!      ├──Written──> gone    └──Ack in a transaction──> in it ──abort──> written
//!      │  (Auto, topic Auto, browser)
//!      └──NotDelivered──> back to its place, not marked
//! ```
//! Only what is delivered or written takes credit: `prefetch` bounds it, except after an abort.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tandemmq_model::{AckMode, ConnId, Offset, SubscriptionId};

use super::destination::{DestKey, Place};
use super::slab::Key;
use super::topics::TopicMessage;

pub(crate) type SubKey = Key<Subscription>;

#[derive(Debug)]
pub(crate) struct Subscription {
    pub conn: ConnId,
    pub id: SubscriptionId,
    pub destination: DestKey,
    pub ack_mode: AckMode,
    pub prefetch: usize,
    pub source: Source,
    pub unacked: Unacked,
    /// In the ring of its destination, or in its connection's list of those that wait for the
    /// socket: to be listed nowhere else.
    pub is_listed: bool,
}

/// Where its messages come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Competes for the messages of a queue.
    Queue,
    /// Gets its own copy of each message of a topic; these wait for credit.
    Topic(VecDeque<Arc<TopicMessage>>),
    /// Looks at the messages of a queue.
    Browser(Browse),
}

/// How far a browser is.
#[derive(Debug)]
pub(crate) struct Browse {
    pub cursor: Place,
    /// The last place when it subscribed.
    pub bound: Place,
    /// Below the cursor, but handed back unwritten.
    pub behind: BTreeSet<Place>,
    /// Bodies that were paged in; an empty one could not be read.
    pub window: BTreeMap<Offset, Bytes>,
    pub reading: usize,
    /// Too many reads are out: it asks when one is answered.
    pub waits_to_read: bool,
    pub has_ended: bool,
}

impl Subscription {
    pub(crate) fn has_credit(&self) -> bool {
        self.unacked.out < self.prefetch
    }
}

/// What an unacknowledged delivery was made of.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// A place in the queue.
    Place(Place),
    /// A topic's message and its count in the epoch.
    Topic(Arc<TopicMessage>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Out,
    /// Acknowledged in a transaction that is open.
    InTransaction,
    Gone,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    pub delivery: u64,
    pub held: Held,
    pub bytes: u32,
    pub standing: Standing,
}

/// Deliveries in the order of dispatch. One that is taken out of the middle leaves a mark; marks
/// go when they are first in line or outnumber the rest.
#[derive(Debug, Default)]
pub(crate) struct Unacked {
    items: VecDeque<InFlight>,
    gone: usize,
    /// Those that take credit.
    pub out: usize,
    /// The last delivery made.
    last: u64,
    /// Deliveries up to this one were written or handed back.
    written: u64,
}

impl Unacked {
    /// The number of the new delivery.
    pub(crate) fn push(&mut self, held: Held, bytes: u32) -> u64 {
        self.last += 1;
        self.out += 1;
        let delivery = self.last;
        self.items.push_back(InFlight {
            delivery,
            held,
            bytes,
            standing: Standing::Out,
        });
        delivery
    }

    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    pub(crate) const fn is_written(&self, delivery: u64) -> bool {
        delivery <= self.written
    }

    fn index(&self, delivery: u64) -> Option<usize> {
        let index = self.items.partition_point(|item| item.delivery < delivery);
        self.items
            .get(index)
            .is_some_and(|item| item.delivery == delivery)
            .then_some(index)
    }

    /// What that delivery is, if it is out and in no transaction.
    pub(crate) fn find_out(&self, delivery: u64) -> Option<&InFlight> {
        let item = &self.items[self.index(delivery)?];
        (item.standing == Standing::Out).then_some(item)
    }

    /// All that are out, in order.
    pub(crate) fn iter_out(&self) -> impl Iterator<Item = &InFlight> {
        self.items
            .iter()
            .filter(|item| item.standing == Standing::Out)
    }

    /// Takes out a delivery that is `Out`.
    pub(crate) fn take(&mut self, delivery: u64) -> Option<InFlight> {
        self.take_standing(delivery, Standing::Out)
    }

    /// Takes out a delivery that was acknowledged in a transaction.
    pub(crate) fn take_from_transaction(&mut self, delivery: u64) -> Option<InFlight> {
        self.take_standing(delivery, Standing::InTransaction)
    }

    fn take_standing(&mut self, delivery: u64, standing: Standing) -> Option<InFlight> {
        let index = self.index(delivery)?;
        let item = &mut self.items[index];
        if item.standing != standing {
            return None;
        }
        let taken = InFlight {
            delivery,
            held: item.held.clone(),
            bytes: item.bytes,
            standing,
        };
        // The mark must not keep a topic's message alive.
        item.held = Held::Place(Place::START);
        item.standing = Standing::Gone;
        self.gone += 1;
        if standing == Standing::Out {
            self.out -= 1;
        }
        self.sweep();
        Some(taken)
    }

    /// Moves a delivery that is out into a transaction.
    pub(crate) fn enter_transaction(&mut self, delivery: u64) {
        let index = self.index(delivery).expect("it was found just now");
        assert_eq!(
            self.items[index].standing,
            Standing::Out,
            "one acknowledgement each"
        );
        self.items[index].standing = Standing::InTransaction;
        self.out -= 1;
    }

    /// The transaction is aborted: the delivery is out again.
    pub(crate) fn leave_transaction(&mut self, delivery: u64) {
        let index = self
            .index(delivery)
            .expect("what is in a transaction stays listed");
        assert_eq!(
            self.items[index].standing,
            Standing::InTransaction,
            "it entered once"
        );
        self.items[index].standing = Standing::Out;
        self.out += 1;
    }

    /// All up to that delivery were handed to the socket. Returns the bytes that the socket took
    /// and remembers them as written.
    pub(crate) fn mark_written(&mut self, delivery: u64) -> u64 {
        let (from, to) = (self.written, delivery.min(self.last));
        if to <= from {
            return 0;
        }
        self.written = to;
        let start = self.items.partition_point(|item| item.delivery <= from);
        let taken = self
            .items
            .range(start..)
            .take_while(|item| item.delivery <= to);
        taken
            .filter(|item| item.standing != Standing::Gone)
            .map(|item| u64::from(item.bytes))
            .sum()
    }

    /// Takes out the first delivery if it is out and not beyond that one.
    pub(crate) fn take_front(&mut self, up_to: u64) -> Option<InFlight> {
        self.sweep();
        let first = self.items.front()?;
        if first.delivery > up_to || first.standing != Standing::Out {
            return None;
        }
        self.out -= 1;
        let taken = self.items.pop_front();
        self.sweep();
        taken
    }

    /// Everything that is left, in order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = InFlight> {
        self.out = 0;
        std::mem::take(&mut self.items)
            .into_iter()
            .filter(|item| item.standing != Standing::Gone)
    }

    fn sweep(&mut self) {
        while self
            .items
            .front()
            .is_some_and(|item| item.standing == Standing::Gone)
        {
            self.items.pop_front();
            self.gone -= 1;
        }
        if self.gone > 16 && self.gone > self.items.len() / 2 {
            self.items.retain(|item| item.standing != Standing::Gone);
            self.gone = 0;
        }
    }
}
