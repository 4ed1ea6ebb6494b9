//! What an engine wants done, and what it is told about the room for it.

use bytestring::ByteString;
use tandemmq_model::{ConnId, Delivery, Offset, Outcome, Record};

/// What is to be done outside, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEffect {
    /// Append to the log. Offsets follow the order of these effects: `next` of the promotion
    /// first, then one after the other, without those that `Engine::skip_record` left out.
    Propose {
        /// What to append.
        record: Record,
    },
    /// Hand these to that client.
    Deliver {
        /// To whom.
        conn: ConnId,
        /// In order.
        deliveries: Vec<Delivery>,
    },
    /// Answer a request.
    Reply {
        /// To whom.
        conn: ConnId,
        /// `Request::id`.
        request: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// Read these records from the journal, in ascending order; answered by
    /// `Engine::handle_bodies` with each of them.
    ReadBodies {
        /// Whose bodies.
        offsets: Vec<Offset>,
    },
}

/// How much the journal lets the engine do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Admission {
    /// All of it.
    #[default]
    Open,
    /// No room for messages: persistent sends are refused, consumers go on.
    RefuseProducers {
        /// Why and what to do, for the user.
        reason: ByteString,
    },
    /// No room for anything but elections (reason `JournalFull`): persistent sends are refused,
    /// nothing is delivered, and acknowledgements and transactions wait unproposed.
    PauseDispatch,
}

/// What was proposed and is not applied yet. The node takes no client commands above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records.
    pub records: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
}
