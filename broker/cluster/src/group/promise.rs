//! Rows 3 and 4: promises, given and counted.

use tandemmq_journal::{LogState, Witness};
use tandemmq_model::{Ballot, MemberId, Now, Offset};

use super::timers::Timer;
use super::witness::{judge, tail_to_judge};
use super::{Group, RoleState};
use crate::mutants::{self, Mutant};
use crate::peer::{Message, Tail};

/// What a promising member says of itself.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) tail: Tail,
    pub(super) log_state: LogState,
    pub(super) cut_mark: Ballot,
    pub(super) witness: Vec<Witness>,
}

impl Group {
    /// Row 3.
    pub(super) fn handle_promise_req(&mut self, now: Now, from: MemberId, ballot: Ballot) {
        if ballot.member != from {
            return; // Only the owner of a ballot asks for it.
        }
        let equal_again = mutants::on(Mutant::PromiseByEpochNumber)
            && ballot.epoch == self.promise.epoch
            && ballot != self.promise;
        if ballot.epoch > self.promise.epoch || equal_again {
            self.take_promise(now, ballot, "it promised another candidate");
            self.storing.reply_to = Some(from.ordinal);
            self.hear(now, ballot);
            self.continue_after_promise(now);
        } else if ballot == self.promise {
            if self.promise_is_durable() {
                self.send_promised(from.ordinal);
            } else {
                self.storing.reply_to = Some(from.ordinal);
            }
        } else {
            self.refuse(from.ordinal, ballot);
        }
    }

    /// From here on nothing is acknowledged or counted under an older ballot, also not for an
    /// fdatasync that is running; the promise is on its way to the disk.
    pub(super) fn take_promise(&mut self, now: Now, ballot: Ballot, reason: &str) {
        self.promise = ballot;
        let follows = matches!(self.role, RoleState::Slave) && self.following != Ballot::NONE;
        if mutants::on(Mutant::AckUnderOldBallot) && follows {
            self.store_control();
            return;
        }
        self.following = ballot;
        self.storing.reply_to = None;
        let keeps = mutants::on(Mutant::MasterKeepsAfterPromise)
            && matches!(self.role, RoleState::Master(_));
        if !keeps {
            self.step_down(now, reason);
        }
        self.heard = None;
        self.timers.stop(Timer::Stand);
        if !mutants::on(Mutant::PromiseNotSynced) {
            self.store_control();
        }
        self.store_witness_now();
    }

    pub(super) fn send_promised(&mut self, ordinal: u8) {
        let message = Message::Promised {
            ballot: self.promise,
            tail: self.synced_tail(),
            log_state: self.log_state,
            cut_mark: self.cut_mark,
            witness: self.witness.rows(),
        };
        self.send(ordinal, &message);
    }

    /// Whoever is addressed below its promise says so: a master that it cannot follow must stand
    /// again above it, or this member were out for ever. Also one that is to be repaired or is new:
    /// without a master it stays that.
    pub(super) fn refuse(&mut self, ordinal: u8, of: Ballot) {
        let takes_part = self.voters.is_some() && !self.is_replaced(self.me.incarnation);
        if takes_part && self.log_state != LogState::DataLoss {
            self.send(
                ordinal,
                &Message::Refused {
                    of,
                    promise: self.promise,
                },
            );
        }
    }

    /// Row 17, the refused one.
    pub(super) fn handle_refused(&mut self, now: Now, from: MemberId, of: Ballot, promise: Ballot) {
        let own = match &self.role {
            RoleState::Candidate(candidate) => candidate.ballot,
            RoleState::Master(master) => master.ballot,
            _ => return,
        };
        let voter = self
            .voters
            .as_ref()
            .is_some_and(|v| v.contains(from.incarnation));
        let learner = self.is_learner(from);
        if of != own || !(voter || learner) || promise == own || promise.epoch < own.epoch {
            return;
        }
        if mutants::on(Mutant::RefusalIgnored) {
            return;
        }
        self.refused_epoch = self.refused_epoch.max(promise.epoch.0);
        let text = format!(
            "{from} has promised {promise}, above our epoch {}",
            own.epoch
        );
        self.step_down(now, &text);
        self.stand_above(now);
    }

    /// It is on its way to its vote. Volumes that were replaced never are.
    fn is_learner(&self, from: MemberId) -> bool {
        let learns = matches!(self.role, RoleState::Master(_))
            && !self.is_replaced(from.incarnation)
            && !mutants::on(Mutant::LearnerNotHeard);
        learns
            && self
                .peer(from.ordinal)
                .is_some_and(|peer| peer.member == Some(from) && peer.is_ours(self.group_id()))
    }

    /// Row 4: a promise counts from a clean voter whom nobody's memory accuses.
    pub(super) fn handle_promised(
        &mut self,
        now: Now,
        from: MemberId,
        ballot: Ballot,
        reply: Reply,
    ) {
        for row in &reply.witness {
            self.witness.remember(*row);
        }
        let RoleState::Candidate(candidate) = &mut self.role else {
            return;
        };
        if candidate.ballot != ballot || self.promise != ballot {
            return;
        }
        candidate.replies.insert(from.incarnation, reply);
        if let Some(peer) = self.peer_mut(from.ordinal) {
            peer.member = Some(from);
        }
        self.try_to_lead(now);
    }

    /// The members whose promises count, with their tails; the candidate's own vote is judged too.
    pub(super) fn counted_promises(
        &self,
        replies: &std::collections::BTreeMap<tandemmq_model::Incarnation, Reply>,
        ballot: Ballot,
    ) -> Vec<(tandemmq_model::Incarnation, Tail)> {
        let own = Reply {
            tail: self.synced_tail(),
            log_state: self.log_state,
            cut_mark: self.cut_mark,
            witness: Vec::new(),
        };
        let mut counted = Vec::new();
        for (incarnation, reply) in replies
            .iter()
            .chain(std::iter::once((&self.me.incarnation, &own)))
        {
            let voter = self
                .voters
                .as_ref()
                .is_some_and(|v| v.contains(*incarnation));
            let clean = reply.log_state == LogState::Clean || mutants::on(Mutant::UncleanVotes);
            if voter && clean && self.accusation(*incarnation, ballot, reply).is_none() {
                counted.push((*incarnation, reply.tail));
            }
        }
        counted
    }

    /// The memories of everybody who replied are in our table already.
    fn accusation(
        &self,
        incarnation: tandemmq_model::Incarnation,
        ballot: Ballot,
        reply: &Reply,
    ) -> Option<String> {
        if mutants::on(Mutant::NoWitnessCheck) {
            return None;
        }
        let memory = self.witness.of(incarnation)?;
        let tail = tail_to_judge(reply.log_state, reply.tail.offset);
        judge(&memory, ballot, tail, reply.cut_mark)
            .err()
            .map(|why| why.to_string())
    }

    /// Marks the accused among those that replied, tells them, and says so once.
    pub(super) fn mark_the_accused(&mut self) {
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        let accused: Vec<(tandemmq_model::Incarnation, String)> = candidate
            .replies
            .iter()
            .filter_map(|(who, reply)| {
                self.accusation(*who, candidate.ballot, reply)
                    .map(|why| (*who, why))
            })
            .collect();
        for (incarnation, why) in accused {
            let ours = |peer: &&mut super::Peer| {
                peer.member
                    .is_some_and(|member| member.incarnation == incarnation)
            };
            let Some(peer) = self.peers.iter_mut().find(ours) else {
                continue;
            };
            if peer.accused.as_ref() == Some(&why) {
                continue;
            }
            peer.accused = Some(why.clone());
            let (ordinal, name) = (peer.ordinal, peer.name.clone());
            self.notice(format!("{name} does not vote: {why}"));
            self.send_memory_of(ordinal);
        }
    }

    /// What the tail of a whole quorum would be, for tests and status.
    pub(super) fn nothing_committed_is_cut(&self, to: Offset) -> bool {
        to >= self.committed
    }
}
