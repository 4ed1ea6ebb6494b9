//! Names of destinations.

use tandemmq_model::{Command, Destination, DestinationKind};

use super::support::*;
use crate::stomp::Version;

fn target(name: &str) -> Destination {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write(&format!("SEND\ndestination:{name}\n\n\0"));
    peer.message().destination
}

#[test]
fn queue_and_topic_prefixes_name_their_kind() {
    assert_eq!(target("/queue/a.b"), Destination::queue("a.b"));
    assert_eq!(target("/topic/a/b"), Destination::topic("a/b"));
    assert_eq!(
        target(" /queue/Q "),
        Destination::queue("Q"),
        "blanks around it are cut off"
    );
}

#[test]
fn a_name_without_a_known_prefix_is_a_queue_of_that_name() {
    assert_eq!(target("TEST"), Destination::queue("TEST"));
    assert_eq!(target("/exchange/x"), Destination::queue("/exchange/x"));
    assert_eq!(target("/queue"), Destination::queue("/queue"));
}

#[test]
fn wildcards_and_composites_are_refused_as_not_supported_yet() {
    for version in Version::ALL {
        for name in [
            "/queue/a.*",
            "/queue/>",
            "/topic/a.>",
            "/queue/a,/queue/b",
            "a,b",
            "/temp-queue/*",
        ] {
            for frame in [
                format!("SEND\ndestination:{name}\n\nx\0"),
                format!("SUBSCRIBE\nid:1\ndestination:{name}\n\n\0"),
            ] {
                let text = Peer::connected(version).refused(&frame);
                assert!(text.contains("not supported yet"), "{name}: {text}");
            }
        }
    }
}

#[test]
fn destination_options_are_refused_rather_than_ignored() {
    let text = Peer::connected(Version::V1_2)
        .refused("SUBSCRIBE\nid:1\ndestination:/queue/Q?consumer.exclusive=true\n\n\0");
    assert!(text.contains("not supported yet"), "{text}");
}

#[test]
fn empty_long_and_unprintable_names_are_refused() {
    let long = format!("/queue/{}", "x".repeat(1_025));
    for (name, word) in [
        ("/queue/", "empty"),
        ("", "empty"),
        ("/temp-queue/", "empty"),
        ("/queue/a\\nb", "control"),
        (&*long, "1024"),
    ] {
        let text =
            Peer::connected(Version::V1_2).refused(&format!("SEND\ndestination:{name}\n\n\0"));
        assert!(text.contains(word), "{name:?}: {text}");
    }
    assert_eq!(target(&long[..long.len() - 1]).name.len(), 1_024);
}

#[test]
fn a_temporary_destination_is_bound_to_its_connection() {
    let queue = target("/temp-queue/replies");
    assert_eq!(queue.kind, DestinationKind::TempQueue);
    assert_eq!(queue.name, own_temp("replies"));
    assert_eq!(target("/temp-topic/t").kind, DestinationKind::TempTopic);
}

#[test]
fn reply_to_a_temporary_queue_can_be_answered_by_another_connection() {
    let mut asker = Peer::connected(Version::V1_2);
    asker.subscribe("SUBSCRIBE\nid:r\ndestination:/temp-queue/replies\n\n\0");
    asker.write("SEND\ndestination:/queue/Q\nreply-to:/temp-queue/replies\n\nask\0");
    let question = asker.message();

    let (mut server, number) = Peer::subscribed(Version::V1_1, "auto");
    // Another connection: another number, so the short name is not its own.
    server.session = crate::stomp::StompSession::new(
        config(crate::Limits::default()),
        std::sync::Arc::new(crate::AllowAnonymous),
        tandemmq_model::ConnId(8),
        server.now,
    );
    let mut server = server.let_in(Version::V1_1, "");
    let subscribe = server.subscribe("SUBSCRIBE\nid:s\ndestination:/queue/Q\n\n\0");
    assert_eq!(subscribe.subscription, number);
    server.deliver(vec![delivery(number, 1, question)], VALID);
    let reply_to = server.read_one().get("reply-to").unwrap().to_owned();
    assert_eq!(
        reply_to,
        format!("/remote-temp-queue/{}", own_temp("replies"))
    );

    server.commands();
    server.write(&format!("SEND\ndestination:{reply_to}\n\nanswer\0"));
    let answer = server.message();
    assert_eq!(answer.destination.kind, DestinationKind::TempQueue);
    assert_eq!(answer.destination.name, own_temp("replies"));

    asker.deliver(
        vec![delivery(tandemmq_model::SubscriptionId(1), 1, answer)],
        VALID,
    );
    assert_eq!(
        asker.read_one().get("destination"),
        Some("/temp-queue/replies")
    );
}

#[test]
fn only_the_owner_may_subscribe_to_a_temporary_destination() {
    for version in Version::ALL {
        for kind in ["queue", "topic"] {
            let mut peer = Peer::connected(version);
            let text = peer.refused(&format!(
                "SUBSCRIBE\nid:1\ndestination:/remote-temp-{kind}/orders.8.00000000000000ab.x\n\n\0"
            ));
            assert!(text.contains("another connection"), "{text}");
        }
    }
    let own = own_temp("x");
    let mut peer = Peer::connected(Version::V1_2);
    let subscribe = peer.subscribe(&format!(
        "SUBSCRIBE\nid:1\ndestination:/remote-temp-queue/{own}\n\n\0"
    ));
    assert_eq!(subscribe.destination.name, own);
}

#[test]
fn a_reply_to_without_a_prefix_stays_a_text() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SEND\ndestination:/queue/Q\nreply-to:call me, later*\n\n\0");
    let message = peer.message();
    assert_eq!(message.reply_to, None);
    assert_eq!(
        message.properties,
        [("reply-to".into(), "call me, later*".into())]
    );
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    peer.deliver(vec![delivery(number, 1, message)], VALID);
    assert_eq!(peer.read_one().get("reply-to"), Some("call me, later*"));
}

#[test]
fn unsubscribe_by_destination_is_for_1_0_only() {
    let mut peer = Peer::connected(Version::V1_0);
    let number = peer
        .subscribe("SUBSCRIBE\ndestination:/queue/Q\n\n\0")
        .subscription;
    peer.write("UNSUBSCRIBE\ndestination:/queue/Q\n\n\0");
    assert!(matches!(peer.command(), Command::Unsubscribe(own, _) if own == number));
    for version in NEW {
        let (mut peer, _) = Peer::subscribed(version, "auto");
        let text = peer.refused("UNSUBSCRIBE\ndestination:/queue/Q\n\n\0");
        assert!(text.contains("id"), "{text}");
    }
}
