//! ERROR: which end the connection, what they say.

use tandemmq_model::{Command, RefusalKind};

use super::support::*;
use crate::Session;
use crate::stomp::Version;

#[test]
fn an_unknown_command_is_an_error_then_close() {
    for version in Version::ALL {
        for command in [
            "HELLO",
            "send",
            "SENDX",
            "MESSAGE",
            "RECEIPT",
            "CONNECTED",
            "ERROR",
            " SEND",
        ] {
            let mut peer = Peer::connected(version);
            let text = peer.killed(format!("{command}\ndestination:/queue/Q\n\n\0"));
            assert!(text.contains("SUBSCRIBE"), "says what is allowed: {text}");
            assert_eq!(peer.commands(), []);
        }
    }
}

#[test]
fn a_protocol_error_carries_the_receipt_id_too() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("HELLO\nreceipt:r\n\n\0");
    assert_eq!(peer.read_one().get("receipt-id"), Some("r"));
}

#[test]
fn a_refusal_is_answered_even_without_a_receipt() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\npersistent:true\n\nx\0");
    let request = request_of(&peer.command());
    peer.reply(
        request.id,
        refusal(RefusalKind::NoSpace, "the disk is full"),
    );
    let error = peer.read_one();
    assert_eq!(error.get("message"), Some("the disk is full"));
    assert_eq!(error.get("receipt-id"), None);
    assert_eq!(error.get("content-type"), Some("text/plain"));
    assert_eq!(error.body, "the disk is full");
    assert!(!peer.session.is_closed());
}

#[test]
fn a_refused_frame_has_no_effect_and_carries_the_receipt_id_when_asked() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SUBSCRIBE\nid:s\ndestination:/queue/Q\nselector:a\nreceipt:r\n\n\0");
    assert_eq!(peer.commands(), []);
    let error = peer.read_one();
    assert_eq!(error.get("receipt-id"), Some("r"));
    peer.subscribe("SUBSCRIBE\nid:s\ndestination:/queue/Q\n\n\0");
}

#[test]
fn malformed_heads_are_errors_then_close() {
    for (frame, word) in [
        (&b"SEND\nno colon\n\nx\0"[..], "name:value"),
        (b"SEND\n:empty name\n\nx\0", "name:value"),
        (b"SEND\ndestination:/queue/Q\0", "blank line"),
        (b"SEND\0", "blank line"),
        (b"SEND\ndestination:/queue/\xff\n\nx\0", "UTF-8"),
        (b"S\xc3\n\nx\0", "UTF-8"),
    ] {
        for version in Version::ALL {
            let mut peer = Peer::connected(version);
            let text = peer.killed(frame);
            assert!(text.contains(word), "{frame:?}: {text}");
        }
    }
}

#[test]
fn a_clients_own_words_come_back_short_and_on_one_line() {
    let mut peer = Peer::connected(Version::V1_2);
    let long = "x".repeat(5_000);
    let text = peer.killed(format!("{long}\n\n\0"));
    assert!(text.len() < 300, "{}", text.len());
    let text = Peer::connected(Version::V1_2).refused(&format!("ACK\nid:\u{e9}\\n{long}\n\n\0"));
    assert!(text.len() < 300 && !text.contains('\n'), "{text:?}");
}

#[test]
fn an_error_waits_until_it_is_sent_but_not_for_ever() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("HELLO\n\n\0");
    assert!(!peer.session.is_closed());
    assert!(
        peer.session.wants_input(),
        "unread bytes would make the close eat the ERROR"
    );
    peer.write("whatever follows");
    peer.fire();
    assert!(
        peer.session.is_closed(),
        "a client that does not read it is closed all the same"
    );
    peer.read_nothing();
}

#[test]
fn what_was_answered_before_a_protocol_error_is_still_sent() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\nreceipt:r\n\nx\0");
    peer.done(1);
    peer.write("HELLO\n\n\0");
    let commands: Vec<_> = peer
        .read()
        .iter()
        .map(|frame| frame.command.clone())
        .collect();
    assert_eq!(commands, ["RECEIPT", "ERROR"]);
    assert!(matches!(peer.command(), Command::Send { .. }));
}
