//! Random input: the same effect whatever the chunking, never a panic, never unbounded growth.
//!
//! Every run is the same: the seeds are fixed, a failure names its own.

use bytes::Bytes;
use tandemmq_model::{Command, DeliveryId, Time};

use super::support::*;
use crate::stomp::Version;
use crate::{Limits, Session};

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// One of `usual`, now and then one of `rare`.
    fn rarely<'a>(&mut self, usual: &[&'a str], rare: &[&'a str]) -> &'a str {
        if self.below(50) == 0 {
            self.pick(rare)
        } else {
            self.pick(usual)
        }
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const COMMANDS: [&str; 11] = [
    "SEND",
    "SEND",
    "SEND",
    "SEND",
    "SUBSCRIBE",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "ACK",
    "NACK",
    "BEGIN",
    "COMMIT",
];

/// What ends a connection, or does nothing.
const RARE_COMMANDS: [&str; 5] = ["CONNECT", "DISCONNECT", "ABORT", "HELLO", "STOMP"];

/// Headers that mean something, most of them acceptable.
const HEADERS: [&str; 26] = [
    "destination:/queue/Q",
    "destination:/topic/T",
    "destination:/temp-queue/R",
    "destination:Q",
    "id:1",
    "id:2",
    "id:1-1",
    "id:2-1",
    "receipt:r",
    "receipt:a\\cb",
    "transaction:t",
    "ack:auto",
    "ack:client",
    "ack:client-individual",
    "message-id:ID\\corders-3-1",
    "subscription:1",
    "reply-to:/temp-queue/R",
    "reply-to:whoever",
    "x:\u{e9}\u{20ac}",
    "y\\cz:1",
    "type:t",
    "browser:true",
    "expires:5",
    "persistent:true",
    "priority:9",
    "activemq.prefetchSize:2",
];

/// Headers that make a frame useless, or worse.
const RARE_HEADERS: [&str; 10] = [
    "content-length:x",
    "content-length:4",
    "selector:a",
    "a\\xb:c",
    ":",
    "no colon",
    "destination:/queue/a,b",
    "destination:/remote-temp-queue/x",
    "persistent:maybe",
    "expires:-1",
];

const BODIES: [&str; 5] = ["", "hello", "a\nb\r\n", "\n\n", "SEND\ndestination:x\n\n"];

fn frame(random: &mut Random) -> String {
    let mut text = String::new();
    let eol = random.pick(&["\n", "\n", "\n", "\r\n"]);
    text.push_str(random.pick(&["", "", "\n", "\r\n\n"]));
    text.push_str(random.rarely(&COMMANDS, &RARE_COMMANDS));
    text.push_str(eol);
    // Enough for most commands to be accepted.
    if random.below(3) > 0 {
        text.push_str(&format!("destination:/queue/Q{eol}transaction:t{eol}"));
        text.push_str(random.pick(&["id:1", "id:2", "id:1-1", "message-id:ID\\corders-3-1"]));
        text.push_str(eol);
    }
    for _ in 0..random.below(4) {
        text.push_str(random.rarely(&HEADERS, &RARE_HEADERS));
        text.push_str(eol);
    }
    let body = random.pick(&BODIES);
    if random.below(2) == 0 {
        text.push_str(&format!("content-length:{}{eol}", body.len()));
    }
    text.push_str(eol);
    text.push_str(body);
    text.push('\0');
    text
}

/// One of everything a stranger might send.
fn garbage(random: &mut Random) -> Vec<u8> {
    let mut bytes = frame(random).into_bytes();
    match random.below(8) {
        0 => {
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.next().to_le_bytes()[0];
            }
        }
        1 => bytes.truncate(random.below(bytes.len())),
        2 => {
            let length = random.below(300);
            bytes = (0..length)
                .map(|_| random.next().to_le_bytes()[0])
                .collect();
        }
        3 => {
            let at = random.below(bytes.len());
            let filler = random.pick(&["x", ":", "\n", "\\", "a:b\n", "\0"]);
            let many = filler.repeat(random.below(20_000));
            bytes.splice(at..at, many.into_bytes());
        }
        _ => {}
    }
    bytes
}

fn chunks(random: &mut Random, bytes: &[u8]) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut rest = bytes;
    let longest = 1 + random.below(bytes.len().max(1));
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at((1 + random.below(longest)).min(rest.len()));
        chunks.push(Bytes::copy_from_slice(chunk));
        rest = more;
    }
    chunks
}

/// What all the input leads to: commands and bytes.
fn run(version: Version, input: impl IntoIterator<Item = Bytes>) -> (Vec<Command>, Vec<u8>, bool) {
    let mut peer = Peer::connected(version);
    for chunk in input {
        peer.write_bytes(chunk);
    }
    (peer.commands(), peer.read_bytes(), peer.session.is_closed())
}

#[test]
fn the_same_bytes_have_the_same_effect_whatever_the_chunks() {
    let mut commands = 0;
    for seed in 0..3_000 {
        let mut random = Random(seed);
        let version = Version::ALL[random.below(3)];
        let mut bytes = Vec::new();
        for _ in 0..1 + random.below(8) {
            if random.below(10) == 0 {
                bytes.extend(garbage(&mut random));
            } else {
                bytes.extend(frame(&mut random).into_bytes());
            }
        }
        let whole = run(version, [Bytes::copy_from_slice(&bytes)]);
        let split = run(version, chunks(&mut random, &bytes));
        assert_eq!(
            split,
            whole,
            "seed {seed}, {version}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        commands += whole.0.len();
    }
    assert!(
        commands > 3_000,
        "a run that does nothing proves nothing: {commands}"
    );
}

#[test]
fn ten_thousand_random_frames_never_panic_and_never_grow() {
    let limits = Limits {
        frame_bytes_max: 64 * 1024,
        ..Limits::default()
    };
    let mut random = Random(6);
    let (mut connections, mut commands, mut errors) = (0, 0, 0);
    let mut open = None;
    for _ in 0..10_000 {
        let mut peer = open.take().unwrap_or_else(|| {
            connections += 1;
            let version = Version::ALL[random.below(3)];
            Peer::limited(limits.clone()).let_in(version, "heart-beat:1000,1000\n")
        });
        let bytes = garbage(&mut random);
        for chunk in chunks(&mut random, &bytes) {
            peer.write_bytes(chunk);
        }
        let kept = peer.session.kept_bytes();
        assert!(kept <= 2 * limits.frame_bytes_max, "{kept} bytes kept");
        for command in peer.commands() {
            commands += 1;
            play_engine(&mut random, &mut peer, &command);
        }
        errors += peer
            .read()
            .iter()
            .filter(|frame| frame.command == "ERROR")
            .count();
        if random.below(20) == 0 && peer.session.poll_timeout().is_some() {
            peer.fire();
        }
        if !peer.session.is_closed() && random.below(200) > 0 {
            open = Some(peer);
        }
    }
    assert!(connections > 500, "{connections} connections");
    assert!(commands > 1_000, "{commands} commands");
    assert!(errors > 1_000, "{errors} errors");
}

/// Answers at random, delivers at random, in time or too late.
fn play_engine(random: &mut Random, peer: &mut Peer, command: &Command) {
    if let Command::Subscribe(subscribe, _) = command {
        let count = 1 + random.below(5) as u64;
        let number = subscribe.subscription;
        let until = if random.below(3) == 0 {
            Time::ZERO
        } else {
            VALID
        };
        peer.deliver(
            (1..=count)
                .map(|id| delivery(number, id, message("x")))
                .collect(),
            until,
        );
    }
    match command {
        Command::Written(_, id) | Command::NotDelivered(_, id) => assert!(*id > DeliveryId(0)),
        command => {
            let request = request_of(command);
            match random.below(4) {
                0 => peer.reply(
                    request.id,
                    refusal(tandemmq_model::RefusalKind::Unknown, "no such thing"),
                ),
                1 if !matches!(command, Command::Disconnect(_)) => {}
                _ if request.wants_receipt => peer.done(request.id),
                _ => {}
            }
        }
    }
}
