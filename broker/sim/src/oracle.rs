//! Judges a run: invariants of the group, what clients saw, and that it went on.
//!
//! Three parts, each told what happened and each keeping its own memory of the whole run, which no
//! member has:
//!
//! - [`group`]: ballots, promises, logs, commits (I1–I9, I12–I15, accusations), by looking into
//!   the members after every step;
//! - [`history`]: what clients sent, were told and received (I10, I16 in part, I17, the checker of
//!   the guarantees);
//! - liveness, in `run`: after the last fault everything is served, consumed and in step again.
//!
//! A violation is a value; the first one ends the run.

pub mod group;
pub mod history;

use std::fmt;

/// What can be violated. The texts name the invariants of `docs/internals/simulator.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// At most one member becomes master of one epoch.
    I1ElectionSafety,
    /// A promise never decreases within one incarnation.
    I2PromiseMonotonic,
    /// Nobody appends what the owner of its promise does not have.
    I3NoStaleAppend,
    /// The same epoch at the same offset means the same prefix.
    I4LogMatching,
    /// Epochs never decrease along a log.
    I5LogMonotonic,
    /// Two records ever committed at one offset are equal.
    I6LogSafety,
    /// A master has everything that was committed before its EpochStart.
    I7LeaderCompleteness,
    /// Committed means: at or above the own EpochStart and on a quorum's disks.
    I8CommitRule,
    /// What a client was told is in the committed log.
    I9AckImpliesCommit,
    /// What is handed to a consumer is in the committed log.
    I10DispatchImpliesCommit,
    /// No vote and no disk counts of a volume that holds less than it told, or that is replaced.
    I12IncarnationSafety,
    /// What a member says is durable survives a power cut of that moment.
    I13DurableTruth,
    /// The state restored from a checkpoint is that of the log before it.
    I14Checkpoint,
    /// Equal prefix applied, equal state.
    I15Determinism,
    /// A transaction is visible whole or not at all.
    I17TxAtomic,
    /// `appended >= synced >= committed >= applied`.
    OffsetOrder,
    /// A member that lost nothing is never accused, and its log is never found damaged.
    NoHealthyAccused,
    /// Acknowledged and not consumed by anyone.
    AckedLost,
    /// Received and never sent.
    NeverSent,
    /// One SEND frame enqueued more than once.
    EnqueuedTwice,
    /// Delivered twice without the redelivered flag.
    NotFlagged,
    /// First deliveries out of the order of their producer.
    OutOfOrder,
    /// Delivered again after its consumption was confirmed.
    CameBack,
    /// More deliveries out than the prefetch allows.
    Prefetch,
    /// Once faults end, the group serves again.
    Liveness,
    /// The run elected nobody or delivered nothing.
    DidNothing,
    /// A machine panicked.
    Panic,
    /// A process ended itself without a cause that was put in.
    Abort,
    /// Two runs of one seed differ.
    Deterministic,
    /// A claim of a scripted schedule does not hold.
    Schedule,
}

impl Invariant {
    /// The name that is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::I1ElectionSafety => "I1 ElectionSafety",
            Self::I2PromiseMonotonic => "I2 PromiseMonotonic",
            Self::I3NoStaleAppend => "I3 NoStaleAppend",
            Self::I4LogMatching => "I4 LogMatching",
            Self::I5LogMonotonic => "I5 LogMonotonic",
            Self::I6LogSafety => "I6 LogSafety",
            Self::I7LeaderCompleteness => "I7 LeaderCompleteness",
            Self::I8CommitRule => "I8 CommitRule",
            Self::I9AckImpliesCommit => "I9 AckImpliesCommit",
            Self::I10DispatchImpliesCommit => "I10 DispatchImpliesCommit",
            Self::I12IncarnationSafety => "I12 IncarnationSafety",
            Self::I13DurableTruth => "I13 DurableOffsetTruth",
            Self::I14Checkpoint => "I14 CheckpointEquivalence",
            Self::I15Determinism => "I15 Determinism",
            Self::I17TxAtomic => "I17 TxAtomic",
            Self::OffsetOrder => "offset order",
            Self::NoHealthyAccused => "no healthy member accused",
            Self::AckedLost => "acknowledged message lost",
            Self::NeverSent => "received, never sent",
            Self::EnqueuedTwice => "one SEND enqueued twice",
            Self::NotFlagged => "second delivery without redelivered",
            Self::OutOfOrder => "first deliveries out of order",
            Self::CameBack => "consumed message came back",
            Self::Prefetch => "prefetch exceeded",
            Self::Liveness => "liveness",
            Self::DidNothing => "the run did nothing",
            Self::Panic => "panic",
            Self::Abort => "abort without a cause",
            Self::Deterministic => "same seed, same trace",
            Self::Schedule => "schedule",
        }
    }
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of what.
    pub invariant: Invariant,
    /// A sentence.
    pub text: String,
}

impl Violation {
    /// A violation with its sentence.
    pub fn new(invariant: Invariant, text: impl Into<String>) -> Self {
        Self {
            invariant,
            text: text.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant.as_str(), self.text)
    }
}
