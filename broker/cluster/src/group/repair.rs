//! Row 14: a damaged member, and the check that finds damage before anybody reads it.
//!
//! ```text
//!   damage --> NeedsRepair on disk, log to be set aside --> Restart
//!     --> empty log, no vote --> checkpoint and log from the master --> clean at the master's last
//!         offset asked for after the start
//! ```
//! A log is set aside only while somebody else is in charge, or takes over: damaged bytes are never
//! served, but all others are better served by a damaged member than by nobody.

use tandemmq_journal::{LogState, ReadDone, ScrubAt, SetAside};
use tandemmq_model::{Ballot, Now, Offset};

use super::timers::Timer;
use super::{Group, ReadFor, RoleState};
use crate::Effect;
use crate::mutants::{self, Mutant};

#[derive(Debug, Default)]
pub(super) struct Repair {
    /// Clean once match and synced reach this offset in this ballot.
    target: Option<(Ballot, Offset)>,
    /// The ticket of the control file that says clean.
    cleaning: Option<u64>,
    /// The ticket of the mark that sets the log aside.
    setting_aside: Option<u64>,
    /// What was found, while the log cannot be set aside.
    pub(super) found: Option<String>,
    scrub_at: ScrubAt,
    /// A check is out.
    pub(super) reading: bool,
    /// Whole checks of the disk since the start.
    pub(super) passes: u64,
}

impl Group {
    // === becoming clean ===

    /// A master with its EpochStart committed tells its last offset: heard after our start, so
    /// nothing that this volume ever acknowledged is beyond it (H25).
    pub(super) fn aim_repair(&mut self, ballot: Ballot, appended: Offset) {
        let stale = self.repair.target.is_none_or(|(of, _)| of != ballot);
        if self.log_state == LogState::NeedsRepair && stale {
            self.repair.target = Some((ballot, appended));
        }
    }

    pub(super) fn consider_clean(&mut self, _now: Now) {
        let early = mutants::on(Mutant::CleanAtCommitted);
        let Some((ballot, offset)) = self.repair.target else {
            return;
        };
        let offset = if early { self.committed } else { offset };
        let reached = self.matched.min(self.journal.synced()) >= offset;
        let due = self.log_state == LogState::NeedsRepair && self.repair.cleaning.is_none();
        let asked = self.repair.setting_aside.is_some();
        if !due || asked || !reached || ballot != self.promise || !self.promise_is_durable() {
            return;
        }
        // What it acknowledged in older ballots and lost was never committed without being in this
        // master's log: the cut mark says so to those who remember.
        self.cut_mark = ballot;
        let ticket = self.store_control_as(LogState::Clean);
        self.repair.cleaning = Some(ticket);
    }

    pub(super) fn handle_repair_stored(&mut self, now: Now, ticket: u64) {
        if self.repair.cleaning == Some(ticket) {
            self.repair.cleaning = None;
            self.repair.target = None;
            self.log_state = LogState::Clean;
            self.notice("this member is repaired and votes again".to_owned());
            self.acked = Offset::ZERO;
            self.acknowledge();
            self.consider_standing(now);
        }
        if self.repair.setting_aside == Some(ticket) {
            self.effects.push_back(Effect::Restart {
                reason: "the damaged log is set aside, to be taken from the peers".to_owned(),
            });
        }
    }

    // === damage ===

    /// The disk does not hold what was written to it.
    pub(crate) fn handle_damage(&mut self, now: Now, text: &str) {
        if self.repair.found.as_deref() != Some(text) {
            self.notice(format!("damaged: {text}"));
            self.repair.found = Some(text.to_owned());
        }
        if self.repair.setting_aside.is_some() || self.log_state == LogState::DataLoss {
            return;
        }
        match &self.role {
            RoleState::Master(_) => self.hand_over_damaged(now),
            RoleState::Slave | RoleState::Standing(_) if self.hears_somebody(now) => {
                self.set_log_aside();
            }
            _ => {} // Found again by the next check.
        }
    }

    /// No vote from now on; on the disk before the start that acts on it.
    pub(super) fn set_log_aside(&mut self) {
        self.log_state = LogState::NeedsRepair;
        self.store_control();
        self.abandon_install("this volume is damaged");
        let ticket = self.journal.set_aside(SetAside::Log);
        self.repair.setting_aside = Some(ticket);
    }

    // === the check ===

    pub(super) fn begin_scrubbing(&mut self, now: Now) {
        self.timers.set(Timer::Scrub, now.boot + self.timing.scrub);
    }

    pub(super) fn handle_scrub_timer(&mut self, now: Now) {
        self.begin_scrubbing(now);
        if self.repair.reading || self.journal.appended() == Offset::ZERO {
            return;
        }
        self.repair.reading = true;
        let op = self.journal.read_scrub(self.repair.scrub_at);
        self.start_read(op, ReadFor::Scrub);
    }

    pub(super) fn handle_scrubbed(&mut self, now: Now, done: &ReadDone) {
        self.repair.reading = false;
        match done {
            ReadDone::Scrubbed(at) => {
                self.repair.passes += u64::from(*at == ScrubAt::Start);
                self.repair.scrub_at = *at;
            }
            ReadDone::Damaged(text) => {
                self.repair.scrub_at = ScrubAt::Start;
                self.handle_damage(now, text);
            }
            _ => self.repair.scrub_at = ScrubAt::Start,
        }
    }
}
