//! The Lease: one small record per group behind compare-and-swap.
//!
//! It arbitrates between candidates and tells the world who is master. **No rule of safety reads
//! it.** Two stores exist: a shared folder (`FileLease`) and a Kubernetes Lease; both pass
//! [`contract`].
//!
//! An answer is Ok, Conflict, Unavailable (surely not done) or Unknown (may have been done: the
//! caller must look again before it relies on anything). No store retries by itself.

pub mod contract;

use tandemmq_journal::Founding;

/// Names one version of the record; opaque, only compared for equality.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Revision(pub String);

/// The record as read or written, with the names of object and version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// Changes when the object is deleted and made anew; empty while the store is empty.
    pub uid: String,
    /// Version of this content.
    pub revision: Revision,
    /// The content.
    pub record: LeaseRecord,
}

/// The content. On Kubernetes the holder is `spec.holderIdentity`, the rest annotations under
/// `tandemmq.io/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseRecord {
    /// `<name>_<incarnation>_<boot nonce>`, on Kubernetes `<pod>_<pod UID>_<boot nonce>`; empty =
    /// released.
    pub holder: String,
    /// Wall clock of the last write, for people only.
    pub renewed_ms: u64,
    /// Highest epoch attempted: a floor, never lowered.
    pub epoch: u64,
    /// The epoch of the reigning master.
    pub master_epoch: u64,
    /// Where clients reach that master.
    pub master_address: String,
    /// The member (by name) that a resigning master wants as its successor.
    pub handover_to: String,
    /// The member (by name) that an operator asks to be promoted.
    pub promote_to: String,
    /// A group that ordinal 0 proposes to found.
    pub group_proposal: Option<Founding>,
    /// The group, once confirmed.
    pub group: Option<Founding>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one call in two seconds")]
pub enum LeaseRequest {
    /// Read the record. An empty store answers with `Lease::default()`.
    Read,
    /// Write the record if the store still holds exactly this uid and revision.
    Swap {
        /// Object as read.
        uid: String,
        /// Version as read.
        revision: Revision,
        /// New content.
        record: LeaseRecord,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one call in two seconds")]
pub enum LeaseAnswer {
    /// Done; the record as it is now.
    Ok(Lease),
    /// The store holds another version; nothing was written.
    Conflict,
    /// The store could not be reached; nothing was written.
    Unavailable(String),
    /// Timed out: it may have been written.
    Unknown,
}

/// A store, as the contract suite drives it: blocking, one call at a time.
pub trait LeaseStore {
    /// One call.
    fn call(&mut self, request: LeaseRequest) -> LeaseAnswer;
}
