//! What this member remembers of the others.
use tandemmq_model::{Ballot, Incarnation, Offset};

/// What was heard of one incarnation: its greatest promise, and its greatest match in the greatest
/// ballot (row 4, H7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// Of whom.
    pub incarnation: Incarnation,
    /// Its greatest promise.
    pub promise: Ballot,
    /// Up to where it matched, in which ballot.
    pub matched: (Ballot, Offset),
}
