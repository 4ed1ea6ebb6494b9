//! What every protocol's session looks like to the shell.
//!
//! The shell's loop for one connection:
//!
//! 1. read only while [`Session::wants_input`]; hand chunks to [`Session::handle_input`];
//! 2. drain [`Session::poll_command`] towards the engine, also after the end, in order;
//! 3. write what [`Session::poll_transmit`] gives and say so with [`Session::handle_transmitted`];
//! 4. arm [`Session::poll_timeout`]; call [`Session::handle_timeout`] when it has passed, after
//!    the socket was read once (after a suspend bytes may wait that disprove the timer);
//! 5. end the socket once [`Session::is_closed`]: the writing side first, then read what still
//!    comes for a moment, for unread bytes turn a close into a reset that eats the last frame.
//!
//! A session never fails: what goes wrong becomes bytes for the peer and `is_closed`.

use bytes::Bytes;
use bytestring::ByteString;
use tandemmq_model::{Command, Delivery, Now, Outcome, Time};

use crate::Limits;

/// What a session must know of the broker it speaks for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The group's name, part of message ids: `ID:<group>-<epoch>-<offset>`.
    pub group: ByteString,
    /// Name and version that the broker gives itself, `TandemMQ/0.1.0`.
    pub server: ByteString,
    /// Which start of the process (its boot nonce): makes names of temporary destinations unique
    /// together with the connection's number.
    pub instance: u64,
    /// The bounds of one connection.
    pub limits: Limits,
}

/// What the engine or the shell says to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Messages for subscriptions of this connection.
    Deliver {
        /// In the order they must be written.
        deliveries: Vec<Delivery>,
        /// Boot clock. What is not encoded by then becomes `Command::NotDelivered`.
        valid_until: Time,
    },
    /// The answer to one `Request`.
    Reply {
        /// `Request::id`.
        request: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// The broker wants this connection gone: an error with this text, then the end.
    Refuse {
        /// For the user: what is wrong and what is allowed.
        text: ByteString,
    },
}

/// One connection of one protocol. Four kinds of methods: `handle_*` takes what happened,
/// `poll_*` gives what to do next until it gives none, the rest asks.
pub trait Session: Send {
    /// Bytes from the peer, in any chunking. Never panics; memory stays within the limits.
    fn handle_input(&mut self, now: Now, input: Bytes);

    /// The peer closed its side.
    fn handle_end(&mut self, now: Now);

    /// An answer, deliveries, or the wish to end the connection.
    fn handle_event(&mut self, now: Now, event: SessionEvent);

    /// The socket took this many more bytes of what `poll_transmit` gave.
    fn handle_transmitted(&mut self, now: Now, bytes: usize);

    /// The moment of `poll_timeout` has passed. Calling it early does no harm.
    fn handle_timeout(&mut self, now: Now);

    /// The next command for the engine, in order.
    fn poll_command(&mut self) -> Option<Command>;

    /// The next bytes to write, in order. Gives none while too much of what it gave is not
    /// transmitted yet. May add commands (`NotDelivered`).
    fn poll_transmit(&mut self, now: Now) -> Option<Bytes>;

    /// When `handle_timeout` wants to be called.
    fn poll_timeout(&self) -> Option<Time>;

    /// False while too much is unanswered or unsent: stop reading from the peer.
    fn wants_input(&self) -> bool;

    /// Everything that should be transmitted was: close the socket now. Commands may still wait
    /// in `poll_command`.
    fn is_closed(&self) -> bool;

    /// The peer has been let in.
    fn is_established(&self) -> bool;
}
