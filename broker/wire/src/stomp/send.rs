//! A SEND frame as a message.
//!
//! | header | becomes |
//! |---|---|
//! | `destination` | where it goes |
//! | `transaction`, `receipt`, `content-length` | used up |
//! | `persistent` | true or false, **default false** (ActiveMQ) |
//! | `expires`, `timestamp` | milliseconds since 1970 |
//! | `priority` | 0 to 9, default 4; what is above 9 is 9 (ActiveMQ) |
//! | `correlation-id`, `type` | their JMS fields |
//! | `reply-to` | a destination; a text without a known prefix stays a property (ActiveMQ) |
//! | `message-id`, `redelivered`, `subscription`, `JMSXUserID` | dropped: the broker's words |
//! | any other | a property |

use bytestring::ByteString;
use tandemmq_model::{BodyKind, Destination, Message, Now, TxName};

use super::Frame;
use super::destinations::{NameError, Names};
use super::frame::is_wasteful;

/// JMS default priority.
const DEFAULT_PRIORITY: u8 = 4;

/// JMS greatest priority.
const PRIORITY_MAX: u8 = 9;

/// Why a SEND was refused. It had no effect, the connection stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    #[error("SEND needs the header destination")]
    NoDestination,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("persistent must be true or false")]
    Persistent,
    #[error("{0} must be a number, 0 or more")]
    Number(&'static str),
}

/// The message and the transaction it is sent in.
pub(crate) fn to_message(
    frame: Frame,
    names: &Names,
    now: Now,
) -> Result<(Message, Option<TxName>), SendError> {
    let sent_bytes = frame.headers_bytes();
    let mut tx = None;
    let mut message = Message {
        destination: Destination::queue(ByteString::new()),
        persistent: false,
        priority: DEFAULT_PRIORITY,
        timestamp_ms: now.wall_ms,
        expiration_ms: 0,
        correlation_id: None,
        reply_to: None,
        jms_type: None,
        body_kind: BodyKind::Text,
        properties: Vec::with_capacity(frame.headers.len()),
        body: frame.body,
    };
    let mut addressed = false;
    for (name, value) in frame.headers {
        match &*name {
            "destination" => {
                message.destination = names.target(&value)?;
                addressed = true;
            }
            "content-length" => message.body_kind = BodyKind::Bytes,
            "transaction" => tx = Some(value),
            "receipt" | "message-id" | "redelivered" | "subscription" | "JMSXUserID" => {}
            "persistent" => message.persistent = parse_persistent(&value)?,
            "expires" => message.expiration_ms = parse_number("expires", &value)?,
            "timestamp" => message.timestamp_ms = parse_number("timestamp", &value)?,
            "priority" => {
                let priority = parse_number("priority", &value)?;
                message.priority = u8::try_from(priority).unwrap_or(u8::MAX).min(PRIORITY_MAX);
            }
            "correlation-id" => message.correlation_id = Some(value),
            "type" => message.jms_type = Some(value),
            "reply-to" => match names.reply_to(&value)? {
                Some(destination) => message.reply_to = Some(destination),
                None => message.properties.push((name, value)),
            },
            _ => message.properties.push((name, value)),
        }
    }
    if !addressed {
        return Err(SendError::NoDestination);
    }
    if is_wasteful(kept_bytes(&message), sent_bytes) {
        leave_frame(&mut message);
        tx = tx.map(|name| TxName::from(&*name));
    }
    Ok((message, tx))
}

/// Bytes of the frame's headers that are part of the message.
fn kept_bytes(message: &Message) -> usize {
    let texts = [&message.correlation_id, &message.jms_type];
    let texts = texts.into_iter().flatten().map(|text| text.len());
    let reply_to = message.reply_to.as_ref().map_or(0, |to| to.name.len());
    let properties = message.properties.iter();
    let properties = properties.map(|(name, value)| name.len() + value.len());
    message.destination.name.len() + reply_to + texts.chain(properties).sum::<usize>()
}

/// Gives the message memory of its own: it may wait for long, and headers that are no part of it
/// would wait with it, uncounted.
fn leave_frame(message: &mut Message) {
    let own = |text: &mut ByteString| *text = ByteString::from(&**text);
    own(&mut message.destination.name);
    let reply_to = message.reply_to.iter_mut().map(|to| &mut to.name);
    let texts = message
        .correlation_id
        .iter_mut()
        .chain(&mut message.jms_type);
    let properties = message.properties.iter_mut();
    let properties = properties.flat_map(|(name, value)| [name, value]);
    reply_to.chain(texts).chain(properties).for_each(own);
}

/// ActiveMQ takes whatever is not `true` for false; a typing error would then lose messages.
fn parse_persistent(text: &str) -> Result<bool, SendError> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(SendError::Persistent),
    }
}

fn parse_number(name: &'static str, text: &str) -> Result<u64, SendError> {
    text.trim().parse().map_err(|_| SendError::Number(name))
}
