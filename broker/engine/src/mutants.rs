//! Seeded faults of the engine: each breaks one rule that an oracle must see broken.
//!
//! Compiled in only with the feature `mutants`; without it `on` is a constant false and the
//! branches vanish. The choice holds for one thread, as in the other pure crates.

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
    /// A picture lacks the open transactions: their sends are lost where it is restored.
    PictureWithoutTransactions = 12,
    /// A restored dead letter is no longer known as delivered, and nobody compares the digest.
    PictureLosesDelivered = 13,
}

impl Mutant {
    /// Those that a whole group's oracle must notice.
    pub const ALL: [Self; 13] = [
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
        Self::PictureWithoutTransactions,
        Self::PictureLosesDelivered,
    ];
}

#[cfg(feature = "mutants")]
mod chosen {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Breaks every engine of this thread in that way; none: sound again.
    pub fn set(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }

    pub(crate) fn on(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod chosen {
    use super::Mutant;

    #[inline(always)]
    pub(crate) const fn on(_: Mutant) -> bool {
        false
    }
}

pub(crate) use chosen::on;
#[cfg(feature = "mutants")]
pub use chosen::set;
