//! Frames out of bytes, push-style, in any chunking.
//!
//! ```text
//!            EOL (heart-beat)                   blank line, content-length n
//!              ┌──┐         ┌───── Head ──────────────────────────────────────┐
//!              v  │  byte   │ line by line                                    v
//!            Between ──────>│                                       Sized: n bytes, then NUL
//!              ^            └──────────────────> Text: up to NUL              │
//!              └──────────────────────────────────┴──────────────────────────┘
//! ```
//!
//! Invariants
//! - No byte is looked at more than a constant number of times, whatever the chunking.
//! - A length is checked against its limit before anything is allocated for it.
//! - A frame never keeps a chunk alive that is much larger than itself: heads and small bodies are
//!   copied once, a body from `SHARED_BODY_BYTES_MIN` on that lies in one chunk is a slice of it.
//!   Sockets are read in chunks of 64 KiB, so a message holds at most four times its own size.
//! - Nor does it keep what is not in it: a head that is mostly repeated headers or blanks is left.
//! - After an error the decoder gives nothing more.
//!
//! Not here: which commands exist and which headers they need.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::CStr;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use super::frame::is_wasteful;
use super::headers::Escapes;
use super::{Frame, Version};
use crate::limits::{HEADER_BYTES_MAX, HEADERS_MAX, UNAUTHENTICATED_FRAME_BYTES_MAX};

/// From this size on a body is a slice of the chunk it came in.
const SHARED_BODY_BYTES_MIN: usize = 16 * 1024;

/// From this number of headers on, repeated ones are found by a sorted set: a quadratic search
/// through the 1,000 allowed would cost a millisecond per frame.
const HEADERS_SCANNED_MAX: usize = 24;

/// Bytes that are no frame, or too much of one. Fatal for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// NUL before the blank line.
    #[error("the frame ends within its headers: a blank line must follow them")]
    NulInHead,
    /// A header line without a colon, or with nothing before it.
    #[error("a header line must be name:value")]
    NoHeader,
    /// Command and headers are UTF-8.
    #[error("command and headers must be UTF-8")]
    NotUtf8,
    /// An escape that this version does not define.
    #[error("undefined escape in a header: \\n \\c \\\\ are allowed, from 1.2 on also \\r")]
    UndefinedEscape,
    /// More headers than the limit.
    #[error("too many headers: at most {max} are allowed")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// A command or header line longer than the limit.
    #[error("header line too long: at most {max} bytes are allowed")]
    HeaderTooLong {
        /// The limit.
        max: usize,
    },
    /// A frame longer than the limit.
    #[error("frame too large: at most {max} bytes are allowed")]
    FrameTooLarge {
        /// The limit.
        max: usize,
    },
    /// `content-length` is no number, or negative.
    #[error("content-length must be a number of bytes, 0 or more")]
    BadContentLength,
    /// The body is longer than `content-length` says.
    #[error("wrong content-length: no NUL follows the {length} bytes of the body")]
    NoNulAfterBody {
        /// The body's length as the header has it.
        length: usize,
    },
}

/// What a decoder may be made to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of one frame, command, headers and body.
    pub frame_bytes_max: usize,
    /// Headers of one frame.
    pub headers_max: usize,
    /// Bytes of one header line.
    pub header_bytes_max: usize,
}

/// The limits for a stranger.
impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: UNAUTHENTICATED_FRAME_BYTES_MAX,
            headers_max: HEADERS_MAX,
            header_bytes_max: HEADER_BYTES_MAX,
        }
    }
}

/// Frames out of bytes.
pub struct Decoder {
    limits: FrameLimits,
    version: Version,
    /// Not looked at yet; no chunk is empty.
    input: VecDeque<Bytes>,
    state: State,
    /// Ends of the lines of the head being read, newline excluded. Kept to save an allocation a
    /// frame; at most `headers_max` + 1.
    lines: Vec<usize>,
}

enum State {
    Between,
    /// The head so far, when it began in an earlier chunk.
    Head(BytesMut),
    /// A frame whose body has `length` bytes, the first of them in `body`.
    Sized {
        frame: Frame,
        length: usize,
        body: BytesMut,
    },
    /// A frame whose body ends with NUL, the start of it in `body`. `room`: bytes that may follow.
    Text {
        frame: Frame,
        body: BytesMut,
        room: usize,
    },
    Failed(DecodeError),
}

// === impl Decoder ===

impl Decoder {
    /// For a new connection: version 1.0 until told otherwise.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            version: Version::V1_0,
            input: VecDeque::new(),
            state: State::Between,
            lines: Vec::new(),
        }
    }

    /// From the next frame on these limits count.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// From the next frame on this version's escapes count.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Bytes of the socket, to be looked at by `next_frame`.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.input.push_back(chunk);
        }
    }

    /// Forgets what was not looked at yet.
    pub fn clear(&mut self) {
        self.input.clear();
        self.state = State::Between;
    }

    /// The next whole frame; none when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        let result = self.step();
        if let Err(error) = &result {
            self.input.clear();
            self.state = State::Failed(*error);
        }
        result
    }

    /// Bytes that a peer makes the decoder keep.
    #[cfg(test)]
    pub(crate) fn kept_bytes(&self) -> usize {
        let partial = match &self.state {
            State::Between | State::Failed(_) => 0,
            State::Head(head) => head.capacity(),
            State::Sized { body, .. } | State::Text { body, .. } => body.capacity(),
        };
        self.input.iter().map(Bytes::len).sum::<usize>() + partial
    }

    fn step(&mut self) -> Result<Option<Frame>, DecodeError> {
        while let Some(chunk) = self.input.pop_front() {
            let (frame, rest) = match std::mem::replace(&mut self.state, State::Between) {
                State::Between => self.begin(chunk)?,
                State::Head(head) => self.resume_head(head, chunk)?,
                State::Sized {
                    frame,
                    length,
                    body,
                } => self.resume_sized(frame, length, body, chunk)?,
                State::Text { frame, body, room } => self.resume_text(frame, body, room, chunk)?,
                State::Failed(error) => return Err(error),
            };
            if !rest.is_empty() {
                self.input.push_front(rest);
            }
            if frame.is_some() {
                return Ok(frame);
            }
        }
        match self.state {
            State::Failed(error) => Err(error),
            _ => Ok(None),
        }
    }

    /// Between frames: skips line ends, then looks for a whole head in this chunk.
    fn begin(&mut self, mut chunk: Bytes) -> Step {
        let eols = chunk
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r'))
            .count();
        chunk.advance(eols);
        self.lines.clear();
        let mut start = 0;
        while let Some(length) = self.line_end(&chunk[start..], 0, start)? {
            let end = start + length;
            if is_blank(&chunk[start..end]) {
                let head = Bytes::copy_from_slice(&chunk[..start]);
                chunk.advance(end + 1);
                return self.begin_body(head, chunk);
            }
            self.push_line(end)?;
            start = end + 1;
        }
        if !chunk.is_empty() {
            self.state = State::Head(BytesMut::from(&chunk[..]));
        }
        Ok((None, Bytes::new()))
    }

    /// A head that began in an earlier chunk: takes line by line, so that no body byte is copied.
    fn resume_head(&mut self, mut head: BytesMut, mut chunk: Bytes) -> Step {
        while !chunk.is_empty() {
            let start = self.lines.last().map_or(0, |end| end + 1);
            let kept = head.len();
            let Some(length) = self.line_end(&chunk, kept - start, kept)? else {
                head.extend_from_slice(&chunk);
                break;
            };
            head.extend_from_slice(&chunk[..length]);
            chunk.advance(length + 1);
            if is_blank(&head[start..]) {
                head.truncate(start);
                return self.begin_body(head.freeze(), chunk);
            }
            self.push_line(head.len())?;
            head.extend_from_slice(b"\n");
        }
        self.state = State::Head(head);
        Ok((None, Bytes::new()))
    }

    /// Where the line ends in `bytes`, none when it goes on beyond them. The line has
    /// `line_before` bytes already, the head `head_before`.
    fn line_end(
        &self,
        bytes: &[u8],
        line_before: usize,
        head_before: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | 0));
        let length = end.unwrap_or(bytes.len());
        if line_before + length > self.limits.header_bytes_max {
            return Err(DecodeError::HeaderTooLong {
                max: self.limits.header_bytes_max,
            });
        }
        if head_before + length >= self.limits.frame_bytes_max {
            return Err(DecodeError::FrameTooLarge {
                max: self.limits.frame_bytes_max,
            });
        }
        match end {
            Some(end) if bytes[end] == 0 => Err(DecodeError::NulInHead),
            end => Ok(end),
        }
    }

    /// A line that is not blank ends at `end` of the head. The first is the command.
    fn push_line(&mut self, end: usize) -> Result<(), DecodeError> {
        if self.lines.len() > self.limits.headers_max {
            return Err(DecodeError::TooManyHeaders {
                max: self.limits.headers_max,
            });
        }
        self.lines.push(end);
        Ok(())
    }

    /// The head is whole and `chunk` is what follows it.
    fn begin_body(&mut self, head: Bytes, mut chunk: Bytes) -> Step {
        let room = self.limits.frame_bytes_max.saturating_sub(head.len() + 2);
        let (mut frame, length) = self.parse_head(head)?;
        let Some(length) = length else {
            return self.resume_text(frame, BytesMut::new(), room, chunk);
        };
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= room)
        else {
            return Err(DecodeError::FrameTooLarge {
                max: self.limits.frame_bytes_max,
            });
        };
        if chunk.len() > length {
            frame.body = take(&mut chunk, length);
            return finish_sized(frame, length, chunk);
        }
        self.resume_sized(frame, length, BytesMut::with_capacity(length), chunk)
    }

    fn resume_sized(
        &mut self,
        mut frame: Frame,
        length: usize,
        mut body: BytesMut,
        mut chunk: Bytes,
    ) -> Step {
        let part = chunk.split_to(chunk.len().min(length - body.len()));
        body.extend_from_slice(&part);
        if chunk.is_empty() {
            self.state = State::Sized {
                frame,
                length,
                body,
            };
            return Ok((None, chunk));
        }
        frame.body = body.freeze();
        finish_sized(frame, length, chunk)
    }

    fn resume_text(
        &mut self,
        mut frame: Frame,
        mut body: BytesMut,
        room: usize,
        mut chunk: Bytes,
    ) -> Step {
        // The one search in the standard library that looks at more than one byte at a time.
        let nul = CStr::from_bytes_until_nul(&chunk)
            .map(CStr::count_bytes)
            .ok();
        if nul.unwrap_or(chunk.len()) > room {
            return Err(DecodeError::FrameTooLarge {
                max: self.limits.frame_bytes_max,
            });
        }
        let Some(nul) = nul else {
            body.extend_from_slice(&chunk);
            self.state = State::Text {
                frame,
                body,
                room: room - chunk.len(),
            };
            return Ok((None, Bytes::new()));
        };
        frame.body = if body.is_empty() {
            take(&mut chunk, nul)
        } else {
            body.extend_from_slice(&chunk.split_to(nul));
            body.freeze()
        };
        chunk.advance(1);
        Ok((Some(frame), chunk))
    }

    /// Command and headers, and what `content-length` says.
    fn parse_head(&self, head: Bytes) -> Result<(Frame, Option<u64>), DecodeError> {
        let head_bytes = head.len();
        let block = ByteString::try_from(head).map_err(|_| DecodeError::NotUtf8)?;
        let command_end = self.lines.first().copied().unwrap_or(block.len());
        let command = block.slice_ref(without_cr(&block[..command_end]));
        let escapes = Escapes::of(self.version, &command);
        let mut headers = Vec::with_capacity(self.lines.len().saturating_sub(1));
        let mut names = BTreeSet::new();
        let mut length = None;
        for ends in self.lines.windows(2) {
            let line = without_cr(&block[ends[0] + 1..ends[1]]);
            let (name, value) = self.parse_line(&block, line, escapes)?;
            if is_repeated(&headers, &mut names, &name) {
                continue;
            }
            if name == "content-length" {
                length = Some(parse_content_length(&value)?);
            }
            headers.push((name, value));
        }
        let mut frame = Frame {
            command,
            headers,
            body: Bytes::new(),
        };
        let kept = frame.command.len() + frame.headers_bytes();
        if is_wasteful(kept, head_bytes) {
            leave_head(&mut frame);
        }
        Ok((frame, length))
    }

    fn parse_line(
        &self,
        block: &ByteString,
        line: &str,
        escapes: Escapes,
    ) -> Result<(ByteString, ByteString), DecodeError> {
        let Some((name, value)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return Err(DecodeError::NoHeader);
        };
        // ActiveMQ cuts blanks off in 1.0 only; clients of that age write `name: value`.
        let value = if self.version == Version::V1_0 {
            value.trim()
        } else {
            value
        };
        Ok((escapes.read(block, name)?, escapes.read(block, value)?))
    }
}

/// A frame, if one is whole, and the rest of the chunk.
type Step = Result<(Option<Frame>, Bytes), DecodeError>;

/// The body is whole and `chunk`, not empty, is what follows it.
fn finish_sized(frame: Frame, length: usize, mut chunk: Bytes) -> Step {
    if chunk[0] != 0 {
        return Err(DecodeError::NoNulAfterBody { length });
    }
    chunk.advance(1);
    Ok((Some(frame), chunk))
}

/// The first bytes of the chunk as a body; see the invariants for when they are copied.
fn take(chunk: &mut Bytes, length: usize) -> Bytes {
    let part = chunk.split_to(length);
    if length >= SHARED_BODY_BYTES_MIN {
        part
    } else {
        Bytes::copy_from_slice(&part)
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"" | b"\r")
}

fn without_cr(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

/// Gives the frame's strings memory of their own.
fn leave_head(frame: &mut Frame) {
    frame.command = ByteString::from(&*frame.command);
    for (name, value) in &mut frame.headers {
        *name = ByteString::from(&**name);
        *value = ByteString::from(&**value);
    }
}

/// True when `name` is there already: the first of repeated headers wins.
fn is_repeated(
    headers: &[(ByteString, ByteString)],
    names: &mut BTreeSet<ByteString>,
    name: &ByteString,
) -> bool {
    if headers.len() < HEADERS_SCANNED_MAX {
        return headers.iter().any(|(own, _)| own == name);
    }
    if names.is_empty() {
        names.extend(headers.iter().map(|(own, _)| own.clone()));
    }
    !names.insert(name.clone())
}

/// Digits only: no sign, no overflow. Blanks around them are ActiveMQ's leniency.
fn parse_content_length(text: &str) -> Result<u64, DecodeError> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::BadContentLength);
    }
    // Longer than 64 bits can say is longer than any limit.
    Ok(digits.parse().unwrap_or(u64::MAX))
}
