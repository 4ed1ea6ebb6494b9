//! What a member tells about its group.

use std::time::Duration;

use tandemmq_journal::{LogState, Space};
use tandemmq_model::{Now, Offset};

use super::{Group, RoleState};
use crate::status::{Formats, MemberStatus, Offsets, Role, Status};

/// A slave that was in step so lately is ready though there is no master: longer than any election of
/// a group that has a quorum, shorter than people's patience with one that has none.
const READY_WITHOUT_MASTER: Duration = Duration::from_secs(15);

impl Group {
    pub(crate) fn offsets(&self) -> Offsets {
        Offsets {
            appended: self.journal.appended(),
            synced: self.journal.synced(),
            committed: self.committed,
            applied: self.applied,
        }
    }

    /// Everything but what the engine knows.
    pub(crate) fn status(&self, now: Now) -> Status {
        let (reason, message) = self.reason(now);
        Status {
            role: self.role(),
            epoch: self.promise.epoch,
            serving: self.may_serve(now),
            ready: self.is_ready(now),
            member: self.me,
            group_id: self.group_id().map(|id| id.to_string()),
            founding: self.journal.identity().group.clone(),
            volume_id: self.journal.identity().volume_id.clone(),
            log_state: self.log_state,
            offsets: self.offsets(),
            formats: Formats {
                understood: self.journal.format_max(),
                written: self.journal.format(),
            },
            master: self.last_master.and_then(|(epoch, ordinal)| {
                self.peer(ordinal)
                    .map(|peer| (epoch, peer.name.to_string()))
            }),
            reason,
            message,
            members: self
                .peers
                .iter()
                .map(|peer| self.member_status(now, peer))
                .collect(),
            journal_bytes: self.journal.used_bytes(),
            checkpoint: self.journal.newest_checkpoint().map(|(offset, _)| offset),
            log_start: self.journal.log_start(),
            config_generation: self
                .voters
                .as_ref()
                .map_or(0, super::quorum::Voters::generation),
            disk_checks: self.repair.passes,
            state_digest: 0,
            destinations: Vec::new(),
        }
    }

    /// "In sync as a slave, or master." While there is no master, and in the first moments of a new
    /// one, a slave is judged by the last one: else every election would take all members out of the
    /// Services, the new master too, until the next probe.
    fn is_ready(&self, now: Now) -> bool {
        let in_step = match &self.role {
            RoleState::Master(_) => self.may_serve(now),
            RoleState::Slave | RoleState::Standing(_) | RoleState::Candidate(_) => {
                self.is_slave_in_step(now)
            }
        };
        in_step || self.stays_ready(now)
    }

    /// It holds all that the master it hears has committed.
    pub(super) fn is_slave_in_step(&self, now: Now) -> bool {
        matches!(self.role, RoleState::Slave)
            && self.hears_somebody(now)
            && self.is_clean_voter()
            && self.matched > Offset::ZERO
            && self.committed >= self.masters_committed
    }

    fn stays_ready(&self, now: Now) -> bool {
        let reigns = self
            .last_master
            .is_some_and(|(epoch, _)| epoch == self.promise.epoch && self.hears_somebody(now));
        let lately = self
            .in_step_at
            .is_some_and(|at| now.boot.since(at) < READY_WITHOUT_MASTER);
        lately && !reigns && self.is_clean_voter()
    }

    fn member_status(&self, now: Now, peer: &super::Peer) -> MemberStatus {
        let me = peer.ordinal == self.me.ordinal;
        let progress = self.master().and_then(|m| m.progress.get(&peer.ordinal));
        let appended = self.journal.appended();
        let matched = if me {
            self.journal.synced()
        } else {
            progress.map_or(peer.synced, |p| p.matched)
        };
        let of_group = !self.is_stranger(peer) || peer.is_ours(self.group_id());
        let counts = me || progress.is_some() && of_group;
        let lag = counts.then(|| appended.0.saturating_sub(matched.0));
        MemberStatus {
            name: peer.name.to_string(),
            member: if me { Some(self.me) } else { peer.member },
            connected: me || peer.outbound && peer.is_heard(),
            matched,
            lag,
            in_sync: me || self.is_in_step(now, peer.ordinal),
            reason: self.member_reason(peer, me),
        }
    }

    fn member_reason(&self, peer: &super::Peer, me: bool) -> String {
        if me {
            return String::new();
        }
        if peer.is_blank() && self.voters.is_some() {
            return "Blank".to_owned();
        }
        if self.is_stranger(peer) && !peer.is_ours(self.group_id()) {
            return "VolumeNotInGroup".to_owned();
        }
        if peer
            .member
            .is_some_and(|member| self.is_replaced(member.incarnation))
        {
            return "Replaced".to_owned();
        }
        if let Some(accused) = &peer.accused {
            return accused.clone();
        }
        match peer.log_state {
            _ if !peer.outbound || !peer.is_heard() => "NotConnected".to_owned(),
            _ if !self.understands_log(peer.ordinal) => "OlderVersion".to_owned(),
            LogState::Clean if self.is_joining(peer) => "Joining".to_owned(),
            LogState::Clean => String::new(),
            LogState::NeedsRepair => "NeedsRepair".to_owned(),
            LogState::Learner => "Learner".to_owned(),
            LogState::DataLoss => "DataLoss".to_owned(),
        }
    }

    /// It is not a voter yet, or only in a change that is under way.
    fn is_joining(&self, peer: &super::Peer) -> bool {
        let before = self.voters.as_ref().map(super::quorum::Voters::members);
        peer.member
            .is_some_and(|member| before.is_some_and(|set| !set.contains(&member)))
    }

    /// Volumes in the places of voters that hold nothing, when they are too many for a quorum.
    fn majority_lost(&self) -> Option<String> {
        let voters = self.voters.as_ref().filter(|_| self.is_voter())?;
        let others = self
            .peers
            .iter()
            .filter(|peer| peer.ordinal != self.me.ordinal);
        let blank: Vec<&str> = others
            .filter(|peer| peer.is_heard() && peer.is_blank())
            .map(|peer| &*peer.name)
            .collect();
        if blank.len() <= (voters.members().len() - 1) / 2 {
            return None;
        }
        Some(format!(
            "{} have blank volumes, so no quorum is left; {} holds the data up to offset {}: bring \
             their old volumes back, or stop {} and run: tandemmq recover --survivor {} \
             --accept-data-loss",
            blank.join(" and "),
            self.name,
            self.journal.synced(),
            self.name,
            self.name
        ))
    }

    /// One word and one sentence about the state, the gravest first.
    fn reason(&self, now: Now) -> (String, String) {
        let say = |word: &str, text: String| (word.to_owned(), text);
        if let Some((reason, why)) = &self.kept_out {
            return say(reason, why.clone());
        }
        if let Some(why) = self.majority_lost() {
            return say("MajorityLost", why);
        }
        if let Some(why) = &self.out_of_group {
            return say("VolumeNotInGroup", why.clone());
        }
        match self.log_state {
            LogState::DataLoss => {
                let text = "this volume is older than what its peers remember; it has no vote and \
                            is set aside once a master does without it";
                return say("DataLoss", text.to_owned());
            }
            LogState::NeedsRepair => {
                let text = self.install_progress().unwrap_or_else(|| {
                    "a checksum below the durable mark is wrong; it has no vote until it has \
                     everything from its peers again"
                        .to_owned()
                });
                return say("NeedsRepair", text);
            }
            LogState::Learner => {
                let text = self.install_progress().unwrap_or_else(|| {
                    "a new volume: it gets everything from the master, then it votes".to_owned()
                });
                return say("Learner", text);
            }
            LogState::Clean => {}
        }
        if let Some(found) = &self.repair.found {
            return say("Damaged", format!("to be repaired from its peers: {found}"));
        }
        if let Some(progress) = self.install_progress() {
            return say("CatchingUp", progress);
        }
        if self.voters.is_none() {
            return say("Founding", self.founding_message());
        }
        if self.leaving.is_some() {
            return say(
                "HandingOver",
                "leaving in favour of another broker".to_owned(),
            );
        }
        match (self.role(), self.journal.space()) {
            (_, Space::OnlyElection) => {
                let text = "the journal's last reserve is kept for elections; \
                            raise journal.maxBytes or free the disk";
                say("JournalFull", text.to_owned())
            }
            (_, Space::RefuseProducers) => {
                let text = "producers are refused; raise journal.maxBytes or free the disk";
                say("JournalReserve", text.to_owned())
            }
            (Role::Master, _) if !self.may_serve(now) => say(
                "NoQuorum",
                "no quorum answers: nothing is accepted".to_owned(),
            ),
            (Role::Slave | Role::Candidate, _) if self.lease.away && !self.hears_somebody(now) => {
                say(
                    "LeaseUnavailable",
                    "the Lease store does not answer: no election".to_owned(),
                )
            }
            (Role::Slave, _) if !self.hears_somebody(now) => {
                say("NoMaster", "no master is heard".to_owned())
            }
            _ => (String::new(), String::new()),
        }
    }
}
