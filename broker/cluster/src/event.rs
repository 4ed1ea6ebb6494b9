//! What goes into a node and what comes out of it.
//!
//! Links between brokers are one-way: a broker sends on the connection that it dialled and hears
//! on those that it accepted. So either side learns of the other's death at once from its own
//! sockets, no two links compete, and a one-way partition needs no special case.

use bytes::{BufMut, Bytes, BytesMut};
use tandemmq_journal::{DiskDone, DiskOp, ReadDone, ReadOp};
use tandemmq_model::{Command, ConnId, Delivery, Epoch, Outcome, Time};

use crate::lease::{LeaseAnswer, LeaseRequest};
use crate::status::Role;

/// A connection that a peer dialled to this broker; counted by the shell, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// One call of the Lease store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseRequestId(pub u64);

/// One read of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// One message between brokers, encoded: a head and stored batches that follow it untouched. On
/// the wire: u32 big-endian length of all that follows, head, batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message without its batches.
    pub head: Bytes,
    /// Stored batches, shared with the journal.
    pub batches: Vec<Bytes>,
}

impl Frame {
    /// Bytes on the wire without the length prefix.
    pub fn len(&self) -> usize {
        self.head.len() + self.batches.iter().map(Bytes::len).sum::<usize>()
    }

    /// True when there is nothing in it; never the case for an encoded message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes in one buffer, without the length prefix: what `Event::PeerFrame` carries.
    pub fn to_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.len());
        all.put_slice(&self.head);
        for batch in &self.batches {
            all.put_slice(batch);
        }
        all.freeze()
    }
}

/// What happened outside.
#[derive(Debug)]
pub enum Event {
    /// Our own connection to that broker is up: what is sent from now on travels on it.
    OutboundUp {
        /// The broker it leads to.
        ordinal: u8,
    },
    /// Our own connection to that broker has ended (FIN, RST, error). A failed dial is no event.
    OutboundDown {
        /// The broker it led to.
        ordinal: u8,
    },
    /// One frame from a peer, without its length prefix; the first one of a connection is its
    /// Hello.
    PeerFrame {
        /// The connection it came on.
        inbound: InboundId,
        /// `Frame::to_bytes` of the sender.
        frame: Bytes,
    },
    /// A connection that a peer dialled has ended.
    InboundDown {
        /// Which.
        inbound: InboundId,
    },
    /// The disk thread did an operation.
    Disk(DiskDone),
    /// A read of the journal ended.
    Read(ReadId, ReadDone),
    /// The Lease store answered, or the time for it ran out.
    Lease(LeaseRequestId, LeaseAnswer),
    /// A client's session was established (after CONNECTED).
    Connected(ConnId),
    /// Commands of one client, in order. Only to be handed in while `accepts_commands`.
    Commands(ConnId, Vec<Command>),
    /// A client's connection has ended.
    Disconnected(ConnId),
    /// SIGTERM: hand over, then `Effect::Exit`.
    Shutdown,
}

/// What is to be done outside, in this order.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once; a box would cost more than the copy"
)]
pub enum Effect {
    /// Send a frame on our own connection to that broker; dropped when there is none.
    Send {
        /// To whom.
        ordinal: u8,
        /// What.
        frame: Frame,
    },
    /// Close this inbound connection: its peer broke the protocol or is a stranger.
    CloseInbound {
        /// Which.
        inbound: InboundId,
        /// For the log.
        reason: String,
    },
    /// Give this to the disk thread; operations are done in order.
    Disk(DiskOp),
    /// Read from the journal, on a thread of its own; answered by `Event::Read`.
    Read(ReadId, ReadOp),
    /// Call the Lease store; answered by `Event::Lease`, at the latest after the Lease timeout,
    /// then as `Unknown`. Never retried by the shell.
    Lease(LeaseRequestId, LeaseRequest),
    /// Hand these to that client's session. What is not written before `valid_until` comes back
    /// as `Command::NotDelivered`.
    Deliver {
        /// To whom.
        conn: ConnId,
        /// What.
        deliveries: Vec<Delivery>,
        /// Boot clock.
        valid_until: Time,
    },
    /// Answer a client's request.
    Reply {
        /// To whom.
        conn: ConnId,
        /// Which request.
        request: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// Master from now on: listen on the client ports.
    OpenPorts,
    /// No longer master: stop listening, close every client socket at once. The engine has
    /// forgotten all connections already; nothing about them is to be handed in any more.
    ClosePorts,
    /// The role changed: for the log, one line.
    RoleChanged {
        /// New role.
        role: Role,
        /// Epoch it belongs to.
        epoch: Epoch,
        /// Why, a sentence.
        reason: String,
    },
    /// Something an operator should read, no change of role.
    Notice {
        /// A sentence.
        text: String,
    },
    /// Safety demands the end of this process, now (fsync error, cut below committed).
    Abort {
        /// A sentence.
        reason: String,
    },
    /// The volume is to be read anew: end this process without delay and start another one.
    Restart {
        /// A sentence.
        reason: String,
    },
    /// The hand-over after `Event::Shutdown` is done, or had no time left: exit with 0.
    Exit,
}
