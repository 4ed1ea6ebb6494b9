//! SEND and its headers.

use tandemmq_model::{Command, Destination};

use super::support::*;
use crate::stomp::{Frame, Version};

fn sent(headers: &str) -> tandemmq_model::Message {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write(&format!("SEND\ndestination:/queue/Q\n{headers}\nbody\0"));
    peer.message()
}

#[test]
fn a_plain_send_is_not_persistent() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write("SEND\ndestination:/queue/Q\n\nbody\0");
        let message = peer.message();
        let expected = tandemmq_model::Message {
            persistent: false,
            ..message.clone()
        };
        assert_eq!(message, expected);
        assert_eq!((message.priority, message.expiration_ms), (4, 0));
        assert_eq!(message.timestamp_ms, WALL_MS, "stamped on arrival");
    }
}

#[test]
fn persistent_is_true_or_false_and_nothing_else() {
    assert!(sent("persistent:true\n").persistent);
    assert!(!sent("persistent:false\n").persistent);
    for value in ["True", "yes", "1", ""] {
        let frame = format!("SEND\ndestination:/queue/Q\npersistent:{value}\n\n\0");
        let text = Peer::connected(Version::V1_2).refused(&frame);
        assert!(
            text.contains("persistent"),
            "a typing error must not lose messages: {text}"
        );
    }
}

#[test]
fn every_known_header_finds_its_field() {
    let message = sent(
        "expires:1700000009999\npriority:7\ncorrelation-id:c\nreply-to:/topic/R\ntype:t\n\
         timestamp:12345\n",
    );
    assert_eq!(message.expiration_ms, 1_700_000_009_999);
    assert_eq!(message.priority, 7);
    assert_eq!(message.correlation_id.as_deref(), Some("c"));
    assert_eq!(message.reply_to, Some(Destination::topic("R")));
    assert_eq!(message.jms_type.as_deref(), Some("t"));
    assert_eq!(message.timestamp_ms, 12_345);
    assert_eq!(message.properties, []);
}

#[test]
fn a_priority_above_nine_is_nine() {
    assert_eq!(sent("priority:0\n").priority, 0);
    assert_eq!(sent("priority:10\n").priority, 9);
    assert_eq!(sent("priority:300\n").priority, 9);
}

#[test]
fn a_number_that_is_none_is_refused_naming_the_header() {
    for header in ["expires", "priority", "timestamp"] {
        for value in ["x", "-1", "", "1.5"] {
            let frame = format!("SEND\ndestination:/queue/Q\n{header}:{value}\n\n\0");
            let text = Peer::connected(Version::V1_2).refused(&frame);
            assert!(text.contains(header), "{header}:{value}: {text}");
        }
    }
}

#[test]
fn every_other_header_is_a_property_in_the_order_it_came() {
    let message = sent("zeta:1\ncontent-type:text/plain\nalpha:\nJMSXGroupID:g\n");
    assert_eq!(
        message.properties,
        [
            ("zeta".into(), "1".into()),
            ("content-type".into(), "text/plain".into()),
            ("alpha".into(), "".into()),
            ("JMSXGroupID".into(), "g".into()),
        ]
    );
}

#[test]
fn a_sender_cannot_set_the_brokers_headers() {
    let message = sent(
        "message-id:ID:forged\nredelivered:true\nsubscription:s\nJMSXUserID:root\nreceipt:r\n\
         mine:1\n",
    );
    assert_eq!(message.properties, [("mine".into(), "1".into())]);
}

#[test]
fn a_send_in_a_transaction_names_it() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\ntransaction:t1\n\nx\0");
    let Command::Send {
        message,
        tx,
        request,
    } = peer.command()
    else {
        panic!("a SEND is expected");
    };
    assert_eq!(tx.as_deref(), Some("t1"));
    assert_eq!(message.properties, []);
    assert!(!request.wants_receipt);
}

#[test]
fn a_send_without_destination_is_refused() {
    for version in Version::ALL {
        let text = Peer::connected(version).refused("SEND\n\nx\0");
        assert!(text.contains("destination"), "{text}");
    }
}

/// Bytes that nobody else shares.
fn is_own(text: bytestring::ByteString) -> bool {
    text.into_bytes().is_unique()
}

#[test]
fn a_message_does_not_keep_headers_alive_that_it_has_not() {
    let long = "x".repeat(10_000);
    let repeated = format!("one:1\n{}", format!("one:{long}\n").repeat(900));
    let dropped = format!("one:1\nmessage-id:{long}\nredelivered:{long}\nJMSXUserID:{long}\n");
    let read = format!("one:1\nexpires:{}5\n", " ".repeat(9_000));
    for headers in [repeated, dropped, read] {
        let message = sent(&headers);
        let (name, value) = message.properties.into_iter().next().unwrap();
        assert_eq!((&*name, &*value), ("one", "1"));
        assert!(is_own(name), "it holds {} bytes", headers.len());
        assert!(is_own(value), "it holds {} bytes", headers.len());
        assert!(is_own(message.destination.name));
    }
}

#[test]
fn the_strings_of_a_small_message_share_their_frame() {
    let message = sent("one:1\n");
    let (name, _value) = message.properties.into_iter().next().unwrap();
    assert!(!is_own(name), "a copy of each would cost an allocation");
}

#[test]
fn what_is_kept_of_a_frame_does_not_keep_the_frame() {
    let mut peer = Peer::connected(Version::V1_2);
    let other = format!("other:{}\n", "x".repeat(10_000));
    peer.write(&format!("BEGIN\ntransaction:t\nreceipt:r\n{other}\n\0"));
    let Command::Begin(tx, _) = peer.command() else {
        panic!("BEGIN was read");
    };
    assert!(is_own(tx), "a transaction may stay open for long");
}

#[test]
fn what_is_kept_of_a_frame_is_a_copy_when_the_frame_is_large() {
    let small = Frame::new("SUBSCRIBE").header("id", "1".to_owned());
    assert!(!is_own(small.kept("id").unwrap()));
    let large = small.header("other", "x".repeat(10_000));
    assert!(is_own(large.kept("id").unwrap()));
}
