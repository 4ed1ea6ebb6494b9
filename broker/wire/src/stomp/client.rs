//! The client's side: for the command line tools and for tests.
//!
//! ```
//! use tandemmq_wire::stomp::{ClientCodec, Frame};
//!
//! let mut codec = ClientCodec::new();
//! let hello = codec.encode(&Frame::new("CONNECT").header("accept-version", "1.2"));
//! assert!(hello.starts_with(b"CONNECT\n"));
//! codec.feed("CONNECTED\nversion:1.2\n\n\0\n");
//! let connected = codec.next_frame().unwrap().unwrap();
//! assert_eq!(connected.get("version"), Some("1.2"));
//! ```
//!
//! It knows the version that was agreed on and nothing else: which frames to send and what their
//! answers mean is the caller's.

use bytes::Bytes;
use tandemmq_model::limits::FRAME_BYTES_MAX;

use super::{DecodeError, Decoder, Frame, FrameLimits, Version};
use crate::limits::{HEADER_BYTES_MAX, HEADERS_MAX};

/// Bytes of one frame from a broker. A MESSAGE carries more headers than its SEND had, and another
/// broker may allow larger ones than ours.
const SERVER_FRAME_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Header lines of a MESSAGE may be longer than those of its SEND, by escapes.
const SERVER_HEADER_BYTES_MAX: usize = 2 * HEADER_BYTES_MAX + 64;

/// Server frames out of bytes, client frames into bytes, in the version of CONNECTED.
pub struct ClientCodec {
    decoder: Decoder,
    version: Version,
}

// === impl ClientCodec ===

impl Default for ClientCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientCodec {
    /// For one new connection.
    pub fn new() -> Self {
        let limits = FrameLimits {
            frame_bytes_max: SERVER_FRAME_BYTES_MAX,
            headers_max: 2 * HEADERS_MAX,
            header_bytes_max: SERVER_HEADER_BYTES_MAX,
        };
        Self {
            decoder: Decoder::new(limits),
            version: Version::V1_0,
        }
    }

    /// Bytes of the socket, in any chunking.
    pub fn feed(&mut self, bytes: impl Into<Bytes>) {
        self.decoder.push(bytes.into());
    }

    /// The next whole frame, none when more bytes are needed. Heart-beats are swallowed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        let frame = self.decoder.next_frame()?;
        if let Some(frame) = &frame
            && frame.command == "CONNECTED"
        {
            self.version = frame
                .get("version")
                .and_then(Version::parse)
                .unwrap_or(Version::V1_0);
            self.decoder.set_version(self.version);
        }
        Ok(frame)
    }

    /// The frame's bytes in the connection's version.
    pub fn encode(&self, frame: &Frame) -> Bytes {
        frame.encode_as(self.version)
    }

    /// The version of CONNECTED, 1.0 before it.
    pub fn version(&self) -> Version {
        self.version
    }
}
