//! Connections that peers dialled: frames come in, nothing goes out.
//!
//! ```text
//! u32 big-endian length | head and batches, exactly that many bytes
//! ```
//!
//! A length is checked before anything is allocated for it; the first frame (the Hello) must be
//! small and soon. What a frame says is the machine's business.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tandemmq_cluster::{Event, InboundId};
use tandemmq_model::limits::{MEMBERS_MAX, PEER_FRAME_BYTES_MAX};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use super::events::{NodeEvent, NodeSender};
use super::said::Said;
use crate::socket::Socket;
use crate::tls;
use crate::tls::peers::PeerTls;

/// Connections at once. Each peer has one; a restarted peer's old one may linger for a moment.
const INBOUND_MAX: usize = 4 * MEMBERS_MAX;

/// Bytes of the first frame: a Hello with a witness table of every member fits many times.
const HELLO_BYTES_MAX: usize = 16 * 1024;

/// The first frame must be whole within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of one connection's frames that wait for the node task: two of the largest, so that one
/// is read while one is handled.
const WAITING_BYTES_MAX: usize = 2 * PEER_FRAME_BYTES_MAX;

/// Bytes asked of the socket at once, so that one read takes many small frames.
const READ_BYTES: usize = 64 * 1024;

/// First two bytes of a TLS handshake: what a peer with [tls.peers] sends to a plain port.
const TLS_HELLO: [u8; 2] = [22, 3];

/// What all connections share.
struct Inbounds {
    tls: Option<PeerTls>,
    count: AtomicU64,
    said: Mutex<Said>,
    events: NodeSender,
}

/// Takes connections for ever; ends only when the node task has.
pub(crate) async fn run(listener: TcpListener, tls: Option<PeerTls>, events: NodeSender) {
    let inbounds = Arc::new(Inbounds {
        tls,
        count: AtomicU64::new(0),
        said: Mutex::default(),
        events,
    });
    let places = Arc::new(Semaphore::new(INBOUND_MAX));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok((stream, from)) => (stream, from.ip().to_canonical()),
            Err(error) => {
                // Out of file descriptors, mostly: others must close first.
                tracing::warn!(%error, "cannot accept a peer's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if inbounds.events.is_closed() {
            return;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("a peer's connection was closed: {INBOUND_MAX} are open already");
            continue;
        };
        let inbounds = Arc::clone(&inbounds);
        tokio::spawn(async move {
            match inbounds.handshake(stream).await {
                Ok(socket) => inbounds.serve(socket, from).await,
                Err(error) => inbounds.report(from, &tls::explain(&error)),
            }
            drop(place);
        });
    }
}

// === impl Inbounds ===

impl Inbounds {
    async fn handshake(&self, stream: TcpStream) -> io::Result<Socket> {
        match &self.tls {
            Some(tls) => tls.accept(stream).await,
            None => Ok(Socket::Plain(stream)),
        }
    }

    /// Reads one connection to its end and says so.
    async fn serve(&self, socket: Socket, from: IpAddr) {
        let inbound = InboundId(self.count.fetch_add(1, Ordering::Relaxed));
        let events = &self.events;
        let (closer, closed) = oneshot::channel();
        if events
            .send(NodeEvent::InboundUp { inbound, closer })
            .is_err()
        {
            return;
        }
        let why = tokio::select! {
            result = read_frames(socket, inbound, events) => match result {
                Ok(()) => "closed by the peer".to_owned(),
                Err(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        self.report(from, &error.to_string());
                    }
                    error.to_string()
                }
            },
            _ = closed => "closed by this broker".to_owned(),
        };
        tracing::debug!(inbound = inbound.0, why, "link of a peer ended");
        // The node task may have ended before us.
        let _ = events.send(NodeEvent::Machine(Event::InboundDown { inbound }));
    }

    /// A stranger, or a peer whose configuration or certificate somebody has to look at.
    fn report(&self, from: IpAddr, why: &str) {
        let text = format!("a connection from {from} to the peers' port is closed: {why}");
        let mut said = self.said.lock().expect("a panic ends the process");
        if said.is_new(&text, Instant::now()) {
            tracing::warn!("{text}");
        }
    }
}

async fn read_frames(
    mut socket: Socket,
    inbound: InboundId,
    events: &NodeSender,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
    let mut buffer = BytesMut::new();
    let hello = read_frame(&mut socket, &mut buffer, HELLO_BYTES_MAX);
    let mut next = tokio::time::timeout(HELLO_TIMEOUT, hello)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no Hello in time"))??;
    while let Some(frame) = next {
        let cost = u32::try_from(frame.len().max(1)).expect("a frame is below 4 GiB");
        let permit = Arc::clone(&room)
            .acquire_many_owned(cost)
            .await
            .expect("never closed");
        if events
            .send(NodeEvent::PeerFrame {
                inbound,
                frame,
                permit,
            })
            .is_err()
        {
            return Ok(());
        }
        next = read_frame(&mut socket, &mut buffer, PEER_FRAME_BYTES_MAX).await?;
    }
    Ok(())
}

/// The next frame without its length; none at a clean end between frames.
async fn read_frame(
    socket: &mut Socket,
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> io::Result<Option<Bytes>> {
    loop {
        let missing = match buffer.first_chunk::<4>() {
            None => 4 - buffer.len(),
            Some(length) => {
                let length = u32::from_be_bytes(*length) as usize;
                if length == 0 || length > bytes_max {
                    let text = wrong_length(buffer, length, bytes_max);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                if buffer.len() >= 4 + length {
                    buffer.advance(4);
                    return Ok(Some(buffer.split_to(length).freeze()));
                }
                4 + length - buffer.len()
            }
        };
        // A block is filled to its end before the next one: frames share it, and the journal keeps
        // some of them for long.
        if buffer.capacity() - buffer.len() < missing.max(READ_BYTES / 16) {
            buffer.reserve(missing.max(READ_BYTES));
        }
        if socket.read_buf(buffer).await? == 0 {
            let clean = buffer.is_empty();
            let error = || io::Error::new(io::ErrorKind::UnexpectedEof, "cut within a frame");
            return if clean { Ok(None) } else { Err(error()) };
        }
    }
}

fn wrong_length(buffer: &[u8], length: usize, bytes_max: usize) -> String {
    match buffer.starts_with(&TLS_HELLO) {
        true => "it speaks TLS, but this broker has no [tls.peers]".to_owned(),
        false => format!("a frame of {length} bytes; allowed are 1 to {bytes_max}"),
    }
}

#[cfg(test)]
mod tests;
