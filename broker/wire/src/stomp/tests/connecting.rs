//! Negotiation and log-in.

use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use crate::stomp::{Frame, Version};
use crate::{Anonymous, Limits, Session, UserTable};

#[test]
fn connect_and_stomp_both_open_a_connection() {
    for command in ["CONNECT", "STOMP"] {
        let mut peer = Peer::new();
        assert!(!peer.session.is_established());
        peer.write(&format!("{command}\naccept-version:1.2\nhost:h\n\n\0"));
        assert!(peer.session.is_established());
        assert_eq!(peer.read_one().command, "CONNECTED");
        assert_eq!(peer.commands(), []);
    }
}

#[test]
fn connected_carries_version_session_server_and_heart_beat_in_every_version() {
    for version in Version::ALL {
        let mut peer = Peer::new();
        peer.write(&format!("CONNECT\naccept-version:{version}\nhost:h\n\n\0"));
        let connected = peer.read_one();
        assert_eq!(connected.get("version"), Some(version.as_str()));
        assert_eq!(connected.get("server"), Some("TandemMQ/0.1.0"));
        assert_eq!(connected.get("heart-beat"), Some("0,0"));
        assert_eq!(connected.get("session"), Some("orders-00000000000000ab-7"));
    }
}

#[test]
fn no_accept_version_means_1_0() {
    let mut peer = Peer::new();
    peer.write("CONNECT\n\n\0");
    assert_eq!(peer.read_one().get("version"), Some("1.0"));
}

#[test]
fn the_highest_common_version_is_taken() {
    for (accept, version) in [
        ("1.0,1.1,1.2", "1.2"),
        ("1.1,1.0", "1.1"),
        ("2.0, 1.1 ,1.3", "1.1"),
        ("1.2,1.2", "1.2"),
    ] {
        let mut peer = Peer::new();
        peer.write(&format!("CONNECT\naccept-version:{accept}\n\n\0"));
        assert_eq!(peer.read_one().get("version"), Some(version), "{accept}");
    }
}

#[test]
fn no_common_version_is_an_error_with_the_versions_then_close() {
    for accept in ["2.0", "", "1", "1.20"] {
        let mut peer = Peer::new();
        peer.write(&format!("CONNECT\naccept-version:{accept}\n\n\0"));
        let error: Frame = peer.read_one();
        assert_eq!(error.command, "ERROR");
        assert_eq!(error.get("version"), Some("1.0,1.1,1.2"));
        assert!(peer.session.is_closed());
        assert!(!peer.session.is_established());
    }
}

#[test]
fn anything_before_connect_is_an_error_then_close() {
    for frame in [
        "SEND\ndestination:/queue/Q\n\nx\0",
        "SUBSCRIBE\nid:1\ndestination:/queue/Q\n\n\0",
        "UNSUBSCRIBE\nid:1\n\n\0",
        "ACK\nid:1\n\n\0",
        "NACK\nid:1\n\n\0",
        "BEGIN\ntransaction:t\n\n\0",
        "COMMIT\ntransaction:t\n\n\0",
        "ABORT\ntransaction:t\n\n\0",
        "DISCONNECT\n\n\0",
        "CONNECTED\n\n\0",
        "HELLO\n\n\0",
    ] {
        let mut peer = Peer::new();
        let text = peer.killed(frame);
        assert!(text.contains("CONNECT"), "{frame:?}: {text}");
        assert_eq!(peer.commands(), [], "{frame:?} has no effect");
        assert!(!peer.session.is_established());
    }
}

#[test]
fn a_frame_after_the_failed_one_has_no_effect() {
    let mut peer = Peer::new();
    peer.killed("SEND\ndestination:/queue/Q\n\nx\0CONNECT\n\n\0SEND\ndestination:/queue/Q\n\nx\0");
    peer.write("CONNECT\n\n\0");
    assert_eq!(peer.commands(), []);
    peer.read_nothing();
}

#[test]
fn a_second_connect_is_an_error_and_the_connection_stays() {
    for version in Version::ALL {
        let text = Peer::connected(version).refused("CONNECT\naccept-version:1.2\n\n\0");
        assert!(text.contains("already connected"), "{text}");
    }
}

#[test]
fn frames_may_follow_connect_without_waiting_for_connected() {
    let mut peer = Peer::new();
    peer.write("CONNECT\naccept-version:1.2\n\n\0SEND\ndestination:/queue/a\\cb\n\nx\0");
    assert_eq!(
        peer.message().destination.name,
        "a:b",
        "already read as 1.2"
    );
}

fn guarded() -> Peer {
    let table = UserTable::new(
        [("anna".to_owned(), "se:cret".to_owned())],
        Anonymous::Refused,
    );
    Peer::with(Limits::default(), Arc::new(table))
}

#[test]
fn the_right_login_and_passcode_open() {
    let mut peer = guarded();
    peer.write("CONNECT\naccept-version:1.2\nlogin:anna\npasscode:se:cret\n\n\0");
    assert_eq!(peer.read_one().command, "CONNECTED");
}

#[test]
fn a_failed_login_is_an_error_then_a_close_after_a_short_delay() {
    for headers in [
        "",
        "login:anna\n",
        "login:anna\npasscode:wrong\n",
        "login:bert\npasscode:x\n",
    ] {
        let mut peer = guarded();
        peer.write(&format!(
            "CONNECT\naccept-version:1.2\n{headers}\n\0SEND\n\n\0"
        ));
        let error = peer.read_one();
        assert_eq!(error.command, "ERROR");
        assert!(!peer.session.is_established());
        assert!(
            !peer.session.is_closed(),
            "not at once: guessing must be slow"
        );
        let start = peer.now.boot;
        peer.fire();
        assert_eq!(peer.now.boot.since(start), Duration::from_millis(500));
        assert!(peer.session.is_closed());
        assert_eq!(peer.commands(), []);
    }
}

#[test]
fn an_error_never_repeats_a_passcode() {
    let mut peer = guarded();
    peer.write("CONNECT\nlogin:anna\npasscode:hunter2\n\n\0");
    let bytes = peer.read_bytes();
    assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"));
    let frame = Frame::new("CONNECT").header("passcode", "hunter2");
    assert!(
        !format!("{frame:?}").contains("hunter2"),
        "nor does a log of the frame"
    );
}

#[test]
fn escapes_never_count_in_connect() {
    let table = UserTable::new([("a\\nb".to_owned(), "x\\".to_owned())], Anonymous::Refused);
    let mut peer = Peer::with(Limits::default(), Arc::new(table));
    peer.write("CONNECT\naccept-version:1.2\nlogin:a\\nb\npasscode:x\\\n\n\0");
    assert_eq!(peer.read_one().command, "CONNECTED");
}

#[test]
fn a_client_that_never_connects_is_closed_after_ten_seconds() {
    let mut peer = Peer::new();
    let start = peer.now.boot;
    peer.write("CONN");
    peer.advance(Duration::from_secs(9));
    peer.write("ECT\n");
    peer.session.handle_timeout(peer.now);
    peer.read_nothing();
    peer.fire();
    assert_eq!(peer.now.boot.since(start), Duration::from_secs(10));
    assert_eq!(peer.read_one().command, "ERROR");
    assert!(peer.session.is_closed());
}

#[test]
fn a_broker_that_is_full_refuses_with_an_error_then_closes() {
    let mut peer = Peer::connected(Version::V1_2);
    let text = bytestring::ByteString::from_static("too many connections: 1000 are allowed");
    peer.session
        .handle_event(peer.now, crate::SessionEvent::Refuse { text: text.clone() });
    let error = peer.read_one();
    assert_eq!(error.get("message"), Some(&*text));
    assert!(peer.session.is_closed());
}

#[test]
fn an_ended_connection_is_closed_and_says_nothing_more() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\n\nx\0SEND\ndestination:/queue/Q\n\nhal");
    peer.session.handle_end(peer.now);
    assert!(peer.session.is_closed());
    assert!(!peer.session.wants_input());
    assert_eq!(peer.session.poll_timeout(), None);
    assert_eq!(
        peer.commands().len(),
        1,
        "what was whole is still for the engine"
    );
}
