//! Faults: what is done to a group, and for how long.
//!
//! A [`FaultKind`] is what a seed's mix has a rate for; when its moment comes the world draws a
//! victim and a duration and turns it into [`Fault`]s. Everything ends: whatever a fault took away
//! is given back, at the latest when the run settles. Only a volume that was wiped, rolled back or
//! damaged stays what it is, until the group has made it good.

use std::time::Duration;

/// Kinds of faults, each with a rate of its own in every seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A process is killed; what it wrote stays in the page cache.
    Kill,
    /// The master is killed after its next few effects.
    KillMasterMidway,
    /// A host loses its power: unsynced writes are lost or torn, peers hear nothing.
    PowerCut,
    /// Every host loses its power.
    PowerCutAll,
    /// Some members are cut off from the others.
    Partition,
    /// One direction between two members is cut.
    CutOneWay,
    /// A connection breaks; its last frames arrive late and twice beside the new one.
    Flap,
    /// One direction becomes slow.
    SlowLink,
    /// A process stands still and goes on later: a zombie, when it was the master.
    Pause,
    /// A disk becomes slow.
    SlowDisk,
    /// A disk does nothing at all while the process and its network live.
    HangDisk,
    /// The next fdatasync fails.
    SyncError,
    /// The Lease store cannot be reached.
    LeaseAway,
    /// Answers of the Lease store are lost, with or without effect, or come too late.
    LeaseUnknown,
    /// Somebody else writes himself into the Lease.
    LeaseStolen,
    /// The Lease is deleted.
    LeaseDeleted,
    /// The Lease is restored from a backup.
    LeaseRestored,
    /// Somebody edits the epochs in the Lease to the greatest number.
    LeaseEdited,
    /// A client's connection breaks.
    ClientBreak,
    /// A wall clock jumps by up to an hour.
    ClockJump,
    /// SIGTERM: the process hands over and ends.
    Shutdown,
    /// A member is down for so long that the log may go on without it.
    Absence,
    /// A disk takes little more, or nothing.
    FullDisk,
    /// A volume is wiped.
    Wipe,
    /// A volume goes back to an earlier state.
    RollBack,
    /// One bit of one file turns.
    BitFlip,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Kill,
        Self::KillMasterMidway,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::Partition,
        Self::CutOneWay,
        Self::Flap,
        Self::SlowLink,
        Self::Pause,
        Self::SlowDisk,
        Self::HangDisk,
        Self::SyncError,
        Self::LeaseAway,
        Self::LeaseUnknown,
        Self::LeaseStolen,
        Self::LeaseDeleted,
        Self::LeaseRestored,
        Self::LeaseEdited,
        Self::ClientBreak,
        Self::ClockJump,
        Self::Shutdown,
        Self::Absence,
        Self::FullDisk,
        Self::Wipe,
        Self::RollBack,
        Self::BitFlip,
    ];

    /// The word that is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillMasterMidway => "kill-master-midway",
            Self::PowerCut => "power-cut",
            Self::PowerCutAll => "power-cut-all",
            Self::Partition => "partition",
            Self::CutOneWay => "cut-one-way",
            Self::Flap => "flap",
            Self::SlowLink => "slow-link",
            Self::Pause => "pause",
            Self::SlowDisk => "slow-disk",
            Self::HangDisk => "hang-disk",
            Self::SyncError => "sync-error",
            Self::LeaseAway => "lease-away",
            Self::LeaseUnknown => "lease-unknown",
            Self::LeaseStolen => "lease-stolen",
            Self::LeaseDeleted => "lease-deleted",
            Self::LeaseRestored => "lease-restored",
            Self::LeaseEdited => "lease-edited",
            Self::ClientBreak => "client-break",
            Self::ClockJump => "clock-jump",
            Self::Shutdown => "shutdown",
            Self::Wipe => "wipe",
            Self::RollBack => "roll-back",
            Self::BitFlip => "bit-flip",
            Self::Absence => "absence",
            Self::FullDisk => "full-disk",
        }
    }

    /// True when a member loses something for good: the promise of the product ends where a
    /// second member does before the first is well again.
    pub const fn loses(self) -> bool {
        matches!(self, Self::Wipe | Self::RollBack | Self::BitFlip)
    }
}

/// One step of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The moment of a kind has come: draw a victim, begin, plan the next one.
    Strike(FaultKind),
    /// A partition ends: these directions heal.
    Heal(Vec<(usize, usize)>),
    /// A direction is as fast as before.
    FastLink(usize, usize),
    /// A paused process goes on.
    Resume(usize),
    /// A disk is as fast as before, or does something again.
    FastDisk(usize),
    /// The Lease store can be reached again.
    LeaseBack,
    /// Answers of the Lease store are no longer lost.
    LeaseClear,
    /// A disk has room again.
    RoomAgain(usize),
    /// The killed member's volume goes back to the snapshot, if its peers remember enough.
    RollBackNow(usize),
    /// Faults are over: everything is given back.
    Settle,
}

/// The mean time between two faults of one kind, drawn per seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Which kind.
    pub kind: FaultKind,
    /// Mean time between two of them.
    pub every: Duration,
}
