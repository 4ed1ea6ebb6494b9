//! What the tasks around the node task send it, on two channels.
//!
//! [`NodeEvent`]s come from the disk, the Lease, the readers and the peers; the node task always
//! takes them. [`ClientEvent`]s come from client connections on a bounded channel of their own,
//! which is left alone while the machine accepts no commands: so connections stop reading by
//! themselves.

use std::sync::Arc;

use bytes::Bytes;
use tandemmq_cluster::{Event, InboundId};
use tandemmq_model::{Command, ConnId};
use tandemmq_wire::SessionEvent;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::peer_link::LinkSender;

/// Everything but clients.
///
/// The channel has no bound of its own, because every kind has one: what the node asked for itself
/// (disk, read, Lease) is as much as it asked for, frames hold a permit of their link, and the
/// rest comes once per connection.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would cost an allocation for each event"
)]
pub(crate) enum NodeEvent {
    /// Handed to the machine as it is.
    Machine(Event),
    /// Our own connection to a peer is up; frames for it go in here.
    OutboundUp {
        /// Where it leads.
        ordinal: u8,
        /// Its queue.
        link: LinkSender,
    },
    /// A peer has connected; dropping `closer` closes it.
    InboundUp {
        /// Its number.
        inbound: InboundId,
        /// Never sent on.
        closer: oneshot::Sender<()>,
    },
    /// A frame of a peer.
    PeerFrame {
        /// Where it came in.
        inbound: InboundId,
        /// Without its length.
        frame: Bytes,
        /// Room for its bytes, given back once the machine has seen it.
        permit: OwnedSemaphorePermit,
    },
    /// SIGTERM, SIGINT, or the end of stdin.
    Shutdown {
        /// For the log.
        why: &'static str,
    },
}

/// The sending side; cheap to clone.
pub(crate) type NodeSender = mpsc::UnboundedSender<NodeEvent>;

/// Where one connection gets its answers and deliveries.
///
/// No bound of its own: deliveries are bounded by the prefetch of the connection's subscriptions,
/// answers by the requests a session lets its client leave unanswered
/// (`wire::limits::UNANSWERED_REQUESTS_MAX`).
pub(crate) type Outbox = mpsc::UnboundedSender<SessionEvent>;

/// Which time of the client ports being open: counts `OpenPorts`. What belongs to an earlier one
/// is dropped, the machine has forgotten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Opening(pub(crate) u64);

/// From client connections.
#[derive(Debug)]
pub(crate) struct ClientEvent {
    /// When its socket was accepted.
    pub(crate) opening: Opening,
    /// Which connection.
    pub(crate) conn: ConnId,
    /// What happened.
    pub(crate) kind: ClientEventKind,
}

/// What happened on a client connection.
#[derive(Debug)]
pub(crate) enum ClientEventKind {
    /// Its socket was accepted. The connection ends when the node drops the outbox.
    Accepted(Outbox),
    /// Its session was let in.
    Established,
    /// Commands in order, and room for their bytes, given back once the machine has them.
    Commands(Vec<Command>, OwnedSemaphorePermit),
    /// It has ended.
    Gone,
}

/// What every connection needs to reach the node task; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ClientSender {
    /// The bounded channel.
    pub(crate) events: mpsc::Sender<ClientEvent>,
    /// Bytes that may wait in it.
    pub(crate) bytes: Arc<tokio::sync::Semaphore>,
}

/// Events that may wait in the clients' channel. One per connection at `maximumConnections`'s
/// default: what is read while the node is busy with one turn.
pub(crate) const CLIENT_EVENTS_MAX: usize = 1_024;

/// Bytes of commands that may wait in the clients' channel: a few frames of the largest size, or
/// more small ones than one batch takes.
pub(crate) const CLIENT_EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

impl ClientSender {
    /// The channel with its bounds.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<ClientEvent>) {
        let (events, receiver) = mpsc::channel(CLIENT_EVENTS_MAX);
        let bytes = Arc::new(tokio::sync::Semaphore::new(CLIENT_EVENT_BYTES_MAX));
        (Self { events, bytes }, receiver)
    }
}
