//! What is durable of promise, log state and cut mark, and what waits for it.
//!
//! A promise is effective in memory at once and durable later. Until then nothing that rests on it
//! leaves: no Promised, no PromiseReq of the own candidacy, no Ack.

use std::collections::VecDeque;

use tandemmq_journal::{Control, LogState};
use tandemmq_model::{Ballot, Now};

use super::timers::Timer;
use super::{Group, RoleState};
use crate::mutants::{self, Mutant};

/// The witness table is written with every promise and at most this late.
const WITNESS_DELAY: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Storing {
    /// Promises on their way to the disk, oldest first.
    tickets: VecDeque<(u64, Ballot)>,
    /// The promise that is surely on disk.
    durable: Ballot,
    /// The candidate that waits for the answer to its PromiseReq.
    pub(super) reply_to: Option<u8>,
    /// The identity is being stored: which ticket.
    pub(super) adopting: Option<u64>,
}

impl Storing {
    pub(super) const fn new(durable: Ballot) -> Self {
        Self {
            tickets: VecDeque::new(),
            durable,
            reply_to: None,
            adopting: None,
        }
    }

    pub(super) const fn durable_promise(&self) -> Ballot {
        self.durable
    }
}

impl Group {
    /// Hands promise, log state and cut mark as they are now to the disk, after everything that
    /// was handed to it before.
    pub(super) fn store_control(&mut self) {
        self.store_control_as(self.log_state);
    }

    /// The same with a log state that counts only once it is stored; the ticket to wait for.
    pub(super) fn store_control_as(&mut self, log_state: LogState) -> u64 {
        let control = Control {
            promise: self.promise,
            log_state,
            cut_mark: self.cut_mark,
        };
        let ticket = self.journal.store_control(control);
        self.storing.tickets.push_back((ticket, self.promise));
        ticket
    }

    /// True when the effective promise is on disk.
    pub(super) fn promise_is_durable(&self) -> bool {
        // While the log is about to be another one nobody can say where it ends.
        self.storing.durable == self.promise && !self.journal.is_switching()
    }

    /// The disk thread stored something.
    pub(super) fn handle_stored(&mut self, now: Now, ticket: u64) {
        if self.storing.adopting == Some(ticket) {
            self.storing.adopting = None;
            self.handle_adopted(now);
            return;
        }
        self.handle_repair_stored(now, ticket);
        while let Some((first, promise)) = self.storing.tickets.front().copied() {
            if first > ticket {
                break;
            }
            self.storing.tickets.pop_front();
            self.storing.durable = promise;
        }
        self.continue_after_promise(now);
    }

    /// What waited for the promise to be durable goes out.
    pub(super) fn continue_after_promise(&mut self, now: Now) {
        let asks_early = mutants::on(Mutant::OwnPromiseNotSynced);
        if matches!(self.role, RoleState::Candidate(_)) && (self.promise_is_durable() || asks_early)
        {
            self.ask_for_promises(now);
        }
        let may_answer = self.promise_is_durable() || mutants::on(Mutant::PromiseNotSynced);
        if let Some(ordinal) = self.storing.reply_to.take_if(|_| may_answer) {
            self.send_promised(ordinal);
        }
        self.acknowledge();
    }

    /// The memory of the peers goes to disk within a second.
    pub(super) fn witness_changed(&mut self, now: Now) {
        self.timers
            .set_if_stopped(Timer::Witness, now.boot + WITNESS_DELAY);
    }

    pub(super) fn store_witness_now(&mut self) {
        self.timers.stop(Timer::Witness);
        self.journal.store_witness(self.witness.rows());
    }
}
