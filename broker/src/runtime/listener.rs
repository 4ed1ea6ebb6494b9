//! The client port: bound from the start, listening only while this broker is master.
//!
//! ```text
//! Bound (connects are refused at once) --OpenPorts--> Listening --ClosePorts--> Bound
//! ```
//!
//! A bound port that does not listen belongs to nobody else and refuses at once, which costs a
//! failover client next to nothing; a silent port would cost it its connect timeout. `shutdown` on
//! a listening socket takes it back to that state without letting the port go.
//!
//! While listening, at most `UNAUTHENTICATED_MAX` connections are between accept and CONNECTED;
//! others wait in the listen backlog. Connections above `maximumConnections` are told so after
//! CONNECTED (by `conn`).

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::net::{self, AddressFamily, Shutdown, SocketFlags, SocketType, ipproto, sockopt};
use tandemmq_model::ConnId;
use tandemmq_wire::{Authenticator, SessionConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::clock;
use super::conn::{self, Conn};
use super::events::{ClientEvent, ClientEventKind, ClientSender, Opening};
use super::said::Said;
use crate::metrics::Metrics;
use crate::tls::clients::ClientTls;

/// Connections between accept and CONNECTED. A stranger can make us keep a frame of 16 KiB on each
/// of them for ten seconds; a crowd that reconnects after a failover passes quickly.
const UNAUTHENTICATED_MAX: usize = 200;

/// The kernel's queue of connections not accepted yet; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Pause after an accept that failed: out of file descriptors, others must close first.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A client that has been silent for so long is asked by the kernel whether it is there: after two
/// minutes without an answer it is not.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 6;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct ClientPort {
    socket: OwnedFd,
    address: SocketAddr,
}

/// What all client connections share.
pub(crate) struct Clients {
    /// For the sessions.
    pub(crate) session: SessionConfig,
    /// Judges log-ins.
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// `transports.stomp.maximumConnections`.
    pub(crate) maximum_connections: u32,
    /// To the node task.
    pub(crate) sender: ClientSender,
    /// Figures.
    pub(crate) metrics: Arc<Metrics>,
    /// The port speaks TLS.
    pub(crate) tls: Option<ClientTls>,
    said: Mutex<Said>,
    /// Connections that hold one of the `maximum_connections` places.
    established: AtomicU32,
    /// Counts connections of this process.
    conns: AtomicU64,
    unauthenticated: Arc<Semaphore>,
}

/// One of the `maximum_connections` places; given back when dropped.
pub(crate) struct Place(Arc<Clients>);

// === impl ClientPort ===

impl ClientPort {
    /// Binds without listening.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        // Else connections of an earlier process in TIME_WAIT keep the port for a minute.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &address)?;
        Ok(Self { socket, address })
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        net::listen(&self.socket, BACKLOG)?;
        TcpListener::from_std(StdTcpListener::from(self.socket.try_clone()?))
    }

    /// Refuses from now on, also those that wait in the backlog; the port stays ours.
    pub(crate) fn refuse(&self) -> io::Result<()> {
        match net::shutdown(&self.socket, Shutdown::Read) {
            // It was not listening.
            Err(rustix::io::Errno::NOTCONN) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Where it is bound.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

// === impl Clients ===

impl Clients {
    /// Nobody is connected yet.
    pub(crate) fn new(
        session: SessionConfig,
        authenticator: Arc<dyn Authenticator>,
        maximum_connections: u32,
        sender: ClientSender,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            session,
            authenticator,
            maximum_connections,
            sender,
            metrics,
            tls: None,
            said: Mutex::default(),
            established: AtomicU32::new(0),
            conns: AtomicU64::new(0),
            unauthenticated: Arc::new(Semaphore::new(UNAUTHENTICATED_MAX)),
        }
    }

    /// The port speaks TLS from now on.
    pub(crate) fn with_tls(mut self, tls: Option<ClientTls>) -> Self {
        self.tls = tls;
        self
    }

    /// A client that came to nothing, once of each kind.
    pub(crate) fn report(&self, from: IpAddr, why: &str) {
        let text = format!("a client's connection from {from} is closed: {why}");
        let mut said = self.said.lock().expect("a panic ends the process");
        if said.is_new(&text, Instant::now()) {
            tracing::warn!("{text}");
        }
    }

    /// A place among the `maximum_connections`, none when all are taken.
    pub(crate) fn take_place(self: &Arc<Self>) -> Option<Place> {
        let max = self.maximum_connections;
        let free = |taken: u32| (taken < max).then_some(taken + 1);
        self.established
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, free)
            .ok()?;
        Some(Place(Arc::clone(self)))
    }

    /// Connections let in and not refused.
    pub(crate) fn established(&self) -> u32 {
        self.established.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.established.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Accepts connections of one opening; the node task aborts it when the ports close.
pub(crate) async fn run(listener: TcpListener, opening: Opening, clients: Arc<Clients>) {
    loop {
        let waiting = Arc::clone(&clients.unauthenticated).acquire_owned();
        let permit = waiting.await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                if !start(stream, permit, opening, &clients).await {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client's connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Starts the task of one connection; false when the node task has ended.
async fn start(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    opening: Opening,
    clients: &Arc<Clients>,
) -> bool {
    if let Err(error) = set_options(&stream) {
        // The client is gone already.
        tracing::debug!(%error, "a client's connection ended before it began");
        return true;
    }
    let conn = ConnId(clients.conns.fetch_add(1, Ordering::Relaxed));
    // Bounded as `events::Outbox` says.
    let (outbox, inbox) = mpsc::unbounded_channel();
    let accepted = ClientEvent {
        opening,
        conn,
        kind: ClientEventKind::Accepted(outbox),
    };
    if clients.sender.events.send(accepted).await.is_err() {
        return false;
    }
    let task = Conn::new(
        conn,
        opening,
        Arc::clone(clients),
        inbox,
        permit,
        clock::now(),
    );
    tokio::spawn(conn::run(task, stream));
    true
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A client without heart-beats whose machine has vanished would hold its place for ever.
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdTcpStream;

    use super::*;

    fn connect(address: SocketAddr) -> io::Result<StdTcpStream> {
        StdTcpStream::connect_timeout(&address, Duration::from_secs(5))
    }

    fn port() -> ClientPort {
        // A port that was free a moment ago; the kernel hands it out again late.
        let free = StdTcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        ClientPort::bind(free).unwrap()
    }

    #[tokio::test]
    async fn bound_port_refuses_at_once_listens_and_refuses_again() {
        let port = port();
        for _ in 0..3 {
            let refused = connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = port.listen().unwrap();
            let client = connect(port.address()).unwrap();
            let (served, _) = listener.accept().await.unwrap();
            drop(listener);
            port.refuse().unwrap();
            assert_eq!(served.peer_addr().unwrap(), client.local_addr().unwrap());
        }
        let refused = connect(port.address()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn connections_in_the_backlog_end_when_the_port_refuses() {
        use std::io::Read;
        let port = port();
        let listener = port.listen().unwrap();
        let mut waiting = connect(port.address()).unwrap();
        waiting
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        drop(listener);
        port.refuse().unwrap();
        let ended = waiting.read(&mut [0]).map_err(|error| error.kind());
        assert!(
            matches!(ended, Ok(0) | Err(io::ErrorKind::ConnectionReset)),
            "nobody will ever accept it: {ended:?}"
        );
    }
}
