//! BEGIN, COMMIT, ABORT.

use tandemmq_model::{Command, RefusalKind};

use super::support::*;
use crate::Session;
use crate::stomp::Version;

#[test]
fn begin_commit_and_abort_name_their_transaction() {
    for version in Version::ALL {
        let mut peer = Peer::connected(version);
        peer.write(
            "BEGIN\ntransaction:a\n\n\0BEGIN\ntransaction:b\n\n\0\
             COMMIT\ntransaction:a\n\n\0ABORT\ntransaction:b\n\n\0",
        );
        let commands = peer.commands();
        assert!(matches!(&commands[0], Command::Begin(name, _) if name == "a"));
        assert!(matches!(&commands[1], Command::Begin(name, _) if name == "b"));
        assert!(matches!(&commands[2], Command::Commit(name, _) if name == "a"));
        assert!(matches!(&commands[3], Command::Abort(name, _) if name == "b"));
        assert_eq!(commands.len(), 4);
    }
}

#[test]
fn a_transaction_header_is_required() {
    for command in ["BEGIN", "COMMIT", "ABORT"] {
        let text = Peer::connected(Version::V1_2).refused(&format!("{command}\n\n\0"));
        assert!(text.contains("transaction"), "{text}");
    }
}

#[test]
fn an_unknown_transaction_is_an_error_with_receipt_id_and_the_connection_stays() {
    for frame in [
        "COMMIT\ntransaction:x\nreceipt:r\n\n\0",
        "ABORT\ntransaction:x\nreceipt:r\n\n\0",
        "SEND\ndestination:/queue/Q\ntransaction:x\nreceipt:r\n\n\0",
    ] {
        let mut peer = Peer::connected(Version::V1_2);
        peer.write(frame);
        let request = request_of(&peer.command());
        peer.reply(
            request.id,
            refusal(RefusalKind::Unknown, "no transaction x"),
        );
        let error = peer.read_one();
        assert_eq!(
            (error.get("receipt-id"), &*error.command),
            (Some("r"), "ERROR")
        );
        assert!(!peer.session.is_closed());
    }
}

#[test]
fn an_overlong_transaction_name_is_refused() {
    let name = "x".repeat(1_025);
    for frame in [
        format!("BEGIN\ntransaction:{name}\n\n\0"),
        format!("SEND\ndestination:/queue/Q\ntransaction:{name}\n\n\0"),
    ] {
        let text = Peer::connected(Version::V1_2).refused(&frame);
        assert!(text.contains("1024"), "{text}");
    }
}
