//! Bytes of a peer message.
//!
//! ```text
//! kind u8 | group u128 (0: none) | from: ordinal u8, incarnation u128 | to u128 | fields | batches
//! ```
//! Integers are big-endian; a string is u16 length + UTF-8; a list is u16 count + items; stored
//! batches are u16 count, u32 length each, and follow at the very end untouched.
//!
//! Every length is checked against what is left before anything is allocated.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use tandemmq_journal::{Batch, CheckpointHead, FormatError, Founding, LogState, Piece, Witness};
use tandemmq_model::limits::MEMBERS_MAX;
use tandemmq_model::{Ballot, BootNonce, Epoch, GroupId, Incarnation, MemberId, Offset};

use super::{Envelope, EpochFirst, Message, Reign, Tail};
use crate::Frame;

/// Why a frame is not a message. Fatal for the link, harmless for the member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("frame ends in the middle of a field")]
    Short,
    #[error("{0} bytes follow the message")]
    TooLong(usize),
    #[error("unknown {what} {value}")]
    Unknown { what: &'static str, value: u8 },
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("bad batch: {0}")]
    Batch(FormatError),
    #[error("bad head of a checkpoint")]
    Head,
    #[error("a group of {0} members")]
    Members(usize),
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const REMEMBER: u8 = 2;
    pub(super) const ASK_BLANK: u8 = 3;
    pub(super) const BLANK: u8 = 4;
    pub(super) const GROUP_CONFIRMED: u8 = 5;
    pub(super) const PRE_VOTE: u8 = 6;
    pub(super) const PRE_VOTE_REPLY: u8 = 7;
    pub(super) const PROMISE_REQ: u8 = 8;
    pub(super) const PROMISED: u8 = 9;
    pub(super) const REFUSED: u8 = 10;
    pub(super) const FETCH: u8 = 11;
    pub(super) const FETCHED: u8 = 12;
    pub(super) const APPEND: u8 = 13;
    pub(super) const NACK: u8 = 14;
    pub(super) const ACK: u8 = 15;
    pub(super) const HEARTBEAT: u8 = 16;
    pub(super) const HEARTBEAT_REPLY: u8 = 17;
    pub(super) const JOIN: u8 = 18;
    pub(super) const SET_ASIDE: u8 = 19;
    pub(super) const OFFER: u8 = 20;
    pub(super) const FETCH_PIECE: u8 = 21;
    pub(super) const CHECKPOINT_PIECE: u8 = 22;
    pub(super) const FETCH_SURVIVORS: u8 = 23;
    pub(super) const SURVIVORS: u8 = 24;
}

// === impl encode ===

/// The frame of one message.
pub(crate) fn encode(envelope: &Envelope, message: &Message) -> Frame {
    let mut out = Writer {
        head: BytesMut::with_capacity(192),
        batches: Vec::new(),
    };
    out.u8(0); // The kind, set last.
    out.u128(envelope.group.map_or(0, |group| group.0));
    out.member(envelope.from);
    out.u128(envelope.to.0);
    let kind = out.message(message);
    out.head[0] = kind;
    Frame {
        head: out.head.freeze(),
        batches: out.batches,
    }
}

struct Writer {
    head: BytesMut,
    batches: Vec<Bytes>,
}

impl Writer {
    fn message(&mut self, message: &Message) -> u8 {
        match message {
            Message::Hello {
                version,
                formats,
                link,
                boot,
                name,
            } => {
                self.u8(*version);
                self.u16(formats.0);
                self.u16(formats.1);
                self.u64(*link);
                self.u64(boot.0);
                self.text(name);
                kind::HELLO
            }
            Message::Remember(witness) => {
                self.witness(witness);
                kind::REMEMBER
            }
            Message::AskBlank { round } => {
                self.u64(*round);
                kind::ASK_BLANK
            }
            Message::Blank { round, blank } => {
                self.u64(*round);
                self.u8(u8::from(*blank));
                kind::BLANK
            }
            Message::GroupConfirmed => kind::GROUP_CONFIRMED,
            Message::PreVote {
                round,
                lease_uid,
                lease_revision,
                holder,
                tail,
            } => {
                self.u64(*round);
                self.text(lease_uid);
                self.text(lease_revision);
                self.text(holder);
                self.tail(*tail);
                kind::PRE_VOTE
            }
            Message::PreVoteReply {
                round,
                yes,
                promised,
            } => {
                self.u64(*round);
                self.u8(u8::from(*yes));
                self.u64(promised.0);
                kind::PRE_VOTE_REPLY
            }
            Message::PromiseReq { ballot } => {
                self.ballot(ballot);
                kind::PROMISE_REQ
            }
            Message::Promised {
                ballot,
                tail,
                log_state,
                cut_mark,
                witness,
            } => {
                self.ballot(ballot);
                self.tail(*tail);
                self.log_state(*log_state);
                self.ballot(cut_mark);
                self.list(witness, Self::witness);
                kind::PROMISED
            }
            Message::Refused { of, promise } => {
                self.ballot(of);
                self.ballot(promise);
                kind::REFUSED
            }
            replication => self.replication(replication),
        }
    }

    fn replication(&mut self, message: &Message) -> u8 {
        match message {
            Message::Fetch {
                ballot,
                appended,
                epochs,
            } => {
                self.ballot(ballot);
                self.u64(appended.0);
                self.list(epochs, Self::epoch_first);
                kind::FETCH
            }
            Message::Fetched {
                ballot,
                prev,
                end,
                batches,
            } => {
                self.ballot(ballot);
                self.tail(*prev);
                self.tail(*end);
                self.batches(batches);
                kind::FETCHED
            }
            Message::Append {
                ballot,
                prev,
                committed,
                batches,
            } => {
                self.ballot(ballot);
                self.tail(*prev);
                self.u64(committed.0);
                self.batches(batches);
                kind::APPEND
            }
            Message::Nack {
                ballot,
                appended,
                epochs,
            } => {
                self.ballot(ballot);
                self.u64(appended.0);
                self.list(epochs, Self::epoch_first);
                kind::NACK
            }
            Message::Ack {
                ballot,
                matched,
                log_state,
            } => {
                self.ballot(ballot);
                self.u64(matched.0);
                self.log_state(*log_state);
                kind::ACK
            }
            Message::Heartbeat {
                ballot,
                reign,
                sent_at,
                committed,
                appended,
                witness,
            } => {
                self.ballot(ballot);
                self.reign(*reign);
                self.u64(*sent_at);
                self.u64(committed.0);
                self.u64(appended.0);
                self.list(witness, Self::witness);
                kind::HEARTBEAT
            }
            Message::HeartbeatReply {
                ballot,
                sent_at,
                matched,
                synced,
                applied,
                log_state,
                terminating,
                illness,
            } => {
                self.ballot(ballot);
                self.u64(*sent_at);
                self.u64(matched.0);
                self.u64(synced.0);
                self.u64(applied.0);
                self.log_state(*log_state);
                self.u8(u8::from(*terminating));
                self.u8(*illness);
                kind::HEARTBEAT_REPLY
            }
            other => self.install(other),
        }
    }

    fn install(&mut self, message: &Message) -> u8 {
        match message {
            Message::Join { ballot, group } => {
                self.ballot(ballot);
                self.u128(group.id.0);
                self.list(&group.members, |out, member| out.member(*member));
                kind::JOIN
            }
            Message::SetAside { ballot } => {
                self.ballot(ballot);
                kind::SET_ASIDE
            }
            Message::Offer {
                ballot,
                checkpoint,
                bytes,
            } => {
                self.ballot(ballot);
                self.tail(*checkpoint);
                self.u64(*bytes);
                kind::OFFER
            }
            Message::FetchPiece {
                ballot,
                offset,
                position,
            } => {
                self.ballot(ballot);
                self.u64(offset.0);
                self.u64(*position);
                kind::FETCH_PIECE
            }
            Message::CheckpointPiece {
                ballot,
                offset,
                position,
                next,
                piece,
            } => {
                self.ballot(ballot);
                self.u64(offset.0);
                self.u64(*position);
                self.u64(*next);
                self.piece(piece);
                kind::CHECKPOINT_PIECE
            }
            Message::FetchSurvivors {
                ballot,
                offset,
                runs,
            } => {
                self.ballot(ballot);
                self.u64(offset.0);
                self.list(runs, |out, (first, count)| {
                    out.u64(first.0);
                    out.head.put_u32(*count);
                });
                kind::FETCH_SURVIVORS
            }
            Message::Survivors {
                ballot,
                offset,
                to,
                batches,
            } => {
                self.ballot(ballot);
                self.u64(offset.0);
                self.u64(to.0);
                self.batches(batches);
                kind::SURVIVORS
            }
            other => unreachable!("{other:?} is encoded before"),
        }
    }

    /// A number for what it is, then its bytes to the end of the frame's head.
    fn piece(&mut self, piece: &Piece) {
        let (number, bytes) = match piece {
            Piece::Head(head) => (1, head.encode()),
            Piece::Image(bytes) => (2, bytes.clone()),
            Piece::End => (3, Bytes::new()),
        };
        self.u8(number);
        self.head
            .put_u32(u32::try_from(bytes.len()).expect("pieces are bounded"));
        self.head.put_slice(&bytes);
    }

    fn u16(&mut self, value: u16) {
        self.head.put_u16(value);
    }

    fn u8(&mut self, value: u8) {
        self.head.put_u8(value);
    }

    fn u64(&mut self, value: u64) {
        self.head.put_u64(value);
    }

    fn u128(&mut self, value: u128) {
        self.head.put_u128(value);
    }

    /// Our own texts are names and Lease ids, far below 64 KiB; a longer one would be cut.
    fn text(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("names and Lease ids are short");
        self.head.put_u16(length);
        self.head.put_slice(text.as_bytes());
    }

    fn member(&mut self, member: MemberId) {
        self.u8(member.ordinal);
        self.u128(member.incarnation.0);
    }

    fn ballot(&mut self, ballot: &Ballot) {
        self.u64(ballot.epoch.0);
        self.member(ballot.member);
        self.u64(ballot.boot.0);
    }

    fn tail(&mut self, tail: Tail) {
        self.u64(tail.epoch.0);
        self.u64(tail.offset.0);
    }

    fn epoch_first(&mut self, row: &EpochFirst) {
        self.u64(row.epoch.0);
        self.u64(row.first.0);
    }

    fn witness(&mut self, witness: &Witness) {
        self.u128(witness.incarnation.0);
        self.ballot(&witness.promise);
        self.ballot(&witness.matched.0);
        self.u64(witness.matched.1.0);
    }

    fn log_state(&mut self, state: LogState) {
        self.u8(match state {
            LogState::Clean => 0,
            LogState::NeedsRepair => 1,
            LogState::Learner => 2,
            LogState::DataLoss => 3,
        });
    }

    fn reign(&mut self, reign: Reign) {
        let (number, target) = match reign {
            Reign::Candidate => (0, 0),
            Reign::Starting => (1, 0),
            Reign::Serving => (2, 0),
            Reign::Invalid => (3, 0),
            Reign::Resigning(target) => (4, target),
        };
        self.u8(number);
        self.u8(target);
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        let count = u16::try_from(items.len()).expect("lists are bounded by their makers");
        self.head.put_u16(count);
        for item in items {
            each(self, item);
        }
    }

    fn batches(&mut self, batches: &[Batch]) {
        self.list(batches, |out, batch| {
            out.head
                .put_u32(u32::try_from(batch.bytes().len()).expect("batches are bounded"));
        });
        self.batches = batches.iter().map(|batch| batch.bytes().clone()).collect();
    }
}

// === impl decode ===

/// The message in one frame.
pub(crate) fn decode(frame: Bytes) -> Result<(Envelope, Message), DecodeError> {
    let mut input = Reader { left: frame };
    let kind = input.u8()?;
    let group = input.u128()?;
    let envelope = Envelope {
        group: (group != 0).then_some(GroupId(group)),
        from: input.member()?,
        to: Incarnation(input.u128()?),
    };
    let message = input.message(kind)?;
    match input.left.len() {
        0 => Ok((envelope, message)),
        more => Err(DecodeError::TooLong(more)),
    }
}

struct Reader {
    left: Bytes,
}

impl Reader {
    fn message(&mut self, kind: u8) -> Result<Message, DecodeError> {
        Ok(match kind {
            kind::HELLO => Message::Hello {
                version: self.u8()?,
                formats: (self.u16()?, self.u16()?),
                link: self.u64()?,
                boot: BootNonce(self.u64()?),
                name: self.text()?,
            },
            kind::REMEMBER => Message::Remember(self.witness()?),
            kind::ASK_BLANK => Message::AskBlank { round: self.u64()? },
            kind::BLANK => Message::Blank {
                round: self.u64()?,
                blank: self.flag()?,
            },
            kind::GROUP_CONFIRMED => Message::GroupConfirmed,
            kind::PRE_VOTE => Message::PreVote {
                round: self.u64()?,
                lease_uid: self.text()?.to_string(),
                lease_revision: self.text()?.to_string(),
                holder: self.text()?.to_string(),
                tail: self.tail()?,
            },
            kind::PRE_VOTE_REPLY => Message::PreVoteReply {
                round: self.u64()?,
                yes: self.flag()?,
                promised: Epoch(self.u64()?),
            },
            kind::PROMISE_REQ => Message::PromiseReq {
                ballot: self.ballot()?,
            },
            kind::PROMISED => Message::Promised {
                ballot: self.ballot()?,
                tail: self.tail()?,
                log_state: self.log_state()?,
                cut_mark: self.ballot()?,
                witness: self.list(Self::witness)?,
            },
            kind::REFUSED => Message::Refused {
                of: self.ballot()?,
                promise: self.ballot()?,
            },
            other => self.replication(other)?,
        })
    }

    fn replication(&mut self, kind: u8) -> Result<Message, DecodeError> {
        Ok(match kind {
            kind::FETCH => Message::Fetch {
                ballot: self.ballot()?,
                appended: Offset(self.u64()?),
                epochs: self.list(Self::epoch_first)?,
            },
            kind::FETCHED => Message::Fetched {
                ballot: self.ballot()?,
                prev: self.tail()?,
                end: self.tail()?,
                batches: self.batches()?,
            },
            kind::APPEND => Message::Append {
                ballot: self.ballot()?,
                prev: self.tail()?,
                committed: Offset(self.u64()?),
                batches: self.batches()?,
            },
            kind::NACK => Message::Nack {
                ballot: self.ballot()?,
                appended: Offset(self.u64()?),
                epochs: self.list(Self::epoch_first)?,
            },
            kind::ACK => Message::Ack {
                ballot: self.ballot()?,
                matched: Offset(self.u64()?),
                log_state: self.log_state()?,
            },
            kind::HEARTBEAT => Message::Heartbeat {
                ballot: self.ballot()?,
                reign: self.reign()?,
                sent_at: self.u64()?,
                committed: Offset(self.u64()?),
                appended: Offset(self.u64()?),
                witness: self.list(Self::witness)?,
            },
            kind::HEARTBEAT_REPLY => Message::HeartbeatReply {
                ballot: self.ballot()?,
                sent_at: self.u64()?,
                matched: Offset(self.u64()?),
                synced: Offset(self.u64()?),
                applied: Offset(self.u64()?),
                log_state: self.log_state()?,
                terminating: self.flag()?,
                illness: self.u8()?,
            },
            other => self.install(other)?,
        })
    }

    fn install(&mut self, kind: u8) -> Result<Message, DecodeError> {
        Ok(match kind {
            kind::JOIN => Message::Join {
                ballot: self.ballot()?,
                group: Founding {
                    id: GroupId(self.u128()?),
                    members: self.members()?,
                },
            },
            kind::SET_ASIDE => Message::SetAside {
                ballot: self.ballot()?,
            },
            kind::OFFER => Message::Offer {
                ballot: self.ballot()?,
                checkpoint: self.tail()?,
                bytes: self.u64()?,
            },
            kind::FETCH_PIECE => Message::FetchPiece {
                ballot: self.ballot()?,
                offset: Offset(self.u64()?),
                position: self.u64()?,
            },
            kind::CHECKPOINT_PIECE => Message::CheckpointPiece {
                ballot: self.ballot()?,
                offset: Offset(self.u64()?),
                position: self.u64()?,
                next: self.u64()?,
                piece: self.piece()?,
            },
            kind::FETCH_SURVIVORS => Message::FetchSurvivors {
                ballot: self.ballot()?,
                offset: Offset(self.u64()?),
                runs: self.list(|input| Ok((Offset(input.u64()?), input.u32()?)))?,
            },
            kind::SURVIVORS => Message::Survivors {
                ballot: self.ballot()?,
                offset: Offset(self.u64()?),
                to: Offset(self.u64()?),
                batches: self.batches()?,
            },
            value => {
                return Err(DecodeError::Unknown {
                    what: "message",
                    value,
                });
            }
        })
    }

    fn members(&mut self) -> Result<Vec<MemberId>, DecodeError> {
        let members = self.list(Self::member)?;
        match members.len() {
            1..=MEMBERS_MAX => Ok(members),
            count => Err(DecodeError::Members(count)),
        }
    }

    fn piece(&mut self) -> Result<Piece, DecodeError> {
        let number = self.u8()?;
        let length = self.u32()? as usize;
        let bytes = self.take(length)?;
        match number {
            1 => match CheckpointHead::parse(bytes) {
                Ok(Some(head)) => Ok(Piece::Head(head)),
                _ => Err(DecodeError::Head),
            },
            2 => Ok(Piece::Image(bytes)),
            3 => Ok(Piece::End),
            value => Err(DecodeError::Unknown {
                what: "piece",
                value,
            }),
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if self.left.len() < length {
            return Err(DecodeError::Short);
        }
        Ok(self.left.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        taken.as_ref().try_into().map_err(|_| DecodeError::Short)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::Unknown {
                what: "flag",
                value,
            }),
        }
    }

    fn text(&mut self) -> Result<ByteString, DecodeError> {
        let length = usize::from(self.u16()?);
        ByteString::try_from(self.take(length)?).map_err(|_| DecodeError::NotUtf8)
    }

    fn member(&mut self) -> Result<MemberId, DecodeError> {
        Ok(MemberId {
            ordinal: self.u8()?,
            incarnation: Incarnation(self.u128()?),
        })
    }

    fn ballot(&mut self) -> Result<Ballot, DecodeError> {
        Ok(Ballot {
            epoch: Epoch(self.u64()?),
            member: self.member()?,
            boot: BootNonce(self.u64()?),
        })
    }

    fn tail(&mut self) -> Result<Tail, DecodeError> {
        Ok(Tail {
            epoch: Epoch(self.u64()?),
            offset: Offset(self.u64()?),
        })
    }

    fn epoch_first(&mut self) -> Result<EpochFirst, DecodeError> {
        Ok(EpochFirst {
            epoch: Epoch(self.u64()?),
            first: Offset(self.u64()?),
        })
    }

    fn witness(&mut self) -> Result<Witness, DecodeError> {
        Ok(Witness {
            incarnation: Incarnation(self.u128()?),
            promise: self.ballot()?,
            matched: (self.ballot()?, Offset(self.u64()?)),
        })
    }

    fn log_state(&mut self) -> Result<LogState, DecodeError> {
        match self.u8()? {
            0 => Ok(LogState::Clean),
            1 => Ok(LogState::NeedsRepair),
            2 => Ok(LogState::Learner),
            3 => Ok(LogState::DataLoss),
            value => Err(DecodeError::Unknown {
                what: "log state",
                value,
            }),
        }
    }

    fn reign(&mut self) -> Result<Reign, DecodeError> {
        let (number, target) = (self.u8()?, self.u8()?);
        match number {
            0 => Ok(Reign::Candidate),
            1 => Ok(Reign::Starting),
            2 => Ok(Reign::Serving),
            3 => Ok(Reign::Invalid),
            4 => Ok(Reign::Resigning(target)),
            value => Err(DecodeError::Unknown {
                what: "reign",
                value,
            }),
        }
    }

    /// Grows as items are read, so a false count allocates nothing.
    fn list<T>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.u16()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(each(self)?);
        }
        Ok(items)
    }

    fn batches(&mut self) -> Result<Vec<Batch>, DecodeError> {
        let lengths = self.list(Self::u32)?;
        let mut batches = Vec::new();
        for length in lengths {
            let bytes = self.take(length as usize)?;
            batches.push(Batch::parse(bytes).map_err(DecodeError::Batch)?);
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests;
