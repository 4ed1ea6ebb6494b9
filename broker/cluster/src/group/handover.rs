//! Row 17, the planned half: hand-over on SIGTERM and by `promote`.
//!
//! ```text
//!   Matching --target has everything, all committed--> Releasing --Lease answered--> resign
//!     --> slave that stays a voter until an EpochStart of a higher epoch is committed --> Exit
//! ```
//! Bounded in time; without a target the master steps down at once. While it leaves, nothing is
//! accepted or dispatched.

use tandemmq_model::{Epoch, Now};

use super::timers::Timer;
use super::{Group, RoleState};
use crate::Effect;

/// Why a master leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    /// SIGTERM: the process ends afterwards.
    Terminating,
    /// An operator wants another master.
    Promoting,
    /// Its own log is damaged.
    Damaged,
    /// Its disk is full or slow.
    Ill,
}

/// How far a hand-over is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Waiting until the target holds the whole log and all of it is committed.
    Matching,
    /// Waiting for the Lease to be released.
    Releasing,
    /// A slave again; waits for a successor of a higher epoch than this.
    WaitingForSuccessor(Epoch),
}

/// A hand-over, or the end of the process, under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    because: Because,
    step: Step,
    target: Option<u8>,
}

impl Group {
    /// SIGTERM.
    pub(crate) fn handle_shutdown(&mut self, now: Now) {
        let is_master = matches!(self.role, RoleState::Master(_));
        if !is_master {
            self.step_down(now, "this broker is terminating");
            self.effects.push_back(Effect::Exit);
            return;
        }
        let target = self.best_target();
        self.leave(now, Because::Terminating, target);
    }

    /// Any member in step will do; a terminating one is no target.
    fn best_target(&self) -> Option<u8> {
        let master = self.master()?;
        let fit = |ordinal: &u8| {
            self.peer(*ordinal)
                .is_some_and(|peer| self.may_count(peer) && !peer.terminating)
        };
        let in_step = master.progress.iter().filter(|(ordinal, _)| fit(ordinal));
        in_step
            .max_by_key(|(_, progress)| progress.matched)
            .map(|(ordinal, _)| *ordinal)
    }

    /// A damaged master serves until somebody in step can take over, then it is repaired.
    pub(super) fn hand_over_damaged(&mut self, now: Now) {
        let target = self
            .best_target()
            .filter(|target| self.is_in_step(now, *target));
        if self.leaving.is_none() && target.is_some() {
            self.notice("handing over: the log of this broker is damaged".to_owned());
            self.leave(now, Because::Damaged, target);
        }
    }

    /// A master with an ill disk hands over to a member in step whose disk is well.
    pub(super) fn hand_over_ill(&mut self, now: Now) {
        let well = |ordinal: &u8| self.peer(*ordinal).is_some_and(|peer| peer.illness == 0);
        let target = self.best_target().filter(well);
        let target = target.filter(|target| self.is_in_step(now, *target));
        if self.leaving.is_none() && target.is_some() {
            self.notice("handing over: the disk of this broker is full or slow".to_owned());
            self.leave(now, Because::Ill, target);
        }
    }

    /// `promote`: refused while any voter is out of step.
    pub(super) fn consider_promote_to(&mut self, now: Now, name: &str) {
        if name.is_empty() || *name == *self.name || self.leaving.is_some() {
            return;
        }
        let target = self
            .peers
            .iter()
            .find(|peer| peer.name == name)
            .map(|peer| peer.ordinal);
        let behind = self.first_out_of_step(now);
        match (target, behind) {
            (None, _) => self.notice(format!("promote: this group has no broker {name}")),
            (Some(_), Some(behind)) => {
                self.notice(format!("promote {name} refused: {behind} is out of step"));
            }
            (Some(target), None) => {
                self.notice(format!("handing over to {name} as asked"));
                self.leave(now, Because::Promoting, Some(target));
            }
        }
    }

    fn first_out_of_step(&self, now: Now) -> Option<String> {
        let others = self.others();
        let out = others
            .into_iter()
            .find(|ordinal| !self.is_in_step(now, *ordinal))?;
        self.peer(out).map(|peer| peer.name.to_string())
    }

    /// Linked, sound, and no further behind than what is on its way now.
    pub(super) fn is_in_step(&self, now: Now, ordinal: u8) -> bool {
        let Some(progress) = self.master().and_then(|m| m.progress.get(&ordinal)) else {
            return false;
        };
        let moves = progress.matched == self.journal.appended()
            || progress.is_streaming() && progress.progressed_within(now, self.timing.suspicion);
        moves && self.peer(ordinal).is_some_and(|peer| self.may_count(peer))
    }

    /// A voter's own volume, linked both ways, that nobody accuses and nothing is to replace.
    fn may_count(&self, peer: &super::Peer) -> bool {
        let voters = self.voters.as_ref();
        let stays = peer
            .member
            .is_some_and(|m| voters.is_some_and(|v| v.stays(m.incarnation)));
        peer.outbound && peer.is_heard() && peer.is_sound() && stays
    }

    fn leave(&mut self, now: Now, because: Because, target: Option<u8>) {
        self.leaving = Some(Leaving {
            because,
            step: Step::Matching,
            target,
        });
        self.timers
            .set(Timer::Leave, now.boot + self.timing.handover_max);
        if target.is_none() {
            return self.resign(now, "terminating, no other broker is in step");
        }
        self.check_leaving(now);
    }

    /// The ordinal that heartbeats name while we resign.
    pub(super) fn named_successor(&self) -> Option<u8> {
        self.leaving
            .filter(|leaving| leaving.step != Step::Matching)
            .and_then(|l| l.target)
    }

    pub(super) fn successor_name(&self) -> String {
        let target = self.leaving.and_then(|leaving| leaving.target);
        let peer = target.and_then(|ordinal| self.peer(ordinal));
        peer.map_or_else(String::new, |peer| peer.name.to_string())
    }

    /// Something moved: is the next step due?
    pub(super) fn check_leaving(&mut self, now: Now) {
        let Some(leaving) = self.leaving else { return };
        match leaving.step {
            Step::Matching if self.target_has_everything(leaving.target) => {
                self.leaving = Some(Leaving {
                    step: Step::Releasing,
                    ..leaving
                });
                self.release_lease(now);
                if !self.lease_call_is_out() {
                    self.handle_released(now);
                }
            }
            Step::WaitingForSuccessor(epoch) => {
                let reigns = self
                    .last_master
                    .is_some_and(|(reigning, _)| reigning > epoch);
                // With nobody left to vote with, waiting for a successor is waiting for nothing.
                let alone = !self.peers.iter().any(super::Peer::is_heard);
                if reigns || alone {
                    self.finish_leaving();
                }
            }
            Step::Matching if !self.target_is_there(leaving.target) => self.aim_again(now, leaving),
            Step::Matching | Step::Releasing => {}
        }
    }

    fn target_is_there(&self, target: Option<u8>) -> bool {
        target
            .and_then(|ordinal| self.peer(ordinal))
            .is_some_and(|peer| self.may_count(peer))
    }

    /// The target went away before it had everything: another one, or none.
    fn aim_again(&mut self, now: Now, leaving: Leaving) {
        match (leaving.because, self.best_target()) {
            (Because::Terminating, Some(target)) => {
                self.leaving = Some(Leaving {
                    target: Some(target),
                    ..leaving
                });
            }
            (Because::Terminating, None) => {
                self.leaving = Some(Leaving {
                    target: None,
                    ..leaving
                });
                self.resign(now, "terminating, no other broker is in step");
            }
            (Because::Promoting | Because::Damaged | Because::Ill, _) => {
                self.leaving = None;
                self.timers.stop(Timer::Leave);
                self.notice("the target of the hand-over went away: staying master".to_owned());
            }
        }
    }

    fn target_has_everything(&self, target: Option<u8>) -> bool {
        let appended = self.journal.appended();
        let progress = self.master().and_then(|m| m.progress.get(&target?));
        progress.is_some_and(|progress| progress.matched == appended) && self.committed == appended
    }

    /// The Lease is released, or could not be: either way the master goes.
    pub(super) fn handle_released(&mut self, now: Now) {
        if self
            .leaving
            .is_some_and(|leaving| leaving.step == Step::Releasing)
        {
            self.resign(now, "handed over");
        }
    }

    fn resign(&mut self, now: Now, reason: &str) {
        let Some(leaving) = self.leaving else { return };
        let epoch = self.promise.epoch;
        if leaving.target.is_none() {
            self.step_down(now, reason);
            self.release_lease(now);
            return self.finish_leaving();
        }
        self.leaving = Some(Leaving {
            step: Step::Releasing,
            ..leaving
        });
        self.send_heartbeats(now); // Says who the successor is.
        self.leaving = Some(Leaving {
            step: Step::WaitingForSuccessor(epoch),
            ..leaving
        });
        self.step_down(now, reason);
        // The last link may have gone before this step: then nothing more would wake it up.
        self.check_leaving(now);
    }

    fn finish_leaving(&mut self) {
        let Some(leaving) = self.leaving.take() else {
            return;
        };
        self.timers.stop(Timer::Leave);
        match leaving.because {
            Because::Terminating => {
                self.leaving = Some(leaving); // It stays no target, whatever happens now.
                self.effects.push_back(Effect::Exit);
            }
            // A damaged one is told by its successor to set its log aside.
            Because::Promoting | Because::Damaged | Because::Ill => {}
        }
    }

    /// The time for it has run out.
    pub(super) fn handle_leave_timer(&mut self, now: Now) {
        let Some(leaving) = self.leaving else { return };
        if leaving.step == Step::Matching && leaving.because != Because::Terminating {
            self.leaving = None;
            self.notice("the hand-over took too long: this broker stays master".to_owned());
            return;
        }
        if matches!(self.role, RoleState::Master(_)) {
            self.resign(now, "the hand-over took too long");
        }
        self.finish_leaving();
        self.consider_standing(now);
    }
}
