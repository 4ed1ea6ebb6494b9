//! The two clocks, read here and nowhere else.
//!
//! Every timer of the machines counts on the boot clock, which goes on through a suspend. tokio's
//! timers do not: after a suspend a task first looks at this clock, then trusts its timer.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tandemmq_model::{Now, Time};
use tokio::time::{Instant, Sleep};

/// Both clocks now.
pub(crate) fn now() -> Now {
    let wall = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        boot: boot(),
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The boot clock now.
pub(crate) fn boot() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    Time::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// A timer of one task on the boot clock.
///
/// It may ring early: then its owner looks at the clock and waits again. A moment that moves later
/// costs nothing, so a deadline that every message pushes back is cheap.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends; none: it has, or was never used.
    set_for: Option<Time>,
    sleep_max: Duration,
}

impl Alarm {
    /// A timer that rings at least every `sleep_max` while it is waited for, so that after a
    /// suspend it is late by no more than that.
    pub(crate) fn new(sleep_max: Duration) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            set_for: None,
            sleep_max,
        }
    }

    /// Waits for that moment or an earlier one; for ever when there is none. Cancel-safe.
    pub(crate) async fn wait(&mut self, deadline: Option<Time>) {
        let Some(deadline) = deadline else {
            return std::future::pending().await;
        };
        if self.set_for.is_none_or(|set_for| set_for > deadline) {
            let pause = deadline.since(boot()).min(self.sleep_max);
            self.sleep.as_mut().reset(Instant::now() + pause);
            self.set_for = Some(deadline);
        }
        self.sleep.as_mut().await;
        self.set_for = None;
    }
}
