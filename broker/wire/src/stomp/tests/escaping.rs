//! Escapes, repeated headers, line ends.

use bytestring::ByteString;

use super::support::*;
use crate::stomp::{ClientCodec, Frame, Version};

fn property_of(version: Version, header: &str) -> (ByteString, ByteString) {
    let mut peer = Peer::connected(version);
    peer.write(&format!("SEND\ndestination:/queue/Q\n{header}\n\n\0"));
    peer.message().properties.remove(0)
}

#[test]
fn v1_0_has_no_escapes_and_cuts_blanks_off_values() {
    assert_eq!(
        property_of(Version::V1_0, r"a\c:x\ny\\"),
        (r"a\c".into(), r"x\ny\\".into())
    );
    assert_eq!(
        property_of(Version::V1_0, "a:  x y "),
        ("a".into(), "x y".into())
    );
}

#[test]
fn v1_1_reads_newline_colon_and_backslash() {
    assert_eq!(
        property_of(Version::V1_1, r"a\cb:x\ny\\z\c"),
        ("a:b".into(), "x\ny\\z:".into())
    );
    assert_eq!(
        property_of(Version::V1_1, "a: x "),
        ("a".into(), " x ".into())
    );
    assert_eq!(
        property_of(Version::V1_1, "a:b:c"),
        ("a".into(), "b:c".into())
    );
}

#[test]
fn v1_2_also_reads_carriage_return() {
    assert_eq!(
        property_of(Version::V1_2, r"a:\r\n\c\\"),
        ("a".into(), "\r\n:\\".into())
    );
}

#[test]
fn an_undefined_escape_is_an_error_then_close() {
    for (version, escape) in [
        (Version::V1_1, r"\r"),
        (Version::V1_1, r"\t"),
        (Version::V1_1, r"x\"),
        (Version::V1_2, r"\t"),
        (Version::V1_2, r"\N"),
        (Version::V1_2, r"x\"),
        (Version::V1_2, "\\\u{e9}"),
    ] {
        for header in [format!("a:{escape}"), format!("{escape}:a")] {
            let mut peer = Peer::connected(version);
            let text = peer.killed(format!("SEND\ndestination:/queue/Q\n{header}\n\n\0"));
            assert!(text.contains("escape"), "{version} {header}: {text}");
            assert_eq!(peer.commands(), []);
        }
    }
}

#[test]
fn what_is_escaped_comes_back_equal_through_both_sides() {
    for (version, value) in [
        (Version::V1_1, "a:b\\c\nd"),
        (Version::V1_2, "a:b\\c\nd\r"),
        (Version::V1_0, r"a\nb\c"),
    ] {
        let mut peer = Peer::connected(version);
        let frame = Frame::new("SEND")
            .header("destination", "/queue/Q")
            .header("p", value);
        peer.write_bytes(frame.encode_as(version));
        let sent = peer.message();
        assert_eq!(sent.properties, [("p".into(), value.into())], "{version}");
        let (mut other, number) = Peer::subscribed(version, "auto");
        other.deliver(vec![delivery(number, 1, sent)], VALID);
        assert_eq!(other.read_one().get("p"), Some(value), "{version}");
    }
}

#[test]
fn the_first_of_repeated_headers_wins() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write("SEND\ndestination:/queue/A\ndestination:/queue/B\np:1\np:2\n\n\0");
        let message = peer.message();
        assert_eq!(message.destination.name, "A");
        assert_eq!(message.properties, [("p".into(), "1".into())]);
    }
}

#[test]
fn the_first_wins_among_many_headers_too() {
    let mut headers = String::new();
    for number in 0..300 {
        headers.push_str(&format!("h{}:{number}\n", number % 100));
    }
    let mut peer = Peer::connected(Version::V1_2);
    peer.write(&format!("SEND\ndestination:/queue/A\n{headers}\n\0"));
    let properties = peer.message().properties;
    assert_eq!(properties.len(), 100);
    for (number, (name, value)) in properties.iter().enumerate() {
        assert_eq!(*name, format!("h{number}"));
        assert_eq!(*value, number.to_string());
    }
}

#[test]
fn cr_lf_ends_a_line_in_every_version() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write("\r\nSEND\r\ndestination:/queue/A\r\np:1\r\n\r\nbody\r\n\0\r\n");
        let message = peer.message();
        assert_eq!(message.destination.name, "A");
        assert_eq!(message.properties, [("p".into(), "1".into())]);
        assert_eq!(message.body, "body\r\n", "the body is left alone");
    }
}

#[test]
fn a_header_cannot_be_forged_for_a_consumer_of_another_version() {
    let evil = "x\nmessage-id:forged\r\n\0";
    for version in Version::ALL {
        let (mut peer, number) = Peer::subscribed(version, "auto");
        let mut message = message("hello");
        message.properties = vec![
            ("p".into(), evil.into()),
            ("n\nredelivered:true\nx".into(), "v".into()),
        ];
        message.correlation_id = Some(evil.into());
        peer.deliver(vec![delivery(number, 1, message)], VALID);
        let frame = peer.read_one();
        assert_eq!(frame.get("message-id"), Some("ID:orders-3-1"), "{version}");
        assert_eq!(frame.get("redelivered"), None, "{version}");
        assert_eq!(frame.body, "hello", "{version}");
    }
}

#[test]
fn the_server_escapes_ids_in_1_1_and_later_only() {
    for (version, expected) in [
        (Version::V1_0, "message-id:ID:orders-3-1\n"),
        (Version::V1_1, "message-id:ID\\corders-3-1\n"),
        (Version::V1_2, "message-id:ID\\corders-3-1\n"),
    ] {
        let (mut peer, number) = Peer::subscribed(version, "auto");
        peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
        let bytes = String::from_utf8(peer.read_bytes()).unwrap();
        assert!(bytes.contains(expected), "{version}: {bytes}");
    }
}

#[test]
fn a_client_codec_reads_with_the_version_of_connected() {
    let mut codec = ClientCodec::new();
    codec.feed("CONNECTED\nversion:1.1\n\n\0\nRECEIPT\nreceipt-id:a\\cb\n\n\0");
    assert_eq!(codec.next_frame().unwrap().unwrap().command, "CONNECTED");
    assert_eq!(
        codec.next_frame().unwrap().unwrap().get("receipt-id"),
        Some("a:b")
    );
    assert_eq!(codec.next_frame(), Ok(None));
}
