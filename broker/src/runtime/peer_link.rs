//! Our own connection to one peer: dialled again and again, only written to.
//!
//! ```text
//! Dialling --connected, TLS done--> Up (OutboundUp, frames go out) --end|error|queue full--> Down
//!    ^                                                                                   |
//!    +------------------------------- back-off with jitter ------------------------------+
//! ```
//!
//! A peer never writes on it, so a read ends only when the peer closed it: that is how a dead
//! process is noticed at once. Nothing is decoded here. A queue that is full closes the link; the
//! machine sends again from its own state.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rustix::net::sockopt;
use tandemmq_cluster::{Event, Frame};
use tandemmq_model::limits::PEER_FRAME_BYTES_MAX;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::events::{NodeEvent, NodeSender};
use super::outgoing::Outgoing;
use super::said::Said;
use crate::socket::Socket;
use crate::tls;
use crate::tls::peers::PeerTls;

/// A dial takes at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// First pause after a failed dial: a restarted process is found quickly.
const BACKOFF_MIN: Duration = Duration::from_millis(5);

/// Longest pause: costs nothing, and a peer that is back joins within a heartbeat or two.
const BACKOFF_MAX: Duration = Duration::from_millis(200);

/// A link that lived shorter than this does not reset the pause, so that a peer that throws us
/// out is not dialled two hundred times a second.
const STABLE: Duration = Duration::from_secs(1);

/// A peer whose machine takes nothing for so long is gone: the link ends and is dialled again.
const UNACKNOWLEDGED_MAX_MS: u32 = 10_000;

/// Bytes that wait for one peer: a few frames of the largest size. The machine keeps less than
/// that on its way to a peer that answers; a peer that does not take them is out of step anyway.
const QUEUE_BYTES_MAX: usize = 4 * PEER_FRAME_BYTES_MAX;

/// Bytes taken out of the queue at once; what is more stays counted in the queue.
const TAKEN_BYTES_MAX: usize = 1024 * 1024;

/// What a frame costs in the queue beyond its bytes.
const FRAME_OVERHEAD_BYTES: usize = 128;

/// First byte of a TLS alert: what a port that speaks TLS answers to plain bytes.
const TLS_ALERT: u8 = 21;

/// The queue of one live link. Dropping it closes the link.
#[derive(Debug)]
pub(crate) struct LinkSender {
    frames: mpsc::UnboundedSender<Frame>,
    bytes: Arc<AtomicUsize>,
}

/// The link takes no more: it is gone or its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkFull;

/// The other end of `LinkSender`.
#[derive(Debug)]
pub(super) struct LinkQueue {
    frames: mpsc::UnboundedReceiver<Frame>,
    bytes: Arc<AtomicUsize>,
}

/// Pauses between dials.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    random: u64,
}

/// Why a link ended.
#[derive(Debug)]
pub(super) struct LinkEnd {
    pub(super) why: String,
    /// Somebody has to look at the configuration or the certificates.
    pub(super) needs_a_look: bool,
}

// === impl LinkSender ===

impl LinkSender {
    pub(super) fn new() -> (Self, LinkQueue) {
        // No bound of the channel's own: `bytes` bounds it, each frame has a least cost.
        let (sender, receiver) = mpsc::unbounded_channel();
        let bytes = Arc::new(AtomicUsize::new(0));
        let queue = LinkQueue {
            frames: receiver,
            bytes: Arc::clone(&bytes),
        };
        (
            Self {
                frames: sender,
                bytes,
            },
            queue,
        )
    }

    /// Puts a frame into the queue; on an error the caller drops this sender.
    pub(crate) fn send(&self, frame: Frame) -> Result<(), LinkFull> {
        let cost = frame.len() + FRAME_OVERHEAD_BYTES;
        let waiting = self.bytes.fetch_add(cost, Ordering::Relaxed);
        if waiting + cost > QUEUE_BYTES_MAX {
            return Err(LinkFull);
        }
        self.frames.send(frame).map_err(|_| LinkFull)
    }
}

// === impl LinkQueue ===

impl LinkQueue {
    /// Moves what waits into `outgoing`, up to a bound.
    fn take_waiting(&mut self, outgoing: &mut Outgoing) {
        while outgoing.len() < TAKEN_BYTES_MAX {
            let Ok(frame) = self.frames.try_recv() else {
                return;
            };
            self.put(frame, outgoing);
        }
    }

    fn put(&self, frame: Frame, outgoing: &mut Outgoing) {
        self.bytes
            .fetch_sub(frame.len() + FRAME_OVERHEAD_BYTES, Ordering::Relaxed);
        let len = u32::try_from(frame.len()).expect("the machine keeps PEER_FRAME_BYTES_MAX");
        // The head is small; one slice for it and the length halves the slices of a write.
        let mut head = BytesMut::with_capacity(4 + frame.head.len());
        head.put_u32(len);
        head.put_slice(&frame.head);
        outgoing.push(head.freeze());
        for batch in frame.batches {
            outgoing.push(batch);
        }
    }
}

// === impl Backoff ===

impl Backoff {
    const fn new(seed: u64) -> Self {
        // xorshift must not start at 0.
        Self {
            next: BACKOFF_MIN,
            random: seed | 1,
        }
    }

    const fn reset(&mut self) {
        self.next = BACKOFF_MIN;
    }

    /// Half to the whole of a pause that doubles each time.
    fn pause(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.next / 2;
        let jitter = half.mul_f64(self.random as f64 / u64::MAX as f64);
        self.next = (self.next * 2).min(BACKOFF_MAX);
        half + jitter
    }
}

// === impl LinkEnd ===

impl LinkEnd {
    fn quiet(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            needs_a_look: false,
        }
    }

    fn plainly(what: &str, error: &io::Error) -> Self {
        Self::quiet(&format!("{what}: {error}"))
    }
}

/// Keeps a connection to `address` up for ever; ends only when the node task has.
pub(crate) async fn run(
    ordinal: u8,
    address: String,
    tls: Option<PeerTls>,
    seed: u64,
    events: NodeSender,
) {
    let mut backoff = Backoff::new(seed);
    let mut said = Said::default();
    loop {
        let end = match dial(&address, tls.as_ref()).await {
            Ok(socket) => {
                let since = Instant::now();
                let Some(end) = up_and_down(socket, ordinal, &events).await else {
                    return;
                };
                if since.elapsed() >= STABLE {
                    backoff.reset();
                    said = Said::default();
                }
                end
            }
            Err(end) => end,
        };
        report(&end, ordinal, &address, &mut said);
        if events.is_closed() {
            return;
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// A link's life; none when the node task has ended.
async fn up_and_down(mut socket: Socket, ordinal: u8, events: &NodeSender) -> Option<LinkEnd> {
    let (link, queue) = LinkSender::new();
    let up = NodeEvent::OutboundUp { ordinal, link };
    events.send(up).ok()?;
    let end = carry(&mut socket, queue).await;
    let down = NodeEvent::Machine(Event::OutboundDown { ordinal });
    events.send(down).ok()?;
    Some(end)
}

fn report(end: &LinkEnd, peer: u8, address: &str, said: &mut Said) {
    let LinkEnd { why, needs_a_look } = end;
    if *needs_a_look && said.is_new(why, std::time::Instant::now()) {
        tracing::warn!(peer, address, "no link to a peer: {why}");
    } else {
        tracing::debug!(peer, address, why, "no link to a peer");
    }
}

pub(super) async fn dial(address: &str, tls: Option<&PeerTls>) -> Result<Socket, LinkEnd> {
    let stream = connect(address).await.map_err(|error| LinkEnd {
        why: error.to_string(),
        needs_a_look: false,
    })?;
    let Some(tls) = tls else {
        return Ok(Socket::Plain(stream));
    };
    tls.connect(stream).await.map_err(|error| LinkEnd {
        why: tls::explain(&error),
        needs_a_look: is_about_tls(&error),
    })
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    // A dial from the port it goes to, with nobody listening there, connects to itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MAX_MS)?;
    Ok(stream)
}

/// A peer that dies within a handshake is no news; one that answers in other words is.
fn is_about_tls(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::TimedOut
    )
}

/// Writes until the link ends; answers why it did.
pub(super) async fn carry(socket: &mut Socket, mut queue: LinkQueue) -> LinkEnd {
    let mut outgoing = Outgoing::default();
    // The end may have come in with the last bytes of the handshake.
    if let Some(end) = look_for_end(socket) {
        return end;
    }
    loop {
        queue.take_waiting(&mut outgoing);
        if let Err(error) = write(socket, &mut outgoing) {
            // What the peer said before it closed explains more.
            return look_for_end(socket)
                .unwrap_or_else(|| LinkEnd::plainly("write failed", &error));
        }
        let writes = !outgoing.is_empty() || socket.wants_write();
        tokio::select! {
            biased;
            ready = socket.stream().readable() => {
                if let Err(error) = ready {
                    return LinkEnd::plainly("read failed", &error);
                }
                if let Some(end) = look_for_end(socket) {
                    return end;
                }
            }
            ready = socket.stream().writable(), if writes => {
                if let Err(error) = ready {
                    return LinkEnd::plainly("write failed", &error);
                }
            }
            frame = queue.frames.recv(), if outgoing.is_empty() => match frame {
                Some(frame) => queue.put(frame, &mut outgoing),
                None => {
                    // The peer sees the end either way.
                    let _ = socket.shutdown().await;
                    return LinkEnd::quiet("closed by this broker");
                }
            },
        }
    }
}

fn write(socket: &mut Socket, outgoing: &mut Outgoing) -> io::Result<()> {
    socket.try_flush()?;
    outgoing.write_with(|slices| socket.try_write_vectored(slices))?;
    Ok(())
}

/// The peer never writes: what can be read is its end, or a mistake.
fn look_for_end(socket: &mut Socket) -> Option<LinkEnd> {
    let mut byte = [0];
    match socket.try_read(&mut byte) {
        Ok(0) => Some(LinkEnd::quiet("closed by the peer")),
        Ok(_) if byte == [TLS_ALERT] && matches!(socket, Socket::Plain(_)) => Some(LinkEnd {
            why: "the peer speaks TLS, but this broker has no [tls.peers]".to_owned(),
            needs_a_look: true,
        }),
        Ok(_) => Some(LinkEnd::quiet(
            "the peer wrote on a link that it only reads",
        )),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(LinkEnd {
            why: tls::explain(&error),
            needs_a_look: true,
        }),
        Err(error) => Some(LinkEnd::plainly("read failed", &error)),
    }
}

#[cfg(test)]
mod tests;
