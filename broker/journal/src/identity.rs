//! Who this member is: stamped on the volume, each part once.
use tandemmq_model::{GroupId, MemberId};

/// A group's birth: its id and the members that founded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// Drawn by the founder.
    pub id: GroupId,
    /// Ordered by ordinal.
    pub members: Vec<MemberId>,
}

/// Who this member is (rows 15 and 16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Ordinal and incarnation: stamped when the volume is formatted.
    pub member: MemberId,
    /// The volume's own id where there is one (Kubernetes); none locally.
    pub volume_id: Option<String>,
    /// Stamped once, when the member adopts a group.
    pub group: Option<Founding>,
}
