//! The server's side of one STOMP connection.
//!
//! ```text
//! Connecting ──CONNECT──> Open ──DISCONNECT──> Leaving ──all answered──> Closing ──flushed──> Closed
//!     └──────────────────────┴── protocol error, silence, Refuse ──────────^                    ^
//!     └──────────────────────┴──────────────┴── peer gone, stall ───────────────────────────────┘
//! ```
//!
//! Invariants
//! - Before CONNECTED no frame but CONNECT has any effect.
//! - Commands are in the order of the frames; `Written` never names a byte that the socket did not
//!   take.
//! - After Closing has begun, input has no effect; what was answered before is still sent.
//! - A frame that ends a subscription takes effect only when nothing of that subscription's
//!   deliveries is half way to the socket: the engine gives back what was not `Written`, unmarked,
//!   and the client must not have seen it.
//!
//! Not here: what a command does, who may do it, how many connections there are.

mod commands;
mod events;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tandemmq_model::{Command, ConnId, Now, Time};

use super::connect::Agreement;
use super::destinations::Names;
use super::encoder;
use super::heartbeat::{Activity, HeartBeat};
use super::outbound::{Context, Item, Marks, Outbound};
use super::requests::{Requests, Waiting};
use super::returns::Returns;
use super::subscriptions::Subscriptions;
use super::{Decoder, Frame, FrameLimits, Version};
use crate::{Authenticator, Session, SessionConfig, SessionEvent};

/// A transaction that no client can name (a header cannot hold NUL): aborting it changes nothing
/// and is always answered. The engine answers in order with what it delivers, so after the answer
/// comes only what it dispatched knowing all commands before.
const FENCE: ByteString = ByteString::from_static("\0fence");

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for CONNECT.
    Connecting,
    /// Let in.
    Open,
    /// DISCONNECT was read; older requests are still to be answered.
    Leaving,
    /// The last bytes go out; closed when they are and `delay_until` has passed, at the latest at
    /// `by`.
    Closing { delay_until: Option<Time>, by: Time },
    /// Nothing more.
    Closed,
}

/// Why a frame had no effect.
enum Fault {
    /// This one operation is refused; the connection stays.
    Refused(String),
    /// The client does not speak the protocol, or may not: the connection ends.
    Fatal(String),
}

/// The server's side of one connection.
pub struct StompSession {
    config: SessionConfig,
    authenticator: Arc<dyn Authenticator>,
    conn: ConnId,
    names: Names,
    phase: Phase,
    /// Set by CONNECT, for good.
    agreed: Option<Agreement>,
    started: Time,
    activity: Activity,
    decoder: Decoder,
    /// A frame that waits until these deliveries are transmitted; nothing after it is read.
    held: Option<(Frame, Marks)>,
    subscriptions: Subscriptions,
    requests: Requests,
    /// DISCONNECT was answered: its request and receipt.
    left: Option<(u64, Option<ByteString>)>,
    returns: Returns,
    outbound: Outbound,
    commands: VecDeque<Command>,
}

// === impl StompSession ===

impl StompSession {
    /// For one connection that was just accepted.
    pub fn new(
        config: SessionConfig,
        authenticator: Arc<dyn Authenticator>,
        conn: ConnId,
        now: Now,
    ) -> Self {
        let limits = &config.limits;
        Self {
            names: Names::new(&config.group, conn, config.instance, limits.name_bytes_max),
            decoder: Decoder::new(FrameLimits {
                frame_bytes_max: limits.unauthenticated_frame_bytes_max,
                headers_max: limits.headers_max,
                header_bytes_max: limits.header_bytes_max,
            }),
            outbound: Outbound::new(limits.in_flight_bytes_max),
            authenticator,
            conn,
            phase: Phase::Connecting,
            agreed: None,
            started: now.boot,
            activity: Activity::new(now.boot),
            held: None,
            subscriptions: Subscriptions::default(),
            requests: Requests::default(),
            left: None,
            returns: Returns::default(),
            commands: VecDeque::new(),
            config,
        }
    }

    fn version(&self) -> Version {
        self.agreed.map_or(Version::V1_0, |agreed| agreed.version)
    }

    fn heart_beat(&self) -> HeartBeat {
        self.agreed
            .map_or_else(HeartBeat::default, |agreed| agreed.heart_beat)
    }

    /// Frames are taken from the decoder.
    fn reads_frames(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open) && self.held.is_none()
    }

    /// Takes whole frames until there is none, or one must wait.
    fn read_frames(&mut self, now: Now) {
        while self.reads_frames() {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => self.handle_frame(now, frame),
                Ok(None) => return,
                Err(error) => self.fail(now, &error.to_string(), None),
            }
        }
        if self.held.is_none() {
            self.decoder.clear();
        }
    }

    fn handle_frame(&mut self, now: Now, frame: Frame) {
        let receipt = frame.kept("receipt");
        match self.act(now, frame) {
            Ok(()) => {}
            Err(Fault::Refused(text)) => self.push_error(&text, receipt.as_ref()),
            Err(Fault::Fatal(text)) => self.fail(now, &text, receipt.as_ref()),
        }
    }

    fn push_error(&mut self, text: &str, receipt: Option<&ByteString>) {
        self.outbound
            .push(Item::Frame(encoder::error(text, receipt)));
    }

    /// Says why and begins to close.
    fn fail(&mut self, now: Now, text: &str, receipt: Option<&ByteString>) {
        self.push_error(text, receipt);
        self.close(now, None);
    }

    fn close(&mut self, now: Now, delay_until: Option<Time>) {
        self.held = None;
        self.decoder.clear();
        // The engine gives back what was not written when it hears of the end.
        self.outbound.drop_deliveries();
        let by = delay_until.unwrap_or(now.boot) + self.config.limits.close_timeout;
        self.phase = Phase::Closing { delay_until, by };
    }

    fn close_now(&mut self) {
        self.held = None;
        self.decoder.clear();
        self.outbound.clear();
        self.phase = Phase::Closed;
    }

    /// Bytes that the peer makes the session keep, requests that it does not wait for excluded.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.decoder.kept_bytes() + self.requests.bytes() + self.outbound.answer_bytes()
    }

    /// When silence of ours ended with `wants_input`, the client's begins anew.
    fn note_input_wanted(&mut self, now: Now, wanted_before: bool) {
        if !wanted_before && self.wants_input() {
            self.activity.input = now.boot;
        }
    }
}

impl Session for StompSession {
    fn handle_input(&mut self, now: Now, input: Bytes) {
        self.activity.input = now.boot;
        if matches!(self.phase, Phase::Connecting | Phase::Open) {
            self.decoder.push(input);
            self.read_frames(now);
        }
    }

    fn handle_end(&mut self, _now: Now) {
        self.close_now();
    }

    fn handle_event(&mut self, now: Now, event: SessionEvent) {
        let wanted_before = self.wants_input();
        match event {
            SessionEvent::Deliver {
                deliveries,
                valid_until,
            } => {
                self.deliver(deliveries, valid_until);
            }
            SessionEvent::Reply { request, outcome } => self.reply(now, request, outcome),
            SessionEvent::Refuse { text } => self.refuse(now, &text),
        }
        self.note_input_wanted(now, wanted_before);
    }

    fn handle_transmitted(&mut self, now: Now, bytes: usize) {
        let wanted_before = self.wants_input();
        if bytes > 0 {
            self.activity.output = now.boot;
        }
        for (subscription, id) in self.outbound.transmitted(bytes) {
            self.commands.push_back(Command::Written(subscription, id));
        }
        if let Some((frame, _)) = self.held.take_if(|(_, marks)| !self.outbound.has(*marks)) {
            self.handle_frame(now, frame);
            self.read_frames(now);
        }
        self.note_input_wanted(now, wanted_before);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.fire(now);
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        let context = Context {
            now: now.boot,
            version: self.version(),
            names: &self.names,
            subscriptions: &self.subscriptions,
            fence: self.requests.next_id(),
            held: self.held.as_ref().map(|(_, marks)| *marks),
        };
        let piece = self.outbound.poll(&context, &mut self.returns);
        self.give_back();
        piece
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.next_timeout()
    }

    fn wants_input(&self) -> bool {
        let limits = &self.config.limits;
        match self.phase {
            Phase::Closed => false,
            // Read and forget: a socket closed with unread bytes would take the ERROR with it.
            Phase::Closing { .. } | Phase::Leaving => true,
            Phase::Connecting | Phase::Open => {
                self.held.is_none()
                    && self.requests.len() < limits.unanswered_requests_max
                    && self.requests.bytes() < limits.unanswered_bytes_max
                    && self.outbound.answer_bytes() < limits.answer_bytes_max
            }
        }
    }

    fn is_closed(&self) -> bool {
        match self.phase {
            Phase::Closed => true,
            Phase::Closing {
                delay_until: None, ..
            } => self.outbound.is_flushed(),
            _ => false,
        }
    }

    fn is_established(&self) -> bool {
        self.agreed.is_some()
    }
}
