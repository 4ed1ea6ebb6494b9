//! Rows 5 and 6: a candidate adopts the best log of a promising quorum, then leads.

use std::collections::BTreeMap;
use std::time::Duration;

use tandemmq_journal::{Batch, BatchBuilder, LogState, ReadDone};
use tandemmq_model::{Ballot, Incarnation, Now, Offset, Time};

use super::appended::Placed;
use super::master::Master;
use super::promise::Reply;
use super::timers::Timer;
use super::{Group, ReadFor, RoleState};
use crate::epoch_start::EpochStart;
use crate::mutants::{self, Mutant};
use crate::peer::{BATCHES_BYTES_MAX, EpochFirst, Message, Tail};

/// A candidate that fetches and hears nothing for this long gives up.
const FETCH_WAIT: Duration = Duration::from_secs(1);

/// A member that asks for promises.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) ballot: Ballot,
    pub(super) since: Time,
    /// What each other member answered.
    pub(super) replies: BTreeMap<Incarnation, Reply>,
    /// The member whose log is being fetched.
    fetching: Option<u8>,
    /// It was asked for what follows a common record not beyond this one.
    asked_below: Offset,
}

impl Candidate {
    pub(super) const fn new(ballot: Ballot, since: Time) -> Self {
        Self {
            ballot,
            since,
            replies: BTreeMap::new(),
            fetching: None,
            asked_below: Offset::ZERO,
        }
    }
}

impl Group {
    /// The own promise is on disk: ask everybody (row 2), oneself included (row 6).
    pub(super) fn ask_for_promises(&mut self, now: Now) {
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        let request = Message::PromiseReq {
            ballot: candidate.ballot,
        };
        self.send_to_others(&request);
        self.try_to_lead(now);
    }

    /// A link came up, or a new volume was heard on it, while we ask: what was asked before went
    /// nowhere.
    pub(super) fn ask_again(&mut self, ordinal: u8) {
        if let Some(question) = self.pre_vote() {
            return self.send(ordinal, &question);
        }
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        if self.promise_is_durable() {
            let request = Message::PromiseReq {
                ballot: candidate.ballot,
            };
            self.send(ordinal, &request);
        }
    }

    /// Row 6: a quorum promised, nobody in it has a better log than ours.
    pub(super) fn try_to_lead(&mut self, now: Now) {
        self.mark_the_accused();
        let voters = if mutants::on(Mutant::FirstConfigJudges) {
            self.configs.first().map(|(_, voters)| voters.clone())
        } else {
            self.voters.clone()
        };
        let Some(voters) = voters else {
            return;
        };
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        let durable = self.promise_is_durable() || mutants::on(Mutant::OwnPromiseNotSynced);
        if self.promise != candidate.ballot || !durable {
            return;
        }
        let counted = self.counted_promises(&candidate.replies, candidate.ballot);
        let own = self.appended_tail();
        let fits = |tail: &Tail| *tail <= own || mutants::on(Mutant::RecoverySkipped);
        let agree = counted
            .iter()
            .filter(|(_, tail)| fits(tail))
            .map(|(who, _)| *who);
        if voters.is_quorum(agree) && self.everybody_replied_if_first() {
            if !self.stays_voter() {
                return self.abandon(now, "this volume is replaced: another one must lead");
            }
            let tails = counted.clone();
            self.lead(now, tails);
        } else if voters.is_quorum(counted.iter().map(|(who, _)| *who)) {
            self.fetch_the_best(now, &counted);
        }
    }

    /// The first election is unanimous: with an empty log nobody can tell a group that never gave
    /// a receipt from one whose data is on a volume that is missing now (H8).
    fn everybody_replied_if_first(&self) -> bool {
        let RoleState::Candidate(candidate) = &self.role else {
            return false;
        };
        let Some(voters) = &self.voters else {
            return false;
        };
        self.journal.appended() > Offset::ZERO
            || mutants::on(Mutant::FirstElectionByMajority)
            || voters.members().iter().all(|member| {
                *member == self.me || candidate.replies.contains_key(&member.incarnation)
            })
    }

    fn fetch_the_best(&mut self, now: Now, counted: &[(Incarnation, Tail)]) {
        let own = self.appended_tail();
        let Some((best, tail)) = counted.iter().max_by_key(|(_, tail)| *tail).copied() else {
            return;
        };
        let ordinal = self.peers.iter().find_map(|peer| {
            peer.member
                .filter(|member| member.incarnation == best)
                .map(|member| member.ordinal)
        });
        let Some(ordinal) = ordinal.filter(|_| tail > own) else {
            return;
        };
        let RoleState::Candidate(candidate) = &mut self.role else {
            return;
        };
        if candidate.fetching == Some(ordinal) {
            return;
        }
        candidate.fetching = Some(ordinal);
        self.timers.set(Timer::CandidateEnd, now.boot + FETCH_WAIT);
        self.request_fetch(ordinal, self.journal.appended());
    }

    fn request_fetch(&mut self, ordinal: u8, below: Offset) {
        let RoleState::Candidate(candidate) = &mut self.role else {
            return;
        };
        candidate.asked_below = below;
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        let message = Message::Fetch {
            ballot: candidate.ballot,
            appended: below,
            epochs: self.epoch_rows(below),
        };
        self.send(ordinal, &message);
    }

    /// Row 5, the server. It gives its synced log, to the candidate it promised, and only while
    /// its log is clean.
    pub(super) fn handle_fetch(
        &mut self,
        from: u8,
        ballot: Ballot,
        appended: Offset,
        epochs: &[EpochFirst],
    ) {
        if !self.may_serve_fetch(ballot) {
            return;
        }
        let common = self.common_point(self.journal.synced(), appended, epochs);
        let start = self.journal.log_start();
        if common < start {
            // The log begins behind what the candidate has: it sees that by this offset.
            return self.send_fetched(from, ballot, self.tail_at(start), Vec::new());
        }
        let prev = self.tail_at(common);
        match self.journal.tail_batches(common.next(), BATCHES_BYTES_MAX) {
            Some(batches) => self.send_fetched(from, ballot, prev, batches),
            None => {
                let op = self.journal.read_batches(common.next(), BATCHES_BYTES_MAX);
                self.start_read(
                    op,
                    ReadFor::Fetch {
                        ordinal: from,
                        ballot,
                        prev,
                    },
                );
            }
        }
    }

    fn may_serve_fetch(&self, ballot: Ballot) -> bool {
        let bound = self.promise == ballot || mutants::on(Mutant::FetchNotBoundToBallot);
        bound && (self.log_state == LogState::Clean || mutants::on(Mutant::FetchDamaged))
    }

    fn send_fetched(&mut self, to: u8, ballot: Ballot, prev: Tail, mut batches: Vec<Batch>) {
        let end = self.synced_tail();
        batches.retain(|batch| batch.last() <= end.offset);
        self.send(
            to,
            &Message::Fetched {
                ballot,
                prev,
                end,
                batches,
            },
        );
    }

    /// A read of the journal ended; given back when it was not ours.
    pub(crate) fn handle_read(
        &mut self,
        now: Now,
        id: crate::ReadId,
        done: ReadDone,
    ) -> Result<(), ReadDone> {
        let Some(purpose) = self.reads.remove(&id) else {
            return Err(done);
        };
        match (purpose, done) {
            (ReadFor::Scrub, done) => self.handle_scrubbed(now, &done),
            (_, ReadDone::Damaged(text)) => self.handle_damage(now, &text),
            (purpose @ (ReadFor::Piece { .. } | ReadFor::Survivors { .. }), done) => {
                self.answer_install(&purpose, done);
            }
            (
                ReadFor::Fetch {
                    ordinal,
                    ballot,
                    prev,
                },
                ReadDone::Batches(batches),
            ) => {
                if self.may_serve_fetch(ballot) {
                    self.send_fetched(ordinal, ballot, prev, batches);
                }
            }
            (ReadFor::Append { ordinal, ballot }, ReadDone::Batches(batches)) => {
                self.handle_stream_read(now, ordinal, ballot, id, &batches);
            }
            (ReadFor::Append { .. } | ReadFor::Fetch { .. }, done) => {
                self.notice(format!("reading the journal failed: {done:?}"));
                self.retry_stream(now, id);
            }
        }
        Ok(())
    }

    /// Row 5, the candidate.
    pub(super) fn handle_fetched(
        &mut self,
        now: Now,
        from: u8,
        ballot: Ballot,
        prev: Tail,
        end: Tail,
        batches: Vec<Batch>,
    ) {
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        let bound = candidate.ballot == ballot || mutants::on(Mutant::FetchNotBoundToBallot);
        if !bound || candidate.fetching != Some(from) {
            return;
        }
        let (ballot, asked_below) = (candidate.ballot, candidate.asked_below);
        self.timers.set(Timer::CandidateEnd, now.boot + FETCH_WAIT);
        match self.place(now, ballot, prev, &batches, |_, _| {}) {
            Placed::All => {}
            Placed::Gap if prev.offset > asked_below => return self.step_back(now),
            Placed::Gap => {
                self.request_fetch(from, Offset(prev.offset.0.saturating_sub(1)));
                return;
            }
            Placed::NoRoom => return self.abandon(now, "no room for the log it must adopt"),
            Placed::Broken => return self.abandon(now, "the fetched log contradicts the own"),
        }
        if self.journal.appended() < end.offset && !batches.is_empty() {
            self.request_fetch(from, self.journal.appended());
            return;
        }
        if let RoleState::Candidate(candidate) = &mut self.role {
            candidate.fetching = None;
        }
        self.try_to_lead(now);
    }

    /// Row 6: the first record of the epoch. Ports stay closed until it is committed.
    fn lead(&mut self, now: Now, tails: Vec<(Incarnation, Tail)>) {
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        let Some(voters) = &self.voters else { return };
        let (ballot, since) = (candidate.ballot, candidate.since);
        let start = EpochStart {
            ballot,
            generation: voters.generation(),
            voters: voters.members().to_vec(),
            tails,
        };
        let base = self.journal.appended().next();
        let crc = self
            .journal
            .last_crc()
            .expect("a cut is always followed by an append");
        let mut batch = BatchBuilder::of_format(self.journal.format(), ballot.epoch, base, crc);
        batch.push(&start.to_record());
        let batch = batch.finish();
        if !self.journal.has_room(batch.bytes().len()) {
            return self.abandon(now, "no room on the disk for an EpochStart");
        }
        let answered: Vec<Incarnation> = candidate.replies.keys().copied().collect();
        self.journal.append(batch);
        self.attempts = 0;
        self.timers.stop(Timer::CandidateEnd);
        let master = Master::new(ballot, base, self.peers.len(), since);
        self.role = RoleState::Master(master);
        self.tell_role("a quorum promised, the best log is adopted");
        self.begin_reign(now, &answered);
    }

    pub(super) fn handle_candidate_end(&mut self, now: Now) {
        self.abandon(now, "no quorum promised in time");
    }

    /// The better log begins behind a checkpoint that this member lacks. Installing it would leave
    /// the group without a master for as long as that takes; the member that has it can lead at
    /// once, and this one installs as its slave.
    fn step_back(&mut self, now: Now) {
        self.abandon(
            now,
            "the better log begins behind a checkpoint: its owner must lead",
        );
        let wait = self.timing.suspicion;
        if self.may_stand() {
            self.timers.set(Timer::Stand, now.boot + wait);
        }
    }

    fn abandon(&mut self, now: Now, reason: &str) {
        if matches!(self.role, RoleState::Candidate(_)) {
            self.step_down(now, reason);
            self.stand_again(now);
        }
    }
}
