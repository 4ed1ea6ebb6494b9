//! Seeded faults: each breaks one promise of the journal, to prove that the simulator's oracle and
//! this crate's own tests bite. Without the feature `mutants` every question is answered "no" at
//! compile time.

/// The promises that can be broken; the names say what the broken journal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A cut leaves `synced` where it was, also against a sync that is out (row 7).
    SyncedNotLoweredByCut = 1,
    /// `Synced` is told when the sync is handed to the disk, not when it is done.
    SyncReportsBeforeFdatasync,
    /// A promise is told to be stored without fdatasync (rows 2 and 3).
    ControlNotSynced,
    /// The unsure tail counts as synced at the start without being written again (H11).
    UnsureTailNotRewritten,
    /// Damage below the durable mark is taken for a torn tail: cut away, the member votes (H10).
    CorruptionTakenForTornTail,
    /// A cut leaves the bytes of the batches it takes away on the disk.
    CutLeavesBytes,
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

impl Mutant {
    /// All of them, for the run that catches each.
    pub const ALL: [Self; 6] = [
        Self::SyncedNotLoweredByCut,
        Self::SyncReportsBeforeFdatasync,
        Self::ControlNotSynced,
        Self::UnsureTailNotRewritten,
        Self::CorruptionTakenForTornTail,
        Self::CutLeavesBytes,
    ];
}
