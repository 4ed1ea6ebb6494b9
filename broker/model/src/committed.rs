//! The token that makes a receipt possible.

use crate::Offset;

/// "Every record up to this offset is on a quorum's disks."
///
/// A client's receipt and a dispatch need one. The type lives here because engine and wire name
/// it; only the quorum module of `cluster` may make one, and a test of the workspace allows
/// exactly that place to call [`Committed::proven_by_quorum`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Committed(Offset);

impl Committed {
    /// To be called by `cluster`'s quorum module alone, with what it has counted.
    pub const fn proven_by_quorum(offset: Offset) -> Self {
        Self(offset)
    }

    /// The greatest committed offset.
    pub const fn offset(self) -> Offset {
        self.0
    }
}
