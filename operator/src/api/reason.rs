//! Why a condition is what it is: every reason the operator gives, in one list.
//!
//! `docs/operations.md` has a row for each, with what to do; a test compares.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The `reason` of a condition or an Event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As it stands in the condition.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    /// Nothing is wrong.
    AsExpected,
    /// A group is about to exist: its blank volumes become one.
    Founding,
    /// A volume that the founding lists is gone before the first election.
    FoundingStuck,
    /// The group exists and has no master yet, or none at the moment.
    ElectionPending,
    /// Too few members answer for a quorum.
    QuorumLost,
    /// A quorum is there, and a member is away or behind.
    MembersMissing,
    /// Blank volumes are too many for a quorum; a survivor holds the data.
    MajorityLost,
    /// A member's volume is that of another place or another claim.
    VolumeForeign,
    /// Members of one group hold volumes of different groups.
    GroupsDiffer,
    /// Acknowledged messages may be lost: a group was recovered by hand.
    DataLoss,
    /// A wish to recover or to found anew cannot be followed.
    WishRefused,
    /// An object of that name belongs to somebody else.
    NameTaken,
    /// A Secret that the spec names is not there or lacks a key.
    WaitingForSecret,
    /// What the spec asks for cannot be made.
    InvalidSpec,
    /// A group was taken out of the spec and is kept.
    GroupRemovalRefused,
    /// A roll is under way.
    Rolling,
    /// A roll waits, because going on would cost the quorum or a copy.
    RollStuck,
    /// Objects are being made or put back.
    Applying,
    /// The API server refused a change.
    ApplyFailed,
    /// `spec.maintenance.paused` is true.
    Paused,
    /// Event: a group has another master.
    MasterChanged,
    /// Event: the operator confirmed a founding.
    GroupFounded,
    /// Event: a founding that no volume had adopted was dropped.
    FoundingReplaced,
    /// Event: a roll begins.
    RollStarted,
    /// Event: a roll is done.
    RollFinished,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
