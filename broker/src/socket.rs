//! A connection's bytes, plain or through TLS, read and written without waiting.
//!
//! ```text
//! Plain  bytes <────────────────────────────> TcpStream
//! Tls    bytes <──> rustls (at most 64 KiB) <──> TcpStream
//! ```
//!
//! Made after the handshake: nothing here is seen before it. What `try_write_vectored` took may
//! wait inside TLS until `try_flush`; while `wants_write` says so, the owner waits for the socket
//! and flushes again. `close_notify` and a bare end are the same to a reader: an end. What was cut
//! short is noticed by the framing above.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::Connection;

use crate::tls;

/// Bytes of plaintext asked of TLS at once: one record.
const RECORD_BYTES: usize = 16 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsSocket>),
}

/// A socket after its TLS handshake.
#[derive(Debug)]
pub(crate) struct TlsSocket {
    stream: TcpStream,
    session: Connection,
}

/// The encrypted side, for rustls.
struct Wire<'a>(&'a TcpStream);

// === impl Socket ===

impl Socket {
    /// After a handshake.
    pub(crate) fn tls(stream: TcpStream, session: Connection) -> Self {
        Self::Tls(Box::new(TlsSocket { stream, session }))
    }

    /// The socket below, to wait for and to set options of.
    pub(crate) const fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.stream,
        }
    }

    /// The socket itself, when nothing is encrypted.
    pub(crate) fn into_plain(self) -> Option<TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    /// Reads what is there; 0 is the end. `WouldBlock` when nothing is: wait for `stream()`.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(buffer),
            Self::Tls(tls) => tls.try_read(buffer),
        }
    }

    /// The same, behind what the buffer holds already.
    pub(crate) fn try_read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read_buf(buffer),
            Self::Tls(tls) => tls.try_read_buf(buffer),
        }
    }

    /// Takes as many bytes as it can without waiting. `WouldBlock` when that is none.
    pub(crate) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write_vectored(slices),
            Self::Tls(tls) => tls.try_write_vectored(slices),
        }
    }

    /// Bytes that were taken wait for the socket.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Writes them as far as it goes without waiting.
    pub(crate) fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.try_flush(),
        }
    }

    /// Says that nothing more will be written. Never waits for the other side.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(tls) => {
                tls.session.send_close_notify();
                tls.try_flush()?;
                tls.stream.shutdown().await
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(tls) => tls.poll_read(cx, buffer),
        }
    }
}

// === impl TlsSocket ===

impl TlsSocket {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            self.take_records()?;
        }
    }

    fn try_read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let len = buffer.len();
        buffer.put_bytes(0, RECORD_BYTES);
        let read = self.try_read(&mut buffer[len..]);
        buffer.truncate(len + read.as_ref().map_or(0, |read| *read));
        read
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_read_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Takes encrypted bytes out of the socket.
    fn take_records(&mut self) -> io::Result<()> {
        // At the end of the stream this is 0, and the next `reader` says so.
        self.session.read_tls(&mut Wire(&self.stream))?;
        let processed = self.session.process_new_packets();
        // Its answer, an alert at worst. When it does not go the error below matters more.
        let flushed = self.try_flush();
        processed.map_err(tls::invalid)?;
        flushed
    }

    fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_flush()?;
        if self.session.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = self.session.writer().write_vectored(slices)?;
        self.try_flush()?;
        Ok(taken)
    }

    fn try_flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire(&self.stream)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

// === impl Wire ===

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
