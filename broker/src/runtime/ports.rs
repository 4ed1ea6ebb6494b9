//! The client side of the node task: the port's state, and which connections the machine knows.
//!
//! Invariants
//! - The machine hears `Connected` before anything else of a connection, then `Commands`, then
//!   `Disconnected`, once each end; nothing after `close`.
//! - What belongs to an earlier opening is dropped, and with it the outbox: its connection ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tandemmq_cluster::Event;
use tandemmq_model::{ConnId, Time};
use tandemmq_wire::SessionEvent;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::clock;
use super::events::{ClientEvent, ClientEventKind, Opening, Outbox};
use super::listener::{self, ClientPort, Clients};

/// Pause after a `listen` that failed: another process listens on the same port.
const LISTEN_RETRY: Duration = Duration::from_millis(100);

/// The client port and its connections.
pub(crate) struct Ports {
    port: ClientPort,
    clients: Arc<Clients>,
    opening: Opening,
    state: State,
    conns: HashMap<ConnId, Connection>,
}

enum State {
    Closed,
    /// To be opened, but `listen` failed; tried again then.
    Retry(Time),
    Open(JoinHandle<()>),
}

struct Connection {
    outbox: Outbox,
    /// The machine has heard of it.
    established: bool,
}

// === impl Ports ===

impl Ports {
    /// Closed.
    pub(crate) fn new(port: ClientPort, clients: Arc<Clients>) -> Self {
        let (opening, conns) = (Opening::default(), HashMap::new());
        Self {
            port,
            clients,
            opening,
            state: State::Closed,
            conns,
        }
    }

    /// Listens from now on.
    pub(crate) fn open(&mut self) {
        self.opening.0 += 1;
        self.listen();
    }

    fn listen(&mut self) {
        match self.port.listen() {
            Ok(listener) => {
                let run = listener::run(listener, self.opening, Arc::clone(&self.clients));
                self.state = State::Open(tokio::spawn(run));
                tracing::info!(address = %self.port.address(), "clients are accepted");
            }
            Err(error) => {
                let address = self.port.address();
                tracing::error!(%address, %error, "cannot listen for clients; trying again");
                self.state = State::Retry(clock::boot() + LISTEN_RETRY);
            }
        }
    }

    /// Stops listening and closes every connection.
    pub(crate) fn close(&mut self) {
        if let State::Open(accepting) = std::mem::replace(&mut self.state, State::Closed) {
            accepting.abort();
        }
        if let Err(error) = self.port.refuse() {
            // Then clients are accepted and dropped, which they see as a refusal too.
            tracing::error!(%error, "cannot stop listening for clients");
        }
        self.conns.clear();
        tracing::info!(address = %self.port.address(), "clients are refused");
    }

    /// When `handle_timeout` is wanted.
    pub(crate) const fn poll_timeout(&self) -> Option<Time> {
        match self.state {
            State::Retry(at) => Some(at),
            State::Closed | State::Open(_) => None,
        }
    }

    /// Listens again when the time for it has come.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.listen();
        }
    }

    /// False between `close` and `open`: what clients send is to be dropped then.
    pub(crate) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// What the machine is to hear of a client's event, and the room it takes until then.
    pub(crate) fn translate(
        &mut self,
        event: ClientEvent,
    ) -> Option<(Event, Option<OwnedSemaphorePermit>)> {
        let ClientEvent {
            opening,
            conn,
            kind,
        } = event;
        if !self.is_open() || opening != self.opening {
            return None;
        }
        match kind {
            ClientEventKind::Accepted(outbox) => {
                self.conns.insert(
                    conn,
                    Connection {
                        outbox,
                        established: false,
                    },
                );
                None
            }
            ClientEventKind::Established => {
                self.conns.get_mut(&conn)?.established = true;
                Some((Event::Connected(conn), None))
            }
            ClientEventKind::Commands(commands, permit) => {
                self.conns.get(&conn)?;
                Some((Event::Commands(conn, commands), Some(permit)))
            }
            ClientEventKind::Gone => {
                let gone = self.conns.remove(&conn)?;
                gone.established
                    .then_some((Event::Disconnected(conn), None))
            }
        }
    }

    /// Hands something to a connection's session; one that has ended gets nothing.
    pub(crate) fn send(&self, conn: ConnId, event: SessionEvent) {
        if let Some(connection) = self.conns.get(&conn) {
            // Its task may have ended; `Gone` is on its way then.
            let _ = connection.outbox.send(event);
        }
    }

    /// Connections the machine knows.
    pub(crate) fn established(&self) -> u32 {
        self.clients.established()
    }
}

#[cfg(test)]
mod tests;
