//! `--destination`: ActiveMQ's way to write a destination, and STOMP's.

use std::fmt;
use std::str::FromStr;

/// A queue or topic of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DestinationArg {
    /// `queue://NAME`, `/queue/NAME` or only `NAME`.
    Queue(String),
    /// `topic://NAME` or `/topic/NAME`.
    Topic(String),
}

impl DestinationArg {
    /// The value of STOMP's `destination` header.
    pub(crate) fn header(&self) -> String {
        match self {
            Self::Queue(name) => format!("/queue/{name}"),
            Self::Topic(name) => format!("/topic/{name}"),
        }
    }

    /// The queue's name; an error sentence for a topic.
    pub(crate) fn queue(&self) -> Result<&str, String> {
        match self {
            Self::Queue(name) => Ok(name),
            Self::Topic(name) => Err(format!(
                "topic://{name} holds no messages; this command needs a queue, queue://NAME"
            )),
        }
    }
}

impl fmt::Display for DestinationArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue://{name}"),
            Self::Topic(name) => write!(f, "topic://{name}"),
        }
    }
}

impl FromStr for DestinationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let strip = |schemes: [&str; 2]| {
            schemes
                .into_iter()
                .find_map(|scheme| text.strip_prefix(scheme))
                .map(str::to_owned)
        };
        let parsed = if let Some(name) = strip(["queue://", "/queue/"]) {
            Self::Queue(name)
        } else if let Some(name) = strip(["topic://", "/topic/"]) {
            Self::Topic(name)
        } else if text.contains("://") || text.starts_with('/') {
            return Err("allowed are queue://NAME and topic://NAME".into());
        } else {
            Self::Queue(text.to_owned())
        };
        let (Self::Queue(name) | Self::Topic(name)) = &parsed;
        match name.is_empty() {
            true => Err("the name is missing; write queue://NAME or topic://NAME".into()),
            false => Ok(parsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_a_destination_are_understood() {
        let parse = |text: &str| text.parse::<DestinationArg>();
        assert_eq!(
            parse("queue://A.B"),
            Ok(DestinationArg::Queue("A.B".into()))
        );
        assert_eq!(parse("/queue/A"), Ok(DestinationArg::Queue("A".into())));
        assert_eq!(parse("A"), Ok(DestinationArg::Queue("A".into())));
        assert_eq!(parse("topic://T"), Ok(DestinationArg::Topic("T".into())));
        assert_eq!(parse("/topic/T").unwrap().header(), "/topic/T");
        assert!(parse("queues://A").is_err());
        assert!(parse("/temp-queue/A").is_err());
        assert!(parse("queue://").is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn a_topic_is_no_queue() {
        assert!(
            DestinationArg::Topic("T".into())
                .queue()
                .unwrap_err()
                .contains("queue://")
        );
    }
}
