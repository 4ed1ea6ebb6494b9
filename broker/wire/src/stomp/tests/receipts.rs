//! Receipts: for what, in which order.

use tandemmq_model::{Command, Outcome, RefusalKind};

use super::support::*;
use crate::Session;
use crate::stomp::{Frame, Version};

fn receipts(frames: &[Frame]) -> Vec<String> {
    let id = |frame: &Frame| {
        format!(
            "{} {}",
            frame.command,
            frame.get("receipt-id").unwrap_or("-")
        )
    };
    frames.iter().map(id).collect()
}

/// One frame of each kind that can ask for a receipt, valid in `version` after a SUBSCRIBE `s`.
fn frames_with_receipt(version: Version) -> Vec<String> {
    let ack = match version {
        Version::V1_0 => "message-id:ID:orders-3-1",
        Version::V1_1 => "subscription:s\nmessage-id:ID\\corders-3-1",
        Version::V1_2 => "id:1-1",
    };
    let mut frames = vec![
        "SEND\ndestination:/queue/Q\nreceipt:r\n\nx\0".to_owned(),
        "SEND\ndestination:/queue/Q\npersistent:true\nreceipt:r\n\nx\0".to_owned(),
        "SEND\ndestination:/topic/T\nreceipt:r\n\nx\0".to_owned(),
        "SUBSCRIBE\nid:other\ndestination:/queue/Q\nreceipt:r\n\n\0".to_owned(),
        format!("ACK\n{ack}\nreceipt:r\n\n\0"),
        "BEGIN\ntransaction:t\nreceipt:r\n\n\0".to_owned(),
        "COMMIT\ntransaction:t\nreceipt:r\n\n\0".to_owned(),
        "ABORT\ntransaction:t\nreceipt:r\n\n\0".to_owned(),
        "UNSUBSCRIBE\nid:s\nreceipt:r\n\n\0".to_owned(),
    ];
    if version > Version::V1_0 {
        frames.push(format!("NACK\n{ack}\nreceipt:r\n\n\0"));
    }
    frames
}

#[test]
fn every_frame_gets_its_receipt_only_when_the_engine_answered() {
    for version in Version::ALL {
        for frame in frames_with_receipt(version) {
            let (mut peer, _) = Peer::subscribed(version, "client");
            peer.write(&frame);
            let request = request_of(&peer.command());
            assert!(request.wants_receipt, "{frame:?}");
            peer.read_nothing();
            peer.done(request.id);
            assert_eq!(receipts(&peer.read()), ["RECEIPT r"], "{version} {frame:?}");
        }
    }
}

#[test]
fn a_frame_without_receipt_gets_none() {
    for version in Version::ALL {
        for frame in frames_with_receipt(version) {
            let (mut peer, _) = Peer::subscribed(version, "client");
            peer.write(&frame.replace("receipt:r\n", ""));
            let request = request_of(&peer.command());
            assert!(!request.wants_receipt);
            peer.done(request.id);
            peer.read_nothing();
        }
    }
}

#[test]
fn receipts_come_in_the_order_of_the_answers() {
    let mut peer = Peer::connected(Version::V1_2);
    for receipt in ["a", "b", "c"] {
        peer.write(&format!(
            "SEND\ndestination:/queue/Q\nreceipt:{receipt}\n\nx\0"
        ));
    }
    let ids: Vec<u64> = peer
        .commands()
        .iter()
        .map(|command| request_of(command).id)
        .collect();
    for id in [ids[1], ids[0], ids[2]] {
        peer.done(id);
    }
    assert_eq!(
        receipts(&peer.read()),
        ["RECEIPT b", "RECEIPT a", "RECEIPT c"]
    );
}

#[test]
fn the_receipt_of_subscribe_comes_before_its_first_message() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write("SUBSCRIBE\nid:s\ndestination:/queue/Q\nreceipt:r\n\n\0");
        let Command::Subscribe(subscribe, request) = peer.command() else {
            panic!("a SUBSCRIBE is expected");
        };
        peer.done(request.id);
        peer.deliver(
            vec![delivery(subscribe.subscription, 1, message("x"))],
            VALID,
        );
        let frames = peer.read();
        assert_eq!(receipts(&frames), ["RECEIPT r", "MESSAGE -"]);
    }
}

#[test]
fn the_receipt_of_disconnect_comes_last_then_the_server_closes() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write(
            "SEND\ndestination:/queue/Q\nreceipt:a\n\nx\0SEND\ndestination:/queue/Q\nreceipt:b\n\nx\0\
             DISCONNECT\nreceipt:bye\n\n\0",
        );
        let ids: Vec<u64> = peer
            .commands()
            .iter()
            .map(|command| request_of(command).id)
            .collect();
        peer.done(ids[2]);
        peer.done(ids[1]);
        assert_eq!(receipts(&peer.read()), ["RECEIPT b"]);
        assert!(!peer.session.is_closed(), "a is not answered yet");
        peer.done(ids[0]);
        assert!(!peer.session.is_closed(), "the receipts are not sent yet");
        assert_eq!(receipts(&peer.read()), ["RECEIPT a", "RECEIPT bye"]);
        assert!(peer.session.is_closed());
    }
}

#[test]
fn a_disconnect_without_receipt_closes_after_the_earlier_answers_too() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\nreceipt:a\n\nx\0DISCONNECT\n\n\0");
    let ids: Vec<u64> = peer
        .commands()
        .iter()
        .map(|command| request_of(command).id)
        .collect();
    peer.done(ids[1]);
    assert!(!peer.session.is_closed());
    peer.reply(ids[0], refusal(RefusalKind::NoSpace, "the disk is full"));
    assert_eq!(receipts(&peer.read()), ["ERROR a"]);
    assert!(peer.session.is_closed());
}

#[test]
fn after_disconnect_nothing_is_read_and_nothing_delivered() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    peer.write("DISCONNECT\nreceipt:bye\n\n\0SEND\ndestination:/queue/Q\n\nx\0");
    peer.deliver(vec![delivery(number, 2, message("x"))], VALID);
    peer.write("SEND\ndestination:/queue/Q\n\nx\0");
    let Command::Disconnect(request) = peer.command() else {
        panic!("only DISCONNECT has an effect");
    };
    peer.done(request.id);
    assert_eq!(receipts(&peer.read()), ["RECEIPT bye"]);
    assert!(peer.session.is_closed());
}

#[test]
fn a_receipt_name_comes_back_byte_for_byte() {
    for (version, name, expected) in [
        (Version::V1_0, r"a\c:b", r"a\c:b"),
        (Version::V1_1, r"a\cb\\\n", "a:b\\\n"),
        (Version::V1_2, r"a\cb\\\n\r", "a:b\\\n\r"),
    ] {
        let mut peer = Peer::connected(version);
        peer.write(&format!("SEND\ndestination:/queue/Q\nreceipt:{name}\n\n\0"));
        peer.done(1);
        assert_eq!(
            peer.read_one().get("receipt-id"),
            Some(expected),
            "{version}"
        );
    }
}

#[test]
fn an_answer_nobody_waits_for_is_ignored() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.reply(99, Outcome::Done);
    peer.read_nothing();
}
