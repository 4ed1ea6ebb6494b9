//! Bounds of one connection, each with the reason for its number.
//!
//! A limit that a peer can reach is either back-pressure (`wants_input` turns false) or an error
//! that names it; nothing is dropped in silence.

use std::time::Duration;

use tandemmq_model::limits::{FRAME_BYTES_MAX, NAME_BYTES_MAX, SUBSCRIPTIONS_MAX};

/// Bytes of one frame before CONNECTED: what a stranger may make us keep. Log-in headers fit many
/// times over.
pub const UNAUTHENTICATED_FRAME_BYTES_MAX: usize = 16 * 1024;

/// Headers of one frame, ActiveMQ's `MAX_HEADERS`.
pub const HEADERS_MAX: usize = 1_000;

/// Bytes of one header line, ActiveMQ's `MAX_HEADER_LENGTH`.
pub const HEADER_BYTES_MAX: usize = 10 * 1024;

/// Requests whose answer the client waits for. A pipelining producer at 50,000 messages a second
/// over a 10 ms commit has 500 out; this is twenty times that.
pub const UNANSWERED_REQUESTS_MAX: usize = 10_000;

/// Bytes of bodies and receipt names of those requests: one frame of the greatest size, and room
/// to read the next one meanwhile.
pub const UNANSWERED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Answers (not deliveries) that wait for a peer which does not read. About 20,000 receipts.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Bytes given to the shell and not transmitted yet: four full buffers keep a socket busy, and
/// little is left to be written by a process that was stopped and wakes up as nobody's master.
pub const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024;

/// Deliveries of one subscription that may be out, the most a client may ask for. ActiveMQ's
/// `MAX_PREFETCH_SIZE`.
pub const PREFETCH_MAX: u32 = 32_767;

/// From the accepted socket to CONNECTED.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Between the ERROR of a failed log-in and the close: slows guessing down.
pub const LOGIN_FAILED_DELAY: Duration = Duration::from_millis(500);

/// How long the last bytes (an ERROR, mostly) may wait for a peer that does not read them.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A peer that has bytes waiting and neither reads nor sends is given up after this.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// The shortest heart-beat interval we agree to: a peer that asks for one each millisecond would
/// cost as much as a busy one.
pub const HEART_BEAT_MIN: Duration = Duration::from_millis(100);

/// The bounds in force for one connection. `default()` gives the constants of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one frame after CONNECTED (`transports.stomp.maxFrameSize`).
    pub frame_bytes_max: usize,
    /// Bytes of one frame before CONNECTED.
    pub unauthenticated_frame_bytes_max: usize,
    /// Headers of one frame.
    pub headers_max: usize,
    /// Bytes of one header line, name, colon and value.
    pub header_bytes_max: usize,
    /// Bytes of a destination's, subscription's or transaction's name.
    pub name_bytes_max: usize,
    /// Subscriptions of the connection.
    pub subscriptions_max: usize,
    /// Greatest `activemq.prefetchSize` that may be asked for.
    pub prefetch_max: u32,
    /// Requests unanswered before reading stops.
    pub unanswered_requests_max: usize,
    /// Bytes of unanswered requests before reading stops.
    pub unanswered_bytes_max: usize,
    /// Bytes of answers not encoded yet before reading stops.
    pub answer_bytes_max: usize,
    /// Bytes given out by `poll_transmit` and not transmitted yet before it gives no more.
    pub in_flight_bytes_max: usize,
    /// From the accepted socket to CONNECTED.
    pub connect_timeout: Duration,
    /// Between the ERROR of a failed log-in and the close.
    pub login_failed_delay: Duration,
    /// How long the last bytes may wait for the peer.
    pub close_timeout: Duration,
    /// Neither reading nor sending, with bytes waiting for it.
    pub stall_timeout: Duration,
    /// Shortest heart-beat interval agreed to.
    pub heart_beat_min: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX,
            unauthenticated_frame_bytes_max: UNAUTHENTICATED_FRAME_BYTES_MAX,
            headers_max: HEADERS_MAX,
            header_bytes_max: HEADER_BYTES_MAX,
            name_bytes_max: NAME_BYTES_MAX,
            subscriptions_max: SUBSCRIPTIONS_MAX,
            prefetch_max: PREFETCH_MAX,
            unanswered_requests_max: UNANSWERED_REQUESTS_MAX,
            unanswered_bytes_max: UNANSWERED_BYTES_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            connect_timeout: CONNECT_TIMEOUT,
            login_failed_delay: LOGIN_FAILED_DELAY,
            close_timeout: CLOSE_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            heart_beat_min: HEART_BEAT_MIN,
        }
    }
}
