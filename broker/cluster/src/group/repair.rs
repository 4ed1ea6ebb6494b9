//! Row 14: a damaged member, and the check that finds damage before anybody reads it.
//!
//! ```text
//!   damage --told, SetAside--> NeedsRepair on disk, log to be set aside --> Restart
//!     --> empty log, no vote --> checkpoint and log from the master --> clean at the master's last
//!         offset asked for after the start
//! ```
//! A log is set aside only at the word of a master that does without it: damaged bytes are never
//! served, but the group is better served by a damaged member than by nobody.

use tandemmq_journal::{LogState, ReadDone, ScrubAt, SetAside};
use tandemmq_model::{Ballot, Now, Offset};

use super::timers::Timer;
use super::{Group, ReadFor};
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

impl Repair {
    pub(super) const fn is_setting_aside(&self) -> bool {
        self.setting_aside.is_some()
    }
}

impl Group {
    // === becoming clean ===

    /// A master with its EpochStart committed tells its last offset: heard after our start, so
    /// nothing that this volume ever acknowledged is beyond it (H25).
    pub(super) fn aim_repair(&mut self, ballot: Ballot, appended: Offset) {
        let stale = self.repair.target.is_none_or(|(of, _)| of != ballot);
        let waits = matches!(self.log_state, LogState::NeedsRepair | LogState::Learner);
        if waits && stale && self.repair.found.is_none() {
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
        let waits = matches!(self.log_state, LogState::NeedsRepair | LogState::Learner);
        let due = waits && self.repair.cleaning.is_none();
        let asked = self.repair.setting_aside.is_some();
        if !due || asked || !reached || ballot != self.promise || !self.promise_is_durable() {
            return;
        }
        // What it acknowledged in older ballots and lost was never committed without being in this
        // master's log: the cut mark says so to those who remember.
        if !mutants::on(Mutant::CleanWithoutCutMark) {
            self.cut_mark = ballot;
        }
        let ticket = self.store_control_as(LogState::Clean);
        self.repair.cleaning = Some(ticket);
    }

    pub(super) fn handle_repair_stored(&mut self, now: Now, ticket: u64) {
        if self.repair.cleaning == Some(ticket) {
            self.repair.cleaning = None;
            self.repair.target = None;
            self.log_state = LogState::Clean;
            self.notice("the log of this member is complete".to_owned());
            self.acked = Offset::ZERO;
            self.acknowledge();
            self.consider_standing(now);
        }
        if self.repair.setting_aside == Some(ticket) {
            self.effects.push_back(Effect::Restart {
                reason: "what cannot be trusted is set aside; the rest comes from the peers"
                    .to_owned(),
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
        if self.repair.setting_aside.is_some() {
            return;
        }
        // A slave says so with its next answer and waits for the master's word (`membership`): until
        // then its log still counts.
        self.hand_over_if_damaged(now);
    }

    /// Also later: nobody may have been in step when it was found, or it became master since.
    pub(super) fn hand_over_if_damaged(&mut self, now: Now) {
        let serves = self.master().is_some_and(|master| master.serving);
        if serves && self.repair.found.is_some() {
            self.hand_over_damaged(now);
        }
    }

    /// What the others are told: a damaged log counts for nothing, though its owner would still
    /// vote if there were no master.
    pub(super) const fn reported_state(&self) -> LogState {
        match self.log_state {
            LogState::Clean if self.repair.found.is_some() => LogState::NeedsRepair,
            state => state,
        }
    }

    /// On the disk before the start that acts on it.
    pub(super) fn set_aside(&mut self, what: SetAside) {
        if what == SetAside::Log {
            self.log_state = LogState::NeedsRepair;
            self.store_control();
        }
        self.abandon_install("this volume is set aside");
        let ticket = self.journal.set_aside(what);
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
