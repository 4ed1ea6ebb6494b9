//! Back-pressure, and clients that do not read.

use std::fmt::Write as _;
use std::time::Duration;

use tandemmq_model::RefusalKind;

use super::support::*;
use crate::stomp::Version;
use crate::{Limits, Session};

#[test]
fn reading_stops_at_too_many_unanswered_requests_and_goes_on_with_the_answers() {
    let limits = Limits {
        unanswered_requests_max: 10,
        ..Limits::default()
    };
    let mut peer = Peer::limited(limits).let_in(Version::V1_2, "");
    for number in 0..10 {
        assert!(peer.session.wants_input());
        peer.write(&format!(
            "SEND\ndestination:/queue/Q\nreceipt:{number}\n\n\0"
        ));
    }
    assert!(!peer.session.wants_input());
    peer.done(1);
    assert!(peer.session.wants_input());
}

#[test]
fn reading_stops_at_too_many_unanswered_bytes() {
    let mut peer = Peer::connected(Version::V1_2);
    let body = "x".repeat(1024 * 1024);
    let mut sent = 0;
    while peer.session.wants_input() {
        peer.write(&format!(
            "SEND\ndestination:/queue/Q\nreceipt:r\n\n{body}\0"
        ));
        sent += 1;
        assert!(sent < 100, "16 MiB are the limit");
    }
    assert_eq!(sent, 16);
    for id in 1..=16 {
        peer.done(id);
    }
    assert!(peer.session.wants_input());
    assert_eq!(peer.read().len(), 16);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_either() {
    let mut peer = Peer::connected(Version::V1_2);
    let frame = "SUBSCRIBE\nid:1\ndestination:/queue/Q\nselector:a\n\n\0";
    let mut frames = 0;
    while peer.session.wants_input() {
        peer.write(frame);
        frames += 1;
        assert!(frames < 100_000, "answers are bounded");
    }
    peer.read();
    assert!(peer.session.wants_input());
}

#[test]
fn waiting_deliveries_do_not_stop_reading() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    let body = "x".repeat(100_000);
    peer.deliver(
        (1..=1_000)
            .map(|id| delivery(number, id, message(body.clone())))
            .collect(),
        VALID,
    );
    while peer.session.poll_transmit(peer.now).is_some() {}
    assert!(peer.session.wants_input(), "its acks must come through");
    peer.write("ACK\nid:1-1\n\n\0");
    peer.command();
}

#[test]
fn no_more_is_encoded_while_the_socket_takes_nothing() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    let body = "x".repeat(1024);
    peer.deliver(
        (1..=2_000)
            .map(|id| delivery(number, id, message(body.clone())))
            .collect(),
        VALID,
    );
    let mut given = 0;
    while let Some(piece) = peer.session.poll_transmit(peer.now) {
        given += piece.len();
    }
    assert!((256 * 1024..400 * 1024).contains(&given), "{given}");
    peer.session.handle_transmitted(peer.now, given);
    assert!(peer.session.poll_transmit(peer.now).is_some());
}

#[test]
fn a_client_that_neither_reads_nor_sends_for_ten_minutes_is_closed() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    peer.session.poll_transmit(peer.now);
    let start = peer.now.boot;
    peer.fire();
    assert_eq!(peer.now.boot.since(start), Duration::from_secs(600));
    assert!(peer.session.is_closed());
}

#[test]
fn a_client_that_sends_without_reading_stays() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    peer.session.poll_transmit(peer.now);
    for _ in 0..10 {
        peer.advance(Duration::from_secs(599));
        peer.write("\n");
        peer.session.handle_timeout(peer.now);
    }
    assert!(!peer.session.is_closed());
}

#[test]
fn a_client_that_reads_slowly_stays() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    peer.session.poll_transmit(peer.now);
    for _ in 0..10 {
        peer.advance(Duration::from_secs(599));
        peer.session.handle_transmitted(peer.now, 1);
        peer.session.handle_timeout(peer.now);
    }
    assert!(!peer.session.is_closed());
}

#[test]
fn a_refusal_frees_its_request() {
    let limits = Limits {
        unanswered_requests_max: 1,
        ..Limits::default()
    };
    let mut peer = Peer::limited(limits).let_in(Version::V1_2, "");
    peer.write("SEND\ndestination:/queue/Q\nreceipt:r\n\n\0");
    assert!(!peer.session.wants_input());
    peer.reply(1, refusal(RefusalKind::NoSpace, "full"));
    assert!(peer.session.wants_input());
}

#[test]
fn requests_without_receipt_are_not_kept() {
    let mut peer = Peer::connected(Version::V1_2);
    let mut frames = String::new();
    for number in 0..50_000 {
        write!(frames, "BEGIN\ntransaction:{number}\n\n\0").unwrap();
    }
    peer.write(&frames);
    assert_eq!(peer.commands().len(), 50_000);
    assert!(peer.session.wants_input());
}
