//! The two clocks, read here and nowhere else.
//!
//! Every timer of the machines counts on the boot clock, which goes on through a suspend. tokio's
//! timers do not: after a suspend a task first looks at this clock, then trusts its timer.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tandemmq_model::{Now, Time};

/// The longest sleep between two looks at the clock. After a suspend a timer is late by at most
/// this much.
const SLEEP_MAX: Duration = Duration::from_secs(1);

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

/// Sleeps until that moment, or for a while when it is far off; the caller looks at the clock
/// again either way. Never returns for `None`.
pub(crate) async fn sleep_until(deadline: Option<Time>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(boot()).min(SLEEP_MAX)).await,
        None => std::future::pending().await,
    }
}
