//! The state of a whole group: members, what is under way between them, and what was committed.

/// Most members, epochs and records of a log that a search may use.
pub const MEMBERS_MAX: usize = 5;
pub const EPOCHS_MAX: usize = 6;
pub const LOG_MAX: usize = 12;
pub const BALLOTS: usize = MEMBERS_MAX * EPOCHS_MAX;

/// 0: none; else 1 + (epoch - 1) * MEMBERS_MAX + candidate.
pub type Ballot = u8;

pub fn ballot(epoch: usize, candidate: usize) -> Ballot {
    (1 + (epoch - 1) * MEMBERS_MAX + candidate) as Ballot
}

pub fn epoch(b: Ballot) -> usize {
    if b == 0 {
        0
    } else {
        (b as usize - 1) / MEMBERS_MAX + 1
    }
}

/// Who stands in this ballot; it must not be 0.
pub fn candidate(b: Ballot) -> usize {
    (b as usize - 1) % MEMBERS_MAX
}

/// Payload START + member: the EpochStart of that member. Below: a client's record.
pub const START: u8 = 0x10;
/// Payload CFG + 1: joint Config, CFG + 2: final one; + 3 and + 4: those of a second change.
pub const CFG: u8 = 0x20;

pub fn is_client(payload: u8) -> bool {
    payload < START
}

pub fn is_start(payload: u8) -> bool {
    payload & 0xf0 == START
}

pub fn is_config(payload: u8) -> bool {
    payload & 0xf0 == CFG
}

/// Records (epoch, payload); offsets count from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub n: u8,
    pub records: [(u8, u8); LOG_MAX],
}

impl Log {
    pub const EMPTY: Self = Self {
        n: 0,
        records: [(0, 0); LOG_MAX],
    };

    pub fn len(&self) -> usize {
        self.n as usize
    }

    pub fn kept(&self) -> &[(u8, u8)] {
        &self.records[..self.len()]
    }

    pub fn at(&self, offset: usize) -> (u8, u8) {
        self.records[offset - 1]
    }

    pub fn last_epoch(&self) -> u8 {
        self.kept().last().map_or(0, |record| record.0)
    }

    /// What tails are compared by.
    pub fn tail(&self) -> (u8, u8) {
        (self.last_epoch(), self.n)
    }

    /// Does it hold a record of this epoch at this offset?
    pub fn has(&self, offset: usize, epoch: u8) -> bool {
        self.len() >= offset && self.at(offset).0 == epoch
    }

    pub fn cut(&mut self, to: usize) {
        let n = self.len();
        if to < n {
            self.records[to..n].fill((0, 0));
            self.n = to as u8;
        }
    }

    pub fn prefix(&self, to: usize) -> Self {
        let mut log = *self;
        log.cut(to);
        log
    }

    pub fn push(&mut self, record: (u8, u8)) {
        self.records[self.len()] = record;
        self.n += 1;
    }

    pub fn is_prefix_of(&self, other: &Self) -> bool {
        self.n <= other.n && *self.kept() == other.records[..self.len()]
    }

    /// Length of the common prefix.
    pub fn common(&self, other: &Self) -> usize {
        self.kept()
            .iter()
            .zip(other.kept())
            .take_while(|(a, b)| a == b)
            .count()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Slave,
    Candidate,
    Master,
}

/// What a volume is to the group; `repair` comes on top.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Member,
    /// Formatted, in no group: it takes no part until it is told to join.
    Blank,
    /// log_state is learner: it follows, without a vote.
    Learner,
    /// log_state is data_loss: it takes no part any more.
    Accused,
    /// Its place was formatted anew; nobody acts for it, its bytes are kept.
    SetAside,
}

impl Standing {
    pub const ALL: [Self; 5] = [
        Self::Member,
        Self::Blank,
        Self::Learner,
        Self::Accused,
        Self::SetAside,
    ];
}

/// `log` is what checkpoint and journal give together; records up to `base` are in the checkpoint only.
#[derive(Clone, Copy)]
pub struct Member {
    pub promise: Ballot,
    pub promise_disk: Ballot,
    /// The ballot it acts in; equal to `promise`, except in mutants.
    pub acting: Ballot,
    pub role: Role,
    pub log: Log,
    pub synced: u8,
    /// Verified equal to the master's log, in the ballot it acts in.
    pub matched: u8,
    pub base: u8,
    /// A checkpoint received in that ballot, not yet installed.
    pub side_ballot: Ballot,
    pub side: Log,
    /// log_state is needs_repair; `need` is the offset that makes it clean again, 0: not asked yet.
    pub repair: bool,
    pub need: u8,
    /// Cut mark: ballot of the last cut below `synced`, durable before it.
    pub cut_mark: Ballot,
    pub standing: Standing,
    /// Mutants only: what a crash may bring back, and 1 + its base.
    pub old: Log,
    pub old_base: u8,
}

impl Member {
    pub const NEW: Self = Self {
        promise: 0,
        promise_disk: 0,
        acting: 0,
        role: Role::Slave,
        log: Log::EMPTY,
        synced: 0,
        matched: 0,
        base: 0,
        side_ballot: 0,
        side: Log::EMPTY,
        repair: false,
        need: 0,
        cut_mark: 0,
        standing: Standing::Member,
        old: Log::EMPTY,
        old_base: 0,
    };

    /// Does it take part at all?
    pub fn acts(&self) -> bool {
        matches!(self.standing, Standing::Member | Standing::Learner)
    }

    pub fn synced_log(&self) -> Log {
        self.log.prefix(self.synced as usize)
    }

    /// What it may acknowledge.
    pub fn in_step_to(&self) -> u8 {
        self.matched.min(self.synced)
    }

    /// A step that leaves all this as it was is no step.
    pub fn differs(&self, other: &Self) -> bool {
        let view = |m: &Self| (m.promise, m.acting, m.role, m.log, m.matched);
        view(self) != view(other)
    }

    /// Everything that does not survive the process is gone, and the log beyond `kept`.
    pub fn restart(&mut self, kept: usize) {
        self.log.cut(kept);
        self.synced = kept as u8;
        self.role = Role::Slave;
        self.promise = self.promise_disk;
        self.acting = self.promise_disk;
        self.matched = 0;
    }
}

/// What a volume is rolled back to: the durable part of an earlier moment.
#[derive(Clone, Copy)]
pub struct Snapshot {
    pub taken: bool,
    pub promise: Ballot,
    pub log: Log,
    pub cut_mark: Ballot,
}

impl Snapshot {
    pub const NONE: Self = Self {
        taken: false,
        promise: 0,
        log: Log::EMPTY,
        cut_mark: 0,
    };
}

#[derive(Clone, Copy)]
pub struct State {
    /// Epoch in the Lease, and how often the Lease (or, in a mutant, a disk) failed.
    pub lease: u8,
    pub faults: u8,
    pub next_value: u8,
    pub members: [Member; MEMBERS_MAX],
    /// Bit per ballot: its PromiseReq is under way; its EpochStart was written.
    pub requests: u32,
    pub started: u32,
    /// By ballot and voter: 0 none, else 1 + (last epoch << 4 | length).
    pub replies: [[u8; MEMBERS_MAX]; BALLOTS + 1],
    /// The log of the master of a ballot: every slice of it was sent, from `sent_base` on as records.
    pub sent: [Log; BALLOTS + 1],
    pub sent_base: [u8; BALLOTS + 1],
    /// Bit per offset: the master of that ballot sent its checkpoint of that offset.
    pub checkpoints: [u16; BALLOTS + 1],
    pub acks: [[u8; MEMBERS_MAX]; BALLOTS + 1],
    pub committed: [u8; BALLOTS + 1],
    /// The longest log ever committed, the epoch that did it, and whether another one was committed.
    pub truth: Log,
    pub truth_epoch: u8,
    pub conflict: bool,
    /// Compactions and damaged journals so far.
    pub compactions: u8,
    pub damages: u8,
    /// Of the volume that is rolled back: its snapshot, how often, and the greatest promise of it
    /// that a peer heard.
    pub snapshot: Snapshot,
    pub rollbacks: u8,
    pub heard: Ballot,
}

impl State {
    pub const FIRST: Self = Self {
        lease: 0,
        faults: 0,
        next_value: 1,
        members: [Member::NEW; MEMBERS_MAX],
        requests: 0,
        started: 0,
        replies: [[0; MEMBERS_MAX]; BALLOTS + 1],
        sent: [Log::EMPTY; BALLOTS + 1],
        sent_base: [0; BALLOTS + 1],
        checkpoints: [0; BALLOTS + 1],
        acks: [[0; MEMBERS_MAX]; BALLOTS + 1],
        committed: [0; BALLOTS + 1],
        truth: Log::EMPTY,
        truth_epoch: 0,
        conflict: false,
        compactions: 0,
        damages: 0,
        snapshot: Snapshot::NONE,
        rollbacks: 0,
        heard: 0,
    };
}
