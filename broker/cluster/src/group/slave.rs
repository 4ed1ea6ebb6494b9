//! Rows 7 and 10: a slave takes what its master sends, acknowledges what is on its disk, applies
//! what is committed.

use tandemmq_journal::{Batch, LogState, Space};
use tandemmq_model::{Ballot, MemberId, Now, Offset};

use super::appended::Placed;
use super::{Group, Notice, RoleState, quorum};
use crate::mutants::{self, Mutant};
use crate::peer::{Message, Tail};

impl Group {
    /// The guard of everything a master says: its ballot is our promise, or a higher one, which is
    /// promised first. False: refused.
    pub(super) fn follow(&mut self, now: Now, from: MemberId, ballot: Ballot) -> bool {
        if ballot.member != from {
            return false; // Only the owner of a ballot speaks under it.
        }
        if ballot.epoch > self.promise.epoch {
            self.take_promise(now, ballot, "another master reigns in a higher epoch");
        } else if ballot != self.promise {
            if mutants::on(Mutant::AppendBelowPromise) && matches!(self.role, RoleState::Slave) {
                return true;
            }
            self.refuse(from.ordinal, ballot);
            return false;
        }
        true
    }

    /// Row 7.
    pub(super) fn handle_append(
        &mut self,
        now: Now,
        from: MemberId,
        ballot: Ballot,
        prev: Tail,
        committed: Offset,
        batches: Vec<Batch>,
    ) {
        if !self.follow(now, from, ballot) {
            return;
        }
        self.hear(now, ballot);
        if self.log_state == LogState::DataLoss || self.journal.is_switching() {
            return;
        }
        let verified = |group: &mut Self, offset: Offset| {
            group.matched = group.matched.max(offset);
        };
        match self.place(now, ballot, prev, &batches, verified) {
            Placed::All => {}
            Placed::Gap => return self.nack(from.ordinal, ballot, prev.offset),
            Placed::NoRoom => {} // Not acknowledged; asked for again when there is room.
            Placed::Broken => {
                self.notice(format!(
                    "{from} sent batches that contradict this log: not taken"
                ));
            }
        }
        self.masters_committed = self.masters_committed.max(committed);
        self.learn_committed();
        if self.matched <= self.journal.synced() {
            self.acked = Offset::ZERO; // Nothing to wait for: a probing master wants an answer.
        }
        self.acknowledge();
        self.consider_clean(now);
    }

    /// Our link to the master is new: an ack may have been lost with the old one.
    pub(super) fn acknowledge_again(&mut self, ordinal: u8) {
        if self.promise.member.ordinal == ordinal {
            self.acked = Offset::ZERO;
            self.acknowledge();
        }
    }

    fn nack(&mut self, to: u8, ballot: Ballot, below: Offset) {
        let appended = self.journal.appended().min(below);
        let epochs = self.epoch_rows(appended);
        self.send(
            to,
            &Message::Nack {
                ballot,
                appended,
                epochs,
            },
        );
    }

    /// There is room again after an Append found none: ask for it by telling where our log ends.
    pub(super) fn retry_missed_append(&mut self, _now: Now) {
        let fits = |bytes: usize| {
            self.journal.has_room(bytes) && self.journal.space() != Space::OnlyElection
        };
        if self.missed_append.is_some_and(fits) {
            self.missed_append = None;
            let promise = self.promise;
            self.nack(promise.member.ordinal, promise, self.journal.appended());
        }
    }

    /// Row 7, the end: Ack(b, min(match, synced)), only while b is still the promise, and only
    /// once that promise is on disk.
    pub(super) fn acknowledge(&mut self) {
        let (ballot, matched) = (self.following, self.ackable());
        if matched > self.acked {
            self.acked = matched;
            let log_state = self.reported_state();
            let ack = Message::Ack {
                ballot,
                matched,
                log_state,
            };
            self.send(ballot.member.ordinal, &ack);
        }
    }

    /// A damaged member and a learner say how far they are, too, though nothing of it counts: the
    /// master must know what to send.
    fn may_ack(&self) -> bool {
        self.log_state != LogState::DataLoss
    }

    /// What may be acknowledged now; nothing (0) where nothing may be said.
    pub(super) fn ackable(&self) -> Offset {
        let slave = matches!(self.role, RoleState::Slave | RoleState::Standing(_));
        let late = mutants::on(Mutant::AckUnderOldBallot);
        if !slave
            || !self.may_ack()
            || self.is_replaced(self.me.incarnation)
            || self.following != self.promise && !late
        {
            return Offset::ZERO;
        }
        if !self.promise_is_durable() && !mutants::on(Mutant::PromiseNotSynced) {
            return Offset::ZERO;
        }
        if mutants::on(Mutant::AckBeforeSync) {
            self.matched
        } else if mutants::on(Mutant::AckSyncedNotMatched) {
            self.journal.synced()
        } else {
            self.matched.min(self.journal.synced())
        }
    }

    /// Row 10.
    pub(super) fn learn_committed(&mut self) {
        let matched = if mutants::on(Mutant::ApplyUnmatched) {
            self.journal.appended()
        } else {
            self.matched
        };
        let synced = self.journal.synced();
        let known = quorum::committed_at_slave(self.masters_committed, matched, synced);
        if known.offset() > self.committed {
            self.committed = known.offset();
            self.notices.push_back(Notice::Committed(known));
        }
    }
}
