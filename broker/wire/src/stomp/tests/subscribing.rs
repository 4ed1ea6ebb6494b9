//! SUBSCRIBE and UNSUBSCRIBE.

use std::fmt::Write as _;

use tandemmq_model::{AckMode, Command, RefusalKind, SubscriptionId};

use super::support::*;
use crate::stomp::Version;

fn asked(version: Version, headers: &str) -> tandemmq_model::Subscribe {
    Peer::connected(version).subscribe(&format!("SUBSCRIBE\nid:s\n{headers}\n\0"))
}

#[test]
fn the_ack_header_chooses_the_mode_and_auto_is_the_default() {
    for version in Version::ALL {
        for (header, mode) in [
            ("", AckMode::Auto),
            ("ack:auto\n", AckMode::Auto),
            ("ack:client\n", AckMode::Client),
            ("ack:client-individual\n", AckMode::Individual),
        ] {
            let subscribe = asked(version, &format!("destination:/queue/Q\n{header}"));
            assert_eq!(subscribe.ack_mode, mode, "{version} {header}");
        }
    }
}

#[test]
fn an_unknown_ack_mode_is_refused() {
    let text = Peer::connected(Version::V1_2)
        .refused("SUBSCRIBE\nid:s\ndestination:/queue/Q\nack:never\n\n\0");
    assert!(
        text.contains("client-individual"),
        "says what is allowed: {text}"
    );
}

#[test]
fn id_is_required_from_1_1_on() {
    Peer::connected(Version::V1_0).subscribe("SUBSCRIBE\ndestination:/queue/Q\n\n\0");
    for version in NEW {
        let text = Peer::connected(version).refused("SUBSCRIBE\ndestination:/queue/Q\n\n\0");
        assert!(text.contains("id"), "{text}");
        let text = Peer::connected(version).refused("UNSUBSCRIBE\n\n\0");
        assert!(text.contains("id"), "{text}");
    }
}

#[test]
fn a_subscribe_without_destination_is_refused() {
    let text = Peer::connected(Version::V1_2).refused("SUBSCRIBE\nid:s\n\n\0");
    assert!(text.contains("destination"), "{text}");
}

#[test]
fn prefetch_is_1000_for_a_queue_32766_for_a_topic_or_what_is_asked_for() {
    assert_eq!(
        asked(Version::V1_2, "destination:/queue/Q\n").prefetch,
        1_000
    );
    assert_eq!(
        asked(Version::V1_2, "destination:/temp-queue/Q\n").prefetch,
        1_000
    );
    assert_eq!(
        asked(Version::V1_2, "destination:/topic/T\n").prefetch,
        32_766
    );
    let one = asked(
        Version::V1_2,
        "destination:/queue/Q\nactivemq.prefetchSize:1\n",
    );
    assert_eq!(one.prefetch, 1);
}

#[test]
fn a_prefetch_of_zero_or_nonsense_is_refused() {
    for value in ["0", "-1", "x", "", "32768", "4294967296"] {
        let text = Peer::connected(Version::V1_2).refused(&format!(
            "SUBSCRIBE\nid:s\ndestination:/queue/Q\nactivemq.prefetchSize:{value}\n\n\0"
        ));
        assert!(text.contains("activemq.prefetchSize"), "{value}: {text}");
    }
}

#[test]
fn headers_the_engine_cannot_do_yet_are_refused_by_name() {
    for header in [
        "selector:a > 1",
        "activemq.subscriptionName:me",
        "activemq.exclusive:true",
        "activemq.retroactive:true",
        "activemq.priority:5",
        "activemq.noLocal:true",
        "activemq.maximumPendingMessageLimit:10",
        "no-local:true",
    ] {
        for version in Version::ALL {
            let text = Peer::connected(version).refused(&format!(
                "SUBSCRIBE\nid:s\ndestination:/topic/T\n{header}\n\n\0"
            ));
            let name = header.split_once(':').unwrap().0;
            assert!(text.contains(name), "{header}: {text}");
            assert!(text.contains("not supported yet"), "{header}: {text}");
        }
    }
}

#[test]
fn asking_for_what_happens_anyway_is_fine() {
    asked(
        Version::V1_2,
        "destination:/queue/Q\nactivemq.exclusive:false\nactivemq.retroactive:false\n\
         activemq.priority:0\nactivemq.dispatchAsync:true\nx-mine:1\n",
    );
}

#[test]
fn two_subscriptions_with_one_id_are_refused_until_the_first_ends() {
    for version in Version::ALL {
        let (mut peer, first) = Peer::subscribed(version, "auto");
        let text = peer.refused("SUBSCRIBE\nid:s\ndestination:/queue/Other\n\n\0");
        assert!(text.contains("unique"), "{text}");
        peer.write("UNSUBSCRIBE\nid:s\n\n\0");
        assert!(matches!(peer.command(), Command::Unsubscribe(own, _) if own == first));
        let again = peer.subscribe("SUBSCRIBE\nid:s\ndestination:/queue/Other\n\n\0");
        assert_ne!(again.subscription, first, "numbers are never used again");
    }
}

#[test]
fn a_subscription_the_engine_refused_leaves_its_id_free() {
    let mut peer = Peer::connected(Version::V1_2);
    peer.write("SUBSCRIBE\nid:s\ndestination:/queue/Q\n\n\0");
    let request = request_of(&peer.command());
    peer.reply(
        request.id,
        refusal(RefusalKind::Limit, "too many consumers"),
    );
    assert_eq!(peer.read_one().get("message"), Some("too many consumers"));
    peer.subscribe("SUBSCRIBE\nid:s\ndestination:/queue/Q\n\n\0");
}

#[test]
fn unsubscribing_from_nothing_is_refused() {
    for version in Version::ALL {
        let text = Peer::connected(version).refused("UNSUBSCRIBE\nid:s\nreceipt:r\n\n\0");
        assert!(text.contains("no subscription"), "{text}");
    }
    let mut peer = Peer::connected(Version::V1_0);
    peer.refused("UNSUBSCRIBE\ndestination:/queue/Q\n\n\0");
}

#[test]
fn at_most_1000_subscriptions_are_allowed() {
    let mut peer = Peer::connected(Version::V1_2);
    let mut frames = String::new();
    for number in 0..1_000 {
        write!(frames, "SUBSCRIBE\nid:{number}\ndestination:/queue/Q\n\n\0").unwrap();
    }
    peer.write(&frames);
    assert_eq!(peer.commands().len(), 1_000);
    let text = peer.refused("SUBSCRIBE\nid:more\ndestination:/queue/Q\n\n\0");
    assert!(text.contains("1000"), "{text}");
    peer.write("UNSUBSCRIBE\nid:7\n\n\0SUBSCRIBE\nid:more\ndestination:/queue/Q\n\n\0");
    assert_eq!(peer.commands().len(), 2);
}

#[test]
fn an_overlong_subscription_id_is_refused() {
    let id = "x".repeat(1_025);
    let text = Peer::connected(Version::V1_2)
        .refused(&format!("SUBSCRIBE\nid:{id}\ndestination:/queue/Q\n\n\0"));
    assert!(text.contains("1024"), "{text}");
}

#[test]
fn a_browser_gets_copies_and_ends_with_browser_end() {
    for version in NEW {
        let mut peer = Peer::connected(version);
        let subscribe =
            peer.subscribe("SUBSCRIBE\nid:b\ndestination:/queue/Q\nbrowser:true\nack:client\n\n\0");
        assert!(subscribe.browser);
        assert_eq!(
            subscribe.ack_mode,
            AckMode::Auto,
            "there is nothing to acknowledge"
        );
        let number = subscribe.subscription;
        peer.deliver(
            vec![
                delivery(number, 1, message("x")),
                tandemmq_model::Delivery::End {
                    subscription: number,
                },
            ],
            VALID,
        );
        let frames = peer.read();
        assert_eq!(frames[0].body, "x");
        assert_eq!(frames[0].get("browser"), None);
        assert_eq!(frames[0].get("ack"), None);
        assert_eq!(frames[1].command, "MESSAGE");
        assert_eq!(frames[1].get("browser"), Some("end"));
        assert_eq!(frames[1].get("subscription"), Some("b"));
        assert_eq!(frames[1].get("destination"), Some("/queue/Q"));
        assert_eq!(frames.len(), 2);
    }
}

#[test]
fn a_browser_needs_1_1_and_a_queue() {
    let text = Peer::connected(Version::V1_0)
        .refused("SUBSCRIBE\nid:b\ndestination:/queue/Q\nbrowser:true\n\n\0");
    assert!(text.contains("1.1"), "{text}");
    let text = Peer::connected(Version::V1_2)
        .refused("SUBSCRIBE\nid:b\ndestination:/topic/T\nbrowser:true\n\n\0");
    assert!(text.contains("queue"), "{text}");
    let not = asked(Version::V1_2, "destination:/queue/Q\nbrowser:false\n");
    assert!(!not.browser);
}

#[test]
fn a_sender_cannot_pretend_that_a_browser_ended() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    let mut message = message("x");
    message.properties = vec![
        ("browser".into(), "end".into()),
        ("ack".into(), "1-9".into()),
    ];
    peer.deliver(vec![delivery(number, 1, message)], VALID);
    let frame = peer.read_one();
    assert_eq!(frame.get("browser"), None);
    assert_eq!(frame.get("ack"), None);
}

#[test]
fn a_subscription_of_1_0_without_id_has_no_subscription_header() {
    let mut peer = Peer::connected(Version::V1_0);
    let number = peer
        .subscribe("SUBSCRIBE\ndestination:/queue/Q\n\n\0")
        .subscription;
    assert_eq!(number, SubscriptionId(1));
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    assert_eq!(peer.read_one().get("subscription"), None);
}
