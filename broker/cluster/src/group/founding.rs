//! Row 15: how blank volumes become a group, once.
//!
//! ```text
//!   ordinal 0 reads the Lease --> all N answer "blank" --> CAS group-proposal
//!     --> (locally the founder confirms itself) all still blank? --> CAS group
//!   every listed blank volume sees its incarnation in `group` --> identity on disk --> answers
//! ```
//! Unanimous, never by a majority: a group that is founded never forms again from empty volumes.
//! A volume with a group never answers blank and never changes its group.

use std::collections::BTreeMap;
use std::time::Duration;

use tandemmq_journal::{Founding, Identity, LogState};
use tandemmq_model::{GroupId, MemberId, Now, Offset};

use super::Group;
use super::lease_keeper::LeaseCall;
use super::quorum::Voters;
use super::timers::Timer;
use crate::config::Confirmation;
use crate::lease::{Lease, LeaseAnswer, LeaseRecord, LeaseRequest};
use crate::mutants::{self, Mutant};
use crate::peer::Message;

/// Between two looks of a blank member at the Lease.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The same where the Lease is an object of Kubernetes: a blank member may wait for long, and its API
/// server has others to serve.
const LOOK_AGAIN_AT_KUBERNETES: Duration = Duration::from_millis(500);

/// The founder's question under way.
#[derive(Debug, Default)]
pub(super) struct Founder {
    round: u64,
    /// As read before the question was asked; the swap names exactly this version.
    lease: Option<Lease>,
    /// A proposal stands in the Lease.
    proposed: bool,
    /// Who answered: the blank incarnation, or none of a volume that has a group.
    answers: BTreeMap<u8, Option<MemberId>>,
}

impl Group {
    /// A blank member looks at the Lease.
    pub(super) fn handle_founding_timer(&mut self, now: Now) {
        if self.voters.is_some() || self.storing.adopting.is_some() {
            return;
        }
        let pause = match self.confirmation {
            Confirmation::ByFounder => LOOK_AGAIN,
            Confirmation::ByOperator => LOOK_AGAIN_AT_KUBERNETES,
        };
        self.timers.set(Timer::Found, now.boot + pause);
        self.call_lease(now, LeaseCall::FoundRead, LeaseRequest::Read);
    }

    pub(super) fn handle_group_confirmed(&mut self, now: Now) {
        self.handle_founding_timer(now);
    }

    pub(super) fn handle_founding_answer(
        &mut self,
        now: Now,
        call: &LeaseCall,
        answer: LeaseAnswer,
    ) {
        if self.voters.is_some() || self.storing.adopting.is_some() {
            return;
        }
        let LeaseAnswer::Ok(lease) = answer else {
            return;
        }; // The timer looks again.
        self.founder.proposed = lease.record.group_proposal.is_some();
        if let Some(group) = &lease.record.group {
            let confirmed_now = *call == LeaseCall::FoundConfirm;
            self.adopt(now, group.clone());
            if confirmed_now {
                self.send_to_others(&Message::GroupConfirmed);
            }
        } else if self.me.ordinal == 0 && !self.leaves_proposal_alone() {
            self.ask_who_is_blank(now, lease);
        }
    }

    /// (c) A blank volume whose incarnation is listed adopts the group; another is a stranger.
    fn adopt(&mut self, now: Now, group: Founding) {
        if !group.members.contains(&self.me) {
            let text = format!(
                "this volume is blank and group {} was founded without it: VolumeNotInGroup",
                group.id
            );
            if self.out_of_group.as_ref() != Some(&text) {
                self.notice(text.clone());
                self.out_of_group = Some(text);
            }
            return;
        }
        self.timers.stop(Timer::Found);
        if self.log_state == LogState::Learner {
            // It began to join a group and never did.
            self.log_state = LogState::Clean;
            self.store_control();
        }
        let identity = Identity {
            group: Some(group),
            ..self.journal.identity().clone()
        };
        self.storing.adopting = Some(self.journal.store_identity(identity));
        let _ = now;
    }

    /// The identity is on disk.
    pub(super) fn handle_adopted(&mut self, now: Now) {
        let Some(group) = self.journal.identity().group.clone() else {
            return;
        };
        self.notice(format!("adopted group {}", group.id));
        self.timers.stop(Timer::Found);
        self.push_config(Offset::ZERO, Voters::new(group.members));
        for ordinal in self.others() {
            self.send_hello(ordinal);
        }
        self.consider_standing(now);
    }

    /// The operator confirms a proposal, or clears it: it also remembers it elsewhere.
    fn leaves_proposal_alone(&self) -> bool {
        self.founder.proposed && self.confirmation == Confirmation::ByOperator
    }

    /// What a blank member waits for.
    pub(super) fn founding_message(&self) -> String {
        if self.leaves_proposal_alone() {
            return "the founder has proposed the group: waiting for the operator to confirm it"
                .into();
        }
        let silent: Vec<&str> = self
            .peers
            .iter()
            .filter(|peer| peer.ordinal != self.me.ordinal && !peer.is_heard())
            .map(|peer| &*peer.name)
            .collect();
        match silent.is_empty() {
            true => "waiting for all brokers of the group".into(),
            false => format!(
                "waiting for {}: founding needs all brokers",
                silent.join(" and ")
            ),
        }
    }

    /// (a) The founder asks everybody, itself included, once per round.
    fn ask_who_is_blank(&mut self, now: Now, lease: Lease) {
        self.founder.round = self.rng.next_u64();
        self.founder.lease = Some(lease);
        self.founder.answers = BTreeMap::from([(self.me.ordinal, Some(self.me))]);
        let question = Message::AskBlank {
            round: self.founder.round,
        };
        self.send_to_others(&question);
        self.count_blanks(now);
    }

    /// The asked one: blank is who has no group, on disk or on its way there.
    pub(super) fn handle_ask_blank(&mut self, from: u8, round: u64) {
        if self.storing.adopting.is_some() {
            return;
        }
        self.send(
            from,
            &Message::Blank {
                round,
                blank: self.voters.is_none(),
            },
        );
    }

    pub(super) fn handle_blank(&mut self, now: Now, from: MemberId, round: u64, blank: bool) {
        if self.founder.round != round || self.voters.is_some() || self.storing.adopting.is_some() {
            return;
        }
        self.founder
            .answers
            .insert(from.ordinal, blank.then_some(from));
        self.count_blanks(now);
    }

    fn count_blanks(&mut self, now: Now) {
        let all = self.peers.len();
        let enough = if mutants::on(Mutant::FoundingByMajority) {
            all / 2 + 1
        } else {
            all
        };
        if self.founder.answers.len() < enough {
            return;
        }
        let blanks: Vec<MemberId> = self.founder.answers.values().flatten().copied().collect();
        let Some(lease) = self.founder.lease.clone() else {
            return;
        };
        match &lease.record.group_proposal {
            Some(_) if self.confirmation == Confirmation::ByOperator => {}
            Some(proposal) if proposal.members == blanks => {
                let confirmed = Some(proposal.clone());
                self.swap_founding(now, LeaseCall::FoundConfirm, lease, None, confirmed);
            }
            Some(_) => self.swap_founding(now, LeaseCall::FoundClear, lease, None, None),
            None if blanks.len() >= enough => {
                let id = GroupId(self.rng.next_u128());
                let proposal = Some(Founding {
                    id,
                    members: blanks,
                });
                self.swap_founding(now, LeaseCall::FoundPropose, lease, proposal, None);
            }
            None => {
                let text = "a volume of this group belongs to a founded group already: \
                            not founding another from the blank ones";
                if self.out_of_group.as_deref() != Some(text) {
                    self.notice(text.to_owned());
                    self.out_of_group = Some(text.to_owned());
                }
            }
        }
    }

    fn swap_founding(
        &mut self,
        now: Now,
        call: LeaseCall,
        lease: Lease,
        group_proposal: Option<Founding>,
        group: Option<Founding>,
    ) {
        self.founder.lease = None;
        let record = LeaseRecord {
            group_proposal,
            group,
            renewed_ms: now.wall_ms,
            ..lease.record
        };
        let swap = LeaseRequest::Swap {
            uid: lease.uid,
            revision: lease.revision,
            record,
        };
        self.call_lease(now, call, swap);
    }
}
