//! Whole conversations, byte for byte, one file each in `testdata`.
//!
//! A file is prose (`#`) and steps, each a line `--- client`, `--- commands`, `--- engine` or
//! `--- server` and a block up to the next step. In the blocks of client and server `^@` stands
//! for NUL and `^M` for CR; the line end before the next step belongs to the file, not to the
//! block. `commands` is what the engine gets (`Debug`), `engine` what it says:
//! `done <request>`, `refused <request> <text>`, `deliver <name>` with the names of `fixture`.

use std::fmt::Write as _;

use tandemmq_model::{
    BodyKind, DeadLetterOrigin, Delivery, Destination, RefusalKind, SubscriptionId,
};

use super::support::*;
use crate::Session;

#[test]
fn a_conversation_in_1_0() {
    play(include_str!("../../../testdata/conversation_1_0.txt"));
}

#[test]
fn a_conversation_in_1_1() {
    play(include_str!("../../../testdata/conversation_1_1.txt"));
}

#[test]
fn a_conversation_in_1_2() {
    play(include_str!("../../../testdata/conversation_1_2.txt"));
}

#[test]
fn conversations_that_end_badly() {
    for text in include_str!("../../../testdata/errors.txt")
        .split("--- new connection\n")
        .skip(1)
    {
        play(text);
    }
}

fn play(text: &str) {
    let mut peer = Peer::new();
    let mut actual = String::new();
    let mut steps = text.split("--- ");
    actual.push_str(steps.next().unwrap());
    for step in steps {
        let (who, block) = step.split_once('\n').unwrap();
        writeln!(actual, "--- {who}").unwrap();
        let block = block.strip_suffix('\n').unwrap_or(block);
        match who {
            "client" => {
                peer.write(&block.replace("^@", "\0").replace("^M", "\r"));
                actual.push_str(block);
            }
            "engine" => {
                block.lines().for_each(|line| engine(&mut peer, line));
                actual.push_str(block);
            }
            "commands" => {
                let commands: Vec<_> = peer
                    .commands()
                    .iter()
                    .map(|command| format!("{command:?}"))
                    .collect();
                actual.push_str(&commands.join("\n"));
            }
            "server" => {
                let bytes = String::from_utf8(peer.read_bytes()).unwrap();
                actual.push_str(&bytes.replace('\0', "^@").replace('\r', "^M"));
            }
            "closed" => {
                assert!(
                    peer.session.is_closed(),
                    "closed is expected after\n{actual}"
                );
                actual.push_str(block);
            }
            other => panic!("unknown step {other:?}"),
        }
        actual.push('\n');
    }
    assert!(
        actual.trim_end() == text.trim_end(),
        "the conversation went like this:\n{actual}"
    );
}

fn engine(peer: &mut Peer, line: &str) {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    let number = |at: usize| words[at].parse().unwrap();
    match words[0] {
        "done" => peer.done(number(1)),
        "refused" => {
            let text = bytestring::ByteString::from(words[2]);
            let kind = RefusalKind::NoSpace;
            let refusal = tandemmq_model::Refusal { kind, text };
            peer.reply(number(1), tandemmq_model::Outcome::Refused(refusal));
        }
        "deliver" => peer.deliver(vec![fixture(words[1])], VALID),
        other => panic!("unknown word {other:?}"),
    }
}

fn fixture(name: &str) -> Delivery {
    let first = SubscriptionId(1);
    match name {
        "text" => delivery(first, 1, message("hello")),
        "full" => {
            let mut full = message("\u{e9}\n");
            full.body_kind = BodyKind::Bytes;
            full.priority = 9;
            full.expiration_ms = 1_800_000_000_000;
            full.correlation_id = Some("c:1".into());
            full.reply_to = Some(Destination::queue("answers"));
            full.jms_type = Some("greeting".into());
            full.properties = vec![("colour".into(), "red:blue\\\n".into())];
            let mut full = delivery(first, 2, full);
            if let Delivery::Message { redelivered, .. } = &mut full {
                *redelivered = true;
            }
            full
        }
        "dead-letter" => {
            let mut dead = delivery(first, 3, message("late"));
            if let Delivery::Message {
                destination,
                origin,
                ..
            } = &mut dead
            {
                *destination = Destination::queue("ActiveMQ.DLQ");
                *origin = Some(DeadLetterOrigin {
                    destination: Destination::queue("Q"),
                    cause: "Expired".into(),
                });
            }
            dead
        }
        "end" => Delivery::End {
            subscription: first,
        },
        other => panic!("unknown fixture {other:?}"),
    }
}
