//! CONNECT: what it asks for, and CONNECTED.

use super::heartbeat::{HeartBeat, HeartBeatError};
use super::{Frame, Version};
use crate::{AuthError, Authenticator, Limits, SessionConfig};

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) version: Version,
    pub(crate) heart_beat: HeartBeat,
}

/// Why a client is not let in. Fatal for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    /// No common version.
    #[error("no common version: this broker speaks 1.0, 1.1 and 1.2")]
    NoVersion,
    /// `heart-beat` is malformed.
    #[error(transparent)]
    HeartBeat(#[from] HeartBeatError),
    /// Log-in failed.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// Judges a CONNECT or STOMP frame. The version and the heart-beat are judged first: they cost
/// nothing and tell nobody about users.
pub(crate) fn judge(
    frame: &Frame,
    authenticator: &dyn Authenticator,
    limits: &Limits,
) -> Result<Agreement, ConnectError> {
    let version = Version::negotiate(frame.get("accept-version")).ok_or(ConnectError::NoVersion)?;
    let heart_beat = HeartBeat::negotiate(frame.get("heart-beat"), limits.heart_beat_min)?;
    authenticator.check(frame.get("login"), frame.get("passcode"))?;
    Ok(Agreement {
        version,
        heart_beat,
    })
}

/// The CONNECTED frame. `session`: this connection's name.
pub(crate) fn connected(config: &SessionConfig, agreement: Agreement, session: String) -> Frame {
    Frame::new("CONNECTED")
        .header("version", agreement.version.as_str())
        .header("session", session)
        .header("server", config.server.clone())
        .header("heart-beat", agreement.heart_beat.to_header())
}
