//! One member of a group: election, promise, recovery, replication, identity.
//!
//! ```text
//!            nobody heard                 Lease + own promise on disk
//!   Slave ----------------> Standing ----------------------------> Candidate
//!     ^  ^                     | refused                             | quorum promised,
//!     |  +---------------------+                                     | log adopted
//!     |                                                              v
//!     +---- promised another, refused, no quorum, handed over ---- Master
//! ```
//!
//! Each file below holds the handlers of some rows of `docs/protocol/README.md`.
//!
//! Invariants
//! - From the moment of a promise (in memory, before it is durable) nothing is acknowledged and
//!   nothing counted under an older ballot.
//! - What leaves this member about its disk (ack, tail, promise) was durable when it left.
//! - All writes go to one disk thread in order: what is stored first is durable first.
//! - No clock and no content of the Lease makes or unmakes a master; they only choose when to try.
//!
//! Not here: clients and queues (`tandemmq-engine`, joined in `node`), files (`tandemmq-journal`).

mod appended;
mod formats;
mod founding;
mod handover;
mod hears;
mod heartbeat;
mod illness;
mod install;
mod lease_keeper;
mod links;
mod master;
mod membership;
mod offer;
mod promise;
pub(crate) mod quorum;
mod recovery;
mod repair;
mod slave;
mod standing;
mod status;
mod storing;
mod timers;
mod witness;

use std::collections::{BTreeMap, VecDeque};

use bytestring::ByteString;
use tandemmq_engine::Picture;
use tandemmq_journal::{
    CheckpointHead, CheckpointOrder, DiskDone, Identity, Image, Journal, JournalEvent, LogState,
    ReadOp, Recovered,
};
use tandemmq_model::{Ballot, BootNonce, Committed, Epoch, MemberId, Now, Offset, Time};

use self::founding::Founder;
use self::handover::Leaving;
use self::hears::Heard;
use self::illness::Illness;
use self::install::Installing;
use self::lease_keeper::LeaseCalls;
use self::links::Peer;
use self::master::Master;
use self::offer::Offered;
use self::quorum::Voters;
use self::recovery::Candidate;
use self::repair::Repair;
use self::standing::Standing;
use self::storing::Storing;
use self::timers::{Timer, Timers};
use self::witness::WitnessTable;
use crate::config::{Confirmation, Timing};
use crate::mutants::{self, Mutant};
use crate::peer::{Envelope, Message, Tail};
use crate::rng::Rng;
use crate::status::Role;
use crate::volume::{VolumeVerdict, judge_volume};
use crate::{Effect, NodeConfig, ReadId, config_record, peer};

/// What the node must know of.
#[derive(Debug)]
pub(crate) enum Notice {
    /// More is committed: apply it.
    Committed(Committed),
    /// Master with its EpochStart committed: apply to there, then open the ports.
    Serving { epoch: Epoch, start: Offset },
    /// No longer master: close the ports.
    Stopped,
    /// The log begins with this picture now: the engine goes on from it.
    Restored(Picture),
}

/// What a read of the journal was for.
#[derive(Debug)]
enum ReadFor {
    /// Batches for a slave of this ballot.
    Append { ordinal: u8, ballot: Ballot },
    /// Batches for a candidate of this ballot.
    Fetch {
        ordinal: u8,
        ballot: Ballot,
        prev: Tail,
    },
    /// A piece of a checkpoint for a slave of this ballot.
    Piece {
        ordinal: u8,
        ballot: Ballot,
        offset: Offset,
        position: u64,
    },
    /// Records for a slave of this ballot that installs the checkpoint of that offset.
    Survivors {
        ordinal: u8,
        ballot: Ballot,
        offset: Offset,
    },
    /// The check of what nobody reads.
    Scrub,
}

#[expect(clippy::large_enum_variant, reason = "one for each member")]
enum RoleState {
    Slave,
    Standing(Standing),
    Candidate(Candidate),
    Master(Master),
}

/// The member.
pub(crate) struct Group {
    name: ByteString,
    holder: Option<ByteString>,
    confirmation: Confirmation,
    client_address: ByteString,
    timing: Timing,
    boot: BootNonce,
    rng: Rng,
    me: MemberId,
    /// By ordinal; the own place is there too and never linked.
    peers: Vec<Peer>,
    journal: Journal,
    /// Of the last Config in the log; none while it is blank.
    voters: Option<Voters>,
    /// Configs by the offset they stand at: the one that the log begins with, then those in it.
    configs: Vec<(Offset, Voters)>,

    role: RoleState,
    /// Effective from the moment it was given; `storing` knows whether it is durable.
    promise: Ballot,
    log_state: LogState,
    cut_mark: Ballot,
    storing: Storing,
    witness: WitnessTable,
    /// Prefix verified equal to the log of the master of `following`.
    matched: Offset,
    /// The ballot that `matched` belongs to: the promise, always.
    following: Ballot,
    /// What that master said is committed.
    masters_committed: Offset,
    committed: Offset,
    /// Highest offset acknowledged in the promised ballot; what is sent need not be sent again.
    acked: Offset,
    /// An Append of so many bytes found no room; the master must send it again.
    missed_append: Option<usize>,
    heard: Option<Heard>,
    /// When it was a slave in step last: it stays ready for a while without a master.
    in_step_at: Option<Time>,
    /// Epoch and ordinal of the last master whose EpochStart was committed, for the status.
    last_master: Option<(Epoch, u8)>,
    /// Highest epoch a refusal named: the next attempt goes above it.
    refused_epoch: u64,
    attempts: u32,
    leaving: Option<Leaving>,
    founder: Founder,
    lease: LeaseCalls,
    applied: Offset,
    /// Why this member is out of the group, for the status.
    out_of_group: Option<String>,
    /// Row 12, the member that takes a checkpoint.
    installing: Option<Installing>,
    /// Row 12, the master that gives one.
    offered: Option<Offered>,
    /// Row 14, and what is checked.
    repair: Repair,
    illness: Illness,
    /// The volume is another's, with reason and sentence: this process keeps out of everything.
    kept_out: Option<(&'static str, String)>,

    reads: BTreeMap<ReadId, ReadFor>,
    next_read: u64,
    timers: Timers,
    effects: VecDeque<Effect>,
    notices: VecDeque<Notice>,
}

impl Group {
    pub(crate) fn new(
        config: &NodeConfig,
        boot: BootNonce,
        seed: u64,
        recovered: Recovered,
        now: Now,
    ) -> Self {
        let identity = recovered.identity.clone();
        let control = recovered.control;
        let witness = WitnessTable::new(recovered.witness.clone());
        let configs = configs_of(&recovered, &identity);
        let journal = Journal::new(config.journal.clone(), recovered);
        // A checkpoint holds what was committed.
        let kept = journal
            .newest_checkpoint()
            .map_or(Offset::ZERO, |(offset, _)| offset);
        let mut group = Self {
            name: config.name.clone(),
            holder: config.holder.clone(),
            confirmation: config.confirmation,
            client_address: config.client_address.clone(),
            timing: config.timing.clone(),
            boot,
            rng: Rng::new(seed),
            me: identity.member,
            peers: config.members.iter().map(Peer::new).collect(),
            storing: Storing::new(control.promise),
            witness,
            voters: configs.last().map(|(_, voters)| voters.clone()),
            configs,
            role: RoleState::Slave,
            promise: control.promise,
            log_state: control.log_state,
            cut_mark: control.cut_mark,
            matched: Offset::ZERO,
            following: control.promise,
            masters_committed: Offset::ZERO,
            committed: kept,
            acked: Offset::ZERO,
            missed_append: None,
            heard: None,
            in_step_at: None,
            last_master: None,
            refused_epoch: 0,
            attempts: 0,
            leaving: None,
            founder: Founder::default(),
            lease: LeaseCalls::default(),
            applied: kept,
            out_of_group: None,
            installing: None,
            offered: None,
            repair: Repair::default(),
            illness: Illness::default(),
            kept_out: kept_out(config, &identity),
            reads: BTreeMap::new(),
            next_read: 0,
            timers: Timers::default(),
            effects: VecDeque::new(),
            notices: VecDeque::new(),
            journal,
        };
        group.start(now);
        group
    }

    /// Row 14: whatever was before, a process starts as a slave and never resumes an epoch.
    fn start(&mut self, now: Now) {
        if let Some((_, text)) = self.kept_out.clone() {
            return self.notice(text);
        }
        self.config_changed();
        if self.voters.is_none() {
            self.timers.set(Timer::Found, now.boot);
        } else {
            self.consider_standing(now);
        }
        self.begin_scrubbing(now);
        self.resume_epoch_if_broken(now);
    }

    /// A process never resumes an epoch; only a seeded fault does.
    fn resume_epoch_if_broken(&mut self, now: Now) {
        let own = self.promise.member == self.me && self.journal.last_epoch() == self.promise.epoch;
        if !mutants::on(Mutant::ResumeEpoch) || !own || self.promise == Ballot::NONE {
            return;
        }
        let start = self
            .journal
            .epochs()
            .last()
            .map_or(Offset::ZERO, |row| row.first);
        self.role = RoleState::Master(Master::new(self.promise, start, self.peers.len(), now.boot));
        self.begin_reign(now, &[]);
    }

    // === what the disk did ===

    pub(crate) fn handle_disk(&mut self, now: Now, done: DiskDone) {
        self.illness.learn(now, self.journal.stalled_since());
        self.journal.handle_done(now, done);
        while let Some(event) = self.journal.poll_event() {
            match event {
                JournalEvent::Synced(_) => self.handle_synced(now),
                JournalEvent::Stored(ticket) => self.handle_stored(now, ticket),
                JournalEvent::Fatal(reason) => self.effects.push_back(Effect::Abort { reason }),
                JournalEvent::SideStored(_) => self.go_on_installing(now),
                JournalEvent::Prepared => self.handle_prepared(now),
                JournalEvent::Switched(offset) => self.handle_switched(now, offset),
                JournalEvent::NoRoom => self.abandon_install("there is no room for it"),
                JournalEvent::Damaged(text) => self.handle_damage(now, &text),
            }
        }
    }

    fn handle_synced(&mut self, now: Now) {
        self.learn_committed();
        self.acknowledge();
        self.consider_clean(now);
        self.count_commits(now);
        self.check_leaving(now);
    }

    // === what the node asks ===

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    pub(crate) const fn promise(&self) -> Ballot {
        self.promise
    }

    pub(crate) const fn log_state(&self) -> LogState {
        self.log_state
    }

    /// A checkpoint may be made: what it says besides the engine's picture, and what is kept.
    pub(crate) fn checkpoint_order(
        &self,
        now: Now,
        at: (Offset, u32),
        image: Box<dyn Image>,
    ) -> Option<CheckpointOrder> {
        let (offset, crc) = at;
        let epochs = self.journal.epochs().iter().copied();
        let head = CheckpointHead {
            format: self.journal.format_at(offset),
            offset,
            epoch: self.journal.epoch_at(offset)?,
            crc,
            config: self.config_at(offset),
            epochs: epochs.take_while(|row| row.first <= offset).collect(),
        };
        let voters = self.voters.iter().flat_map(|voters| voters.members());
        let others = voters.filter(|member| **member != self.me);
        Some(CheckpointOrder::new(
            head,
            image,
            self.witness
                .least_match(others.map(|member| member.incarnation)),
            self.pinned(now),
        ))
    }

    /// The node tells how far its engine is.
    pub(crate) fn set_applied(&mut self, applied: Offset) {
        self.applied = applied;
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        match (self.timers.next(), self.journal.poll_timeout()) {
            (Some(own), Some(journal)) => Some(own.min(journal)),
            (own, journal) => own.or(journal),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.journal.handle_timeout(now);
        self.retry_missed_append(now);
        while let Some(timer) = self.timers.pop_expired(now.boot) {
            match timer {
                Timer::Heartbeat => self.handle_heartbeat_timer(now),
                Timer::Suspicion => self.consider_standing(now),
                Timer::Stand => self.handle_stand_timer(now),
                Timer::PreVoteEnd => self.handle_pre_vote_end(now),
                Timer::CandidateEnd => self.handle_candidate_end(now),
                Timer::Lease => self.handle_lease_timer(now),
                Timer::Found => self.handle_founding_timer(now),
                Timer::Witness => self.store_witness_now(),
                Timer::Leave => self.handle_leave_timer(now),
                Timer::Install => self.handle_install_timer(now),
                Timer::Scrub => self.handle_scrub_timer(now),
            }
        }
    }

    /// One frame of a peer. Anything wrong closes the link, nothing else.
    pub(crate) fn handle_frame(
        &mut self,
        now: Now,
        inbound: crate::InboundId,
        frame: bytes::Bytes,
    ) {
        if self.kept_out.is_some() {
            return;
        }
        match peer::decode(frame) {
            Ok((envelope, message)) => self.handle_message(now, inbound, &envelope, message),
            Err(error) => self.close_inbound(inbound, &error.to_string()),
        }
    }

    fn handle_message(
        &mut self,
        now: Now,
        inbound: crate::InboundId,
        envelope: &Envelope,
        message: Message,
    ) {
        let Some(from) = self.admit(now, inbound, envelope, &message) else {
            return;
        };
        let (format, greatest) = (message.format(), self.journal.format_max());
        if format > greatest {
            let text =
                format!("it sends format {format}, this version understands up to {greatest}");
            return self.close_inbound(inbound, &text);
        }
        match message {
            Message::Hello { .. } => {} // Done by `admit`.
            Message::Remember(memory) => self.handle_remember(now, &memory),
            Message::AskBlank { round } => self.handle_ask_blank(from, round),
            Message::Blank { round, blank } => self.handle_blank(now, envelope.from, round, blank),
            Message::GroupConfirmed => self.handle_group_confirmed(now),
            Message::PreVote { round, .. } => self.handle_pre_vote(now, from, round),
            Message::PreVoteReply {
                round,
                yes,
                promised,
            } => {
                self.handle_pre_vote_reply(now, envelope.from, round, yes, promised);
            }
            Message::PromiseReq { ballot } => self.handle_promise_req(now, envelope.from, ballot),
            Message::Promised {
                ballot,
                tail,
                log_state,
                cut_mark,
                witness,
            } => {
                let reply = promise::Reply {
                    tail,
                    log_state,
                    cut_mark,
                    witness,
                };
                self.handle_promised(now, envelope.from, ballot, reply);
            }
            Message::Refused { of, promise } => {
                self.handle_refused(now, envelope.from, of, promise)
            }
            Message::Fetch {
                ballot,
                appended,
                epochs,
            } => {
                self.handle_fetch(from, ballot, appended, &epochs);
            }
            Message::Fetched {
                ballot,
                prev,
                end,
                batches,
            } => {
                self.handle_fetched(now, from, ballot, prev, end, batches);
            }
            Message::Append {
                ballot,
                prev,
                committed,
                batches,
            } => {
                self.handle_append(now, envelope.from, ballot, prev, committed, batches);
            }
            Message::Nack {
                ballot,
                appended,
                epochs,
            } => {
                self.handle_nack(now, from, ballot, appended, &epochs);
            }
            Message::Ack {
                ballot,
                matched,
                log_state,
            } => {
                // First: a process that found damage at its start may say so nowhere else yet.
                self.learn_log_state(from, log_state);
                self.handle_ack(now, envelope.from, ballot, matched);
            }
            Message::Join { ballot, group } => {
                self.handle_join(now, envelope.from, ballot, group);
            }
            Message::SetAside { ballot } => self.handle_set_aside(envelope.from, ballot),
            Message::Offer {
                ballot,
                checkpoint,
                bytes,
            } => self.handle_offer(now, envelope.from, ballot, checkpoint, bytes),
            Message::FetchPiece {
                ballot,
                offset,
                position,
            } => self.handle_fetch_piece(now, from, ballot, offset, position),
            Message::CheckpointPiece {
                ballot,
                offset,
                position,
                next,
                piece,
            } => self.handle_piece(now, ballot, offset, (position, next), piece),
            Message::FetchSurvivors {
                ballot,
                offset,
                runs,
            } => self.handle_fetch_survivors(now, from, ballot, offset, &runs),
            Message::Survivors {
                ballot,
                offset,
                to,
                batches,
            } => self.handle_survivors(now, ballot, offset, to, batches),
            Message::Heartbeat {
                ballot,
                reign,
                sent_at,
                committed,
                appended,
                witness,
            } => {
                let beat = heartbeat::Beat {
                    reign,
                    sent_at,
                    committed,
                    appended,
                    witness,
                };
                self.handle_heartbeat(now, envelope.from, ballot, beat);
            }
            Message::HeartbeatReply {
                ballot,
                sent_at,
                matched,
                synced,
                applied,
                log_state,
                terminating,
                illness,
            } => {
                let answer = heartbeat::Answer {
                    sent_at,
                    matched,
                    synced,
                    applied,
                    log_state,
                    terminating,
                    illness,
                };
                self.handle_heartbeat_reply(now, envelope.from, ballot, answer);
            }
        }
    }

    // === small facts ===

    pub(crate) fn is_voter(&self) -> bool {
        self.voters
            .as_ref()
            .is_some_and(|voters| voters.contains(self.me.incarnation))
    }

    /// Row 13: a master is in the new set too, or its own last record would put it out.
    fn stays_voter(&self) -> bool {
        self.voters
            .as_ref()
            .is_some_and(|voters| voters.stays(self.me.incarnation))
    }

    /// Voter whose log may be trusted: the only kind that promises with a vote, acks, stands.
    fn is_clean_voter(&self) -> bool {
        self.log_state == LogState::Clean && self.is_voter()
    }

    pub(crate) fn role(&self) -> Role {
        match self.role {
            RoleState::Slave | RoleState::Standing(_) => Role::Slave,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Master(_) => Role::Master,
        }
    }

    fn master(&self) -> Option<&Master> {
        match &self.role {
            RoleState::Master(master) => Some(master),
            _ => None,
        }
    }

    fn master_mut(&mut self) -> Option<&mut Master> {
        match &mut self.role {
            RoleState::Master(master) => Some(master),
            _ => None,
        }
    }

    fn synced_tail(&self) -> Tail {
        let (epoch, offset) = self.journal.synced_tail();
        Tail { epoch, offset }
    }

    fn appended_tail(&self) -> Tail {
        Tail {
            epoch: self.journal.last_epoch(),
            offset: self.journal.appended(),
        }
    }

    /// Becomes a slave, whatever it was. The promise stays as it is.
    fn step_down(&mut self, now: Now, reason: &str) {
        let was = self.role();
        let beat = match &self.role {
            RoleState::Candidate(candidate) => Some(candidate.ballot),
            RoleState::Master(master) => Some(master.ballot),
            _ => None,
        };
        self.role = RoleState::Slave;
        self.matched = Offset::ZERO;
        self.masters_committed = Offset::ZERO;
        self.acked = Offset::ZERO;
        self.reads.clear();
        self.repair.reading = false;
        self.offered = None;
        self.abandon_install("the role changed");
        self.timers.stop(Timer::Heartbeat);
        self.timers.stop(Timer::CandidateEnd);
        self.timers.stop(Timer::PreVoteEnd);
        self.timers.stop(Timer::Lease);
        // A resigning master has named its successor already; "invalid" would call everybody.
        if let Some(ballot) = beat.filter(|_| self.named_successor().is_none()) {
            self.say_invalid(ballot, now);
        }
        if was == Role::Master {
            self.notices.push_back(Notice::Stopped);
        }
        if was != Role::Slave {
            self.tell_role(reason);
        }
    }

    fn tell_role(&mut self, reason: &str) {
        self.effects.push_back(Effect::RoleChanged {
            role: self.role(),
            epoch: self.promise.epoch,
            reason: reason.to_owned(),
        });
    }

    /// Safety demands the end of this process.
    pub(crate) fn abort(&mut self, reason: String) {
        self.effects.push_back(Effect::Abort { reason });
    }

    fn notice(&mut self, text: String) {
        self.effects.push_back(Effect::Notice { text });
    }

    fn start_read(&mut self, op: ReadOp, purpose: ReadFor) -> ReadId {
        let id = self.take_read_id();
        self.reads.insert(id, purpose);
        self.effects.push_back(Effect::Read(id, op));
        id
    }

    /// A name for a read; the node draws from the same count.
    pub(crate) fn take_read_id(&mut self) -> ReadId {
        self.next_read += 1;
        ReadId(self.next_read)
    }
}

/// The Config that the log begins with, and those behind it.
pub(crate) fn configs_of(recovered: &Recovered, identity: &Identity) -> Vec<(Offset, Voters)> {
    let Some(group) = &identity.group else {
        return Vec::new();
    };
    let kept = recovered.checkpoint.as_ref().map(|kept| &kept.head);
    let known = kept.and_then(|head| config_record::parse(head.config.clone()));
    let base = known.unwrap_or_else(|| Voters::new(group.members.clone()));
    let at = kept.map_or(Offset::ZERO, |head| head.offset);
    let later = recovered.configs.iter().filter_map(|(offset, body)| {
        // What cannot be read was refused before it was appended.
        config_record::parse(body.clone()).map(|voters| (*offset, voters))
    });
    std::iter::once((at, base)).chain(later).collect()
}

/// Why the volume takes part in nothing.
fn kept_out(config: &NodeConfig, identity: &Identity) -> Option<(&'static str, String)> {
    match judge_volume(config, identity) {
        VolumeVerdict::Fits => None,
        VolumeVerdict::KeptOut { reason, text } => Some((reason, text)),
        // Whoever reads a volume formats a blank one that does not fit before it gets here.
        VolumeVerdict::FormatAnew => {
            let text = "the volume was blank on another one and was not formatted anew";
            Some(("VolumeForeign", text.to_owned()))
        }
    }
}
