//! Rows 6 (its end), 8 and 9: a master streams its log to every slave, counts what they have on
//! disk, commits.
//!
//! ```text
//!   per slave:  Probing --ack--> Streaming --nack--> Probing (from the common point)
//! ```
//! While probing one Append is out; while streaming as many as fit the window. Old records are
//! paged from the journal, recent ones come from memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tandemmq_journal::{Batch, LogState};
use tandemmq_model::{Ballot, Incarnation, MemberId, Now, Offset, Time};

use super::timers::Timer;
use super::{Group, Notice, ReadFor, RoleState, quorum};
use crate::ReadId;
use crate::config_record;
use crate::mutants::{self, Mutant};
use crate::peer::{BATCHES_BYTES_MAX, EpochFirst, Message};

/// Bytes out to one slave and not acknowledged. Two largest batches fit; a slave that is this far
/// behind is paged from the journal when it moves.
const WINDOW_BYTES: usize = 32 * 1024 * 1024;

/// A slave that owes an ack for this long without any progress is asked again from what it
/// acknowledged: a frame may have been lost with a link that was replaced.
const STALL: Duration = Duration::from_secs(3);

/// A master's view of one slave.
#[derive(Debug)]
pub(super) struct Progress {
    /// Acknowledged in this ballot.
    pub(super) matched: Offset,
    /// The next offset to send.
    next: Offset,
    phase: Phase,
    /// Last offset and bytes of each Append that is out.
    in_flight: VecDeque<(Offset, usize)>,
    in_flight_bytes: usize,
    paging: Option<ReadId>,
    /// Sending time of the last heartbeat it answered in this ballot.
    pub(super) answered: Option<Time>,
    progressed_at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Where the logs part is not known; one Append may be out.
    Probing {
        asked: bool,
    },
    Streaming,
    /// What it lacks is before the log: it was offered a checkpoint.
    Installing,
}

impl Progress {
    fn new(next: Offset, now: Time) -> Self {
        Self {
            matched: Offset::ZERO,
            next,
            phase: Phase::Probing { asked: false },
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            paging: None,
            answered: None,
            progressed_at: now,
        }
    }

    fn restart(&mut self, next: Offset, now: Time) {
        self.next = next;
        self.phase = Phase::Probing { asked: false };
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.paging = None;
        self.progressed_at = now;
    }

    fn acknowledged(&mut self, matched: Offset, now: Time) {
        self.matched = self.matched.max(matched);
        self.progressed_at = now;
        while let Some((last, bytes)) = self.in_flight.front().copied() {
            if last > matched {
                break;
            }
            self.in_flight.pop_front();
            self.in_flight_bytes -= bytes;
        }
        self.phase = Phase::Streaming;
        self.next = self.next.max(matched.next());
    }

    pub(super) const fn is_streaming(&self) -> bool {
        matches!(self.phase, Phase::Streaming)
    }

    pub(super) fn progressed_within(&self, now: Now, time: Duration) -> bool {
        now.boot.since(self.progressed_at) < time
    }

    fn may_send(&self) -> bool {
        match self.phase {
            Phase::Probing { asked } => !asked,
            Phase::Installing => false,
            Phase::Streaming => self.in_flight_bytes < WINDOW_BYTES,
        }
    }
}

/// A reigning member.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) ballot: Ballot,
    /// Offset of the own EpochStart.
    pub(super) start: Offset,
    pub(super) progress: BTreeMap<u8, Progress>,
    /// When the candidacy began: the promises are the first answers of the quorum.
    since: Time,
    /// The EpochStart is committed.
    pub(super) serving: bool,
}

impl Master {
    pub(super) fn new(ballot: Ballot, start: Offset, places: usize, since: Time) -> Self {
        let others = (0..places as u8).filter(|ordinal| *ordinal != ballot.member.ordinal);
        let progress = others
            .map(|ordinal| (ordinal, Progress::new(start, since)))
            .collect();
        Self {
            ballot,
            start,
            progress,
            since,
            serving: false,
        }
    }

    /// When this reign began.
    pub(super) const fn began(&self) -> Time {
        self.since
    }
}

impl Group {
    /// The EpochStart is appended: send it, say so to everybody.
    pub(super) fn begin_reign(&mut self, now: Now, answered: &[Incarnation]) {
        let places: Vec<u8> = self
            .peers
            .iter()
            .filter(|peer| {
                peer.member
                    .is_some_and(|m| answered.contains(&m.incarnation))
            })
            .map(|peer| peer.ordinal)
            .collect();
        if let Some(master) = self.master_mut() {
            let since = master.since;
            for ordinal in places {
                if let Some(progress) = master.progress.get_mut(&ordinal) {
                    progress.answered = Some(since);
                }
            }
        }
        self.timers.set(Timer::Lease, now.boot);
        self.pump_all(now);
        self.send_heartbeats(now);
        self.count_commits(now);
    }

    /// The node's next batch: to the own disk and to the slaves in the same step.
    pub(crate) fn append_own(&mut self, now: Now, batch: Batch) {
        assert!(self.master().is_some(), "only a master makes batches");
        if let Ok(Some(voters)) = config_record::of_batch(&batch) {
            self.push_config(batch.base(), voters);
        }
        self.journal.append(batch);
        self.pump_all(now);
    }

    pub(super) fn pump_all(&mut self, now: Now) {
        for ordinal in self.others() {
            self.pump(now, ordinal);
        }
    }

    /// Row 8, "same incarnation and connection": what another process acknowledged, maybe from
    /// another volume, counts no more.
    pub(super) fn forget_progress(&mut self, now: Now, ordinal: u8) {
        let appended = self.journal.appended();
        let Some(progress) = self.master_mut().and_then(|m| m.progress.get_mut(&ordinal)) else {
            return;
        };
        progress.matched = Offset::ZERO;
        progress.answered = None;
        progress.restart(appended.next(), now.boot);
        self.pump(now, ordinal);
    }

    /// Our link to a slave is new: what was under way may be lost.
    pub(super) fn restart_stream(&mut self, now: Now, ordinal: u8) {
        let appended = self.journal.appended();
        let Some(progress) = self.master_mut().and_then(|m| m.progress.get_mut(&ordinal)) else {
            return;
        };
        let next = if progress.matched > Offset::ZERO {
            progress.matched.next()
        } else {
            progress.next.min(appended.next())
        };
        progress.restart(next, now.boot);
        self.pump(now, ordinal);
    }

    /// Sends that slave what fits.
    fn pump(&mut self, now: Now, ordinal: u8) {
        loop {
            let appended = self.journal.appended();
            let up = self.peer(ordinal).is_some_and(|peer| peer.outbound)
                && self.understands_log(ordinal);
            let Some(master) = self.master() else { return };
            let ballot = master.ballot;
            let Some(progress) = master.progress.get(&ordinal) else {
                return;
            };
            if !up || !progress.may_send() || progress.paging.is_some() {
                return;
            }
            let next = progress.next;
            if next <= self.journal.log_start() {
                return self.offer_checkpoint(now, ordinal, ballot);
            }
            let probing = matches!(progress.phase, Phase::Probing { .. });
            if next > appended && !probing {
                return;
            }
            if next > appended {
                self.send_append(now, ordinal, ballot, Vec::new());
                return;
            }
            match self.journal.tail_batches(next, BATCHES_BYTES_MAX) {
                Some(batches) => self.send_append(now, ordinal, ballot, batches),
                None => {
                    let op = self.journal.read_batches(next, BATCHES_BYTES_MAX);
                    let id = self.start_read(op, ReadFor::Append { ordinal, ballot });
                    let master = self.master_mut();
                    if let Some(progress) = master.and_then(|m| m.progress.get_mut(&ordinal)) {
                        progress.paging = Some(id);
                    }
                    return;
                }
            }
        }
    }

    fn offer_checkpoint(&mut self, now: Now, ordinal: u8, ballot: Ballot) {
        let progress = self.master_mut().and_then(|m| m.progress.get_mut(&ordinal));
        if let Some(progress) = progress {
            progress.phase = Phase::Installing;
            progress.progressed_at = now.boot;
        }
        self.send_offer(now, ordinal, ballot);
    }

    fn send_append(&mut self, now: Now, ordinal: u8, ballot: Ballot, batches: Vec<Batch>) {
        let Some(progress) = self.master_mut().and_then(|m| m.progress.get_mut(&ordinal)) else {
            return;
        };
        let before = Offset(progress.next.0 - 1);
        if let Some(last) = batches.last() {
            let bytes = batches.iter().map(|batch| batch.bytes().len()).sum();
            if progress.in_flight.is_empty() {
                progress.progressed_at = now.boot;
            }
            progress.in_flight.push_back((last.last(), bytes));
            progress.in_flight_bytes += bytes;
            progress.next = last.last().next();
        }
        if let Phase::Probing { asked } = &mut progress.phase {
            *asked = true;
        }
        let prev = self.tail_at(before);
        let committed = self.committed;
        self.send(
            ordinal,
            &Message::Append {
                ballot,
                prev,
                committed,
                batches,
            },
        );
    }

    pub(super) fn handle_stream_read(
        &mut self,
        now: Now,
        ordinal: u8,
        ballot: Ballot,
        id: ReadId,
        batches: &[Batch],
    ) {
        let Some(master) = self.master_mut().filter(|master| master.ballot == ballot) else {
            return;
        };
        let Some(progress) = master.progress.get_mut(&ordinal) else {
            return;
        };
        if progress.paging != Some(id) {
            return; // The stream was restarted meanwhile.
        }
        progress.paging = None;
        if batches
            .first()
            .is_some_and(|first| first.base() == progress.next)
        {
            self.send_append(now, ordinal, ballot, batches.to_vec());
        }
        self.pump(now, ordinal);
    }

    /// A read for a stream failed: the heartbeat's stall check starts it again.
    pub(super) fn retry_stream(&mut self, _now: Now, id: ReadId) {
        let Some(master) = self.master_mut() else {
            return;
        };
        for progress in master
            .progress
            .values_mut()
            .filter(|p| p.paging == Some(id))
        {
            progress.paging = None;
        }
    }

    /// Row 7's refusal to take an Append: its log is another one, or shorter.
    pub(super) fn handle_nack(
        &mut self,
        now: Now,
        from: u8,
        ballot: Ballot,
        appended: Offset,
        epochs: &[EpochFirst],
    ) {
        if self.master().is_none_or(|master| master.ballot != ballot) {
            return;
        }
        let common = self.common_point(self.journal.appended(), appended, epochs);
        let Some(progress) = self.master_mut().and_then(|m| m.progress.get_mut(&from)) else {
            return;
        };
        let at = progress.progressed_at;
        progress.restart(common.next(), at);
        self.pump(now, from);
    }

    /// Row 8: only in the own ballot. All who follow tell how far they are, so that they are sent
    /// more; whose word counts is decided where it is counted.
    pub(super) fn handle_ack(&mut self, now: Now, from: MemberId, ballot: Ballot, matched: Offset) {
        let accused = self
            .peer(from.ordinal)
            .is_some_and(|peer| peer.accused.is_some());
        let appended = self.journal.appended();
        let Some(master) = self.master_mut() else {
            return;
        };
        if master.ballot != ballot || accused || matched > appended {
            return;
        }
        let Some(progress) = master.progress.get_mut(&from.ordinal) else {
            return;
        };
        progress.acknowledged(matched, now.boot);
        self.remember_match(now, from, ballot, matched);
        self.count_commits(now);
        self.pump(now, from.ordinal);
        self.check_leaving(now);
    }

    /// Row 9.
    pub(super) fn count_commits(&mut self, now: Now) {
        let Some(voters) = self.voters.clone() else {
            return;
        };
        let own_synced = if mutants::on(Mutant::MasterCountsUnsynced) {
            self.journal.appended()
        } else {
            self.journal.synced()
        };
        let Some(master) = self.master() else { return };
        if self.promise != master.ballot && !mutants::on(Mutant::MasterKeepsAfterPromise) {
            return;
        }
        let start = if mutants::on(Mutant::CommitOlderEpochs) {
            Offset(1)
        } else {
            master.start
        };
        let own_start = master.start;
        let counted = self.matched_by_voters(own_synced);
        let counted = quorum::committed_by_counting(&voters, start, own_synced, &counted);
        let Some(committed) = counted.filter(|counted| counted.offset() > self.committed) else {
            return;
        };
        self.committed = committed.offset();
        self.notices.push_back(Notice::Committed(committed));
        if committed.offset() >= own_start {
            self.begin_serving(now, own_start);
        }
    }

    /// Row 11, as far as the group knows; the node applies and opens the ports.
    fn begin_serving(&mut self, now: Now, start: Offset) {
        let epoch = self.promise.epoch;
        let me = self.me.ordinal;
        let Some(master) = self.master_mut().filter(|master| !master.serving) else {
            return;
        };
        master.serving = true;
        self.last_master = Some((epoch, me));
        self.notices.push_back(Notice::Serving { epoch, start });
        self.timers.set(Timer::Lease, now.boot);
        self.send_heartbeats(now);
    }

    /// Slaves that owe an ack and are silent about it are asked again.
    pub(super) fn wake_stalled_streams(&mut self, now: Now) {
        let appended = self.journal.appended();
        let Some(master) = self.master() else { return };
        let stalled: Vec<u8> = master
            .progress
            .iter()
            .filter(|(_, p)| p.matched < appended && now.boot.since(p.progressed_at) > STALL)
            .map(|(ordinal, _)| *ordinal)
            .collect();
        for ordinal in stalled {
            self.restart_stream(now, ordinal);
        }
    }

    /// The sending time of the last heartbeat that a quorum answered in this ballot; `now` when
    /// the master is a quorum by itself.
    pub(super) fn quorum_contact(&self, now: Now) -> Time {
        let (Some(master), Some(voters)) = (self.master(), &self.voters) else {
            return Time::ZERO;
        };
        let own = (self.me.incarnation, now.boot);
        let others = self.sound_peers().filter_map(|(incarnation, ordinal)| {
            let answered = master.progress.get(&ordinal)?.answered?;
            Some((incarnation, answered))
        });
        let heard: Vec<_> = std::iter::once(own).chain(others).collect();
        voters.contact(&heard)
    }

    /// The volumes whose word counts, as far as they are voters.
    fn sound_peers(&self) -> impl Iterator<Item = (Incarnation, u8)> {
        let others = self
            .peers
            .iter()
            .filter(|peer| peer.ordinal != self.me.ordinal);
        let learner = |peer: &super::Peer| {
            peer.log_state == LogState::Learner && mutants::on(Mutant::LearnerCounts)
        };
        let counts = move |peer: &&super::Peer| peer.is_sound() || learner(peer);
        others.filter(counts).filter_map(move |peer| {
            let by_place = || self.voters.as_ref()?.incarnation_at(peer.ordinal);
            let incarnation = if mutants::on(Mutant::VoterByOrdinal) || learner(peer) {
                by_place()
            } else {
                peer.member.map(|member| member.incarnation)
            };
            Some((incarnation?, peer.ordinal))
        })
    }

    /// What each voter is known to have on its disk in this ballot, oneself included.
    fn matched_by_voters(&self, own_synced: Offset) -> Vec<(Incarnation, Offset)> {
        let matched = |ordinal| self.master().and_then(|m| m.progress.get(&ordinal));
        let others = self.sound_peers().filter_map(|(incarnation, ordinal)| {
            matched(ordinal).map(|progress| (incarnation, progress.matched))
        });
        std::iter::once((self.me.incarnation, own_synced))
            .chain(others)
            .collect()
    }

    /// Deliveries may be written until then: a zombie stops itself before another master's
    /// consumers can have the same message (H20).
    pub(crate) fn valid_until(&self, now: Now) -> Time {
        self.quorum_contact(now) + self.timing.quorum_hold
    }

    /// Serving, a quorum answers, not leaving, the disk moves.
    pub(super) fn is_valid_master(&self, now: Now) -> bool {
        matches!(&self.role, RoleState::Master(_))
            && now.boot < self.valid_until(now)
            && self.leaving.is_none()
            && !self.disk_is_stalled(now)
    }

    /// Accepting commands and dispatching are allowed.
    pub(crate) fn may_serve(&self, now: Now) -> bool {
        self.master().is_some_and(|master| master.serving) && self.is_valid_master(now)
    }

    /// H13: a master whose disk hangs is no master, though its heartbeats would go on.
    pub(super) fn disk_is_stalled(&self, now: Now) -> bool {
        self.journal
            .stalled_since()
            .is_some_and(|since| now.boot.since(since) > self.timing.disk_stall)
    }
}
