//! A client, a session and a hand-driven engine in one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use tandemmq_model::{
    AckRef, BodyKind, Command, ConnId, Delivery, DeliveryId, Destination, Epoch, Message,
    MessageId, Now, Offset, Outcome, Refusal, RefusalKind, Request, Subscribe, SubscriptionId,
    Time,
};

use crate::stomp::{ClientCodec, Frame, StompSession, Version};
use crate::{AllowAnonymous, Authenticator, Limits, Session, SessionConfig, SessionEvent};

/// Wall clock of the tests.
pub(super) const WALL_MS: u64 = 1_700_000_000_000;

pub(super) const CONN: ConnId = ConnId(7);

/// Later than every moment of a test.
pub(super) const VALID: Time = Time::NEVER;

/// The physical name of `/temp-queue/<name>` of the connection under test.
pub(super) fn own_temp(name: &str) -> String {
    format!("orders.7.00000000000000ab.{name}")
}

pub(super) fn config(limits: Limits) -> SessionConfig {
    SessionConfig {
        group: ByteString::from_static("orders"),
        server: ByteString::from_static("TandemMQ/0.1.0"),
        instance: 0xab,
        limits,
    }
}

pub(super) struct Peer {
    pub(super) session: StompSession,
    pub(super) codec: ClientCodec,
    pub(super) now: Now,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self::with(Limits::default(), Arc::new(AllowAnonymous))
    }

    pub(super) fn limited(limits: Limits) -> Self {
        Self::with(limits, Arc::new(AllowAnonymous))
    }

    pub(super) fn with(limits: Limits, authenticator: Arc<dyn Authenticator>) -> Self {
        let now = Now {
            boot: Time::from_millis(1_000),
            wall_ms: WALL_MS,
        };
        let session = StompSession::new(config(limits), authenticator, CONN, now);
        Self {
            session,
            codec: ClientCodec::new(),
            now,
        }
    }

    /// Let in, with CONNECTED read.
    pub(super) fn connected(version: Version) -> Self {
        Self::new().let_in(version, "")
    }

    /// CONNECT in that version, with these header lines.
    pub(super) fn let_in(mut self, version: Version, headers: &str) -> Self {
        self.write(&format!(
            "CONNECT\naccept-version:{version}\nhost:h\n{headers}\n\0"
        ));
        let connected = self.read_one();
        assert_eq!(connected.command, "CONNECTED", "{connected:?}");
        assert_eq!(self.codec.version(), version);
        self
    }

    pub(super) fn write(&mut self, text: &str) {
        self.write_bytes(Bytes::copy_from_slice(text.as_bytes()));
    }

    pub(super) fn write_bytes(&mut self, bytes: Bytes) {
        self.session.handle_input(self.now, bytes);
    }

    /// Everything that the session has to send, taken by the socket.
    pub(super) fn read_bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = self.session.poll_transmit(self.now) {
            assert!(!piece.is_empty(), "an empty piece would look like the end");
            all.extend_from_slice(&piece);
            self.session.handle_transmitted(self.now, piece.len());
        }
        all
    }

    pub(super) fn read(&mut self) -> Vec<Frame> {
        let bytes = self.read_bytes();
        self.codec.feed(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = self
            .codec
            .next_frame()
            .expect("the session writes whole frames")
        {
            frames.push(frame);
        }
        frames
    }

    #[track_caller]
    pub(super) fn read_one(&mut self) -> Frame {
        let mut frames = self.read();
        assert_eq!(frames.len(), 1, "one frame is expected: {frames:?}");
        frames.remove(0)
    }

    #[track_caller]
    pub(super) fn read_nothing(&mut self) {
        assert_eq!(self.read(), [], "nothing is expected");
    }

    pub(super) fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.session.poll_command()).collect()
    }

    #[track_caller]
    pub(super) fn command(&mut self) -> Command {
        let mut commands = self.commands();
        assert_eq!(commands.len(), 1, "one command is expected: {commands:?}");
        commands.remove(0)
    }

    #[track_caller]
    pub(super) fn message(&mut self) -> Message {
        match self.command() {
            Command::Send { message, .. } => message,
            other => panic!("a SEND is expected: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn subscribe(&mut self, text: &str) -> Subscribe {
        self.write(text);
        match self.command() {
            Command::Subscribe(subscribe, _) => subscribe,
            other => panic!("a SUBSCRIBE is expected: {other:?}, {:?}", self.read()),
        }
    }

    /// A subscription of the queue Q under the id `s`.
    pub(super) fn subscribed(version: Version, ack: &str) -> (Self, SubscriptionId) {
        let mut peer = Self::connected(version);
        let frame = format!("SUBSCRIBE\nid:s\ndestination:/queue/Q\nack:{ack}\n\n\0");
        let number = peer.subscribe(&frame).subscription;
        (peer, number)
    }

    /// Writes frames that must be refused: one ERROR, no command, the connection stays.
    #[track_caller]
    pub(super) fn refused(&mut self, text: &str) -> String {
        self.write(text);
        let error = self.read_one();
        assert_eq!(error.command, "ERROR", "{error:?}");
        assert_eq!(self.commands(), [], "a refused frame has no effect");
        assert!(!self.session.is_closed(), "the connection stays: {error:?}");
        self.write("BEGIN\ntransaction:still-here\n\n\0");
        self.command();
        error
            .get("message")
            .expect("ERROR says what is wrong")
            .to_owned()
    }

    /// Writes bytes that must end the connection: an ERROR, then close.
    #[track_caller]
    pub(super) fn killed(&mut self, bytes: impl Into<Bytes>) -> String {
        self.write_bytes(bytes.into());
        assert!(!self.session.is_closed(), "the ERROR must be sent first");
        let error = self.read().pop().expect("an ERROR is expected");
        assert_eq!(error.command, "ERROR", "{error:?}");
        assert!(self.session.is_closed(), "closed after {error:?}");
        error
            .get("message")
            .expect("ERROR says what is wrong")
            .to_owned()
    }

    pub(super) fn reply(&mut self, request: u64, outcome: Outcome) {
        self.session
            .handle_event(self.now, SessionEvent::Reply { request, outcome });
    }

    pub(super) fn done(&mut self, request: u64) {
        self.reply(request, Outcome::Done);
    }

    pub(super) fn deliver(&mut self, deliveries: Vec<Delivery>, valid_until: Time) {
        self.session.handle_event(
            self.now,
            SessionEvent::Deliver {
                deliveries,
                valid_until,
            },
        );
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now.boot = self.now.boot + by;
        self.now.wall_ms += u64::try_from(by.as_millis()).unwrap();
    }

    /// Goes to the session's next timeout and fires it.
    pub(super) fn fire(&mut self) {
        let due = self.session.poll_timeout().expect("a timer is expected");
        self.now.boot = self.now.boot.max(due);
        self.session.handle_timeout(self.now);
    }
}

pub(super) fn refusal(kind: RefusalKind, text: &'static str) -> Outcome {
    Outcome::Refused(Refusal {
        kind,
        text: ByteString::from_static(text),
    })
}

/// A text message on queue Q.
pub(super) fn message(body: impl Into<Bytes>) -> Message {
    Message {
        destination: Destination::queue("Q"),
        persistent: true,
        priority: 4,
        timestamp_ms: WALL_MS,
        expiration_ms: 0,
        correlation_id: None,
        reply_to: None,
        jms_type: None,
        body_kind: BodyKind::Text,
        properties: Vec::new(),
        body: body.into(),
    }
}

/// A delivery of `message` with the id and an offset of the same number.
pub(super) fn delivery(subscription: SubscriptionId, id: u64, message: Message) -> Delivery {
    Delivery::Message {
        subscription,
        id: DeliveryId(id),
        message_id: MessageId::Persistent(Epoch(3), Offset(id)),
        destination: message.destination.clone(),
        message: Arc::new(message),
        redelivered: false,
        origin: None,
    }
}

pub(super) fn request_of(command: &Command) -> Request {
    match command {
        Command::Send { request, .. }
        | Command::Subscribe(_, request)
        | Command::Unsubscribe(_, request)
        | Command::Ack { request, .. }
        | Command::Begin(_, request)
        | Command::Commit(_, request)
        | Command::Abort(_, request)
        | Command::Disconnect(request) => *request,
        Command::Written(..) | Command::NotDelivered(..) => panic!("no request in {command:?}"),
    }
}

pub(super) fn ack_ref(command: &Command) -> AckRef {
    match command {
        Command::Ack { which, .. } => *which,
        other => panic!("an ACK is expected: {other:?}"),
    }
}

pub(super) const NEW: [Version; 2] = [Version::V1_1, Version::V1_2];
