//! Seeded faults of the journal, to prove that the simulator's oracle bites. Without the feature
//! `mutants` every question is answered "no" at compile time.

/// What the broken journal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// `synced` stays where it was when the log is cut below it.
    SyncedNotLoweredByCut,
    /// Reports records as synced without fdatasync.
    SyncWithoutFdatasync,
    /// Reports promise, log state and cut mark as stored without fdatasync.
    ControlNotSynced,
    /// Takes everything found at the start for synced without rewriting it.
    UnsureTailTrusted,
    /// Takes damage below the durable mark for a torn tail: cuts it away and votes.
    DamageTakenForTornTail,
    /// A cut leaves the batches on the disk, behind the new end.
    CutLeavesBytes,
    /// Drops the log up to the newest checkpoint, as if nobody needed it.
    LogDroppedTooEarly,
    /// Cleaning up takes every old record for dead.
    LiveTakenForDead,
    /// Row 12: survivors from a peer are told as stored without fdatasync.
    SideNotSynced,
    /// Row 12: tells of a switch that is not on the disk.
    SwitchNotDurable,
}

impl Mutant {
    /// Those that the simulator's oracle must notice.
    pub const ALL: [Self; 9] = [
        Self::SyncedNotLoweredByCut,
        Self::SyncWithoutFdatasync,
        Self::ControlNotSynced,
        Self::UnsureTailTrusted,
        Self::DamageTakenForTornTail,
        Self::LogDroppedTooEarly,
        Self::LiveTakenForDead,
        Self::SideNotSynced,
        Self::SwitchNotDurable,
    ];

    /// It shows only with equal batches before and after a cut: this crate's own tests notice it.
    pub const OWN: [Self; 1] = [Self::CutLeavesBytes];
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Breaks every journal of this thread in this way, or mends them.
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
