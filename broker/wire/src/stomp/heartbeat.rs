//! Heart-beats and the other clocks of one connection.
//!
//! | timer | runs while | fires after |
//! |---|---|---|
//! | connect | not let in yet | `connect_timeout` since the start |
//! | silence | the client promised to send, and we read | 2 × its interval since its last byte |
//! | beat | the client wants to hear, and nothing waits to be sent | ¾ of its interval since our last byte |
//! | stall | bytes wait for the client | `stall_timeout` since anything moved in either direction |
//! | close | the end has begun | see `session` |
//!
//! While back-pressure keeps us from reading, the client's silence is ours.

use std::time::Duration;

use tandemmq_model::Time;

/// A `heart-beat` header that is not two numbers. Fatal for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("heart-beat must be two numbers of milliseconds: <I send every>,<I want every>")]
pub(crate) struct HeartBeatError;

/// What both sides agreed on. Zero: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeartBeat {
    /// We send at least this often.
    pub(crate) send: Duration,
    /// The client sends at least this often.
    pub(crate) receive: Duration,
}

// === impl HeartBeat ===

impl HeartBeat {
    /// Takes what the client offers and wants as it is, but nothing shorter than `shortest`.
    pub(crate) fn negotiate(
        header: Option<&str>,
        shortest: Duration,
    ) -> Result<Self, HeartBeatError> {
        let Some(header) = header else {
            return Ok(Self::default());
        };
        let (sends, wants) = header.split_once(',').ok_or(HeartBeatError)?;
        let agree = |text: &str| {
            let millis: u64 = text.trim().parse().map_err(|_| HeartBeatError)?;
            Ok(match millis {
                0 => Duration::ZERO,
                millis => Duration::from_millis(millis).max(shortest),
            })
        };
        Ok(Self {
            receive: agree(sends)?,
            send: agree(wants)?,
        })
    }

    /// As it stands in CONNECTED.
    pub(crate) fn to_header(self) -> String {
        format!("{},{}", self.send.as_millis(), self.receive.as_millis())
    }
}

/// When bytes last moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activity {
    pub(crate) input: Time,
    pub(crate) output: Time,
}

// === impl Activity ===

impl Activity {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            input: now,
            output: now,
        }
    }

    /// When the client's silence is too long.
    pub(crate) fn silence_due(self, beat: HeartBeat) -> Option<Time> {
        (!beat.receive.is_zero()).then(|| self.input + beat.receive.saturating_mul(2))
    }

    /// When we must send something. A quarter of the interval is left for timers and the net.
    pub(crate) fn beat_due(self, beat: HeartBeat) -> Option<Time> {
        (!beat.send.is_zero()).then(|| self.output + (beat.send - beat.send / 4))
    }

    /// When a client that neither reads nor sends is given up.
    pub(crate) fn stall_due(self, timeout: Duration) -> Time {
        self.input.max(self.output) + timeout
    }
}
