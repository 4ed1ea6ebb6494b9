//! Escapes in headers, per version.
//!
//! | | reading | writing |
//! |---|---|---|
//! | 1.0 | none; blanks around a value are cut off (ActiveMQ) | none: what would end the line or the name is replaced |
//! | 1.1 | `\n` `\c` `\\`, anything else is an error | the same; CR becomes a blank |
//! | 1.2 | also `\r` | the same |
//!
//! CONNECT and CONNECTED are written without escapes in every version. A sender must not be able
//! to forge a header for a consumer of another version, hence the replacements.

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::{DecodeError, Version};

/// Whether escapes count in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// CONNECT, CONNECTED, and everything in 1.0.
    Off,
    /// The frames of 1.1.
    V1_1,
    /// The frames of 1.2.
    V1_2,
}

impl Escapes {
    /// The rule for a command in a version.
    pub(crate) fn of(version: Version, command: &str) -> Self {
        match version {
            _ if matches!(command, "CONNECT" | "STOMP" | "CONNECTED") => Self::Off,
            Version::V1_0 => Self::Off,
            Version::V1_1 => Self::V1_1,
            Version::V1_2 => Self::V1_2,
        }
    }

    /// A name or value as it was meant. `raw` is a part of `block` and shares its memory.
    pub(crate) fn read(self, block: &ByteString, raw: &str) -> Result<ByteString, DecodeError> {
        if self == Self::Off || !raw.as_bytes().contains(&b'\\') {
            return Ok(block.slice_ref(raw));
        }
        let mut meant = String::with_capacity(raw.len());
        let mut rest = raw.chars();
        while let Some(char) = rest.next() {
            meant.push(match char {
                '\\' => self.unescape(rest.next())?,
                char => char,
            });
        }
        Ok(meant.into())
    }

    fn unescape(self, after: Option<char>) -> Result<char, DecodeError> {
        match after {
            Some('n') => Ok('\n'),
            Some('c') => Ok(':'),
            Some('\\') => Ok('\\'),
            Some('r') if self == Self::V1_2 => Ok('\r'),
            _ => Err(DecodeError::UndefinedEscape),
        }
    }

    /// Writes a header's name.
    pub(crate) fn put_name(self, out: &mut BytesMut, name: &str) {
        self.put(out, name, b'_');
    }

    /// Writes a header's value.
    pub(crate) fn put_value(self, out: &mut BytesMut, value: &str) {
        self.put(out, value, b':');
    }

    /// `colon`: what stands for a colon where it cannot be escaped.
    fn put(self, out: &mut BytesMut, text: &str, colon: u8) {
        let bytes = text.as_bytes();
        let special = |byte: &u8| matches!(byte, b'\\' | b':' | b'\n' | b'\r' | 0);
        if !bytes.iter().any(special) {
            out.extend_from_slice(bytes);
            return;
        }
        for byte in bytes {
            match (byte, self) {
                (b'\\', Self::V1_1 | Self::V1_2) => out.extend_from_slice(b"\\\\"),
                (b':', Self::V1_1 | Self::V1_2) => out.extend_from_slice(b"\\c"),
                (b'\n', Self::V1_1 | Self::V1_2) => out.extend_from_slice(b"\\n"),
                (b'\r', Self::V1_2) => out.extend_from_slice(b"\\r"),
                (b'\n' | b'\r' | 0, _) => out.put_u8(b' '),
                (b':', Self::Off) => out.put_u8(colon),
                (byte, _) => out.put_u8(*byte),
            }
        }
    }
}
