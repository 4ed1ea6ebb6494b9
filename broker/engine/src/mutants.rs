//! Seeded faults: each one breaks a rule that the simulator's oracle must see broken.
//!
//! Compiled in only with the feature `mutants`; without it `active` is a constant false and the
//! branches vanish. The choice is one for the whole process: the simulator runs one fault at a
//! time over many seeds.

/// One seeded fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Mutant {
    /// A persistent message is delivered when it is proposed.
    DispatchBeforeCommit = 1,
    /// A persistent send or a commit is answered when it is proposed.
    ReceiptBeforeCommit = 2,
    /// An acknowledgement is answered when it is proposed.
    AckReceiptBeforeCommit = 3,
    /// Sends of an open transaction are visible at once.
    TxPartial = 4,
    /// Acknowledgements of an open transaction take effect at once.
    TxAckPartial = 5,
    /// Entries older than the last EpochStart are not marked as redelivered.
    OlderNotRedelivered = 6,
    /// What was written to a lost connection is not marked as redelivered.
    WrittenNotRedelivered = 7,
    /// Neither TxRollback nor EpochStart forgets an open transaction.
    RollbackForgotten = 8,
    /// A cumulative acknowledgement takes what was delivered after it, too.
    AckTakesLater = 9,
    /// An Ack record changes nothing.
    AckForgotten = 10,
    /// A lost connection's deliveries do not return to the queue but are acknowledged.
    LostConnectionAcks = 11,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// Every fault, for a run over all of them.
    pub const ALL: [Self; 11] = [
        Self::DispatchBeforeCommit,
        Self::ReceiptBeforeCommit,
        Self::AckReceiptBeforeCommit,
        Self::TxPartial,
        Self::TxAckPartial,
        Self::OlderNotRedelivered,
        Self::WrittenNotRedelivered,
        Self::RollbackForgotten,
        Self::AckTakesLater,
        Self::AckForgotten,
        Self::LostConnectionAcks,
    ];
}

#[cfg(feature = "mutants")]
mod chosen {
    use std::sync::atomic::{AtomicU32, Ordering};

    static CHOSEN: AtomicU32 = AtomicU32::new(0);

    /// Chooses the fault of this process, none to be sound again.
    pub fn choose(mutant: Option<super::Mutant>) {
        CHOSEN.store(mutant.map_or(0, |mutant| mutant as u32), Ordering::SeqCst);
    }

    pub(crate) fn active(mutant: super::Mutant) -> bool {
        CHOSEN.load(Ordering::Relaxed) == mutant as u32
    }
}

#[cfg(not(feature = "mutants"))]
mod chosen {
    pub(crate) const fn active(_mutant: super::Mutant) -> bool {
        false
    }
}

pub(crate) use chosen::active;
#[cfg(feature = "mutants")]
pub use chosen::choose;
