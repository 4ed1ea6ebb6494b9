//! Bodies: length, kind, both ways.

use bytes::Bytes;
use tandemmq_model::BodyKind;

use super::support::*;
use crate::stomp::Version;

#[test]
fn content_length_takes_exactly_so_many_bytes_nul_inside_allowed() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write("SEND\ndestination:/queue/Q\ncontent-length:5\n\na\0b\0c\0");
        let message = peer.message();
        assert_eq!(message.body, "a\0b\0c");
        assert_eq!(message.body_kind, BodyKind::Bytes);
        assert_eq!(message.properties, []);
    }
}

#[test]
fn without_content_length_the_body_ends_at_nul_and_is_text() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write("SEND\ndestination:/queue/Q\n\nab\ncd\0");
        let message = peer.message();
        assert_eq!(message.body, "ab\ncd");
        assert_eq!(message.body_kind, BodyKind::Text);
    }
}

#[test]
fn a_content_length_of_zero_is_an_empty_bytes_message() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\ncontent-length:0\n\n\0");
    let message = peer.message();
    assert_eq!(
        (message.body.len(), message.body_kind),
        (0, BodyKind::Bytes)
    );
}

#[test]
fn a_wrong_content_length_is_an_error_then_close() {
    for length in ["3", "0"] {
        let mut peer = Peer::connected(Version::V1_2);
        let text = peer.killed(format!(
            "SEND\ndestination:/queue/Q\ncontent-length:{length}\n\nhello\0"
        ));
        assert!(text.contains("content-length"), "{text}");
        assert_eq!(peer.commands(), []);
    }
}

#[test]
fn a_content_length_that_is_no_length_is_an_error_then_close() {
    for length in ["-1", "abc", "", "1.5", "+3", "0x10", "1 2"] {
        let mut peer = Peer::connected(Version::V1_2);
        let text = peer.killed(format!(
            "SEND\ndestination:/queue/Q\ncontent-length:{length}\n\nhi\0"
        ));
        assert!(text.contains("content-length"), "{length:?}: {text}");
    }
    for length in [
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        let mut peer = Peer::connected(Version::V1_2);
        let text = peer.killed(format!(
            "SEND\ndestination:/queue/Q\ncontent-length:{length}\n\nhi\0"
        ));
        assert!(text.contains("too large"), "{length:?}: {text}");
    }
}

fn written(version: Version, kind: BodyKind, body: &'static str) -> (String, Bytes) {
    let (mut peer, number) = Peer::subscribed(version, "auto");
    let mut message = message(body);
    message.body_kind = kind;
    peer.deliver(vec![delivery(number, 1, message)], VALID);
    let frame = peer.read_one();
    (
        frame.get("content-length").unwrap_or("none").to_owned(),
        frame.body,
    )
}

#[test]
fn a_text_message_goes_out_without_content_length_in_1_0_only() {
    assert_eq!(
        written(Version::V1_0, BodyKind::Text, "hi"),
        ("none".into(), "hi".into())
    );
    assert_eq!(
        written(Version::V1_1, BodyKind::Text, "hi"),
        ("2".into(), "hi".into())
    );
    assert_eq!(
        written(Version::V1_2, BodyKind::Text, "hi"),
        ("2".into(), "hi".into())
    );
}

#[test]
fn a_bytes_message_goes_out_with_content_length_in_every_version() {
    for version in Version::ALL {
        assert_eq!(
            written(version, BodyKind::Bytes, "a\0b"),
            ("3".into(), "a\0b".into())
        );
    }
}

#[test]
fn a_text_with_nul_inside_keeps_its_frame_whole_even_in_1_0() {
    assert_eq!(
        written(Version::V1_0, BodyKind::Text, "a\0b"),
        ("3".into(), "a\0b".into())
    );
}

#[test]
fn a_large_body_passes_both_ways_without_a_copy() {
    let body = "x".repeat(100_000);
    let mut peer = Peer::connected(Version::V1_2);
    let chunk = Bytes::from(format!(
        "SEND\ndestination:/queue/Q\ncontent-length:100000\n\n{body}\0"
    ));
    let start = chunk.len() - 1 - body.len();
    peer.write_bytes(chunk.clone());
    let sent = peer.message();
    assert_eq!(
        sent.body.as_ptr(),
        chunk[start..].as_ptr(),
        "a slice of the chunk"
    );

    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    let origin = sent.body.as_ptr();
    peer.deliver(vec![delivery(number, 1, sent)], VALID);
    let pieces: Vec<Bytes> =
        std::iter::from_fn(|| crate::Session::poll_transmit(&mut peer.session, peer.now)).collect();
    assert!(
        pieces.iter().any(|piece| piece.as_ptr() == origin),
        "a piece of its own"
    );
}

#[test]
fn a_small_body_does_not_keep_its_chunk_alive() {
    let mut peer = Peer::connected(Version::V1_2);
    let chunk = Bytes::from("SEND\ndestination:/queue/Q\n\nsmall\0".repeat(100));
    peer.write_bytes(chunk.clone());
    let commands = peer.commands();
    assert_eq!(commands.len(), 100);
    assert!(chunk.is_unique(), "no message holds on to 3 kB for 5 bytes");
}
