//! The status as others may read it: a picture made now and then, not asked of the machine.
//!
//! `NodeMachine::status` walks the destinations, so a picture is made at most every 100 ms, and
//! less often when making it is expensive.

use std::sync::Arc;
use std::time::Duration;

use tandemmq_cluster::{NodeMachine, Status};
use tandemmq_model::Time;
use tokio::sync::watch;

use super::clock;
use super::ports::Ports;
use crate::metrics::Metrics;

/// Between two pictures. A reader polls every second or two; people's eyes need no more.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// A picture may take this share of the task's time (1 in 50): with a hundred thousand
/// destinations it is made less often.
const COST_SHARE: u32 = 50;

/// What readers see; none before the first picture.
pub(crate) type StatusReader = watch::Receiver<Option<Arc<Status>>>;

/// Makes the pictures.
pub(crate) struct Publisher {
    status: watch::Sender<Option<Arc<Status>>>,
    metrics: Arc<Metrics>,
    next: Time,
}

// === impl Publisher ===

impl Publisher {
    /// The publisher and what its readers hold.
    pub(crate) fn new(metrics: Arc<Metrics>) -> (Self, StatusReader) {
        let (status, reader) = watch::channel(None);
        (
            Self {
                status,
                metrics,
                next: Time::ZERO,
            },
            reader,
        )
    }

    /// When the next picture is due.
    pub(crate) const fn deadline(&self) -> Time {
        self.next
    }

    /// Called once a turn.
    pub(crate) fn turn(&mut self, now: Time, machine: &NodeMachine, ports: &Ports) {
        self.metrics.set_turned_at(now);
        if now < self.next {
            return;
        }
        self.metrics.connections.set(i64::from(ports.established()));
        self.status.send_replace(Some(Arc::new(machine.status())));
        let done = clock::boot();
        self.next = done + INTERVAL_MIN.max(done.since(now) * COST_SHARE);
    }
}
