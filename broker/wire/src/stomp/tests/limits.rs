//! Limits of frames and headers.

use std::fmt::Write as _;

use bytes::Bytes;

use super::support::*;
use crate::stomp::Version;

const MIB_10: usize = 10 * 1024 * 1024;

#[test]
fn before_connected_a_frame_has_at_most_16_kib() {
    let body = "x".repeat(16 * 1024);
    let mut peer = Peer::new();
    let text = peer.killed(format!("CONNECT\naccept-version:1.2\n\n{body}\0"));
    assert!(text.contains("16384"), "{text}");
    let text = Peer::new().killed("CONNECT\ncontent-length:16384\n\n");
    assert!(
        text.contains("16384"),
        "refused before a byte of the body came: {text}"
    );
    let header = format!("a:{}\n", "y".repeat(9_000));
    let text = Peer::new().killed(format!("CONNECT\n{header}b{header}"));
    assert!(
        text.contains("16384"),
        "refused before the head is whole: {text}"
    );
}

#[test]
fn a_login_of_10_kib_fits_before_connected() {
    let mut peer = Peer::new();
    let login = "x".repeat(10 * 1024 - 6);
    peer.write(&format!("CONNECT\naccept-version:1.2\nlogin:{login}\n\n\0"));
    assert_eq!(peer.read_one().command, "CONNECTED");
}

#[test]
fn after_connected_a_frame_has_at_most_10_mib() {
    let head = "SEND\ndestination:/queue/Q\ncontent-length:";
    let mut peer = Peer::connected(Version::V1_2);
    let text = peer.killed(format!("{head}{MIB_10}\n\n"));
    assert!(
        text.contains("10485760"),
        "refused before a byte of the body came: {text}"
    );

    let length = MIB_10 - head.len() - MIB_10.to_string().len() - 3;
    let mut frame = format!("{head}{length}\n\n").into_bytes();
    frame.resize(frame.len() + length, b'x');
    frame.push(0);
    assert!(frame.len() <= MIB_10);
    let mut peer = Peer::connected(Version::V1_2);
    peer.write_bytes(frame.into());
    assert_eq!(peer.message().body.len(), length);
}

#[test]
fn a_text_body_is_counted_as_it_comes() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\n\n");
    let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
    for _ in 0..9 {
        peer.write_bytes(chunk.clone());
    }
    peer.read_nothing();
    assert!(peer.killed(chunk).contains("10485760"));
}

#[test]
fn one_header_line_has_at_most_10_kib() {
    for line in [
        format!("a:{}", "x".repeat(10 * 1024)),
        "x".repeat(10 * 1024 + 1),
    ] {
        let mut peer = Peer::connected(Version::V1_2);
        let text = peer.killed(format!("SEND\n{line}"));
        assert!(
            text.contains("10240"),
            "refused before the line is whole: {text}"
        );
    }
    let mut peer = Peer::connected(Version::V1_2);
    let value = "x".repeat(10 * 1024 - 2);
    peer.write(&format!("SEND\ndestination:/queue/Q\na:{value}\n\n\0"));
    assert_eq!(peer.message().properties[0].1, value);
}

#[test]
fn a_frame_has_at_most_1000_headers() {
    let mut headers = String::new();
    for number in 0..999 {
        writeln!(headers, "h{number}:x").unwrap();
    }
    let mut peer = Peer::connected(Version::V1_2);
    peer.write(&format!("SEND\ndestination:/queue/Q\n{headers}\n\0"));
    assert_eq!(peer.message().properties.len(), 999);
    let mut peer = Peer::connected(Version::V1_2);
    let text = peer.killed(format!("SEND\ndestination:/queue/Q\n{headers}one-more:x\n"));
    assert!(text.contains("1000"), "{text}");
}

#[test]
fn a_stranger_makes_us_keep_nothing_after_an_error() {
    let mut peer = Peer::new();
    peer.killed("HELLO\n\n\0");
    for _ in 0..1_000 {
        peer.write_bytes(Bytes::from(vec![b'x'; 64 * 1024]));
    }
    assert_eq!(peer.commands(), []);
    peer.read_nothing();
}
