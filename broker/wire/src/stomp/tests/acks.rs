//! ACK and NACK.

use tandemmq_model::{
    AckKind, AckRef, Command, DeliveryId, Epoch, MessageId, Offset, RefusalKind, SubscriptionId,
};

use super::support::*;
use crate::stomp::{Frame, Version};

const PERSISTENT: MessageId = MessageId::Persistent(Epoch(3), Offset(1));

/// The ACK that a client makes of a MESSAGE it got.
fn answer(command: &'static str, version: Version, message: &Frame) -> Frame {
    let header = |name: &str| {
        message
            .get(name)
            .expect("MESSAGE has the header")
            .to_owned()
    };
    let frame = Frame::new(command);
    match version {
        Version::V1_0 => frame.header("message-id", header("message-id")),
        Version::V1_1 => frame
            .header("message-id", header("message-id"))
            .header("subscription", header("subscription")),
        Version::V1_2 => frame.header("id", header("ack")),
    }
}

fn expected(version: Version, number: SubscriptionId) -> AckRef {
    match version {
        Version::V1_0 => AckRef::Message(None, PERSISTENT),
        Version::V1_1 => AckRef::Message(Some(number), PERSISTENT),
        Version::V1_2 => AckRef::Delivery(number, DeliveryId(1)),
    }
}

#[test]
fn each_version_acks_with_the_headers_of_its_message() {
    for version in Version::ALL {
        for mode in ["client", "client-individual"] {
            let (mut peer, number) = Peer::subscribed(version, mode);
            peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
            let frame = peer.read_one();
            assert_eq!(peer.commands(), [Command::Written(number, DeliveryId(1))]);
            peer.write_bytes(answer("ACK", version, &frame).encode_as(version));
            let command = peer.command();
            assert_eq!(ack_ref(&command), expected(version, number), "{version}");
            assert!(matches!(
                command,
                Command::Ack {
                    kind: AckKind::Consumed,
                    tx: None,
                    ..
                }
            ));
        }
    }
}

#[test]
fn nack_is_a_poison_ack_from_1_1_on() {
    for version in NEW {
        let (mut peer, number) = Peer::subscribed(version, "client");
        peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
        let frame = peer.read_one();
        peer.commands();
        peer.write_bytes(answer("NACK", version, &frame).encode_as(version));
        let command = peer.command();
        assert_eq!(ack_ref(&command), expected(version, number));
        assert!(matches!(
            command,
            Command::Ack {
                kind: AckKind::Poison,
                ..
            }
        ));
    }
}

#[test]
fn nack_in_1_0_is_an_error() {
    let (mut peer, _) = Peer::subscribed(Version::V1_0, "client");
    let text = peer.refused("NACK\nmessage-id:ID:orders-3-1\n\n\0");
    assert!(text.contains("1.1"), "{text}");
}

#[test]
fn v1_0_may_name_the_subscription_too() {
    let (mut peer, number) = Peer::subscribed(Version::V1_0, "client");
    peer.write("ACK\nsubscription:s\nmessage-id:ID:orders-3-1\n\n\0");
    assert_eq!(
        ack_ref(&peer.command()),
        AckRef::Message(Some(number), PERSISTENT)
    );
}

#[test]
fn a_transient_message_has_an_id_that_can_be_acked() {
    let (mut peer, number) = Peer::subscribed(Version::V1_1, "client");
    let transient = MessageId::Transient(Epoch(3), 9);
    let mut one = delivery(number, 1, message("x"));
    if let tandemmq_model::Delivery::Message { message_id, .. } = &mut one {
        *message_id = transient;
    }
    peer.deliver(vec![one], VALID);
    let frame = peer.read_one();
    assert_eq!(frame.get("message-id"), Some("ID:orders-3-n9"));
    peer.commands();
    peer.write_bytes(answer("ACK", Version::V1_1, &frame).encode_as(Version::V1_1));
    assert_eq!(
        ack_ref(&peer.command()),
        AckRef::Message(Some(number), transient)
    );
}

#[test]
fn an_ack_in_a_transaction_names_it() {
    let (mut peer, _) = Peer::subscribed(Version::V1_2, "client");
    peer.write("ACK\nid:1-1\ntransaction:t\n\n\0");
    assert!(matches!(peer.command(), Command::Ack { tx: Some(tx), .. } if tx == "t"));
}

#[test]
fn a_missing_header_of_an_ack_is_refused_by_name() {
    for (version, frame, header) in [
        (Version::V1_0, "ACK\n\n\0", "message-id"),
        (Version::V1_1, "ACK\nsubscription:s\n\n\0", "message-id"),
        (
            Version::V1_1,
            "ACK\nmessage-id:ID\\corders-3-1\n\n\0",
            "subscription",
        ),
        (
            Version::V1_1,
            "NACK\nmessage-id:ID\\corders-3-1\n\n\0",
            "subscription",
        ),
        (
            Version::V1_2,
            "ACK\nsubscription:s\nmessage-id:ID\\corders-3-1\n\n\0",
            "id",
        ),
        (Version::V1_2, "NACK\n\n\0", "id"),
    ] {
        let (mut peer, _) = Peer::subscribed(version, "client");
        let text = peer.refused(frame);
        assert!(
            text.contains(&format!("header {header}")),
            "{version} {frame:?}: {text}"
        );
    }
}

#[test]
fn an_ack_of_something_no_message_was_called_is_an_error_and_the_connection_stays() {
    for (version, headers) in [
        (Version::V1_0, "message-id:ID:other-3-1"),
        (Version::V1_0, "message-id:nonsense"),
        (
            Version::V1_0,
            "message-id:ID:orders-3-1\nsubscription:unknown",
        ),
        (Version::V1_1, "message-id:ID\\corders-3-\nsubscription:s"),
        (
            Version::V1_1,
            "message-id:ID\\corders-3-1\nsubscription:unknown",
        ),
        (Version::V1_2, "id:nonsense"),
        (Version::V1_2, "id:9-1"),
        (Version::V1_2, "id:1-"),
        (Version::V1_2, "id:1--1"),
        (Version::V1_2, "id:99999999999-1"),
    ] {
        let (mut peer, _) = Peer::subscribed(version, "client");
        let text = peer.refused(&format!("ACK\n{headers}\n\n\0"));
        assert!(text.contains("ack"), "{version} {headers}: {text}");
    }
}

#[test]
fn an_ack_the_engine_does_not_know_is_an_error_with_receipt_id_and_the_connection_stays() {
    for version in Version::ALL {
        let (mut peer, number) = Peer::subscribed(version, "client");
        peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
        let frame = peer.read_one();
        peer.commands();
        let ack = answer("ACK", version, &frame).header("receipt", "r");
        peer.write_bytes(ack.encode_as(version));
        let request = request_of(&peer.command());
        peer.reply(
            request.id,
            refusal(RefusalKind::Unknown, "no such delivery"),
        );
        let error = peer.read_one();
        assert_eq!(error.command, "ERROR");
        assert_eq!(error.get("receipt-id"), Some("r"));
        assert_eq!(error.get("message"), Some("no such delivery"));
        assert!(!crate::Session::is_closed(&peer.session));
    }
}

#[test]
fn an_ack_of_an_ended_subscription_is_unknown() {
    let (mut peer, _) = Peer::subscribed(Version::V1_2, "client");
    peer.write("UNSUBSCRIBE\nid:s\n\n\0");
    peer.command();
    peer.refused("ACK\nid:1-1\n\n\0");
}
