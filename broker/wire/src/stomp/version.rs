//! The versions of the protocol and how one is agreed on.

use std::fmt;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.0: no escapes, acks by message id, no heart-beats.
    V1_0,
    /// 1.1: escapes, heart-beats, NACK, acks by message id and subscription.
    V1_1,
    /// 1.2: acks by a header of their own, CR LF.
    V1_2,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_0, Self::V1_1, Self::V1_2];

    /// As it stands in `version` and `accept-version`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// The version of that text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// The highest version that the client accepts and we speak. No header means 1.0.
    pub fn negotiate(accept_version: Option<&str>) -> Option<Self> {
        let Some(list) = accept_version else {
            return Some(Self::V1_0);
        };
        list.split(',')
            .filter_map(|text| Self::parse(text.trim()))
            .max()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
