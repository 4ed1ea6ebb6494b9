//! Words that every part of TandemMQ shares.
//!
//! A type lives here only when a third crate needs it; until then it stays with its owner.
//! Nothing here does anything: no machine, no I/O, no clock.

mod command;
mod committed;
mod delivery;
mod destination;
mod ids;
pub mod limits;
mod message;
mod record;
mod time;

pub use command::{AckKind, AckMode, AckRef, Command, Request, Subscribe, TxName};
pub use committed::Committed;
pub use delivery::{DeadLetterOrigin, Delivery, MessageId, Outcome, Refusal, RefusalKind};
pub use destination::{Destination, DestinationKind};
pub use ids::{
    Ballot, BootNonce, ConnId, DeliveryId, Epoch, GroupId, Incarnation, MemberId, Offset,
    SubscriptionId,
};
pub use message::{BodyKind, Message};
pub use record::{RECORD_FLAG_CRITICAL, Record, RecordKind};
pub use time::{Now, Time};

pub use bytes::Bytes;
pub use bytestring::ByteString;
