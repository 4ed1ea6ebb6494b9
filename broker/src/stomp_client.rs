//! The tools' STOMP client: one connection over tokio, and the failover list around it.
//!
//! ```text
//!  Failover::connect ──> Connection ── queue(frame) … ── next() ──> Frame
//!        ^                                                 │ error
//!        └────────────────── the caller decides ───────────┘
//! ```
//! `queue` only fills a buffer; `next` writes and reads at the same time, so neither side can block
//! the other, and it may be cancelled anywhere: what was read is kept in the codec, what was
//! written is counted off the buffer.
//!
//! A connection is not repaired. What was unanswered when it broke is *unknown*, and only the
//! caller knows what that means for its messages (`sender`, `receiver`).

pub(crate) mod receiver;
pub(crate) mod sender;

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tandemmq_wire::stomp::{ClientCodec, DecodeError, Frame};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::cli::broker_url::{BrokerUrl, FailoverOptions};
use crate::socket::Socket;
use crate::tls::{self, tool::ToolTls};

/// A broker that accepts but does not answer for so long is tried no longer: a stopped process
/// accepts connections in its kernel's backlog.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of one read. Many small frames come with one system call, and one large frame with few.
const READ_BYTES: usize = 64 << 10;

/// Queued bytes above which a caller should wait for `next` before it queues more: four reads of
/// the other side.
pub(crate) const QUEUE_BYTES_MAX: usize = 256 << 10;

/// Between two heart-beats that a client asks for. A stopped or cut-off broker shows itself by
/// nothing else.
const HEART_BEAT: Duration = Duration::from_secs(1);

/// Silence of so many heart-beats ends a connection: one may be late, and so may this process.
const HEART_BEATS_MISSED: u32 = 3;

/// Whether the broker is asked for heart-beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeartBeat {
    /// Silence ends the connection.
    Expected,
    /// Silence is nothing.
    None,
}

/// Who connects.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// `login`
    pub(crate) user: String,
    /// `passcode`
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A password never gets into a log.
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection any more, or never was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The broker's TLS is not as `--brokerUrl` and `--ca-file` say. Fatal.
    #[error("{address}: {why}")]
    Tls {
        /// The broker.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// The network. Retryable elsewhere.
    #[error("{address}: {error}")]
    Io {
        /// The broker.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The broker closed the connection. Retryable elsewhere.
    #[error("{0} closed the connection")]
    Closed(String),
    /// Nothing came in time. Retryable elsewhere.
    #[error("{0} does not answer")]
    Timeout(String),
    /// What came is not STOMP. Fatal: that port is something else.
    #[error("{address} does not speak STOMP: {error}")]
    Decode {
        /// The broker.
        address: String,
        /// What is wrong.
        error: DecodeError,
    },
    /// The broker answered with ERROR. Fatal: the same again would get the same answer.
    #[error("{address} refuses: {text}")]
    Refused {
        /// The broker.
        address: String,
        /// Its words.
        text: String,
    },
    /// No address of the list could be reached within `timeout` or `maxReconnectAttempts`. Fatal.
    #[error("no broker of {addresses} could be reached; the last error was: {last}")]
    GaveUp {
        /// The list.
        addresses: String,
        /// The last failure.
        last: String,
    },
}

impl ClientError {
    /// Another try, elsewhere or later, may help.
    pub(crate) const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Closed(_) | Self::Timeout(_))
    }
}

/// One connection after CONNECTED.
pub(crate) struct Connection {
    address: String,
    socket: Socket,
    codec: ClientCodec,
    queued: BytesMut,
    read: BytesMut,
    last_read: Instant,
    /// Silence for so long ends the connection.
    silence_max: Option<Duration>,
}

/// A list of brokers, of which one at most takes clients.
pub(crate) struct Failover {
    addresses: Vec<String>,
    options: FailoverOptions,
    login: Option<Login>,
    tls: Option<ToolTls>,
    next: usize,
    /// The address at `next` gave a connection, which the caller has lost since.
    lost: bool,
    warn: fn(&str),
}

// === impl Connection ===

impl Connection {
    /// Dials one broker without TLS and logs in.
    pub(crate) async fn open(
        address: &str,
        login: Option<&Login>,
        heart_beat: HeartBeat,
    ) -> Result<Self, ClientError> {
        Self::open_with(address, None, login, heart_beat).await
    }

    /// The same, with TLS when there is some.
    async fn open_with(
        address: &str,
        tls: Option<&ToolTls>,
        login: Option<&Login>,
        heart_beat: HeartBeat,
    ) -> Result<Self, ClientError> {
        match timeout(CONNECT_TIMEOUT, Self::dial(address, tls, login, heart_beat)).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout(address.to_owned())),
        }
    }

    async fn dial(
        address: &str,
        tls: Option<&ToolTls>,
        login: Option<&Login>,
        heart_beat: HeartBeat,
    ) -> Result<Self, ClientError> {
        let io_error = |error| ClientError::Io {
            address: address.to_owned(),
            error,
        };
        let socket = TcpStream::connect(address).await.map_err(io_error)?;
        // A request waits for its answer: nothing may wait for more bytes.
        socket.set_nodelay(true).map_err(io_error)?;
        let socket = match tls {
            Some(tls) => tls
                .connect(address, socket)
                .await
                .map_err(|error| handshake_error(address, error))?,
            None => Socket::Plain(socket),
        };
        let mut connection = Self {
            address: address.to_owned(),
            socket,
            codec: ClientCodec::new(),
            queued: BytesMut::new(),
            read: BytesMut::new(),
            last_read: Instant::now(),
            silence_max: None,
        };
        connection.queue(&connect_frame(address, login, heart_beat));
        let answer = connection.next().await?;
        match &*answer.command {
            "CONNECTED" => {
                connection.silence_max = silence_max(&answer, heart_beat);
                Ok(connection)
            }
            _ => Err(connection.refused(&answer)),
        }
    }

    /// `host:port` of the broker.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Adds a frame to what `next` writes.
    pub(crate) fn queue(&mut self, frame: &Frame) {
        self.queued.extend_from_slice(&self.codec.encode(frame));
    }

    /// Bytes that no socket has taken yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued.len()
    }

    /// A frame that has been read already, without waiting or writing.
    pub(crate) fn ready(&mut self) -> Result<Option<Frame>, ClientError> {
        let address = &self.address;
        self.codec
            .next_frame()
            .map_err(|error| ClientError::Decode {
                address: address.clone(),
                error,
            })
    }

    /// The next frame of the broker. Writes what is queued meanwhile. May be cancelled.
    pub(crate) async fn next(&mut self) -> Result<Frame, ClientError> {
        loop {
            if let Some(frame) = self.ready()? {
                return Ok(frame);
            }
            let Some(silence_max) = self.silence_max else {
                self.turn().await?;
                continue;
            };
            match timeout_at(self.last_read + silence_max, self.turn()).await {
                Ok(turned) => turned?,
                // It may be this process that was late.
                Err(_) if self.try_read()? => {}
                Err(_) => return Err(ClientError::Timeout(self.address.clone())),
            }
        }
    }

    /// Writes all that is queued; what comes meanwhile waits for `next`. May be cancelled.
    pub(crate) async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.queued.is_empty() || self.socket.wants_write() {
            self.turn().await?;
        }
        Ok(())
    }

    /// One write, one read, whichever is possible; waits when neither is.
    async fn turn(&mut self) -> Result<(), ClientError> {
        let wrote = self.try_write()?;
        let read = self.try_read()?;
        if wrote || read {
            return Ok(());
        }
        let interest = match self.queued.is_empty() && !self.socket.wants_write() {
            true => Interest::READABLE,
            false => Interest::READABLE | Interest::WRITABLE,
        };
        let ready = self.socket.stream().ready(interest).await;
        ready.map(|_| ()).map_err(|error| self.io_error(error))
    }

    fn try_write(&mut self) -> Result<bool, ClientError> {
        if let Err(error) = self.socket.try_flush() {
            return Err(self.io_error(error));
        }
        if self.queued.is_empty() {
            return Ok(false);
        }
        let queued = [IoSlice::new(&self.queued)];
        match self.socket.try_write_vectored(&queued) {
            Ok(bytes) => {
                self.queued.advance(bytes);
                Ok(bytes > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.io_error(error)),
        }
    }

    fn try_read(&mut self) -> Result<bool, ClientError> {
        self.read.reserve(READ_BYTES);
        match self.socket.try_read_buf(&mut self.read) {
            Ok(0) => Err(ClientError::Closed(self.address.clone())),
            Ok(_) => {
                self.last_read = Instant::now();
                self.codec.feed(self.read.split().freeze());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.io_error(error)),
        }
    }

    /// Says DISCONNECT and waits for its RECEIPT: everything before it has been answered for.
    /// Other frames that still come are handed to `other`; a MESSAGE goes back to its queue.
    pub(crate) async fn disconnect(
        mut self,
        mut other: impl FnMut(&Frame),
    ) -> Result<(), ClientError> {
        self.queue(&Frame::new("DISCONNECT").header("receipt", DISCONNECT_RECEIPT));
        let answered = async {
            loop {
                let frame = self.next().await?;
                match &*frame.command {
                    "RECEIPT" if frame.get("receipt-id") == Some(DISCONNECT_RECEIPT) => {
                        return Ok(());
                    }
                    "ERROR" => return Err(self.refused(&frame)),
                    _ => other(&frame),
                }
            }
        };
        match timeout(DISCONNECT_TIMEOUT, answered).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout(self.address.clone())),
        }
    }

    /// The socket of `open` alone, for a generator that speaks for itself. Nothing must be under
    /// way.
    pub(crate) fn into_socket(self) -> TcpStream {
        assert!(
            self.queued.is_empty(),
            "everything queued was written before CONNECTED came"
        );
        self.socket.into_plain().expect("`open` dials without TLS")
    }

    fn io_error(&self, error: io::Error) -> ClientError {
        ClientError::Io {
            address: self.address.clone(),
            error,
        }
    }

    /// The error that an ERROR frame stands for.
    pub(crate) fn refused(&self, frame: &Frame) -> ClientError {
        ClientError::Refused {
            address: self.address.clone(),
            text: error_text(frame),
        }
    }
}

/// A broker that goes away within a handshake is like one that is not there.
fn handshake_error(address: &str, error: io::Error) -> ClientError {
    let address = address.to_owned();
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ClientError::Tls {
            address,
            why: tls::explain(&error),
        },
        _ => ClientError::Io { address, error },
    }
}

const DISCONNECT_RECEIPT: &str = "bye";

/// A commit of everything before the DISCONNECT takes milliseconds; a broker that lost its quorum
/// answers when it is back, or the connection ends.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

fn connect_frame(address: &str, login: Option<&Login>, heart_beat: HeartBeat) -> Frame {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let frame = Frame::new("CONNECT")
        .header("accept-version", "1.2")
        .header("host", host.to_owned())
        .header(
            "heart-beat",
            match heart_beat {
                HeartBeat::Expected => format!("0,{}", HEART_BEAT.as_millis()),
                HeartBeat::None => "0,0".to_owned(),
            },
        );
    match login {
        Some(login) => frame
            .header("login", login.user.clone())
            .header("passcode", login.password.clone()),
        None => frame,
    }
}

/// How long this broker may be silent: it sends at the longer of its own and our interval, or not
/// at all (STOMP 1.2, Heart-beating).
fn silence_max(connected: &Frame, heart_beat: HeartBeat) -> Option<Duration> {
    let sends = connected
        .get("heart-beat")?
        .split(',')
        .next()?
        .trim()
        .parse::<u64>()
        .ok()?;
    match heart_beat {
        HeartBeat::Expected if sends > 0 => {
            Some(HEART_BEAT.max(Duration::from_millis(sends)) * HEART_BEATS_MISSED)
        }
        HeartBeat::Expected | HeartBeat::None => None,
    }
}

/// What an ERROR frame says: its `message`, or its body, or that it says nothing.
pub(crate) fn error_text(frame: &Frame) -> String {
    match frame.get("message") {
        Some(text) => text.to_owned(),
        None if frame.body.is_empty() => format!("{} without a message", frame.command),
        None => String::from_utf8_lossy(&frame.body).trim().to_owned(),
    }
}

/// A message body of that many bytes: printable, and the same every time.
pub(crate) fn body_of(bytes: usize) -> Bytes {
    let pattern = b"TandemMQ message body 0123456789 ";
    pattern.iter().copied().cycle().take(bytes).collect()
}

// === impl Failover ===

impl Failover {
    /// A list as `--brokerUrl` gives it.
    pub(crate) fn new(url: &BrokerUrl, login: Option<Login>) -> Self {
        let count = url.addresses.len();
        let next = match url.options.randomize {
            // Any start will do when there is no randomness.
            true => getrandom::u32().unwrap_or(0) as usize % count,
            false => 0,
        };
        Self {
            addresses: url.addresses.clone(),
            options: url.options.clone(),
            login,
            tls: None,
            next,
            lost: false,
            warn: |_| {},
        }
    }

    /// A fixed list that is tried every 10 ms, for clients that measure.
    pub(crate) fn eager(addresses: Vec<String>) -> Self {
        let options = FailoverOptions {
            randomize: false,
            use_exponential_back_off: false,
            ..FailoverOptions::default()
        };
        Self {
            addresses,
            options,
            login: None,
            tls: None,
            next: 0,
            lost: false,
            warn: |_| {},
        }
    }

    /// Dials with TLS, when there is some.
    pub(crate) fn with_tls(mut self, tls: Option<ToolTls>) -> Self {
        self.tls = tls;
        self
    }

    /// Says so when it takes long (`warnAfterReconnectAttempts`).
    pub(crate) fn with_warnings(mut self, warn: fn(&str)) -> Self {
        self.warn = warn;
        self
    }

    /// A connection to whichever broker of the list takes clients. Goes round the list with pauses
    /// that grow, until the options say that it is enough.
    pub(crate) async fn connect(&mut self) -> Result<Connection, ClientError> {
        if std::mem::take(&mut self.lost) {
            // Whoever it was is the least likely one to be there.
            self.next = (self.next + 1) % self.addresses.len();
        }
        let begun = Instant::now();
        let mut delay = self.options.initial_reconnect_delay;
        let mut rounds = 0;
        loop {
            let last = match self.round().await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_retryable() => error,
                Err(error) => return Err(error),
            };
            rounds += 1;
            let enough = self
                .options
                .max_reconnect_attempts
                .is_some_and(|max| rounds > max)
                || self
                    .options
                    .timeout
                    .is_some_and(|max| begun.elapsed() + delay > max);
            if enough {
                let addresses = self.addresses.join(", ");
                return Err(ClientError::GaveUp {
                    addresses,
                    last: last.to_string(),
                });
            }
            if rounds % self.options.warn_after_reconnect_attempts == 0 {
                let addresses = self.addresses.join(", ");
                (self.warn)(&format!(
                    "no broker of {addresses} takes clients yet ({last}); trying on"
                ));
            }
            sleep(delay).await;
            delay = self.options.next_delay(delay);
        }
    }

    /// Every address once, starting where the last search ended.
    async fn round(&mut self) -> Result<Connection, ClientError> {
        let mut last = None;
        for _ in 0..self.addresses.len() {
            let address = &self.addresses[self.next];
            let (tls, login) = (self.tls.as_ref(), self.login.as_ref());
            match Connection::open_with(address, tls, login, HeartBeat::Expected).await {
                Ok(connection) => {
                    self.lost = true;
                    return Ok(connection);
                }
                Err(error) if error.is_retryable() => last = Some(error),
                Err(error) => return Err(error),
            }
            self.next = (self.next + 1) % self.addresses.len();
        }
        Err(last.expect("a url has at least one address"))
    }
}

#[cfg(test)]
mod tests;
