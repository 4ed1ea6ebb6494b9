//! Ids and positions.
//!
//! Epochs order masters, offsets order records. A `Ballot` names one attempt to be master: epochs
//! order ballots, and one epoch has one owner, the candidate to whom a quorum promised it.

use std::fmt;

/// Who is master, monotonic. 0 = nobody ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// Position in a group's journal. Counts records, not bytes; the first record has offset 1, 0 is
/// the position before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The position before the first record.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Which formatting of a volume: drawn at random when the volume is formatted, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u128);

/// Which start of the process: drawn at random at each start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootNonce(pub u64);

/// Which group, drawn at random by its founder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GroupId(pub u128);

/// A member of a group: the place (ordinal) and the volume in it (incarnation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberId {
    /// 0-based place in the group, the number in the pod's name.
    pub ordinal: u8,
    /// The volume in that place. A voter is an incarnation, never an ordinal.
    pub incarnation: Incarnation,
}

/// One attempt of one member, in one run of its process, to be master. The default is "none", below
/// every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ballot {
    /// Orders ballots.
    pub epoch: Epoch,
    /// Who stands.
    pub member: MemberId,
    /// In which run of its process: a restarted process never resumes an epoch.
    pub boot: BootNonce,
}

impl Ballot {
    /// No ballot: what a new volume has promised.
    pub const NONE: Self = Self {
        epoch: Epoch(0),
        member: MemberId {
            ordinal: 0,
            incarnation: Incarnation(0),
        },
        boot: BootNonce(0),
    };
}

/// A client connection of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ConnId(pub u64);

/// A subscription of one connection; given by its session, never reused in the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SubscriptionId(pub u32);

/// A delivery on one subscription, counted from 1 in the order of dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeliveryId(pub u64);

macro_rules! display_number {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_number!(Epoch Offset ConnId SubscriptionId DeliveryId);

macro_rules! display_hex {
    ($($name:ident $width:literal)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $width, "x}"), self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // The first digits tell members apart in a log; the whole is in the status.
                write!(f, "{}", &self.to_string()[..8])
            }
        }
    )*};
}
display_hex!(Incarnation "32" BootNonce "16" GroupId "32");

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.ordinal, self.incarnation)
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "epoch {} of {} boot {:?}",
            self.epoch, self.member, self.boot
        )
    }
}
