//! One frame, either way: a command, headers, a body.

use std::fmt;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::{Version, encoder};

/// Up to this many bytes of names and values a frame's memory may be kept for one of them: most
/// frames are smaller, and a copy costs an allocation.
const SHARED_HEADERS_BYTES_MAX: usize = 1_024;

/// Memory that strings may keep beyond twice their own bytes.
const SLACK_BYTES: usize = 256;

/// One frame, its headers unescaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// `SEND`, `MESSAGE`, …
    pub command: ByteString,
    /// In the order of the wire; a decoded frame has each name once, the first one.
    pub headers: Vec<(ByteString, ByteString)>,
    /// The body.
    pub body: Bytes,
}

impl Frame {
    /// A frame without headers and body.
    pub fn new(command: impl Into<ByteString>) -> Self {
        Self {
            command: command.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body and its `content-length`: in SEND that makes a bytes message.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-length", length)
    }

    /// Sets the body without `content-length`: in SEND that makes a text message. The frame ends
    /// at the first NUL, so the text must have none.
    #[must_use]
    pub fn text(mut self, body: impl Into<ByteString>) -> Self {
        self.body = body.into().into_bytes();
        self
    }

    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.shared(name).map(|value| &**value)
    }

    /// The value of a header, to be cloned without a copy.
    pub fn shared(&self, name: &str) -> Option<&ByteString> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }

    /// The value of a header, to be kept longer than the frame: it must not keep 10 MiB of other
    /// headers alive, so it is a copy when the frame is large.
    pub fn kept(&self, name: &str) -> Option<ByteString> {
        let value = self.shared(name)?;
        if self.headers_bytes() <= SHARED_HEADERS_BYTES_MAX {
            return Some(value.clone());
        }
        Some(ByteString::from(&**value))
    }

    /// Bytes of all names and values.
    pub(crate) fn headers_bytes(&self) -> usize {
        let headers = self.headers.iter();
        headers.map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The frame's bytes in 1.2. CONNECT and CONNECTED are the same in all versions.
    pub fn encode(&self) -> Bytes {
        self.encode_as(Version::V1_2)
    }

    /// The frame's bytes, exactly these headers, escaped as the version has it.
    pub fn encode_as(&self, version: Version) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len_hint());
        encoder::put_frame(&mut out, version, self);
        out.freeze()
    }

    /// About how many bytes the frame takes; exact when nothing is escaped.
    pub fn encoded_len_hint(&self) -> usize {
        self.command.len() + self.headers_bytes() + 2 * self.headers.len() + self.body.len() + 4
    }
}

/// True when strings of `kept` bytes would hold on to much more than themselves by sharing `whole`
/// bytes.
pub(crate) const fn is_wasteful(kept: usize, whole: usize) -> bool {
    whole > 2 * kept + SLACK_BYTES
}

/// Shows no passcode and not the whole body: frames end up in logs.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {{", self.command)?;
        for (name, value) in &self.headers {
            let shown = if name == "passcode" { "***" } else { &**value };
            write!(f, " {name}:{shown:?}")?;
        }
        write!(f, " }} + {} bytes", self.body.len())
    }
}
