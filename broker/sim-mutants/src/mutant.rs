//! One mutant of any crate, switched on for the calling thread.

/// A guard that is switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mutant {
    /// Of the protocol.
    Cluster(tandemmq_cluster::mutants::Mutant),
    /// Of destinations and delivery.
    Engine(tandemmq_engine::mutants::Mutant),
    /// Of the disk.
    Journal(tandemmq_journal::mutants::Mutant),
}

// === impl Mutant ===

impl Mutant {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        let cluster = tandemmq_cluster::mutants::Mutant::ALL.map(Self::Cluster);
        let engine = tandemmq_engine::mutants::Mutant::ALL.map(Self::Engine);
        let journal = tandemmq_journal::mutants::Mutant::ALL.map(Self::Journal);
        cluster.into_iter().chain(engine).chain(journal).collect()
    }

    /// The crate's and its own name.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Cluster(mutant) => format!("cluster {mutant:?}"),
            Self::Engine(mutant) => format!("engine {mutant:?}"),
            Self::Journal(mutant) => format!("journal {mutant:?}"),
        }
    }

    /// Breaks every machine of this thread.
    pub(crate) fn switch_on(self) {
        self.switch_off();
        match self {
            Self::Cluster(mutant) => tandemmq_cluster::mutants::set(Some(mutant)),
            Self::Engine(mutant) => tandemmq_engine::mutants::set(Some(mutant)),
            Self::Journal(mutant) => tandemmq_journal::mutants::set(Some(mutant)),
        }
    }

    /// Mends every machine of this thread.
    pub(crate) fn switch_off(self) {
        tandemmq_cluster::mutants::set(None);
        tandemmq_engine::mutants::set(None);
        tandemmq_journal::mutants::set(None);
    }
}
