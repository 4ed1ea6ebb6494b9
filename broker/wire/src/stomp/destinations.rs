//! Names of destinations and messages, as STOMP writes them and as the broker means them.
//!
//! | in a frame | destination |
//! |---|---|
//! | `/queue/N` | queue N |
//! | `/topic/N` | topic N |
//! | `/temp-queue/N`, `/temp-topic/N` | temporary, of this connection: `<group>.<conn>.<instance>.N` |
//! | `/remote-temp-queue/P`, `/remote-temp-topic/P` | temporary, of any connection, by its physical name |
//! | anything else | queue of that name |
//!
//! Outwards a temporary destination of this connection gets its short name back, another
//! connection's the long one; so a `reply-to` can be answered by whoever receives it (ActiveMQ).

use bytestring::ByteString;
use tandemmq_model::{ConnId, Destination, DestinationKind, MessageId};

use super::encoder::shorten;

/// A name that stands for no destination we have. The operation is refused, the connection stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("destination {0:?} has an empty name")]
    Empty(String),
    #[error("destination name too long: at most {max} bytes are allowed")]
    TooLong { max: usize },
    #[error("wildcards (* and >) are not supported yet: {0:?}")]
    Wildcard(String),
    #[error("composite destinations (,) are not supported yet: {0:?}")]
    Composite(String),
    #[error("destination options (?) are not supported yet: {0:?}")]
    Options(String),
    #[error("destination names must not contain control characters: {0:?}")]
    Control(String),
    #[error("{0:?} belongs to another connection: only that one may subscribe to it")]
    NotYours(String),
}

/// The names of one connection.
#[derive(Debug)]
pub(crate) struct Names {
    /// What the physical names of this connection's temporary destinations begin with.
    own: String,
    /// `ID:<group>-`.
    message_id_prefix: String,
    bytes_max: usize,
}

impl Names {
    pub(crate) fn new(group: &str, conn: ConnId, instance: u64, bytes_max: usize) -> Self {
        Self {
            own: format!("{group}.{conn}.{instance:016x}."),
            message_id_prefix: format!("ID:{group}-"),
            bytes_max,
        }
    }

    /// Where a SEND goes.
    pub(crate) fn target(&self, text: &ByteString) -> Result<Destination, NameError> {
        match self.prefixed(text)? {
            Some(destination) => Ok(destination),
            None => {
                let name = self.checked(text, text.trim())?;
                Ok(Destination::queue(name))
            }
        }
    }

    /// What a SUBSCRIBE consumes: a target, but no other connection's temporary destination.
    pub(crate) fn source(&self, text: &ByteString) -> Result<Destination, NameError> {
        let destination = self.target(text)?;
        if destination.kind.is_temporary() && !destination.name.starts_with(&self.own) {
            return Err(NameError::NotYours(shown(text)));
        }
        Ok(destination)
    }

    /// Where a `reply-to` points; none when it has no prefix of ours, then it is only a text.
    pub(crate) fn reply_to(&self, text: &ByteString) -> Result<Option<Destination>, NameError> {
        self.prefixed(text)
    }

    fn prefixed(&self, text: &ByteString) -> Result<Option<Destination>, NameError> {
        use DestinationKind::{Queue, TempQueue, TempTopic, Topic};
        let trimmed = text.trim();
        for (prefix, kind) in [("/queue/", Queue), ("/topic/", Topic)] {
            if let Some(name) = trimmed.strip_prefix(prefix) {
                return Ok(Some(Destination {
                    kind,
                    name: self.checked(text, name)?,
                }));
            }
        }
        for (prefix, kind) in [
            ("/remote-temp-queue/", TempQueue),
            ("/remote-temp-topic/", TempTopic),
        ] {
            if let Some(name) = trimmed.strip_prefix(prefix) {
                return Ok(Some(Destination {
                    kind,
                    name: self.checked(text, name)?,
                }));
            }
        }
        for (prefix, kind) in [("/temp-queue/", TempQueue), ("/temp-topic/", TempTopic)] {
            if let Some(name) = trimmed.strip_prefix(prefix) {
                let name = self.checked(text, name)?;
                let physical = format!("{}{name}", self.own);
                self.check_length(&physical)?;
                return Ok(Some(Destination {
                    kind,
                    name: physical.into(),
                }));
            }
        }
        Ok(None)
    }

    /// `name` is a part of `text` and shares its memory.
    fn checked(&self, text: &ByteString, name: &str) -> Result<ByteString, NameError> {
        self.check_length(name)?;
        let error = match name.bytes().find(|byte| is_special(*byte)) {
            None if name.is_empty() => NameError::Empty,
            None => return Ok(text.slice_ref(name)),
            Some(b'*' | b'>') => NameError::Wildcard,
            Some(b',') => NameError::Composite,
            Some(b'?') => NameError::Options,
            Some(_) => NameError::Control,
        };
        Err(error(shown(text)))
    }

    fn check_length(&self, name: &str) -> Result<(), NameError> {
        if name.len() > self.bytes_max {
            return Err(NameError::TooLong {
                max: self.bytes_max,
            });
        }
        Ok(())
    }

    /// The destination as this connection's client writes it: prefix and name.
    pub(crate) fn outward<'a>(&self, destination: &'a Destination) -> [&'a str; 2] {
        let own = destination.name.strip_prefix(self.own.as_str());
        match (destination.kind, own) {
            (DestinationKind::Queue, _) => ["/queue/", &destination.name],
            (DestinationKind::Topic, _) => ["/topic/", &destination.name],
            (DestinationKind::TempQueue, Some(own)) => ["/temp-queue/", own],
            (DestinationKind::TempTopic, Some(own)) => ["/temp-topic/", own],
            (DestinationKind::TempQueue, None) => ["/remote-temp-queue/", &destination.name],
            (DestinationKind::TempTopic, None) => ["/remote-temp-topic/", &destination.name],
        }
    }

    /// What stands before epoch and offset in a `message-id`.
    pub(crate) fn message_id_prefix(&self) -> &str {
        &self.message_id_prefix
    }

    /// The id in a `message-id` header; none when no message of this group can have it.
    pub(crate) fn parse_message_id(&self, text: &str) -> Option<MessageId> {
        MessageId::parse(text.trim().strip_prefix(self.message_id_prefix.as_str())?)
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'>' | b',' | b'?') || byte.is_ascii_control()
}

/// A client's own word in an error, shortened.
fn shown(text: &str) -> String {
    const BYTES_MAX: usize = 128;
    shorten(text, BYTES_MAX).to_owned()
}
