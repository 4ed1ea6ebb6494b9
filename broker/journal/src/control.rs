//! What is durable beside the log.
use tandemmq_model::Ballot;

/// May this member's log be trusted?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogState {
    /// Yes.
    #[default]
    Clean,
    /// Damage was found: no vote until repaired (row 14).
    NeedsRepair,
    /// A new volume in an old place: no vote until it is in the Config (row 13).
    Learner,
    /// It forgot something it had promised or acknowledged: no vote, no ack, never again (row 18).
    DataLoss,
}

/// Promise, log state and cut mark; always stored together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Control {
    /// The ballot promised; only grows.
    pub promise: Ballot,
    /// State of the log.
    pub log_state: LogState,
    /// Ballot of the last cut that took away synced records.
    pub cut_mark: Ballot,
}
