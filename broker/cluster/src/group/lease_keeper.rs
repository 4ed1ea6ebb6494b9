//! Calls of the Lease: one at a time, each answer matched to its question.
//!
//! A reigning master renews the Lease every third of its duration, and writes itself back when it
//! finds it empty or in other hands; but it touches it only while a quorum answers its ballot, and
//! never over a `master_epoch` above its own: that is a reason to look at the peers, who refuse if
//! there is something to it.

use std::time::Duration;

use tandemmq_model::Now;

use super::Group;
use super::standing::EPOCH_JUMP_MAX;
use super::timers::Timer;
use crate::lease::{Lease, LeaseAnswer, LeaseRecord, LeaseRequest};
use crate::{Effect, LeaseRequestId};

/// After a call that failed the master tries again this soon.
const RETRY: Duration = Duration::from_millis(500);

/// What a call is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseCall {
    StandRead,
    StandSwap,
    KeepRead,
    KeepSwap,
    /// A resigning master lets go, naming its successor if it has one.
    Release,
    FoundRead,
    FoundPropose,
    FoundConfirm,
    FoundClear,
}

#[derive(Debug, Default)]
pub(super) struct LeaseCalls {
    count: u64,
    pending: Option<(LeaseRequestId, LeaseCall)>,
    /// As the last answer showed it.
    pub(super) last: Option<Lease>,
    /// Answered `Unavailable` or not at all, last time.
    pub(super) away: bool,
}

impl Group {
    /// `<name>_<incarnation, or the pod's UID>_<boot nonce>`.
    pub(super) fn holder_name(&self) -> String {
        match &self.holder {
            Some(holder) => format!("{}_{holder}_{}", self.name, self.boot),
            None => format!("{}_{}_{}", self.name, self.me.incarnation, self.boot),
        }
    }

    /// A new call takes the place of one that is out; the older answer will not be looked at.
    pub(super) fn call_lease(&mut self, _now: Now, call: LeaseCall, request: LeaseRequest) {
        self.lease.count += 1;
        let id = LeaseRequestId(self.lease.count);
        self.lease.pending = Some((id, call));
        self.effects.push_back(Effect::Lease(id, request));
    }

    pub(crate) fn handle_lease(&mut self, now: Now, id: LeaseRequestId, answer: LeaseAnswer) {
        let Some((_, call)) = self.lease.pending.take_if(|(pending, _)| *pending == id) else {
            return;
        };
        self.lease.away = matches!(answer, LeaseAnswer::Unavailable(_) | LeaseAnswer::Unknown);
        if let LeaseAnswer::Ok(lease) = &answer {
            self.lease.last = Some(lease.clone());
        }
        match (call, answer) {
            (LeaseCall::StandRead, LeaseAnswer::Ok(lease)) => self.ask_pre_votes(now, lease),
            (LeaseCall::StandSwap, LeaseAnswer::Ok(_)) => self.begin_candidacy(now),
            // Unknown may have been done: a new pre-vote reads what is there.
            (LeaseCall::StandRead | LeaseCall::StandSwap, _) => self.give_up_standing(now),
            (LeaseCall::KeepRead, LeaseAnswer::Ok(lease)) => self.keep_lease(now, lease),
            (LeaseCall::KeepSwap, LeaseAnswer::Ok(_)) => {}
            (LeaseCall::KeepSwap, LeaseAnswer::Conflict) => self.read_lease_to_keep(now),
            (LeaseCall::KeepRead | LeaseCall::KeepSwap, _) => {
                self.timers.set(Timer::Lease, now.boot + RETRY);
            }
            (LeaseCall::Release, _) => self.handle_released(now),
            (call, answer) => self.handle_founding_answer(now, &call, answer),
        }
    }

    /// A third of the duration has passed.
    pub(super) fn handle_lease_timer(&mut self, now: Now) {
        if self.master().is_none() {
            return;
        }
        self.timers
            .set(Timer::Lease, now.boot + self.timing.lease_duration / 3);
        if !self.is_valid_master(now) {
            return;
        }
        match self.lease.last.clone().filter(|_| !self.lease.away) {
            Some(lease) => self.keep_lease(now, lease),
            None => self.read_lease_to_keep(now),
        }
    }

    fn read_lease_to_keep(&mut self, now: Now) {
        if self.is_valid_master(now) {
            self.call_lease(now, LeaseCall::KeepRead, LeaseRequest::Read);
        }
    }

    fn keep_lease(&mut self, now: Now, lease: Lease) {
        if !self.is_valid_master(now) {
            return;
        }
        let Some(master) = self.master() else { return };
        let (own, serving) = (master.ballot.epoch.0, master.serving);
        let jump = |epoch: u64| epoch > own.saturating_add(EPOCH_JUMP_MAX);
        if lease.record.master_epoch > own && !jump(lease.record.master_epoch) {
            let theirs = lease.record.master_epoch;
            self.notice(format!(
                "the Lease names a master of epoch {theirs}, ours is {own}"
            ));
            return;
        }
        if lease
            .record
            .group
            .as_ref()
            .is_some_and(|group| Some(group.id) != self.group_id())
        {
            self.notice("the Lease belongs to another group now: not touched".to_owned());
            return;
        }
        self.consider_promote_to(now, &lease.record.promote_to);
        if self.leaving.is_some() {
            return; // Letting go writes the Lease next, nobody else.
        }
        let epoch = if jump(lease.record.epoch) {
            own
        } else {
            lease.record.epoch.max(own)
        };
        let kept = LeaseRecord {
            holder: self.holder_name(),
            renewed_ms: now.wall_ms,
            epoch,
            master_epoch: if serving {
                own
            } else {
                lease.record.master_epoch.min(own)
            },
            master_address: if serving {
                self.client_address.to_string()
            } else {
                lease.record.master_address.clone()
            },
            handover_to: String::new(),
            promote_to: String::new(),
            group_proposal: None,
            group: self.journal.identity().group.clone(),
        };
        let swap = LeaseRequest::Swap {
            uid: lease.uid,
            revision: lease.revision,
            record: kept,
        };
        self.call_lease(now, LeaseCall::KeepSwap, swap);
    }

    pub(super) fn lease_call_is_out(&self) -> bool {
        self.lease.pending.is_some()
    }

    /// Lets go of the Lease if it is ours, as far as we know: a courtesy to watchers.
    pub(super) fn release_lease(&mut self, now: Now) {
        let holder = self.holder_name();
        let Some(lease) = self
            .lease
            .last
            .clone()
            .filter(|l| l.record.holder == holder)
        else {
            return;
        };
        let handover_to = self.successor_name();
        let record = LeaseRecord {
            holder: String::new(),
            renewed_ms: now.wall_ms,
            handover_to,
            promote_to: String::new(),
            ..lease.record
        };
        let swap = LeaseRequest::Swap {
            uid: lease.uid,
            revision: lease.revision,
            record,
        };
        self.call_lease(now, LeaseCall::Release, swap);
    }
}
