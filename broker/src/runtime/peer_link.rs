//! Our own connection to one peer: dialled again and again, only written to.
//!
//! ```text
//! Dialling --connected--> Up (OutboundUp, frames go out) --FIN|RST|error|queue full--> Down
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
struct LinkQueue {
    frames: mpsc::UnboundedReceiver<Frame>,
    bytes: Arc<AtomicUsize>,
}

/// Pauses between dials.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    random: u64,
}

// === impl LinkSender ===

impl LinkSender {
    fn new() -> (Self, LinkQueue) {
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

/// Keeps a connection to `address` up for ever; ends only when the node task has.
pub(crate) async fn run(ordinal: u8, address: String, seed: u64, events: NodeSender) {
    let mut backoff = Backoff::new(seed);
    loop {
        if let Ok(stream) = dial(&address).await {
            let (link, queue) = LinkSender::new();
            if events
                .send(NodeEvent::OutboundUp { ordinal, link })
                .is_err()
            {
                return;
            }
            let since = Instant::now();
            let why = carry(&stream, queue).await;
            tracing::debug!(peer = ordinal, %address, why, "link to a peer ended");
            if events
                .send(NodeEvent::Machine(Event::OutboundDown { ordinal }))
                .is_err()
            {
                return;
            }
            if since.elapsed() >= STABLE {
                backoff.reset();
            }
        }
        if events.is_closed() {
            return;
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn dial(address: &str) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    // A dial from the port it goes to, with nobody listening there, connects to itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MAX_MS)?;
    Ok(stream)
}

/// Writes until the link ends; answers why it did.
async fn carry(stream: &TcpStream, mut queue: LinkQueue) -> &'static str {
    let mut outgoing = Outgoing::default();
    loop {
        queue.take_waiting(&mut outgoing);
        if outgoing
            .write_with(|slices| stream.try_write_vectored(slices))
            .is_err()
        {
            return "write failed";
        }
        tokio::select! {
            biased;
            why = ended(stream) => return why,
            ready = stream.writable(), if !outgoing.is_empty() => {
                if ready.is_err() {
                    return "write failed";
                }
            }
            frame = queue.frames.recv(), if outgoing.is_empty() => match frame {
                Some(frame) => queue.put(frame, &mut outgoing),
                None => return "closed by this broker",
            },
        }
    }
}

/// Waits until the peer closes the connection; cancel-safe.
async fn ended(stream: &TcpStream) -> &'static str {
    loop {
        if stream.readable().await.is_err() {
            return "read failed";
        }
        match stream.try_read(&mut [0]) {
            Ok(0) => return "closed by the peer",
            Ok(_) => return "the peer wrote on a link that it only reads",
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return "read failed",
        }
    }
}

#[cfg(test)]
mod tests;
