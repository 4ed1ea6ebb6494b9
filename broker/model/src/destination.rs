//! Destinations, with ActiveMQ's four kinds.

use std::fmt;

use bytestring::ByteString;

/// What kind of destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestinationKind {
    /// Each message goes to one consumer; persistent ones are replicated.
    Queue,
    /// Each message goes to every subscriber of the moment.
    Topic,
    /// A queue that lives as long as the connection that made it; in memory only.
    TempQueue,
    /// A topic that lives as long as the connection that made it.
    TempTopic,
}

impl DestinationKind {
    /// True for the two kinds that hold a message until one consumer takes it.
    pub const fn is_queue(self) -> bool {
        matches!(self, Self::Queue | Self::TempQueue)
    }

    /// True for the two kinds that end with their connection.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::TempQueue | Self::TempTopic)
    }
}

/// A named destination. Cheap to clone: the name is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// What kind.
    pub kind: DestinationKind,
    /// The physical name, without a prefix.
    pub name: ByteString,
}

impl Destination {
    /// A queue of that name.
    pub fn queue(name: impl Into<ByteString>) -> Self {
        Self {
            kind: DestinationKind::Queue,
            name: name.into(),
        }
    }

    /// A topic of that name.
    pub fn topic(name: impl Into<ByteString>) -> Self {
        Self {
            kind: DestinationKind::Topic,
            name: name.into(),
        }
    }
}

/// ActiveMQ's own way to write a destination: `queue://TEST`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            DestinationKind::Queue => "queue",
            DestinationKind::Topic => "topic",
            DestinationKind::TempQueue => "temp-queue",
            DestinationKind::TempTopic => "temp-topic",
        };
        write!(f, "{scheme}://{}", self.name)
    }
}
