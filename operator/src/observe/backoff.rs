//! How long a watch waits before it is tried again.
//!
//! Not the library's 30 s and up: after an API server that was away for minutes the operator would lead
//! for up to a minute with stale copies, and the status must be true within 5 s of a change. One try
//! every two seconds for each kind is what the leader's Lease costs as well.

use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(2);

/// The pauses of one watch: doubled from try to try, up to two seconds.
#[derive(Debug)]
pub struct WatchBackoff {
    next: Duration,
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        Some(pause)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_never_away_for_longer_than_the_status_may_be_wrong() {
        let mut backoff = WatchBackoff::default();
        let pauses: Vec<Duration> = backoff.by_ref().take(100).collect();
        assert!(pauses.iter().all(|p| *p <= Duration::from_secs(2)));
        assert!(pauses.windows(2).all(|w| w[0] <= w[1]));
        backoff.reset();
        assert_eq!(backoff.next(), Some(FIRST));
    }
}
