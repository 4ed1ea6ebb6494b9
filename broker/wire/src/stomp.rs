//! STOMP 1.0, 1.1 and 1.2 as ActiveMQ Classic speaks it.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tandemmq_model::{Command, ConnId, Now, Time};

use crate::{Authenticator, Session, SessionConfig, SessionEvent};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.0
    V1_0,
    /// 1.1
    V1_1,
    /// 1.2
    V1_2,
}

/// One frame, its headers unescaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// `SEND`, `MESSAGE`, …
    pub command: ByteString,
    /// In the order of the wire, each name once.
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
    pub fn header(self, _name: impl Into<ByteString>, _value: impl Into<ByteString>) -> Self {
        todo!()
    }
    /// Sets the body and its `content-length` (SEND: a bytes message).
    #[must_use]
    pub fn body(self, _body: impl Into<Bytes>) -> Self {
        todo!()
    }
    /// Sets the body without `content-length` (SEND: a text message); it must not contain NUL.
    #[must_use]
    pub fn text(self, _body: impl Into<ByteString>) -> Self {
        todo!()
    }
    /// The value of a header.
    pub fn get(&self, _name: &str) -> Option<&str> {
        todo!()
    }
    /// The frame's bytes in 1.2 (CONNECT and CONNECTED are the same in all versions).
    pub fn encode(&self) -> Bytes {
        self.encode_as(Version::V1_2)
    }
    /// The frame's bytes.
    pub fn encode_as(&self, _version: Version) -> Bytes {
        todo!()
    }
}

/// Bytes that are no frame, or too much of one. Fatal for the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// To come: one variant for each reason.
    #[error("malformed")]
    Malformed,
}

/// The client's side: server frames out of bytes. Escapes follow the version of CONNECTED.
pub struct ClientCodec {}

impl ClientCodec {
    /// For one new connection.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        todo!()
    }
    /// Bytes of the socket, in any chunking.
    pub fn feed(&mut self, _bytes: Bytes) {
        todo!()
    }
    /// The next whole frame. Heart-beats are swallowed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        todo!()
    }
    /// The frame's bytes in the connection's version.
    pub fn encode(&self, _frame: &Frame) -> Bytes {
        todo!()
    }
    /// The version of CONNECTED, 1.0 before it.
    pub fn version(&self) -> Version {
        todo!()
    }
}

/// The server's side of one connection.
pub struct StompSession {}

impl StompSession {
    /// For one accepted connection.
    pub fn new(
        _config: SessionConfig,
        _authenticator: Arc<dyn Authenticator>,
        _conn: ConnId,
        _now: Now,
    ) -> Self {
        todo!()
    }
}

impl Session for StompSession {
    fn handle_input(&mut self, _now: Now, _input: Bytes) {
        todo!()
    }
    fn handle_end(&mut self, _now: Now) {
        todo!()
    }
    fn handle_event(&mut self, _now: Now, _event: SessionEvent) {
        todo!()
    }
    fn handle_transmitted(&mut self, _now: Now, _bytes: usize) {
        todo!()
    }
    fn handle_timeout(&mut self, _now: Now) {
        todo!()
    }
    fn poll_command(&mut self) -> Option<Command> {
        todo!()
    }
    fn poll_transmit(&mut self, _now: Now) -> Option<Bytes> {
        todo!()
    }
    fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }
    fn wants_input(&self) -> bool {
        todo!()
    }
    fn is_closed(&self) -> bool {
        todo!()
    }
    fn is_established(&self) -> bool {
        todo!()
    }
}
