//! What the clients of a soak share: the plan, the counts, who sent and got what. One thread.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::soak::seen::Seen;

/// The backlog may leave its depth by this share of it, up or down.
const SLACK_SHARE: u64 = 10;

/// The load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Producers, and as many consumers.
    pub(super) clients: u32,
    /// Messages that stay queued.
    pub(super) backlog: u64,
    /// Bytes of a body.
    pub(super) bytes: usize,
}

/// Counts of the whole run and of the time since the last sample.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: Plan,
    acknowledged: Cell<u64>,
    received: Cell<u64>,
    /// Connections lost.
    pub(super) lost: Cell<u64>,
    /// Sends that the broker refused.
    pub(super) refused: Cell<u64>,
    /// Deliveries that came again without saying so.
    pub(super) repeated: Cell<u64>,
    acknowledged_at_sample: Cell<u64>,
    slowest: Cell<Duration>,
    /// Producers send until this turns true; consumers go on until the queue is empty.
    pub(super) draining: Cell<bool>,
    producers: RefCell<Vec<Producer>>,
}

/// What is known of one producer.
#[derive(Debug, Default)]
struct Producer {
    acknowledged: Seen,
    received: Seen,
    /// When its oldest unanswered message was written.
    oldest: Option<Instant>,
}

/// Since the last sample.
pub(super) struct Interval {
    pub(super) acknowledged: u64,
    pub(super) slowest: Duration,
}

/// The whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) acknowledged: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
}

// === impl Shared ===

impl Shared {
    /// Nothing sent yet.
    pub(super) fn new(plan: Plan) -> Self {
        let producers = (0..plan.clients).map(|_| Producer::default());
        Self {
            plan,
            acknowledged: Cell::new(0),
            received: Cell::new(0),
            lost: Cell::new(0),
            refused: Cell::new(0),
            repeated: Cell::new(0),
            acknowledged_at_sample: Cell::new(0),
            slowest: Cell::new(Duration::ZERO),
            draining: Cell::new(false),
            producers: RefCell::new(producers.collect()),
        }
    }

    /// Messages in the queue: acknowledged and not received.
    pub(super) fn depth(&self) -> u64 {
        self.acknowledged.get().saturating_sub(self.received.get())
    }

    /// Producers may send.
    pub(super) fn may_send(&self) -> bool {
        let Plan { backlog, .. } = self.plan;
        !self.draining.get() && self.depth() < backlog + backlog / SLACK_SHARE
    }

    /// Consumers may take.
    pub(super) fn may_take(&self) -> bool {
        let Plan { backlog, .. } = self.plan;
        self.draining.get() || self.depth() > backlog - backlog / SLACK_SHARE
    }

    /// A RECEIPT came, so long after the SEND.
    pub(super) fn acknowledged(&self, producer: usize, number: u64, time: Duration) {
        add(&self.acknowledged, 1);
        self.producers.borrow_mut()[producer]
            .acknowledged
            .add(number);
        self.waited(time);
    }

    /// Somebody waited so long for an answer, whatever it was.
    pub(super) fn waited(&self, time: Duration) {
        self.slowest.set(self.slowest.get().max(time));
    }

    /// When the producer's oldest unanswered message was written.
    pub(super) fn set_oldest(&self, producer: usize, written: Option<Instant>) {
        self.producers.borrow_mut()[producer].oldest = written;
    }

    /// A MESSAGE came.
    pub(super) fn received(&self, producer: usize, number: u64, redelivered: bool) {
        let mut producers = self.producers.borrow_mut();
        let Some(producer) = producers.get_mut(producer) else {
            return;
        };
        if producer.received.add(number) {
            add(&self.received, 1);
        } else if !redelivered {
            add(&self.repeated, 1);
        }
    }

    /// What happened since the last call; sends that still wait count with their age.
    pub(super) fn take_interval(&self) -> Interval {
        for producer in &*self.producers.borrow() {
            if let Some(written) = producer.oldest {
                self.waited(written.elapsed());
            }
        }
        let all = self.acknowledged.get();
        Interval {
            acknowledged: all - self.acknowledged_at_sample.replace(all),
            slowest: self.slowest.take(),
        }
    }

    /// The whole run.
    pub(super) fn totals(&self) -> Totals {
        let producers = self.producers.borrow();
        let sum = |of: fn(&Producer) -> u64| producers.iter().map(of).sum();
        Totals {
            acknowledged: sum(|producer| producer.acknowledged.count()),
            received: sum(|producer| producer.received.count()),
            lost: sum(|producer| producer.acknowledged.missing_in(&producer.received)),
        }
    }
}

/// Counts.
pub(super) fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        Shared::new(Plan {
            clients: 1,
            backlog: 10,
            bytes: 1,
        })
    }

    #[test]
    fn the_backlog_holds_both_sides() {
        let shared = shared();
        assert!(shared.may_send() && !shared.may_take());
        for number in 0..11 {
            shared.acknowledged(0, number, Duration::from_millis(number));
        }
        assert!(!shared.may_send() && shared.may_take());
        shared.draining.set(true);
        assert!(!shared.may_send() && shared.may_take());
        assert_eq!(shared.take_interval().slowest, Duration::from_millis(10));
        assert_eq!(shared.take_interval().acknowledged, 0);
    }

    #[test]
    fn lost_is_what_was_acknowledged_and_never_came() {
        let shared = shared();
        for number in 0..3 {
            shared.acknowledged(0, number, Duration::ZERO);
        }
        shared.received(0, 0, false);
        shared.received(0, 0, true);
        shared.received(0, 1, false);
        shared.received(0, 1, false);
        let totals = shared.totals();
        assert_eq!(
            (totals.acknowledged, totals.received, totals.lost),
            (3, 2, 1)
        );
        assert_eq!(shared.repeated.get(), 1);
    }
}
