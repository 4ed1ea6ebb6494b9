//! All timers of a member: one enum, one table.

use tandemmq_model::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// A candidate or master says that it is there.
    Heartbeat,
    /// The last master heard has been silent for the suspicion time.
    Suspicion,
    /// Try to become master.
    Stand,
    /// Pre-vote answers are waited for no longer.
    PreVoteEnd,
    /// A candidate makes no progress.
    CandidateEnd,
    /// A master renews the Lease.
    Lease,
    /// A blank member looks for a group.
    Found,
    /// The witness table is stored at most a second late.
    Witness,
    /// A hand-over or the end of the process has taken too long.
    Leave,
    /// What was asked of the giver of a checkpoint was not answered.
    Install,
    /// Some more of the disk is to be checked.
    Scrub,
}

const COUNT: usize = 11;

impl Timer {
    const ALL: [Self; COUNT] = [
        Self::Heartbeat,
        Self::Suspicion,
        Self::Stand,
        Self::PreVoteEnd,
        Self::CandidateEnd,
        Self::Lease,
        Self::Found,
        Self::Witness,
        Self::Leave,
        Self::Install,
        Self::Scrub,
    ];
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    at: [Option<Time>; COUNT],
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.at[timer as usize] = Some(at);
    }

    /// Sets it unless it is running.
    pub(super) fn set_if_stopped(&mut self, timer: Timer, at: Time) {
        self.at[timer as usize].get_or_insert(at);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = None;
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Time> {
        self.at[timer as usize]
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.at.iter().flatten().min().copied()
    }

    /// Stops and returns one timer that is due.
    pub(super) fn pop_expired(&mut self, now: Time) -> Option<Timer> {
        let due = Timer::ALL
            .into_iter()
            .find(|timer| self.get(*timer).is_some_and(|at| at <= now));
        if let Some(timer) = due {
            self.stop(timer);
        }
        due
    }
}
