//! Row 1: whom does this member hear?
//!
//! It hears the master of the ballot it promised, or the candidate it promised, until one of:
//! FIN or RST of the link which that process held (a failed dial is no evidence), a heartbeat that
//! says invalid or resigning, a promise to another ballot, or silence for the suspicion time.

use std::time::Duration;

use tandemmq_model::{Ballot, Now, Time};

use super::timers::Timer;
use super::{Group, RoleState};

/// Between the attempts of two members that notice a death at the same moment: two round trips and
/// a Lease call fit.
const RANK_STEP: Duration = Duration::from_millis(25);

/// After its start a member gives its links this long to form before it stands.
const START_DELAY: Duration = Duration::from_millis(100);

/// A member that is not the target of a hand-over leaves the target this much time.
const HANDOVER_ROOM: Duration = Duration::from_millis(800);

/// Somebody in charge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) ballot: Ballot,
    pub(super) at: Time,
}

impl Group {
    /// A sign of life of the owner of the promised ballot.
    pub(super) fn hear(&mut self, now: Now, ballot: Ballot) {
        self.heard = Some(Heard {
            ballot,
            at: now.boot,
        });
        self.timers.stop(Timer::Stand);
        self.timers
            .set(Timer::Suspicion, now.boot + self.timing.suspicion);
        if matches!(self.role, RoleState::Standing(_)) {
            self.role = RoleState::Slave;
            self.timers.stop(Timer::PreVoteEnd);
        }
    }

    /// True while somebody else is in charge, as far as this member can tell.
    pub(super) fn hears_somebody(&self, now: Now) -> bool {
        self.heard.is_some_and(|heard| {
            heard.ballot == self.promise && now.boot.since(heard.at) < self.timing.suspicion
        })
    }

    /// The member of that place has lost its process or its claim.
    pub(super) fn no_longer_hears(&mut self, now: Now, ordinal: u8, _why: &str) {
        if self
            .heard
            .is_some_and(|heard| heard.ballot.member.ordinal == ordinal)
        {
            self.heard = None;
            self.consider_standing(now);
        }
    }

    /// A resigning master names its successor.
    pub(super) fn hear_resigning(&mut self, now: Now, target: u8) {
        self.heard = None;
        let room = if target == self.me.ordinal {
            Duration::ZERO
        } else {
            HANDOVER_ROOM
        };
        self.timers.stop(Timer::Stand);
        if self.may_stand() {
            self.timers.set(Timer::Stand, now.boot + room);
        }
    }

    pub(super) fn may_stand(&self) -> bool {
        matches!(self.role, RoleState::Slave)
            && self.is_clean_voter()
            && self.stays_voter()
            && self.leaving.is_none()
            && self.out_of_group.is_none()
    }

    /// Arms the timer for an attempt when nobody is heard.
    pub(super) fn consider_standing(&mut self, now: Now) {
        if !self.may_stand() {
            return;
        }
        if let Some(heard) = self.heard.filter(|_| self.hears_somebody(now)) {
            self.timers.stop(Timer::Stand);
            self.timers
                .set(Timer::Suspicion, heard.at + self.timing.suspicion);
            return;
        }
        let at = now.boot + self.rank_delay();
        self.timers.set_if_stopped(Timer::Stand, at);
    }

    /// The time for an attempt has come.
    pub(super) fn handle_stand_timer(&mut self, now: Now) {
        if !self.may_stand() || self.hears_somebody(now) {
            return;
        }
        if self.disk_is_stalled(now) {
            self.stand_again(now); // A member whose disk hangs could not even promise itself.
        } else {
            self.begin_standing(now);
        }
    }

    /// After a failed attempt: soon again, later each time, never at the same moment as others.
    pub(super) fn stand_again(&mut self, now: Now) {
        self.attempts = self.attempts.saturating_add(1);
        let most = Duration::from_millis(20 << self.attempts.min(5));
        let wait = self.rng.between(Duration::from_millis(10), most);
        if self.may_stand() {
            self.timers.set(Timer::Stand, now.boot + wait);
        }
    }

    /// A refusal named a higher ballot: stand above it at once (row 17).
    pub(super) fn stand_above(&mut self, now: Now) {
        let wait = self.rng.between(Duration::ZERO, Duration::from_millis(10));
        if self.may_stand() {
            self.timers.set(Timer::Stand, now.boot + wait);
        }
    }

    /// The lowest ordinal that is there goes first, so that two seldom meet at the Lease.
    fn rank_delay(&mut self) -> Duration {
        let before_me = self
            .peers
            .iter()
            .filter(|peer| peer.ordinal < self.me.ordinal && peer.is_heard() && peer.is_sound())
            .count();
        let start = if self.ever_heard_a_peer() {
            Duration::ZERO
        } else {
            START_DELAY
        };
        start
            + RANK_STEP * u32::try_from(before_me).unwrap_or(0)
            + self.rng.between(Duration::ZERO, Duration::from_millis(2))
    }

    fn ever_heard_a_peer(&self) -> bool {
        self.peers.len() == 1 || self.peers.iter().any(|peer| peer.member.is_some())
    }
}
