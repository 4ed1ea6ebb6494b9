//! What the disk holds at the start.
use tandemmq_model::Offset;

use crate::control::Control;
use crate::identity::Identity;
use crate::journal::JournalConfig;
use crate::storage::{Storage, StorageError};
use crate::witness::Witness;

/// The log as it was found: everything in it is synced.
#[derive(Debug, Clone)]
pub struct RecoveredLog {}

/// What recovery found and did, for the log of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {}

/// What the disk holds.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Who this member is.
    pub identity: Identity,
    /// Promise, log state, cut mark.
    pub control: Control,
    /// What it remembers of the others; empty when that was lost.
    pub witness: Vec<Witness>,
    /// The log.
    pub log: RecoveredLog,
    /// What was found.
    pub report: RecoveryReport,
}

/// Why a member cannot start. Fatal; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A record that this version must understand and does not.
    #[error(
        "record {offset} is of kind {kind}, which this version does not know and must not skip: \
         run the version that wrote it"
    )]
    UnknownRecord {
        /// Its offset.
        offset: Offset,
        /// Its kind.
        kind: u8,
    },
}

/// Makes a blank volume a member's: identity, an empty control file.
pub fn format<S: Storage>(_storage: &S, _identity: &Identity) -> Result<(), StorageError> {
    unimplemented!()
}

/// Finds out what the disk holds; none: a blank volume, to be formatted.
pub fn recover<S: Storage>(
    _storage: &S,
    _config: &JournalConfig,
) -> Result<Option<Recovered>, RecoverError> {
    unimplemented!()
}
