//! The group's invariants, judged by looking into every member after every step of it.
//!
//! The oracle remembers the whole run: who was master of which epoch, the first content ever
//! committed at each offset, the chain checksum at each end of a batch, what each member ever said
//! about its disk. A member that is down is judged by what it had when it went down.
//!
//! Not here: what clients may rely on (`history`), and the content of records beyond their bytes.

use std::collections::{BTreeMap, BTreeSet};

use tandemmq_cluster::{Offsets, Role};
use tandemmq_journal::{Batch, LogState};
use tandemmq_model::{Ballot, BootNonce, Bytes, Epoch, Incarnation, MemberId, Offset, RecordKind};

use super::{Invariant, Violation};
use crate::payload::Attempt;
use crate::trace::hash_bytes;

/// Where an epoch begins in a log: `(epoch, first offset)`, ascending.
pub type Epochs = Vec<(Epoch, Offset)>;

/// One member as it is at this moment.
#[derive(Debug, Clone)]
pub struct View {
    /// Who.
    pub member: MemberId,
    /// Its role.
    pub role: Role,
    /// Its promise, in memory.
    pub promise: Ballot,
    /// State of its log.
    pub log_state: LogState,
    /// Its offsets.
    pub offsets: Offsets,
    /// Checksum of its last batch.
    pub last_crc: Option<u32>,
    /// Its epoch table.
    pub epochs: Epochs,
    /// Its log begins behind this record.
    pub log_start: Offset,
    /// Its newest checkpoint.
    pub checkpoint: Option<Offset>,
    /// The founding list, once it has a group.
    pub founders: Vec<MemberId>,
}

/// Reads a member's own log: batches that cover `(from, to]`.
pub trait Log {
    /// Whole batches that together hold every record of that range.
    fn batches(&self, from: Offset, to: Offset) -> Vec<Batch>;
}

/// How much was compared; a run that compared nothing proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Records of members against the committed log.
    pub records: u64,
    /// State digests against the first one at their offset.
    pub digests: u64,
    /// States restored from checkpoints against the first digest at their offset.
    pub restored: u64,
    /// Votes that masters counted.
    pub votes: u64,
    /// Changes of members that were committed, joint ones and final ones.
    pub configs: u64,
    /// Claims about a disk against what would survive.
    pub claims: u64,
    /// Masters elected (EpochStart committed).
    pub elections: u64,
}

/// One record that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Committed {
    epoch: Epoch,
    hash: u64,
    attempt: Option<Attempt>,
}

#[derive(Debug, Default)]
struct Member {
    view: Option<View>,
    /// Up to here its records were compared with the committed log.
    compared: Offset,
    /// Its batches were entered into the chain up to here, with that checksum.
    chained: (Offset, Option<u32>),
    /// The greatest promise of this incarnation that anybody was told of.
    told: Ballot,
    /// The greatest ack of this incarnation: under which ballot, up to where.
    acked: (Ballot, Offset),
    /// Its volume was wiped, rolled back or damaged: nothing it said holds any more.
    excused: bool,
    /// The incarnation of the above.
    incarnation: Option<Incarnation>,
    /// It just started: the next state that is seen came from a checkpoint.
    starts: bool,
}

/// One Config record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Config {
    sets: Vec<BTreeSet<Incarnation>>,
}

/// The memory of one run.
#[derive(Debug)]
pub struct Group {
    members: Vec<Member>,
    log: Vec<Committed>,
    attempts: BTreeMap<Attempt, Offset>,
    chain: BTreeMap<(Epoch, Offset), u32>,
    masters: BTreeMap<Epoch, (Ballot, Epochs)>,
    serving: BTreeMap<Epoch, MemberId>,
    digests: BTreeMap<Offset, u64>,
    /// Who promised which epoch to anybody, and whether that counts: sent while clean, by a volume
    /// that had all it ever told.
    votes: BTreeMap<(Incarnation, Epoch), bool>,
    /// The greatest ack of each incarnation under each ballot that was sent while clean.
    acks: BTreeMap<(Incarnation, BallotKey), Offset>,
    /// The commit rule was judged up to here.
    ruled: Offset,
    configs: BTreeMap<(Offset, Epoch), Config>,
    compared: Compared,
}

type Judged = Result<(), Violation>;

macro_rules! must {
    ($holds:expr, $invariant:ident, $($text:tt)*) => {
        if !$holds {
            return Err(Violation::new(Invariant::$invariant, format!($($text)*)));
        }
    };
}

// === impl Group ===

impl Group {
    /// A group of that many members, nothing seen.
    pub fn new(size: usize) -> Self {
        Self {
            members: (0..size).map(|_| Member::default()).collect(),
            log: Vec::new(),
            attempts: BTreeMap::new(),
            chain: BTreeMap::new(),
            masters: BTreeMap::new(),
            serving: BTreeMap::new(),
            digests: BTreeMap::new(),
            votes: BTreeMap::new(),
            acks: BTreeMap::new(),
            ruled: Offset::ZERO,
            configs: BTreeMap::new(),
            compared: Compared::default(),
        }
    }

    /// The last committed offset of the whole run.
    pub fn committed(&self) -> Offset {
        Offset(self.log.len() as u64)
    }

    /// What was compared so far.
    pub fn compared(&self) -> Compared {
        self.compared
    }

    /// What this member was when it was last looked at.
    pub fn last_view(&self, node: usize) -> Option<&View> {
        self.members[node].view.as_ref()
    }

    /// True when that frame is in the committed log.
    pub fn has_committed(&self, attempt: &Attempt) -> bool {
        self.attempts.contains_key(attempt)
    }

    /// This member's volume was wiped or rolled back.
    pub fn excuse(&mut self, node: usize) {
        self.members[node].excused = true;
    }

    /// True when its volume was wiped or rolled back.
    pub fn is_excused(&self, node: usize) -> bool {
        self.members[node].excused
    }

    /// This member has been made good: from now on it is judged like every other.
    pub fn absolve(&mut self, node: usize) {
        self.members[node].excused = false;
    }

    /// True when what it has is not below what its volume ever told.
    pub fn is_up_to_its_word(&self, node: usize) -> bool {
        let member = &self.members[node];
        member.view.as_ref().is_some_and(|view| {
            let tail = view.epochs.last().map_or(Epoch(0), |(epoch, _)| *epoch);
            !member.is_below(view.promise, (tail, view.offsets.synced))
        })
    }

    /// A member starts with what `recover` found.
    pub fn started(
        &mut self,
        node: usize,
        who: MemberId,
        promise: Ballot,
        log_state: LogState,
    ) -> Judged {
        let member = &mut self.members[node];
        if member.incarnation.replace(who.incarnation) != Some(who.incarnation) {
            // Another volume: it told nothing yet.
            member.told = Ballot::NONE;
            member.acked = (Ballot::NONE, Offset::ZERO);
        }
        member.starts = true;
        member.compared = Offset::ZERO;
        member.chained = (Offset::ZERO, None);
        if member.excused {
            return Ok(());
        }
        must!(
            promise.epoch >= member.told.epoch,
            I2PromiseMonotonic,
            "member {node} promised {} and starts with {}",
            member.told.epoch,
            promise.epoch
        );
        must!(
            log_state == LogState::Clean,
            NoHealthyAccused,
            "member {node} lost nothing and starts with {log_state:?}"
        );
        Ok(())
    }

    /// A member as it is after a step.
    pub fn observe(&mut self, node: usize, view: View, log: &impl Log) -> Judged {
        self.check_shape(node, &view)?;
        self.check_role(node, &view)?;
        self.check_appended(node, &view, log)?;
        self.check_committed(node, &view, log)?;
        if view.role == Role::Master {
            // A master counts its own disk: that is an ack too, though it says it to itself.
            self.told_match(node, view.promise, view.offsets.committed);
        }
        self.members[node].incarnation = Some(view.member.incarnation);
        self.members[node].view = Some(view);
        Ok(())
    }

    /// A member opened its client ports.
    pub fn opened(&mut self, node: usize) -> Judged {
        let view = self.members[node]
            .view
            .clone()
            .expect("observed before its effects");
        self.compared.elections += 1;
        let epoch = view.promise.epoch;
        must!(
            view.role == Role::Master,
            I1ElectionSafety,
            "member {node} opens its ports as {}",
            view.role.as_str()
        );
        self.serving.insert(epoch, view.member);
        self.check_complete(node, &view)
    }

    /// A member told somebody about its promise: from now on it must never have less.
    pub fn told_promise(&mut self, node: usize, promise: Ballot) {
        let told = &mut self.members[node].told;
        if promise.epoch > told.epoch {
            *told = promise;
        }
    }

    /// A member gave its promise, with this tail: whether that is a vote.
    pub fn told_vote(&mut self, node: usize, who: MemberId, ballot: Ballot, tail: (Epoch, Offset)) {
        let member = &self.members[node];
        let clean = member
            .view
            .as_ref()
            .is_some_and(|view| view.log_state == LogState::Clean);
        let counts = clean && !(member.excused && member.is_below(ballot, tail));
        let vote = self.votes.entry((who.incarnation, ballot.epoch));
        *vote.or_insert(false) |= counts;
    }

    /// A member acknowledged, also in the answer to a heartbeat.
    pub fn told_ack(&mut self, node: usize, who: MemberId, ballot: Ballot, matched: Offset) {
        let view = self.members[node].view.as_ref();
        if view.is_none_or(|view| view.log_state != LogState::Clean) {
            return;
        }
        let known = self.acks.entry((who.incarnation, key(ballot))).or_default();
        *known = matched.max(*known);
    }

    /// A member acknowledged up to here under this ballot.
    pub fn told_match(&mut self, node: usize, ballot: Ballot, matched: Offset) {
        let acked = &mut self.members[node].acked;
        if (ballot.epoch, matched) > (acked.0.epoch, acked.1) {
            *acked = (ballot, matched);
        }
    }

    /// The greatest promise and the greatest ack of a member that anybody was told of.
    pub fn told(&self, node: usize) -> (Ballot, (Ballot, Offset)) {
        (self.members[node].told, self.members[node].acked)
    }

    /// A member told somebody what its disk has; this is what a power cut would leave.
    pub fn check_claim(
        &mut self,
        node: usize,
        claimed: (Ballot, Offset),
        survives: (Ballot, Offset),
    ) -> Judged {
        self.compared.claims += 1;
        if self.members[node].excused {
            return Ok(());
        }
        must!(
            survives.0.epoch >= claimed.0.epoch,
            I13DurableTruth,
            "member {node} speaks under {} and would wake up with {}",
            claimed.0,
            survives.0
        );
        must!(
            survives.1 >= claimed.1,
            I13DurableTruth,
            "member {node} claims {} synced, {} would survive",
            claimed.1,
            survives.1
        );
        Ok(())
    }

    /// The digest of a member's State at its applied offset; `installed`: it has just come with a
    /// checkpoint.
    pub fn check_digest(
        &mut self,
        node: usize,
        applied: Offset,
        digest: u64,
        installed: bool,
    ) -> Judged {
        let starts = std::mem::take(&mut self.members[node].starts);
        if (starts || installed)
            && applied > Offset::ZERO
            && let Some(first) = self.digests.get(&applied)
        {
            self.compared.restored += 1;
            must!(
                *first == digest,
                I14Checkpoint,
                "member {node} restored another state at {applied} than the log gave there"
            );
        }
        let Some(first) = self.digests.get(&applied) else {
            self.digests.insert(applied, digest);
            return Ok(());
        };
        self.compared.digests += 1;
        must!(
            *first == digest,
            I15Determinism,
            "member {node} has another state than the first one at applied offset {applied}"
        );
        Ok(())
    }

    /// A persistent message is handed to a consumer by this member.
    pub fn check_dispatch(
        &self,
        node: usize,
        epoch: Epoch,
        offset: Offset,
        attempt: Option<Attempt>,
    ) -> Judged {
        let view = self.members[node]
            .view
            .as_ref()
            .expect("observed before its effects");
        must!(
            offset <= view.offsets.committed,
            I10DispatchImpliesCommit,
            "member {node} dispatches offset {offset}, committed {}",
            view.offsets.committed
        );
        let record = self.record(offset);
        must!(
            record.is_some_and(|record| record.epoch == epoch && record.attempt == attempt),
            I10DispatchImpliesCommit,
            "member {node} dispatches {attempt:?} as {epoch}-{offset}; the log has {record:?}"
        );
        Ok(())
    }

    fn record(&self, offset: Offset) -> Option<&Committed> {
        self.log
            .get(usize::try_from(offset.0.checked_sub(1)?).ok()?)
    }

    fn check_shape(&self, node: usize, view: &View) -> Judged {
        let Offsets {
            appended,
            synced,
            committed,
            applied,
        } = view.offsets;
        must!(
            appended >= synced && synced >= committed && committed >= applied,
            OffsetOrder,
            "member {node}: appended {appended}, synced {synced}, committed {committed}, applied \
             {applied}"
        );
        must!(
            view.epochs
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1),
            I5LogMonotonic,
            "member {node}: epoch table {:?}",
            view.epochs
        );
        must!(
            view.log_state == LogState::Clean || self.members[node].excused,
            NoHealthyAccused,
            "member {node} lost nothing and is {:?}",
            view.log_state
        );
        must!(
            view.epochs
                .last()
                .is_none_or(|last| last.0 <= view.promise.epoch),
            I3NoStaleAppend,
            "member {node} has records of epoch {:?}, promised {}",
            view.epochs.last(),
            view.promise.epoch
        );
        let Some(last) = &self.members[node].view else {
            return Ok(());
        };
        must!(
            last.member != view.member
                || view.promise.epoch >= last.promise.epoch
                || self.members[node].compared == Offset::ZERO,
            I2PromiseMonotonic,
            "member {node} goes back from {} to {}",
            last.promise,
            view.promise
        );
        Ok(())
    }

    fn check_role(&mut self, node: usize, view: &View) -> Judged {
        if view.role != Role::Master {
            return Ok(());
        }
        let epoch = view.promise.epoch;
        must!(
            view.log_state == LogState::Clean,
            I12IncarnationSafety,
            "member {node} reigns in epoch {epoch} and is {:?}",
            view.log_state
        );
        if let Some((owner, _)) = self.masters.get(&epoch) {
            must!(
                *owner == view.promise,
                I1ElectionSafety,
                "epoch {epoch} has two masters: {owner} and {}",
                view.promise
            );
            return Ok(());
        }
        // The log it leads with is adopted: whatever is committed must be in it already.
        self.masters
            .insert(epoch, (view.promise, view.epochs.clone()));
        self.check_complete(node, view)
    }

    /// I7: the committed log, run of epoch by run of epoch, against the member's own table.
    fn check_complete(&self, node: usize, view: &View) -> Judged {
        let mut at = 0;
        while at < self.log.len() {
            let epoch = self.log[at].epoch;
            let run = self.log[at..]
                .iter()
                .take_while(|record| record.epoch == epoch)
                .count();
            let (first, last) = (Offset(at as u64 + 1), Offset((at + run) as u64));
            must!(
                last <= view.offsets.appended
                    && epoch_at(&view.epochs, first) == Some(epoch)
                    && epoch_at(&view.epochs, last) == Some(epoch),
                I7LeaderCompleteness,
                "member {node} leads epoch {} without the committed records {first} to {last} of \
                 epoch {epoch}",
                view.promise.epoch
            );
            at += run;
        }
        Ok(())
    }

    /// I3 and I4 over what is new in its log.
    fn check_appended(&mut self, node: usize, view: &View, log: &impl Log) -> Judged {
        let (mut from, crc) = self.members[node].chained;
        if view.offsets.appended == from && view.last_crc == crc {
            return Ok(());
        }
        // A cut may lie below: go back to where the chain is known to be the same.
        if view.offsets.appended <= from || !self.still_has(node, view, log) {
            from = self.common(node, view);
        }
        for batch in log.batches(from, view.offsets.appended) {
            self.check_batch(node, view, &batch)?;
        }
        self.members[node].chained = (view.offsets.appended, view.last_crc);
        Ok(())
    }

    fn still_has(&self, node: usize, _view: &View, log: &impl Log) -> bool {
        let (at, crc) = self.members[node].chained;
        if at == Offset::ZERO {
            return true;
        }
        let next = log.batches(at, at.next());
        next.first()
            .is_some_and(|batch| batch.base() == at.next() && Some(batch.previous_crc()) == crc)
    }

    /// Up to here nothing of its log can have changed: it does not cut what it has committed.
    fn common(&self, node: usize, view: &View) -> Offset {
        let committed = self.members[node]
            .view
            .as_ref()
            .map_or(Offset::ZERO, |last| {
                if last.member == view.member {
                    last.offsets.committed
                } else {
                    Offset::ZERO
                }
            });
        committed.min(view.offsets.appended)
    }

    fn check_batch(&mut self, node: usize, view: &View, batch: &Batch) -> Judged {
        self.learn_records(batch)?;
        let end = (batch.epoch(), batch.last());
        let first = *self.chain.entry(end).or_insert_with(|| batch.crc());
        must!(
            first == batch.crc(),
            I4LogMatching,
            "member {node} has another prefix than the first log with epoch {} at offset {}",
            end.0,
            end.1
        );
        // Under the promise of a master only that master's own log is appended.
        let Some((owner, epochs)) = self.masters.get(&view.promise.epoch) else {
            return Ok(());
        };
        if view.role != Role::Slave || *owner != view.promise || batch.epoch() == owner.epoch {
            return Ok(());
        }
        // What it had before the promise is not appended now; only what is new is judged, and a
        // restart reads the whole log again.
        let seen = self.members[node].chained.0;
        must!(
            seen == Offset::ZERO
                || batch.base() <= seen
                || epoch_at(epochs, batch.last()) == Some(batch.epoch()),
            I3NoStaleAppend,
            "member {node} appends epoch {} at {} under {owner}, whose log has {:?} there",
            batch.epoch(),
            batch.last(),
            epoch_at(epochs, batch.last())
        );
        Ok(())
    }

    fn check_committed(&mut self, node: usize, view: &View, log: &impl Log) -> Judged {
        let committed = view.offsets.committed;
        // Its records may not be readable where it says so first: a damaged disk.
        if committed > self.ruled {
            self.check_commit_rule(node, view)?;
            self.ruled = committed;
        }
        let from = self.members[node].compared;
        if committed <= from {
            return Ok(());
        }
        for batch in log.batches(from, committed) {
            for (offset, record) in batch.records() {
                if offset <= from || offset > committed {
                    continue;
                }
                let hash = hash_bytes(&record.body) ^ u64::from(record.kind) << 8;
                self.check_record(node, batch.epoch(), offset, hash, &record.body)?;
            }
        }
        self.members[node].compared = committed;
        Ok(())
    }

    fn check_record(
        &mut self,
        node: usize,
        epoch: Epoch,
        offset: Offset,
        hash: u64,
        body: &[u8],
    ) -> Judged {
        if offset == self.committed().next() {
            let attempt = Attempt::find(body);
            if let Some(attempt) = attempt {
                let first = *self.attempts.entry(attempt).or_insert(offset);
                must!(
                    first == offset,
                    EnqueuedTwice,
                    "{attempt:?} is committed at {first} and at {offset}"
                );
            }
            self.log.push(Committed {
                epoch,
                hash,
                attempt,
            });
            self.compared.configs += u64::from(self.configs.contains_key(&(offset, epoch)));
            return Ok(());
        }
        self.compared.records += 1;
        let known = self.record(offset).copied();
        must!(
            known.is_some_and(|known| known.epoch == epoch && known.hash == hash),
            I6LogSafety,
            "member {node} has committed another record at {offset}: epoch {epoch}, first {known:?}"
        );
        Ok(())
    }

    /// I8, for the first member that says so: a master, in its own epoch, with a quorum's disks.
    fn check_commit_rule(&self, node: usize, view: &View) -> Judged {
        let committed = view.offsets.committed;
        let epoch = epoch_at(&view.epochs, committed);
        // In one event a master may count and then step down: it is judged by the ballot it owned.
        let owns = view.promise.member == view.member
            && self
                .masters
                .get(&view.promise.epoch)
                .is_some_and(|(owner, _)| *owner == view.promise);
        must!(
            (view.role == Role::Master || owns) && epoch == Some(view.promise.epoch),
            I8CommitRule,
            "member {node}, {} of epoch {}, is the first to commit {committed} of epoch {epoch:?}",
            view.role.as_str(),
            view.promise.epoch
        );
        // A disk counts when its volume said so under this ballot, while it was clean.
        let holds = |who: &Incarnation| {
            *who == view.member.incarnation
                || self
                    .acks
                    .get(&(*who, key(view.promise)))
                    .is_some_and(|matched| *matched >= committed)
        };
        for set in self.voters(view).sets {
            let copies = set.iter().filter(|who| holds(who)).count();
            must!(
                copies > set.len() / 2,
                I8CommitRule,
                "member {node} commits {committed}, which is on {copies} of {} disks",
                set.len()
            );
        }
        Ok(())
    }

    /// The voters of a member's log: the last Config in it, else the founders.
    fn voters(&self, view: &View) -> Config {
        let configs = self
            .configs
            .range(..=(view.offsets.appended, Epoch(u64::MAX)));
        let of_log = |((offset, epoch), _): &(&(Offset, Epoch), &Config)| {
            epoch_at(&view.epochs, *offset) == Some(*epoch)
                || *offset <= view.log_start
                    && self
                        .record(*offset)
                        .is_some_and(|known| known.epoch == *epoch)
        };
        let mut of_log = configs.rev().filter(of_log);
        of_log.next().map_or_else(
            || Config {
                sets: vec![view.founders.iter().map(|m| m.incarnation).collect()],
            },
            |(_, config)| config.clone(),
        )
    }

    /// What the records of a batch say about votes and voters.
    fn learn_records(&mut self, batch: &Batch) -> Judged {
        for (offset, record) in batch.records() {
            if record.kind == RecordKind::EpochStart as u8 {
                self.check_votes(batch.epoch(), &record.body)?;
            } else if record.kind == RecordKind::Config as u8
                && let Some(config) = Config::parse(&record.body)
            {
                self.configs.insert((offset, batch.epoch()), config);
            }
        }
        Ok(())
    }

    /// I12: every vote that made this master was given by a clean volume, up to its word.
    fn check_votes(&mut self, epoch: Epoch, body: &Bytes) -> Judged {
        let Some((own, voters)) = votes_of(body) else {
            return Ok(());
        };
        for voter in voters.into_iter().filter(|voter| *voter != own) {
            self.compared.votes += 1;
            let vote = self.votes.get(&(voter, epoch)).copied();
            must!(
                vote == Some(true),
                I12IncarnationSafety,
                "the master of epoch {epoch} counted the vote of {voter}, which was {}",
                if vote.is_none() {
                    "never given"
                } else {
                    "given by a volume that lost something"
                }
            );
        }
        Ok(())
    }
}

/// A ballot as a key; ballots themselves have no order beyond their epochs.
type BallotKey = (Epoch, Incarnation, BootNonce);

const fn key(ballot: Ballot) -> BallotKey {
    (ballot.epoch, ballot.member.incarnation, ballot.boot)
}

// === impl Member ===

impl Member {
    /// A volume of this promise and tail has less than this incarnation told.
    fn is_below(&self, promise: Ballot, tail: (Epoch, Offset)) -> bool {
        let (ballot, matched) = self.acked;
        let forgot_promise = promise.epoch < self.told.epoch
            || promise.epoch == self.told.epoch && promise != self.told;
        // In a later ballot it may have been made to cut.
        forgot_promise || tail.1 < matched && tail.0 <= ballot.epoch
    }
}

// === impl Config ===

impl Config {
    /// `version u8 | generation u64 | 2 × (count u8 | count × (ordinal u8, incarnation u128))`
    fn parse(body: &Bytes) -> Option<Self> {
        let mut sets = Vec::new();
        let mut at = 9;
        for _ in 0..2 {
            let count = usize::from(*body.get(at)?);
            let set = (0..count)
                .map(|row| incarnation(body, at + 2 + 17 * row))
                .collect::<Option<BTreeSet<_>>>()?;
            at += 1 + 17 * count;
            if !set.is_empty() {
                sets.push(set);
            }
        }
        Some(Self { sets })
    }
}

/// `version u8 | ballot | generation u64 | count u8, voters | count u8, (incarnation u128, tail)`:
/// the master of an EpochStart, and whose promises it counted.
fn votes_of(body: &Bytes) -> Option<(Incarnation, Vec<Incarnation>)> {
    const BALLOT: usize = 8 + 17 + 8;
    let voters_at = 1 + BALLOT + 8;
    let tails_at = voters_at + 1 + 17 * usize::from(*body.get(voters_at)?);
    let count = usize::from(*body.get(tails_at)?);
    let of = (0..count).map(|row| incarnation(body, tails_at + 1 + 32 * row));
    Some((incarnation(body, 1 + 8 + 1)?, of.collect::<Option<_>>()?))
}

fn incarnation(body: &Bytes, at: usize) -> Option<Incarnation> {
    let bytes = body.get(at..at + 16)?.try_into().ok()?;
    Some(Incarnation(u128::from_be_bytes(bytes)))
}

/// The epoch of the record at that offset, by a table of first offsets. Beyond the end of the log
/// the last epoch is given: callers compare offsets first.
pub fn epoch_at(epochs: &[(Epoch, Offset)], offset: Offset) -> Option<Epoch> {
    let after = epochs.partition_point(|(_, first)| *first <= offset);
    Some(epochs.get(after.checked_sub(1)?)?.0)
}

#[cfg(test)]
mod tests;
