//! Everything that can be planned for a moment of virtual time.

use tandemmq_cluster::lease::{LeaseAnswer, LeaseRequest};
use tandemmq_cluster::{InboundId, LeaseRequestId, ReadId};
use tandemmq_journal::ReadOp;
use tandemmq_model::{Bytes, Command, ConnId, Delivery, Epoch, Outcome};

use crate::faults::Fault;

/// One thing that happens. `run` names one run of a process: what was planned for an earlier run
/// of it does not happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A process starts.
    Start {
        /// Whose.
        node: usize,
    },
    /// A process turns its loop: timers, events, commands, effects.
    Turn {
        /// Whose.
        node: usize,
        /// In which run.
        run: u64,
    },
    /// A process dials a peer.
    Dial {
        /// Who.
        from: usize,
        /// Whom.
        to: usize,
        /// In which run.
        run: u64,
    },
    /// The answer to a dial reaches the dialler.
    Dialled {
        /// Who.
        from: usize,
        /// Whom.
        to: usize,
        /// In which run of the dialler.
        run: u64,
    },
    /// A frame arrives.
    Arrive {
        /// On which connection.
        conn: InboundId,
        /// What.
        frame: Bytes,
    },
    /// The dialler learns that its connection is over.
    OutboundEnds {
        /// Which.
        conn: InboundId,
        /// Who dialled.
        from: usize,
        /// Whom.
        to: usize,
    },
    /// The acceptor learns that the connection is over.
    InboundEnds {
        /// Which.
        conn: InboundId,
    },
    /// A reset from the acceptor reaches the dialler.
    Reset {
        /// Of which connection.
        conn: InboundId,
    },
    /// The disk has done the operation it was at.
    DiskDone {
        /// Whose.
        node: usize,
        /// In which run.
        run: u64,
        /// Which operation of that run.
        op: u64,
    },
    /// A read of the journal is done.
    ReadDone {
        /// Whose.
        node: usize,
        /// In which run.
        run: u64,
        /// Which.
        id: ReadId,
        /// What was asked.
        op: ReadOp,
    },
    /// A call reaches the Lease store.
    LeaseCall {
        /// Whose.
        node: usize,
        /// In which run.
        run: u64,
        /// Which.
        id: LeaseRequestId,
        /// What.
        request: LeaseRequest,
        /// Whether its answer is still waited for.
        answer: AnswerWanted,
    },
    /// An answer of the Lease store reaches the process.
    LeaseAnswer {
        /// Whose.
        node: usize,
        /// In which run.
        run: u64,
        /// Which.
        id: LeaseRequestId,
        /// What.
        answer: LeaseAnswer,
    },
    /// A client takes its next step.
    ClientWake {
        /// Which.
        client: usize,
        /// On which of its connections; 0 while it has none.
        conn: u32,
    },
    /// A client asks itself whether it has waited too long.
    ClientPatience {
        /// Which.
        client: usize,
        /// On which of its connections.
        conn: u32,
    },
    /// A client's dial reaches a broker.
    ClientDial {
        /// Which.
        client: usize,
        /// Whom.
        node: usize,
    },
    /// A client learns that it was let in.
    ClientConnected {
        /// Which.
        client: usize,
        /// On which connection.
        conn: ConnId,
    },
    /// A client learns that a dial failed or its connection is gone.
    ClientLost {
        /// Which.
        client: usize,
        /// Which connection; none for a failed dial.
        conn: Option<ConnId>,
    },
    /// A command reaches the broker's socket.
    CommandArrives {
        /// On which connection.
        conn: ConnId,
        /// What.
        command: Command,
    },
    /// A broker's socket takes the next thing of a session.
    SessionWrites {
        /// Which.
        conn: ConnId,
    },
    /// A broker learns that a client's connection is gone.
    SessionEnds {
        /// Which.
        conn: ConnId,
    },
    /// A delivery reaches a client.
    DeliveryArrives {
        /// On which connection.
        conn: ConnId,
        /// What.
        delivery: Delivery,
    },
    /// An answer reaches a client.
    ReplyArrives {
        /// On which connection.
        conn: ConnId,
        /// To which request.
        request: u64,
        /// The answer.
        outcome: Outcome,
        /// The epoch of the master that gave it.
        epoch: Epoch,
    },
    /// A fault begins or ends.
    Fault(Fault),
    /// The oracle looks at everything slowly.
    Inspect,
}

/// Whether anybody waits for the answer of a Lease call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerWanted {
    /// Yes.
    Yes,
    /// No: the caller was told `Unknown` already.
    TooLate,
}
