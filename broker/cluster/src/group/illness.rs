//! A disk that is full or slow, while others are well: the master hands over (row 17).
//!
//! Only after a while, and to a member in step whose disk is well, so that members that fill up at
//! the same time do not pass the reign to and fro. A disk that does nothing at all is another matter: its master stands down at once (H13).

use std::time::Duration;

use tandemmq_journal::Space;
use tandemmq_model::{Now, Time};

use super::Group;

/// An operation that takes longer is a slow one: a hundred times a good fdatasync.
const SLOW_OPERATION: Duration = Duration::from_secs(1);

/// Only slow operations for so long: the disk is slow, it did not hiccup.
const SLOW_FOR: Duration = Duration::from_secs(10);

/// Ill for so long before the reign changes: consumers may make room meanwhile, and the others may
/// be about to say the same.
const ILL_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Illness {
    /// All operations since then were slow.
    slow_since: Option<Time>,
    /// The master has been ill since then.
    ill_since: Option<Time>,
}

impl Illness {
    /// The operation that began then is done.
    pub(super) fn learn(&mut self, now: Now, began: Option<Time>) {
        let slow = began.is_some_and(|began| now.boot.since(began) > SLOW_OPERATION);
        if slow {
            self.slow_since.get_or_insert(now.boot);
        } else {
            self.slow_since = None;
        }
    }

    /// 0: well; the greater the worse.
    pub(super) fn degree(&self, now: Now, space: Space) -> u8 {
        let slow = self
            .slow_since
            .is_some_and(|since| now.boot.since(since) > SLOW_FOR);
        match space {
            Space::OnlyElection => 3,
            Space::RefuseProducers => 2,
            Space::Open => u8::from(slow),
        }
    }
}

impl Group {
    pub(super) fn hand_over_if_ill(&mut self, now: Now) {
        if self.illness.degree(now, self.journal.space()) == 0 {
            self.illness.ill_since = None;
            return;
        }
        let since = *self.illness.ill_since.get_or_insert(now.boot);
        let serves = self.master().is_some_and(|master| master.serving);
        if serves && now.boot.since(since) > ILL_FOR {
            self.hand_over_ill(now);
        }
    }
}
