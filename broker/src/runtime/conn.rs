//! One client connection: the socket, and the session that understands it.
//!
//! ```text
//! accept (TLS: handshake, within the session's time for a CONNECT)
//! read -> handle_input -> poll_command -> node task
//! inbox -> handle_event -> poll_transmit -> one write -> handle_transmitted -> poll_command
//! ```
//!
//! One turn of the loop does what can be done without waiting, then waits for the next thing. A
//! connection reads only while its session wants input and all its commands are with the node
//! task: that is the whole of back-pressure. It ends when the session says so, the socket fails,
//! or the node task drops its outbox (the ports close): then at once.
//!
//! An idle connection keeps no buffer: reads go through one buffer per thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use tandemmq_model::{Command, ConnId, Now};
use tandemmq_wire::{Session, SessionEvent, stomp::StompSession};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::clock::{self, Alarm};
use super::events::{CLIENT_EVENT_BYTES_MAX, ClientEvent, ClientEventKind, Opening};
use super::listener::{Clients, Place};
use super::outgoing::Outgoing;
use crate::socket::Socket;
use crate::tls;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Bytes asked of the session before they are written. What is in here when a master loses its
/// quorum is written all the same, like the socket's own buffer; so it is no larger than that.
const WRITE_BYTES: usize = 64 * 1024;

/// Events taken from the inbox in one turn.
const INBOX_TURN_MAX: usize = 256;

/// What a command costs in the clients' channel beyond its body.
const COMMAND_OVERHEAD_BYTES: usize = 256;

/// A connection's timers are about heart-beats and clients that do not read: after a suspend they
/// may be late by this much, and an idle connection wakes no more often.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// A peer has this long to read the last bytes and to close. Its place is taken meanwhile.
const LINGER_MAX: Duration = Duration::from_millis(500);

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// One connection's state besides its socket.
pub(crate) struct Conn {
    id: ConnId,
    opening: Opening,
    clients: Arc<Clients>,
    session: StompSession,
    inbox: mpsc::UnboundedReceiver<SessionEvent>,
    standing: Standing,
    /// Commands that the session gave and the node task has not.
    commands: Vec<Command>,
    outgoing: Outgoing,
    /// The peer has closed its side.
    ended: bool,
}

/// How far the connection has come.
enum Standing {
    /// Not let in yet; holds its place among the unauthenticated ones.
    Stranger(OwnedSemaphorePermit),
    /// Let in. Keeps one of `maximumConnections` places.
    Established(#[expect(dead_code, reason = "held, not read")] Place),
    /// Let in when all places were taken: gets an ERROR and goes. Keeps its place among the
    /// unauthenticated ones, so that those that are refused are bounded too.
    Refused(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit),
    /// Between two of them.
    Changing,
}

/// Why the loop ends.
enum End {
    /// The session is done.
    Closed,
    /// The socket failed.
    Cut,
    /// The node task dropped the connection, or has ended.
    Dropped,
}

/// What the socket is ready for.
enum Turn {
    /// Its bytes, or its end.
    Input(io::Result<Bytes>),
    /// Room for more.
    Writable(io::Result<()>),
}

/// Room in the clients' channel for one event of commands.
struct Room {
    bytes: OwnedSemaphorePermit,
    slot: mpsc::OwnedPermit<ClientEvent>,
}

// === impl Conn ===

impl Conn {
    /// For an accepted socket.
    pub(crate) fn new(
        id: ConnId,
        opening: Opening,
        clients: Arc<Clients>,
        inbox: mpsc::UnboundedReceiver<SessionEvent>,
        permit: OwnedSemaphorePermit,
        now: Now,
    ) -> Self {
        let authenticator = Arc::clone(&clients.authenticator);
        let session = StompSession::new(clients.session.clone(), authenticator, id, now);
        Self {
            id,
            opening,
            clients,
            session,
            inbox,
            standing: Standing::Stranger(permit),
            commands: Vec::new(),
            outgoing: Outgoing::default(),
            ended: false,
        }
    }

    fn event(&self, kind: ClientEventKind) -> ClientEvent {
        ClientEvent {
            opening: self.opening,
            conn: self.id,
            kind,
        }
    }

    /// The session was let in: take a place, or refuse it. True when the node must hear of it.
    fn settle_standing(&mut self, now: Now) -> bool {
        if !matches!(self.standing, Standing::Stranger(_)) || !self.session.is_established() {
            return false;
        }
        let Standing::Stranger(permit) = std::mem::replace(&mut self.standing, Standing::Changing)
        else {
            unreachable!("it was a stranger a line above");
        };
        if let Some(place) = self.clients.take_place() {
            self.standing = Standing::Established(place);
            return true;
        }
        self.standing = Standing::Refused(permit);
        self.clients.metrics.connections_refused.inc();
        let text = format!(
            "too many connections: {} are open, maximumConnections allows no more",
            self.clients.maximum_connections
        );
        self.session.handle_event(
            now,
            SessionEvent::Refuse {
                text: ByteString::from(text),
            },
        );
        false
    }

    /// Takes the session's commands once those before are with the node task. Only an established
    /// connection has any to pass on.
    fn take_commands(&mut self) {
        if !self.commands.is_empty() {
            return;
        }
        while let Some(command) = self.session.poll_command() {
            if matches!(self.standing, Standing::Established(_)) {
                self.commands.push(command);
            }
        }
    }

    /// Hands the waiting commands over when that needs no waiting.
    fn try_send_commands(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        let sender = &self.clients.sender;
        let cost = total_cost(&self.commands);
        let bytes = Arc::clone(&sender.bytes).try_acquire_many_owned(cost);
        if let (Ok(bytes), Ok(slot)) = (bytes, sender.events.clone().try_reserve_owned()) {
            self.send_commands(Room { bytes, slot });
        }
    }

    fn send_commands(&mut self, room: Room) {
        let commands = std::mem::take(&mut self.commands);
        room.slot
            .send(self.event(ClientEventKind::Commands(commands, room.bytes)));
    }

    fn wants_input(&self) -> bool {
        !self.ended && self.commands.is_empty() && self.session.wants_input()
    }

    /// Bytes of the peer, or its end. False when the socket failed.
    fn take_input(&mut self, now: Now, input: io::Result<Bytes>) -> bool {
        match input {
            Ok(input) if input.is_empty() => {
                self.ended = true;
                self.session.handle_end(now);
            }
            Ok(input) => self.session.handle_input(now, input),
            Err(_) => return false,
        }
        true
    }

    /// Answers and deliveries that wait in the inbox.
    fn take_events(&mut self, first: SessionEvent) {
        let now = clock::now();
        self.session.handle_event(now, first);
        for _ in 1..INBOX_TURN_MAX {
            let Ok(event) = self.inbox.try_recv() else {
                return;
            };
            self.session.handle_event(now, event);
        }
    }

    /// Does what can be done without waiting for the peer. False when the socket failed or the
    /// node task has ended.
    async fn advance(&mut self, now: Now, socket: &mut Socket) -> bool {
        if self.settle_standing(now) {
            let established = self.event(ClientEventKind::Established);
            if self.clients.sender.events.send(established).await.is_err() {
                return false;
            }
        }
        self.take_commands();
        self.try_send_commands();
        if self.write(now, socket).is_err() {
            return false;
        }
        self.take_commands();
        self.try_send_commands();
        true
    }

    /// Fills the write buffer from the session and writes it as far as it goes.
    fn write(&mut self, now: Now, socket: &mut Socket) -> io::Result<()> {
        socket.try_flush()?;
        loop {
            while self.outgoing.len() < WRITE_BYTES {
                let Some(bytes) = self.session.poll_transmit(now) else {
                    break;
                };
                self.outgoing.push(bytes);
            }
            if self.outgoing.is_empty() {
                return Ok(());
            }
            let written = self
                .outgoing
                .write_with(|slices| socket.try_write_vectored(slices))?;
            if written > 0 {
                self.session.handle_transmitted(now, written);
            }
            if !self.outgoing.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Runs a connection to its end and tells the node task.
pub(crate) async fn run(mut conn: Conn, stream: TcpStream) {
    let Some(mut socket) = handshake(&mut conn, stream).await else {
        // The node may have ended, or dropped the connection, which is as good.
        say_goodbye(&mut conn).await;
        return;
    };
    let end = serve(&mut conn, &mut socket).await;
    match end {
        End::Dropped => return,
        // First the socket: the peer sees the end even while the node is busy. A failure means
        // that it has seen it already.
        End::Closed => drop(socket.shutdown().await),
        End::Cut if !conn.ended => conn.session.handle_end(clock::now()),
        End::Cut => {}
    }
    if !say_goodbye(&mut conn).await {
        return;
    }
    if matches!(end, End::Closed) && !conn.ended {
        linger(&mut conn, &mut socket).await;
    }
}

/// The TLS handshake of a port that has TLS; none when nothing comes of it. The session has begun
/// already, and its time for a CONNECT runs.
async fn handshake(conn: &mut Conn, stream: TcpStream) -> Option<Socket> {
    let clients = Arc::clone(&conn.clients);
    let Some(tls) = &clients.tls else {
        return Some(Socket::Plain(stream));
    };
    let from = stream.peer_addr().ok()?.ip();
    let deadline = conn.session.poll_timeout();
    let late = async {
        let mut alarm = Alarm::new(SLEEP_MAX);
        while deadline.is_none_or(|deadline| clock::boot() < deadline) {
            alarm.wait(deadline).await;
        }
    };
    let dropped = async { while conn.inbox.recv().await.is_some() {} };
    tokio::select! {
        biased;
        () = dropped => None,
        accepted = tls.accept(stream) => match accepted {
            Ok(socket) => Some(socket),
            Err(error) => {
                clients.report(from, &tls::explain(&error));
                None
            }
        },
        () = late => {
            clients.report(from, "the TLS handshake took too long");
            None
        }
    }
}

/// Hands the last commands over, then says that the connection has ended. False when the node
/// task has.
async fn say_goodbye(conn: &mut Conn) -> bool {
    conn.take_commands();
    while !conn.commands.is_empty() {
        let Some(room) = room_for_commands(&conn.clients, &conn.commands).await else {
            return false;
        };
        conn.send_commands(room);
        conn.take_commands();
    }
    let gone = conn.event(ClientEventKind::Gone);
    conn.clients.sender.events.send(gone).await.is_ok()
}

/// Throws away what the peer still sends until it closes too. A socket closed with unread bytes is
/// reset, and the peer may never see the ERROR that was the last thing we wrote.
async fn linger(conn: &mut Conn, socket: &mut Socket) {
    let emptied = async {
        while poll_fn(|cx| poll_read(cx, socket))
            .await
            .is_ok_and(|input| !input.is_empty())
        {}
    };
    let dropped = async { while conn.inbox.recv().await.is_some() {} };
    tokio::select! {
        () = emptied => {}
        () = dropped => {}
        () = tokio::time::sleep(LINGER_MAX) => {}
    }
}

/// Turn after turn until the connection ends.
async fn serve(conn: &mut Conn, socket: &mut Socket) -> End {
    let mut alarm = Alarm::new(SLEEP_MAX);
    loop {
        let now = clock::now();
        if conn
            .session
            .poll_timeout()
            .is_some_and(|deadline| deadline <= now.boot)
        {
            // After a suspend bytes may wait that disprove the timer.
            if conn.wants_input()
                && let Some(input) = read_now(socket).await
                && !conn.take_input(now, input)
            {
                return End::Cut;
            }
            conn.session.handle_timeout(now);
        }
        if !conn.advance(now, socket).await {
            return End::Cut;
        }
        let writes = !conn.outgoing.is_empty() || socket.wants_write();
        if conn.session.is_closed() && !writes {
            return End::Closed;
        }
        let deadline = conn.session.poll_timeout();
        let reads = conn.wants_input();
        let sends = !conn.commands.is_empty();
        tokio::select! {
            biased;
            event = conn.inbox.recv() => match event {
                Some(event) => conn.take_events(event),
                None => return End::Dropped,
            },
            turn = poll_fn(|cx| poll_turn(cx, socket, reads, writes)), if reads || writes => {
                let goes_on = match turn {
                    Turn::Input(input) => conn.take_input(clock::now(), input),
                    Turn::Writable(ready) => ready.is_ok(),
                };
                if !goes_on {
                    return End::Cut;
                }
            }
            room = room_for_commands(&conn.clients, &conn.commands), if sends => match room {
                Some(room) => conn.send_commands(room),
                None => return End::Dropped,
            },
            () = alarm.wait(deadline) => {}
        }
    }
}

/// Reads once if something is there, without waiting.
async fn read_now(socket: &mut Socket) -> Option<io::Result<Bytes>> {
    poll_fn(|cx| match poll_read(cx, socket) {
        Poll::Ready(input) => Poll::Ready(Some(input)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// What the socket is ready for first, of what is wanted.
fn poll_turn(cx: &mut Context<'_>, socket: &mut Socket, reads: bool, writes: bool) -> Poll<Turn> {
    if writes && let Poll::Ready(ready) = socket.stream().poll_write_ready(cx) {
        return Poll::Ready(Turn::Writable(ready));
    }
    match reads {
        true => poll_read(cx, socket).map(Turn::Input),
        false => Poll::Pending,
    }
}

/// One read through the thread's buffer; no bytes at the end of the stream.
fn poll_read(cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<Bytes>> {
    READ_BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(socket).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    })
}

/// Waits for room in the clients' channel; cancel-safe. None when the node task has ended.
async fn room_for_commands(clients: &Clients, commands: &[Command]) -> Option<Room> {
    let bytes = Arc::clone(&clients.sender.bytes)
        .acquire_many_owned(total_cost(commands))
        .await;
    let bytes = bytes.expect("the semaphore is never closed");
    let slot = clients.sender.events.clone().reserve_owned().await.ok()?;
    Some(Room { bytes, slot })
}

/// Bytes that commands take in the clients' channel, capped at what it holds at all.
fn total_cost(commands: &[Command]) -> u32 {
    let cost: usize = commands.iter().map(cost).sum();
    u32::try_from(cost.min(CLIENT_EVENT_BYTES_MAX)).expect("the bound is below 4 GiB")
}

fn cost(command: &Command) -> usize {
    match command {
        Command::Send { message, .. } => message.memory_size(),
        _ => COMMAND_OVERHEAD_BYTES,
    }
}
