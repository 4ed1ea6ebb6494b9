//! A whole session: bytes of the client in any chunks, between them answers, deliveries, timers and
//! a socket that takes what it likes. Nothing may panic, and what is kept stays bounded
//! (`-rss_limit_mb`).
//!
//! Input: `op` `argument` pairs; `op` 0 is followed by `argument` bytes of the client.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandemmq_model::{
    ByteString, Command, ConnId, Delivery, DeliveryId, Destination, Epoch, Message, MessageId, Now,
    Offset, Outcome, Refusal, RefusalKind, SubscriptionId, Time,
};
use tandemmq_wire::stomp::{ClientCodec, StompSession};
use tandemmq_wire::{AllowAnonymous, Limits, Session, SessionConfig, SessionEvent};

struct World {
    session: StompSession,
    now: Now,
    codec: ClientCodec,
    waiting: Vec<u64>,
    sent: Option<Arc<Message>>,
    deliveries: u64,
    in_flight: usize,
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    let mut rest = data;
    while let [op, argument, more @ ..] = rest {
        rest = more;
        let argument = usize::from(*argument);
        match op % 7 {
            0 | 1 => {
                let (chunk, more) = rest.split_at(argument.min(rest.len()));
                rest = more;
                if world.session.wants_input() {
                    world
                        .session
                        .handle_input(world.now, Bytes::copy_from_slice(chunk));
                }
            }
            2 => world.write(),
            3 => world.take(argument * 64),
            4 => world.answer(argument),
            5 => world.deliver(argument),
            _ => world.pass_time(argument),
        }
        world.hear_commands();
        if world.session.is_closed() {
            break;
        }
    }
    world.session.handle_end(world.now);
    world.hear_commands();
    assert!(world.session.is_closed(), "an ended session is closed");
    assert!(
        world.session.poll_transmit(world.now).is_none(),
        "and says nothing"
    );
});

impl World {
    fn new() -> Self {
        let now = Now {
            boot: Time::from_millis(1),
            wall_ms: 1,
        };
        let limits = Limits {
            frame_bytes_max: 8192,
            subscriptions_max: 4,
            unanswered_requests_max: 50,
            in_flight_bytes_max: 4096,
            ..Limits::default()
        };
        let config = SessionConfig {
            group: ByteString::from_static("a"),
            server: ByteString::from_static("fuzz"),
            instance: 1,
            limits,
        };
        let session = StompSession::new(config, Arc::new(AllowAnonymous), ConnId(1), now);
        Self {
            session,
            now,
            codec: ClientCodec::new(),
            waiting: Vec::new(),
            sent: None,
            deliveries: 0,
            in_flight: 0,
        }
    }

    fn write(&mut self) {
        while let Some(piece) = self.session.poll_transmit(self.now) {
            assert!(!piece.is_empty(), "an empty piece looks like the end");
            self.in_flight += piece.len();
            self.codec.feed(piece);
        }
        while self
            .codec
            .next_frame()
            .expect("the session writes whole frames")
            .is_some()
        {}
    }

    fn take(&mut self, bytes: usize) {
        let bytes = bytes.min(self.in_flight);
        self.in_flight -= bytes;
        self.session.handle_transmitted(self.now, bytes);
    }

    fn answer(&mut self, argument: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let request = self.waiting.swap_remove(argument % self.waiting.len());
        let outcome = if argument % 5 == 0 {
            let text = ByteString::from_static("no");
            Outcome::Refused(Refusal {
                kind: RefusalKind::Unknown,
                text,
            })
        } else {
            Outcome::Done
        };
        self.session
            .handle_event(self.now, SessionEvent::Reply { request, outcome });
    }

    fn deliver(&mut self, argument: usize) {
        let Some(message) = self.sent.clone() else {
            return;
        };
        self.deliveries += 1;
        let subscription = SubscriptionId(1 + (argument % 4) as u32);
        let delivery = if argument % 16 == 0 {
            Delivery::End { subscription }
        } else {
            Delivery::Message {
                subscription,
                id: DeliveryId(self.deliveries),
                message_id: MessageId::Persistent(Epoch(1), Offset(self.deliveries)),
                destination: Destination::queue("Q"),
                message,
                redelivered: argument % 2 == 0,
                origin: None,
            }
        };
        let valid_until = if argument % 8 == 0 {
            Time::ZERO
        } else {
            Time::NEVER
        };
        let deliveries = vec![delivery];
        self.session.handle_event(
            self.now,
            SessionEvent::Deliver {
                deliveries,
                valid_until,
            },
        );
    }

    fn pass_time(&mut self, argument: usize) {
        if argument % 4 == 0
            && let Some(due) = self.session.poll_timeout()
        {
            self.now.boot = self.now.boot.max(due);
        }
        self.session.handle_timeout(self.now);
    }

    fn hear_commands(&mut self) {
        while let Some(command) = self.session.poll_command() {
            assert!(self.session.is_established(), "nothing before CONNECTED");
            let request = match command {
                Command::Send {
                    message, request, ..
                } => {
                    self.sent = Some(Arc::new(message));
                    request
                }
                Command::Subscribe(_, request)
                | Command::Unsubscribe(_, request)
                | Command::Ack { request, .. }
                | Command::Begin(_, request)
                | Command::Commit(_, request)
                | Command::Abort(_, request)
                | Command::Disconnect(request) => request,
                Command::Written(..) | Command::NotDelivered(..) => continue,
            };
            if request.wants_receipt {
                self.waiting.push(request.id);
            }
        }
    }
}
