//! Rows 13, 15d and 18: a lost volume is replaced, by the master, without a human.
//!
//! ```text
//!   accused: DataLoss --SetAside--> volume aside, formatted anew ---+
//!   wiped, new ------------------------------------> blank --Join--> Learner
//!     --> log by Append or checkpoint --> at the master's last offset asked for after the Join:
//!         Clean --> joint Config --> committed --> final Config --> voter
//! ```
//! Order: a learner is clean on its disk before the joint record is written (H32); an old volume is
//! set aside only when a quorum without it has all that is committed, and its acks count no more
//! from then on (H34). One change at a time.

use tandemmq_journal::{Founding, Identity, LogState, SetAside};
use tandemmq_model::{Ballot, Incarnation, MemberId, Now, Offset, Record};

use super::quorum::Voters;
use super::{Group, RoleState};
use crate::config_record;
use crate::mutants::{self, Mutant};
use crate::peer::Message;

/// What a replaced volume says of itself.
const REPLACED: &str = "this volume was replaced by another one while it was away: put that one \
                        back, or move this one aside and a blank one joins";

impl Group {
    // === the Config of the log ===

    /// The voters as of that offset.
    pub(super) fn config_at(&self, offset: Offset) -> bytes::Bytes {
        let configs = self.configs.iter().rev();
        let config = configs.into_iter().find(|(at, _)| *at <= offset);
        let config = config.filter(|_| !mutants::on(Mutant::CheckpointWithoutConfig));
        config.map_or_else(bytes::Bytes::new, |(_, voters)| {
            config_record::encode(voters)
        })
    }

    /// A Config is in the log now.
    pub(super) fn push_config(&mut self, offset: Offset, voters: Voters) {
        self.voters = Some(voters.clone());
        self.configs.push((offset, voters));
        self.config_changed();
    }

    /// The log ends there now.
    pub(super) fn cut_configs(&mut self, to: Offset) {
        self.configs.retain(|(at, _)| *at <= to);
        self.voters = self.configs.last().map(|(_, voters)| voters.clone());
        self.config_changed();
    }

    /// The log begins there now.
    pub(super) fn restart_configs(&mut self, offset: Offset, config: bytes::Bytes) {
        let voters = config_record::parse(config).or_else(|| self.voters.clone());
        self.configs = voters
            .iter()
            .cloned()
            .map(|voters| (offset, voters))
            .collect();
        self.voters = voters;
        self.config_changed();
    }

    /// Who was out may be in, and the other way round: found out anew.
    pub(super) fn config_changed(&mut self) {
        let replaced = self
            .voters
            .as_ref()
            .is_some_and(|last| self.is_replaced_in(last, self.me.incarnation));
        self.out_of_group = replaced.then(|| REPLACED.to_owned());
    }

    /// It voted once, and the last Config does without it: it is never added again, for a member is
    /// added only as a learner that was blank (row 15d). Of volumes that joined and were replaced
    /// before the log begins only they themselves know.
    pub(super) fn is_replaced(&self, who: Incarnation) -> bool {
        let last = self.voters.as_ref();
        last.is_some_and(|last| self.is_replaced_in(last, who))
    }

    /// The same for a Config that is not in the log yet. The old set of a joint one were voters too.
    pub(super) fn is_replaced_in(&self, last: &Voters, who: Incarnation) -> bool {
        if last.contains(who) || mutants::on(Mutant::ReplacedComesBack) {
            return false;
        }
        let founders = self.journal.identity().group.iter();
        let founders = founders.map(|group| group.members.as_slice());
        let later = self.configs.iter().map(|(_, voters)| voters.members());
        founders
            .chain(later)
            .flatten()
            .any(|member| member.incarnation == who)
    }

    /// Row 12: the log that is offered does without this volume.
    pub(super) fn is_replaced_by(&self, config: &bytes::Bytes) -> bool {
        config_record::parse(config.clone())
            .is_some_and(|last| self.is_replaced_in(&last, self.me.incarnation))
    }

    pub(super) fn keep_out(&mut self) {
        self.out_of_group = Some(REPLACED.to_owned());
    }

    // === row 13, the master ===

    /// The next step of a change, if one is due: the node appends it as a batch of its own.
    pub(crate) fn next_config(&self, now: Now) -> Option<Record> {
        let master = self.master().filter(|master| master.serving)?;
        let (at, voters) = self.configs.last()?;
        let early = mutants::on(Mutant::FinalBeforeJointCommitted);
        if *at > self.committed && !early {
            return None; // One change at a time.
        }
        if voters.is_joint() {
            return Some(config_record::to_record(&voters.after_joint()));
        }
        let newcomer = self.peers.iter().find_map(|peer| {
            let member = peer
                .member
                .filter(|member| !voters.contains(member.incarnation))
                .filter(|member| !self.is_replaced(member.incarnation))?;
            let progress = master.progress.get(&peer.ordinal)?;
            let answers = progress
                .answered
                .is_some_and(|at| now.boot.since(at) < self.timing.suspicion);
            let has_all = progress.matched >= self.committed && progress.is_streaming();
            let clean = peer.is_sound()
                || peer.log_state == LogState::Learner && mutants::on(Mutant::LearnerListed);
            let ready = clean && peer.is_ours(self.group_id()) && peer.is_heard();
            (ready && answers && has_all).then_some(member)
        })?;
        Some(config_record::to_record(&voters.with(newcomer)))
    }

    // === row 15d ===

    /// Tells blank volumes in the places of lost ones to join, and accused ones to make way.
    pub(super) fn call_the_lost(&mut self, now: Now) {
        for peer in &mut self.peers {
            peer.note_soundness(now);
        }
        let Some(ballot) = self.master().filter(|m| m.serving).map(|m| m.ballot) else {
            return;
        };
        let Some(group) = self.journal.identity().group.clone() else {
            return;
        };
        let lease = self
            .lease
            .last
            .as_ref()
            .and_then(|lease| lease.record.group.as_ref());
        let named = lease.is_some_and(|named| named.id == group.id);
        for ordinal in self.others() {
            let Some(peer) = self
                .peer(ordinal)
                .filter(|peer| peer.outbound && peer.is_heard())
            else {
                continue;
            };
            if peer.is_blank() && named {
                let group = group.clone();
                self.send(ordinal, &Message::Join { ballot, group });
            } else if !peer.is_sound() && self.have_all_without(ordinal) {
                self.send(ordinal, &Message::SetAside { ballot });
            }
        }
    }

    /// Row 15d, the blank volume: learner and promise first, then the group; both on disk before it
    /// answers under the group's name.
    pub(super) fn handle_join(
        &mut self,
        now: Now,
        from: MemberId,
        ballot: Ballot,
        group: Founding,
    ) {
        let blank = self.voters.is_none() && self.storing.adopting.is_none();
        // It may have died when it had promised this and had no group yet.
        let may_promise = ballot.epoch > self.promise.epoch || ballot == self.promise;
        if !blank || ballot.member != from || !may_promise {
            return;
        }
        self.notice(format!(
            "joining group {} as a learner, asked by {from}",
            group.id
        ));
        self.log_state = LogState::Learner;
        self.take_promise(now, ballot, "it joins a group");
        let identity = Identity {
            group: Some(group),
            ..self.journal.identity().clone()
        };
        self.storing.adopting = Some(self.journal.store_identity(identity));
    }

    // === row 18 ===

    /// A quorum without that place has all that is committed, and answered this ballot after that
    /// place ceased to count.
    fn have_all_without(&self, ordinal: u8) -> bool {
        let (Some(master), Some(voters)) = (self.master(), &self.voters) else {
            return false;
        };
        let since = self.peer(ordinal).and_then(|peer| peer.unsound_since);
        let stale = mutants::on(Mutant::OldAcksSetAside);
        let own = (self.journal.synced() >= self.committed).then_some(self.me.incarnation);
        let others = self.peers.iter().filter_map(|peer| {
            let progress = master.progress.get(&peer.ordinal)?;
            let counts = peer.ordinal != ordinal && peer.is_sound();
            let asked = progress.answered;
            let stands = asked.is_some_and(|asked| since.is_some_and(|since| asked > since));
            let has_all = progress.matched >= self.committed;
            peer.member
                .filter(|_| counts && (stands || stale) && has_all)
                .map(|member| member.incarnation)
        });
        voters.is_quorum(own.into_iter().chain(others))
    }

    /// The master says that it does without this volume.
    pub(super) fn handle_set_aside(&mut self, from: MemberId, ballot: Ballot) {
        let slave = matches!(self.role, RoleState::Slave | RoleState::Standing(_));
        let follows = ballot.member == from && ballot == self.promise && slave;
        if !follows || !self.promise_is_durable() || self.repair.is_setting_aside() {
            return;
        }
        if self.log_state == LogState::DataLoss {
            self.notice("this volume is set aside; the member comes back as a new one".to_owned());
            self.set_aside(SetAside::Everything);
        } else if self.repair.found.is_some() {
            self.set_aside(SetAside::Log);
        }
    }
}
