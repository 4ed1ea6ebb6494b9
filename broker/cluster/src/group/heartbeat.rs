//! Heartbeats: a master or candidate says ten times a second that it is there, and learns who
//! stands by it.
//!
//! A heartbeat of a master is an empty Append (its ballot is promised if it is higher); one of a
//! candidate is only heard by who promised it. The answer carries the sender's own sending time
//! back, so that "a quorum answered within 800 ms" is measured from the sending, on one clock.

use tandemmq_journal::{LogState, Witness};
use tandemmq_model::{Ballot, MemberId, Now, Offset, Time};

use super::timers::Timer;
use super::{Group, RoleState};
use crate::peer::{Message, Reign};

/// What a heartbeat says.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) reign: Reign,
    pub(super) sent_at: u64,
    pub(super) committed: Offset,
    pub(super) appended: Offset,
    pub(super) witness: Vec<Witness>,
}

/// What its answer says.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) sent_at: u64,
    pub(super) matched: Offset,
    pub(super) synced: Offset,
    pub(super) applied: Offset,
    pub(super) log_state: LogState,
    pub(super) terminating: bool,
    pub(super) illness: u8,
}

impl Group {
    pub(super) fn handle_heartbeat_timer(&mut self, now: Now) {
        match &self.role {
            RoleState::Candidate(_) | RoleState::Master(_) => {}
            RoleState::Slave | RoleState::Standing(_) => return,
        }
        self.send_heartbeats(now);
        self.step_down_if_alone(now);
        self.wake_stalled_streams(now);
        self.call_the_lost(now);
        self.hand_over_if_damaged(now);
        self.hand_over_if_ill(now);
        self.check_leaving(now);
    }

    pub(super) fn send_heartbeats(&mut self, now: Now) {
        let (ballot, reign) = match &self.role {
            RoleState::Candidate(candidate) => (candidate.ballot, Reign::Candidate),
            RoleState::Master(master) => (master.ballot, self.reign(now, master.serving)),
            RoleState::Slave | RoleState::Standing(_) => return,
        };
        self.timers
            .set(Timer::Heartbeat, now.boot + self.timing.heartbeat);
        self.say(ballot, reign, now);
    }

    fn reign(&self, now: Now, serving: bool) -> Reign {
        if self.disk_is_stalled(now) {
            Reign::Invalid
        } else if let Some(target) = self.named_successor() {
            Reign::Resigning(target)
        } else if serving {
            Reign::Serving
        } else {
            Reign::Starting
        }
    }

    fn say(&mut self, ballot: Ballot, reign: Reign, now: Now) {
        let message = Message::Heartbeat {
            ballot,
            reign,
            sent_at: now.boot.as_nanos(),
            committed: self.committed,
            appended: self.journal.appended(),
            witness: self.witness.rows(),
        };
        self.send_to_others(&message);
    }

    /// Whoever heard us as candidate or master need not wait for the suspicion time.
    pub(super) fn say_invalid(&mut self, ballot: Ballot, now: Now) {
        self.say(ballot, Reign::Invalid, now);
    }

    pub(super) fn handle_heartbeat(
        &mut self,
        now: Now,
        from: MemberId,
        ballot: Ballot,
        beat: Beat,
    ) {
        let others = beat
            .witness
            .iter()
            .filter(|row| row.incarnation != self.me.incarnation);
        let learned = others.filter(|row| self.witness.remember(**row)).count();
        if learned > 0 {
            self.witness_changed(now);
        }
        match beat.reign {
            Reign::Candidate if ballot == self.promise => self.hear(now, ballot),
            Reign::Candidate => return self.refuse_if_below(from, ballot),
            Reign::Invalid => return self.handle_invalid(now, ballot),
            Reign::Starting | Reign::Serving | Reign::Resigning(_) => {
                if !self.follow(now, from, ballot) {
                    return;
                }
                self.hear(now, ballot);
                self.attempts = 0; // The next death is another one.
                self.masters_committed = self.masters_committed.max(beat.committed);
                self.learn_committed();
            }
        }
        if beat.reign == Reign::Serving {
            self.aim_repair(ballot, beat.appended);
            self.consider_clean(now); // It may be there already, and nothing more arrive.
        }
        if matches!(beat.reign, Reign::Serving | Reign::Resigning(_)) {
            self.last_master = Some((ballot.epoch, from.ordinal));
        }
        if self.is_slave_in_step(now) {
            self.in_step_at = Some(now.boot);
        }
        self.answer_heartbeat(now, from, beat.sent_at);
        if let Reign::Resigning(target) = beat.reign {
            self.hear_resigning(now, target);
        }
        self.check_leaving(now);
    }

    fn refuse_if_below(&mut self, from: MemberId, ballot: Ballot) {
        if ballot.epoch <= self.promise.epoch {
            self.refuse(from.ordinal, ballot);
        }
    }

    fn handle_invalid(&mut self, now: Now, ballot: Ballot) {
        if self.heard.is_some_and(|heard| heard.ballot == ballot) {
            self.heard = None;
            self.consider_standing(now);
        }
    }

    fn answer_heartbeat(&mut self, now: Now, to: MemberId, sent_at: u64) {
        let message = Message::HeartbeatReply {
            ballot: self.storing.durable_promise(),
            sent_at,
            matched: self.ackable(),
            synced: self.journal.synced(),
            applied: self.applied,
            log_state: self.reported_state(),
            terminating: self.leaving.is_some(),
            illness: self.illness.degree(now, self.journal.space()),
        };
        self.send(to.ordinal, &message);
    }

    pub(super) fn handle_heartbeat_reply(
        &mut self,
        now: Now,
        from: MemberId,
        ballot: Ballot,
        answer: Answer,
    ) {
        let Some(peer) = self.peer_mut(from.ordinal) else {
            return;
        };
        peer.log_state = answer.log_state;
        peer.terminating = answer.terminating;
        peer.illness = answer.illness;
        peer.synced = answer.synced;
        peer.applied = answer.applied;
        let Some(master) = self.master_mut().filter(|master| master.ballot == ballot) else {
            return;
        };
        let Some(progress) = master.progress.get_mut(&from.ordinal) else {
            return;
        };
        let sent_at = Time::from_nanos(answer.sent_at);
        if sent_at <= now.boot && progress.answered.is_none_or(|answered| answered < sent_at) {
            progress.answered = Some(sent_at);
        }
        if answer.matched > progress.matched {
            self.handle_ack(now, from, ballot, answer.matched);
        }
    }

    /// What a member acknowledged is remembered, by us now and by all with the next heartbeat.
    pub(super) fn remember_match(
        &mut self,
        now: Now,
        from: MemberId,
        ballot: Ballot,
        matched: Offset,
    ) {
        let heard = Witness {
            incarnation: from.incarnation,
            promise: ballot,
            matched: (ballot, matched),
        };
        let own = Witness {
            incarnation: self.me.incarnation,
            promise: ballot,
            matched: (ballot, self.journal.synced()),
        };
        let (heard, own) = (self.witness.remember(heard), self.witness.remember(own));
        if heard || own {
            self.witness_changed(now);
        }
    }

    /// No quorum of clean voters for a lease duration, or a disk that hangs: no master.
    fn step_down_if_alone(&mut self, now: Now) {
        let Some(master) = self.master() else { return };
        let since = self.quorum_contact(now).max(master.began());
        if self.disk_is_stalled(now) {
            self.step_down(now, "an fdatasync hangs");
            self.release_lease(now);
            self.stand_again(now);
        } else if now.boot.since(since) > self.timing.lease_duration {
            self.step_down(now, "no quorum answered for a whole lease duration");
            self.release_lease(now);
            self.stand_again(now);
        }
    }
}
