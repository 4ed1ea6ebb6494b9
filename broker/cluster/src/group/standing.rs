//! Rows 1 and 2: pre-vote, then the Lease.
//!
//! ```text
//!   read the Lease --> ask everybody --> quorum of yes --> CAS with exactly that revision
//! ```
//! Nothing is written before the compare-and-swap, and nothing durable of this member before the
//! swap is answered with Ok. Expiry of the Lease alone allows nothing; a pre-vote is always needed
//! and always enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tandemmq_model::{Ballot, Epoch, Incarnation, MemberId, Now, Offset};

use super::lease_keeper::LeaseCall;
use super::timers::Timer;
use super::{Candidate, Group, RoleState};
use crate::lease::{Lease, LeaseRecord, LeaseRequest};
use crate::mutants::{self, Mutant};
use crate::peer::Message;

/// Pre-vote answers are waited for this long: ten times a slow round trip.
const PRE_VOTE_WAIT: Duration = Duration::from_millis(300);

/// An epoch in the Lease this far above what the quorum promised is damage, not history: nobody
/// reaches a million elections by electing.
pub(super) const EPOCH_JUMP_MAX: u64 = 1 << 20;

/// A pre-vote under way.
#[derive(Debug)]
pub(super) struct Standing {
    round: u64,
    /// As read before the question; the swap names exactly this version.
    lease: Option<Lease>,
    /// Who said yes, with the epoch it has promised.
    yes: BTreeMap<Incarnation, Epoch>,
    /// Who said no.
    no: BTreeSet<Incarnation>,
    /// The swap is out, for this epoch.
    swapping: Option<Epoch>,
}

impl Group {
    pub(super) fn begin_standing(&mut self, now: Now) {
        self.timers.stop(Timer::Stand);
        let round = self.rng.next_u64();
        self.role = RoleState::Standing(Standing {
            round,
            lease: None,
            yes: BTreeMap::new(),
            no: BTreeSet::new(),
            swapping: None,
        });
        self.call_lease(now, LeaseCall::StandRead, LeaseRequest::Read);
    }

    /// The Lease was read: put its version into the question.
    pub(super) fn ask_pre_votes(&mut self, now: Now, lease: Lease) {
        if let Err(why) = self.may_stand_under(&lease.record) {
            self.out_of_group = Some(why);
            self.role = RoleState::Slave;
            return;
        }
        let (me, promised) = (self.me.incarnation, self.promise.epoch);
        let RoleState::Standing(standing) = &mut self.role else {
            return;
        };
        standing.yes.insert(me, promised);
        standing.lease = Some(lease);
        self.timers.set(Timer::PreVoteEnd, now.boot + PRE_VOTE_WAIT);
        if let Some(question) = self.pre_vote() {
            self.send_to_others(&question);
        }
        self.count_pre_votes(now);
    }

    /// The question, while it is out.
    pub(super) fn pre_vote(&self) -> Option<Message> {
        let RoleState::Standing(standing) = &self.role else {
            return None;
        };
        let lease = standing.lease.as_ref()?;
        standing.swapping.is_none().then(|| Message::PreVote {
            round: standing.round,
            lease_uid: lease.uid.clone(),
            lease_revision: lease.revision.0.clone(),
            holder: lease.record.holder.clone(),
            tail: self.synced_tail(),
        })
    }

    /// H28: the Lease belongs to one group; a member of another stays a stranger.
    fn may_stand_under(&self, record: &LeaseRecord) -> Result<(), String> {
        let own = self.group_id();
        match &record.group {
            Some(group) if Some(group.id) != own && !mutants::on(Mutant::BlindToLeaseGroup) => {
                Err(format!(
                    "the Lease belongs to group {}, this volume to another",
                    group.id
                ))
            }
            _ => Ok(()),
        }
    }

    /// Row 1, the asked one. Nothing is written.
    pub(super) fn handle_pre_vote(&mut self, now: Now, from: u8, round: u64) {
        let in_charge = match &self.role {
            RoleState::Candidate(_) => true,
            RoleState::Master(_) => self.is_valid_master(now),
            RoleState::Slave | RoleState::Standing(_) => self.hears_somebody(now),
        };
        let yes = !in_charge && self.is_clean_voter();
        let promised = self.promise.epoch;
        self.send(
            from,
            &Message::PreVoteReply {
                round,
                yes,
                promised,
            },
        );
    }

    pub(super) fn handle_pre_vote_reply(
        &mut self,
        now: Now,
        from: MemberId,
        round: u64,
        yes: bool,
        promised: Epoch,
    ) {
        let RoleState::Standing(standing) = &mut self.role else {
            return;
        };
        if standing.round != round || standing.swapping.is_some() || standing.lease.is_none() {
            return;
        }
        if yes {
            standing.yes.insert(from.incarnation, promised);
            self.count_pre_votes(now);
        } else {
            standing.no.insert(from.incarnation);
            self.stop_asking_in_vain(now);
        }
    }

    /// Nobody is left whose yes would make a quorum. A peer that says no has often only not noticed
    /// yet what this member has: asking it again soon is better than waiting for the dead.
    fn stop_asking_in_vain(&mut self, now: Now) {
        let (RoleState::Standing(standing), Some(voters)) = (&self.role, &self.voters) else {
            return;
        };
        let heard = self.peers.iter().filter(|peer| peer.is_heard());
        let open = heard
            .filter_map(|peer| peer.member)
            .map(|member| member.incarnation);
        let open = open.filter(|who| !standing.no.contains(who));
        if !voters.is_quorum(standing.yes.keys().copied().chain(open)) {
            self.give_up_standing(now);
        }
    }

    /// Row 2: a quorum said yes.
    fn count_pre_votes(&mut self, now: Now) {
        let Some(voters) = self.voters.clone() else {
            return;
        };
        let RoleState::Standing(standing) = &mut self.role else {
            return;
        };
        if !voters.is_quorum(standing.yes.keys().copied()) || standing.swapping.is_some() {
            return;
        }
        let Some(lease) = standing.lease.clone() else {
            return;
        };
        let promised = standing
            .yes
            .values()
            .map(|epoch| epoch.0)
            .max()
            .unwrap_or(0);
        let floor = promised.max(self.refused_epoch).max(self.promise.epoch.0);
        let annotation = lease.record.epoch.max(lease.record.master_epoch);
        let damaged = annotation > floor.saturating_add(EPOCH_JUMP_MAX);
        let epoch = Epoch(
            1 + if damaged {
                floor
            } else {
                floor.max(annotation)
            },
        );
        standing.swapping = Some(epoch);
        self.timers.stop(Timer::PreVoteEnd);
        if damaged {
            self.notice(format!(
                "the Lease says epoch {annotation}: ignored as damage"
            ));
        }
        let record = LeaseRecord {
            holder: self.holder_name(),
            renewed_ms: now.wall_ms,
            epoch: epoch.0,
            master_epoch: if damaged {
                0
            } else {
                lease.record.master_epoch
            },
            handover_to: String::new(),
            promote_to: String::new(),
            group: self.journal.identity().group.clone(),
            ..lease.record
        };
        let swap = LeaseRequest::Swap {
            uid: lease.uid,
            revision: lease.revision,
            record,
        };
        self.call_lease(now, LeaseCall::StandSwap, swap);
    }

    /// The swap is done: promise it to oneself, durably, before anybody is asked.
    pub(super) fn begin_candidacy(&mut self, now: Now) {
        let RoleState::Standing(standing) = &self.role else {
            return;
        };
        let Some(epoch) = standing.swapping else {
            return;
        };
        if epoch <= self.promise.epoch {
            self.role = RoleState::Slave;
            self.stand_again(now);
            return;
        }
        let ballot = Ballot {
            epoch,
            member: self.me,
            boot: self.boot,
        };
        self.promise = ballot;
        self.following = ballot;
        self.matched = Offset::ZERO;
        self.masters_committed = Offset::ZERO;
        self.acked = Offset::ZERO;
        self.heard = None;
        self.storing.reply_to = None;
        self.role = RoleState::Candidate(Candidate::new(ballot, now.boot));
        self.timers
            .set(Timer::CandidateEnd, now.boot + self.timing.suspicion);
        self.timers
            .set(Timer::Heartbeat, now.boot + self.timing.heartbeat);
        self.store_control();
        self.store_witness_now();
        self.tell_role("nobody is heard as master, a quorum agreed to an election");
        self.continue_after_promise(now);
    }

    pub(super) fn handle_pre_vote_end(&mut self, now: Now) {
        self.give_up_standing(now);
    }

    /// No quorum, no Lease, or somebody was faster.
    pub(super) fn give_up_standing(&mut self, now: Now) {
        if matches!(self.role, RoleState::Standing(_)) {
            self.role = RoleState::Slave;
            self.timers.stop(Timer::PreVoteEnd);
            self.stand_again(now);
        }
    }
}
