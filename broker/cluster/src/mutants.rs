//! Seeded faults: each switches off one guard of the protocol, to prove that the simulator's
//! oracle bites. Without the feature `mutants` every question is answered "no" at compile time.

/// The guards that can be switched off; the names say what the broken member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// Row 3: answers a PromiseReq before the promise is on disk, and forgets it in a crash.
    PromiseNotSynced = 1,
    /// Row 2: asks for promises before its own is on disk.
    OwnPromiseNotSynced,
    /// Row 3: grants a ballot of an equal epoch again.
    PromiseByEpochNumber,
    /// Row 6: leads without adopting the best log.
    RecoverySkipped,
    /// Row 3: a master goes on counting itself after it promised another.
    MasterKeepsAfterPromise,
    /// Row 3: acks under the old ballot after a promise.
    AckUnderOldBallot,
    /// Row 7: appends below its promise.
    AppendBelowPromise,
    /// Row 7: acks before fdatasync.
    AckBeforeSync,
    /// Row 9: the master counts itself before its own fdatasync.
    MasterCountsUnsynced,
    /// Row 7: cuts at every Append, also where the record is there already.
    CutOnEveryAppend,
    /// Row 7: acks `synced` instead of min(match, synced).
    AckSyncedNotMatched,
    /// Row 9: commits records of older epochs by counting (Raft, figure 8).
    CommitOlderEpochs,
    /// Row 5: serves a Fetch of any ballot, and takes any answer.
    FetchNotBoundToBallot,
    /// Row 10: applies up to the master's `committed` without `match`.
    ApplyUnmatched,
    /// Row 14: a restarted process resumes the epoch it had promised itself.
    ResumeEpoch,
    /// Rows 5 and 7: cuts synced records without a cut mark.
    NoCutMark,
    /// Row 17: a master ignores a refusal.
    RefusalIgnored,
    /// Row 4: nobody's memory is asked: a rolled-back volume votes.
    NoWitnessCheck,
    /// Row 6: the first election by a majority instead of by all.
    FirstElectionByMajority,
    /// Row 15: the founder proposes on a majority of blank answers.
    FoundingByMajority,
    /// Row 2: stands although the Lease names another group.
    BlindToLeaseGroup,
    /// Row 12: installs over a log that has the checkpoint's record, and in any ballot.
    InstallOverOwnRecord,
    /// Row 12: a log that reaches beyond the checkpoint needs none, whatever is in it.
    LongerLogNeedsNone,
    /// Row 6: a candidate's quorum is one of the first voters that its log names.
    FirstConfigJudges,
    /// Row 14: a damaged member is clean at what it knows to be committed.
    CleanAtCommitted,
    /// Row 14: the cut mark is not stored with what says clean.
    CleanWithoutCutMark,
    /// Rows 14 and 18: a damaged member is accused of the records that it knows to be lost.
    DamagedAccused,
    /// Row 5: a damaged log is served to a candidate.
    FetchDamaged,
    /// Row 12: a checkpoint forgets who votes.
    CheckpointWithoutConfig,
    /// Row 13: a volume is listed as a voter while it still learns.
    LearnerListed,
    /// Row 8: acks count whatever their owners say of their logs with them.
    AckWithoutState,
    /// Row 13: a new volume votes at once, without the joint step.
    NoJoint,
    /// Row 13: the final record is written before the joint one is committed.
    FinalBeforeJointCommitted,
    /// Row 16: whatever volume is in a voter's place counts for it.
    VoterByOrdinal,
    /// Row 15d: what a learner has on its disk counts for the voter whose place it takes.
    LearnerCounts,
    /// Rows 4, 14 and 18: votes count whatever their owners say of their logs.
    UncleanVotes,
    /// Row 15d: a volume that was replaced is added again when it comes back.
    ReplacedComesBack,
    /// Row 18: what was acknowledged before an accusation is enough to set the accused aside.
    OldAcksSetAside,
    /// Row 17: a master is refused by voters only.
    LearnerNotHeard,
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Breaks every machine of this thread in this way, or mends them.
    pub fn set(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    pub(crate) fn on(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod switch {
    use super::Mutant;

    #[inline(always)]
    pub(crate) const fn on(_: Mutant) -> bool {
        false
    }
}

pub(crate) use switch::on;
#[cfg(feature = "mutants")]
pub use switch::set;

impl Mutant {
    /// All of them, for the run that catches each.
    pub const ALL: [Self; 39] = [
        Self::PromiseNotSynced,
        Self::OwnPromiseNotSynced,
        Self::PromiseByEpochNumber,
        Self::RecoverySkipped,
        Self::MasterKeepsAfterPromise,
        Self::AckUnderOldBallot,
        Self::AppendBelowPromise,
        Self::AckBeforeSync,
        Self::MasterCountsUnsynced,
        Self::CutOnEveryAppend,
        Self::AckSyncedNotMatched,
        Self::CommitOlderEpochs,
        Self::FetchNotBoundToBallot,
        Self::ApplyUnmatched,
        Self::ResumeEpoch,
        Self::NoCutMark,
        Self::RefusalIgnored,
        Self::NoWitnessCheck,
        Self::FirstElectionByMajority,
        Self::FoundingByMajority,
        Self::BlindToLeaseGroup,
        Self::InstallOverOwnRecord,
        Self::LongerLogNeedsNone,
        Self::FirstConfigJudges,
        Self::CleanAtCommitted,
        Self::CleanWithoutCutMark,
        Self::DamagedAccused,
        Self::FetchDamaged,
        Self::CheckpointWithoutConfig,
        Self::LearnerListed,
        Self::AckWithoutState,
        Self::NoJoint,
        Self::FinalBeforeJointCommitted,
        Self::VoterByOrdinal,
        Self::LearnerCounts,
        Self::UncleanVotes,
        Self::ReplacedComesBack,
        Self::OldAcksSetAside,
        Self::LearnerNotHeard,
    ];
}
