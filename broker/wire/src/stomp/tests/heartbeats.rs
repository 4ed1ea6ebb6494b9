//! Heart-beats in both directions.

use std::time::Duration;

use super::support::*;
use crate::stomp::Version;
use crate::{Limits, Session};

fn beating(header: &str) -> Peer {
    Peer::new().let_in(Version::V1_2, &format!("heart-beat:{header}\n"))
}

fn agreed(header: &str) -> String {
    let mut peer = Peer::new();
    peer.write(&format!(
        "CONNECT\naccept-version:1.1\nheart-beat:{header}\n\n\0"
    ));
    peer.read_one().get("heart-beat").unwrap().to_owned()
}

#[test]
fn the_answer_takes_what_the_client_offers_and_wants() {
    assert_eq!(agreed("0,0"), "0,0");
    assert_eq!(agreed("4000,5000"), "5000,4000");
    assert_eq!(agreed("4000,0"), "0,4000");
    assert_eq!(agreed(" 4000 , 5000 "), "5000,4000");
}

#[test]
fn no_interval_is_shorter_than_a_tenth_of_a_second() {
    assert_eq!(agreed("1,2"), "100,100");
}

#[test]
fn a_heart_beat_header_that_is_not_two_numbers_is_an_error_then_close() {
    for header in [
        "",
        "1",
        "1,",
        "a,b",
        "-1,0",
        "1,2,3",
        "99999999999999999999,0",
    ] {
        let mut peer = Peer::new();
        let text = peer.killed(format!(
            "CONNECT\naccept-version:1.2\nheart-beat:{header}\n\n\0"
        ));
        assert!(text.contains("heart-beat"), "{header:?}: {text}");
    }
}

#[test]
fn the_largest_interval_means_never_and_does_not_overflow() {
    let mut peer = beating("18446744073709551615,18446744073709551615");
    assert!(peer.session.poll_timeout().is_some());
    peer.session.handle_timeout(peer.now);
    peer.read_nothing();
}

#[test]
fn without_heart_beats_a_quiet_connection_stays_for_ever() {
    let mut peer = Peer::connected(Version::V1_2);
    assert_eq!(peer.session.poll_timeout(), None);
    peer.advance(Duration::from_secs(86_400));
    peer.session.handle_timeout(peer.now);
    peer.read_nothing();
    assert!(!peer.session.is_closed());
}

#[test]
fn the_server_sends_a_line_end_before_the_interval_ends() {
    let mut peer = beating("0,1000");
    for _ in 0..3 {
        let last = peer.now.boot;
        peer.fire();
        assert!(peer.now.boot.since(last) < Duration::from_millis(1000));
        assert!(peer.now.boot.since(last) > Duration::from_millis(500));
        assert_eq!(peer.read_bytes(), b"\n");
    }
}

#[test]
fn any_frame_counts_as_the_servers_heart_beat() {
    let mut peer = beating("0,1000");
    peer.advance(Duration::from_millis(700));
    peer.write("SEND\ndestination:/queue/Q\nreceipt:r\n\n\0");
    peer.done(1);
    assert_eq!(peer.read_one().command, "RECEIPT");
    peer.advance(Duration::from_millis(700));
    peer.session.handle_timeout(peer.now);
    peer.read_nothing();
}

#[test]
fn a_client_silent_for_twice_its_interval_gets_an_error_and_is_closed() {
    let mut peer = beating("1000,0");
    let start = peer.now.boot;
    peer.fire();
    assert_eq!(peer.now.boot.since(start), Duration::from_secs(2));
    let error = peer.read_one();
    assert!(
        error.get("message").unwrap().contains("heart-beat"),
        "{error:?}"
    );
    assert!(peer.session.is_closed());
}

#[test]
fn line_ends_keep_a_client_alive() {
    let mut peer = beating("1000,0");
    for eol in ["\n", "\r\n", "\n\n"].iter().cycle().take(10) {
        peer.advance(Duration::from_millis(1_900));
        peer.write(eol);
        peer.session.handle_timeout(peer.now);
    }
    peer.read_nothing();
    assert_eq!(peer.commands(), []);
    assert!(!peer.session.is_closed());
}

#[test]
fn half_a_frame_keeps_a_client_alive() {
    let mut peer = beating("1000,0");
    peer.write("SEND\ndestination:/queue/Q\ncontent-length:1000\n\n");
    for _ in 0..10 {
        peer.advance(Duration::from_millis(1_900));
        peer.write("xx");
        peer.session.handle_timeout(peer.now);
    }
    assert!(!peer.session.is_closed());
}

#[test]
fn silence_counts_only_while_we_read() {
    let limits = Limits {
        unanswered_requests_max: 1,
        ..Limits::default()
    };
    let mut peer = Peer::limited(limits).let_in(Version::V1_2, "heart-beat:1000,0\n");
    peer.write("SEND\ndestination:/queue/Q\nreceipt:r\n\n\0");
    assert!(!peer.session.wants_input());
    peer.advance(Duration::from_secs(60));
    peer.session.handle_timeout(peer.now);
    peer.read_nothing();
    peer.done(1);
    assert!(peer.session.wants_input());
    peer.session.handle_timeout(peer.now);
    assert_eq!(
        peer.read_one().command,
        "RECEIPT",
        "its silence begins only now"
    );
    peer.fire();
    assert_eq!(peer.read_one().command, "ERROR", "and then counts");
}
