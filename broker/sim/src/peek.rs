//! A look into a frame between brokers: what kind it is, under which ballot, what it claims.
//!
//! Schedules hold, drop and repeat frames by kind; the oracle checks what a frame claims against
//! the disk of its sender. Both need a few fields only, read straight from the bytes, so that the
//! oracle does not judge the codec by the codec:
//!
//! ```text
//! kind u8 | group u128 | from: ordinal u8, incarnation u128 | to u128 | fields
//! ballot = epoch u64, ordinal u8, incarnation u128, boot u64
//! ```

use tandemmq_model::{Ballot, BootNonce, Bytes, Epoch, Incarnation, MemberId, Offset};

/// Kinds of frames, with the numbers of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// First frame of a link.
    Hello,
    /// What the sender remembers of the receiver.
    Remember,
    /// Founding: are you blank?
    AskBlank,
    /// Founding: the answer.
    Blank,
    /// Founding: the Lease has the group.
    GroupConfirmed,
    /// Row 1.
    PreVote,
    /// Row 1, answer.
    PreVoteReply,
    /// Row 3.
    PromiseReq,
    /// Row 3, answer.
    Promised,
    /// Addressed below the promise.
    Refused,
    /// Row 5.
    Fetch,
    /// Row 5, answer.
    Fetched,
    /// Row 7.
    Append,
    /// Row 7, answer: does not fit.
    Nack,
    /// Row 7, answer.
    Ack,
    /// Of a candidate or master.
    Heartbeat,
    /// The answer to it.
    HeartbeatReply,
    /// Row 15d.
    Join,
    /// Row 18.
    SetAside,
    /// Row 12: a checkpoint is offered.
    Offer,
    /// Row 12: a piece of it is asked for.
    FetchPiece,
    /// Row 12, answer.
    CheckpointPiece,
    /// Row 12: records are asked for.
    FetchSurvivors,
    /// Row 12, answer.
    Survivors,
}

const KINDS: [Kind; 24] = [
    Kind::Hello,
    Kind::Remember,
    Kind::AskBlank,
    Kind::Blank,
    Kind::GroupConfirmed,
    Kind::PreVote,
    Kind::PreVoteReply,
    Kind::PromiseReq,
    Kind::Promised,
    Kind::Refused,
    Kind::Fetch,
    Kind::Fetched,
    Kind::Append,
    Kind::Nack,
    Kind::Ack,
    Kind::Heartbeat,
    Kind::HeartbeatReply,
    Kind::Join,
    Kind::SetAside,
    Kind::Offer,
    Kind::FetchPiece,
    Kind::CheckpointPiece,
    Kind::FetchSurvivors,
    Kind::Survivors,
];

/// What a frame says, as far as simulator and oracle care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peek {
    /// What it is.
    pub kind: Kind,
    /// Who sent it.
    pub from: MemberId,
    /// The ballot it speaks under; of a `Refused` the one refused.
    pub ballot: Option<Ballot>,
    /// `Promised`: the tail of its sender's synced log. `Ack`, `HeartbeatReply`: the match, whose
    /// epoch is not told.
    pub tail: Option<(Epoch, Offset)>,
    /// The prefix of an `Append`.
    pub prev: Option<(Epoch, Offset)>,
    /// Batches it carries.
    pub batches: u16,
}

const HEAD: usize = 1 + 16 + 17 + 16;
const BALLOT: usize = 8 + 17 + 8;

/// Reads a frame; none when it is no frame of this language.
pub(crate) fn peek(frame: &Bytes) -> Option<Peek> {
    let kind = *KINDS.get(usize::from(*frame.first()?).checked_sub(1)?)?;
    let from = MemberId {
        ordinal: *frame.get(17)?,
        incarnation: Incarnation(u128::from_be_bytes(array(frame, 18)?)),
    };
    let mut seen = Peek {
        kind,
        from,
        ballot: None,
        tail: None,
        prev: None,
        batches: 0,
    };
    match kind {
        Kind::PromiseReq
        | Kind::Promised
        | Kind::Refused
        | Kind::Fetch
        | Kind::Fetched
        | Kind::Append
        | Kind::Nack
        | Kind::Ack
        | Kind::Heartbeat
        | Kind::HeartbeatReply => seen.ballot = Some(ballot(frame, HEAD)?),
        _ => {}
    }
    let fields = HEAD + BALLOT;
    match kind {
        Kind::Promised => seen.tail = Some(tail(frame, fields)?),
        Kind::Ack => seen.tail = Some((Epoch(0), Offset(number(frame, fields)?))),
        Kind::HeartbeatReply => seen.tail = Some((Epoch(0), Offset(number(frame, fields + 8)?))),
        Kind::Append => {
            seen.prev = Some(tail(frame, fields)?);
            seen.batches = u16::from_be_bytes(array(frame, fields + 24)?);
        }
        Kind::Fetched => seen.batches = u16::from_be_bytes(array(frame, fields + 32)?),
        _ => {}
    }
    Some(seen)
}

fn array<const N: usize>(frame: &Bytes, at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

fn number(frame: &Bytes, at: usize) -> Option<u64> {
    array(frame, at).map(u64::from_be_bytes)
}

fn tail(frame: &Bytes, at: usize) -> Option<(Epoch, Offset)> {
    Some((Epoch(number(frame, at)?), Offset(number(frame, at + 8)?)))
}

fn ballot(frame: &Bytes, at: usize) -> Option<Ballot> {
    Some(Ballot {
        epoch: Epoch(number(frame, at)?),
        member: MemberId {
            ordinal: *frame.get(at + 8)?,
            incarnation: Incarnation(u128::from_be_bytes(array(frame, at + 9)?)),
        },
        boot: BootNonce(number(frame, at + 25)?),
    })
}
