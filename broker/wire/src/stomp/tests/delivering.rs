//! MESSAGE, `Written`, and what is given back.

use std::time::Duration;

use bytes::Bytes;
use tandemmq_model::{
    Command, DeadLetterOrigin, Delivery, DeliveryId, Destination, SubscriptionId, Time,
};

use super::support::*;
use crate::Session;
use crate::stomp::{Frame, Version};

fn read_one_of(version: Version, ack: &str, change: impl FnOnce(&mut Delivery)) -> Frame {
    let (mut peer, number) = Peer::subscribed(version, ack);
    let mut full = message("x");
    full.correlation_id = Some("c".into());
    full.reply_to = Some(Destination::topic("R"));
    full.jms_type = Some("t".into());
    full.expiration_ms = 99;
    full.properties = vec![("mine".into(), "1".into())];
    let mut delivery = delivery(number, 5, full);
    change(&mut delivery);
    peer.deliver(vec![delivery], VALID);
    peer.read_one()
}

#[test]
fn a_message_carries_its_headers_then_its_properties() {
    for version in Version::ALL {
        let frame = read_one_of(version, "client", |_| {});
        assert_eq!(frame.command, "MESSAGE");
        for (name, value) in [
            ("destination", "/queue/Q"),
            ("message-id", "ID:orders-3-5"),
            ("subscription", "s"),
            ("priority", "4"),
            ("expires", "99"),
            ("timestamp", "1700000000000"),
            ("correlation-id", "c"),
            ("reply-to", "/topic/R"),
            ("type", "t"),
            ("persistent", "true"),
            ("mine", "1"),
        ] {
            assert_eq!(frame.get(name), Some(value), "{version} {name}");
        }
        let ack = (version == Version::V1_2).then_some("1-5");
        assert_eq!(frame.get("ack"), ack, "{version}");
        assert_eq!(frame.get("redelivered"), None);
        assert_eq!(frame.get("original-destination"), None);
    }
}

#[test]
fn auto_subscriptions_get_no_ack_header() {
    assert_eq!(read_one_of(Version::V1_2, "auto", |_| {}).get("ack"), None);
}

#[test]
fn a_redelivered_message_says_so() {
    for version in Version::ALL {
        let frame = read_one_of(version, "client", |delivery| {
            if let Delivery::Message { redelivered, .. } = delivery {
                *redelivered = true;
            }
        });
        assert_eq!(frame.get("redelivered"), Some("true"));
    }
}

#[test]
fn a_dead_letter_says_where_it_comes_from_and_why() {
    let frame = read_one_of(Version::V1_2, "client", |delivery| {
        if let Delivery::Message {
            destination,
            origin,
            ..
        } = delivery
        {
            *destination = Destination::queue("ActiveMQ.DLQ");
            *origin = Some(DeadLetterOrigin {
                destination: Destination::queue("Q"),
                cause: "expired: it was too late".into(),
            });
        }
    });
    assert_eq!(frame.get("destination"), Some("/queue/ActiveMQ.DLQ"));
    assert_eq!(frame.get("original-destination"), Some("/queue/Q"));
    assert_eq!(
        frame.get("dlqDeliveryFailureCause"),
        Some("expired: it was too late")
    );
}

#[test]
fn a_message_that_is_not_persistent_has_no_persistent_header() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    let mut transient = message("x");
    transient.persistent = false;
    peer.deliver(vec![delivery(number, 1, transient)], VALID);
    assert_eq!(peer.read_one().get("persistent"), None);
}

#[test]
fn no_header_of_a_message_comes_twice() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    let mut odd = message("x");
    odd.correlation_id = Some("c".into());
    for name in [
        "message-id",
        "destination",
        "ack",
        "priority",
        "correlation-id",
        "content-length",
    ] {
        odd.properties.push((name.into(), "forged".into()));
    }
    peer.deliver(vec![delivery(number, 1, odd)], VALID);
    let text = String::from_utf8(peer.read_bytes()).unwrap();
    assert!(!text.contains("forged"), "{text}");
}

#[test]
fn written_names_a_delivery_only_when_its_last_byte_was_taken() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    peer.deliver(
        (1..=3)
            .map(|id| delivery(number, id, message("x")))
            .collect(),
        VALID,
    );
    let piece = peer.session.poll_transmit(peer.now).unwrap();
    assert_eq!(
        peer.session.poll_transmit(peer.now),
        None,
        "small frames share one buffer"
    );
    let one = piece.len() / 3;
    peer.session.handle_transmitted(peer.now, one - 1);
    assert_eq!(peer.commands(), []);
    peer.session.handle_transmitted(peer.now, 1);
    assert_eq!(peer.commands(), [Command::Written(number, DeliveryId(1))]);
    peer.session.handle_transmitted(peer.now, piece.len() - one);
    assert_eq!(
        peer.commands(),
        [Command::Written(number, DeliveryId(3))],
        "only the greatest of each subscription"
    );
}

#[test]
fn written_is_said_for_each_subscription() {
    let (mut peer, first) = Peer::subscribed(Version::V1_2, "auto");
    let second = peer
        .subscribe("SUBSCRIBE\nid:t\ndestination:/queue/Q\n\n\0")
        .subscription;
    peer.deliver(
        vec![
            delivery(first, 1, message("x")),
            delivery(second, 1, message("x")),
            delivery(first, 2, message("x")),
        ],
        VALID,
    );
    peer.read();
    assert_eq!(
        peer.commands(),
        [
            Command::Written(first, DeliveryId(2)),
            Command::Written(second, DeliveryId(1))
        ]
    );
}

/// Answers the fence that the session asks for and gives the other commands.
fn without_fence(peer: &mut Peer) -> (Vec<Command>, Option<u64>) {
    let mut fence = None;
    let mut others = peer.commands();
    others.retain(|command| match command {
        Command::Abort(name, request) => {
            assert!(name.contains('\0'), "no client can name it");
            assert!(request.wants_receipt);
            fence = Some(request.id);
            false
        }
        _ => true,
    });
    (others, fence)
}

fn not_delivered(number: SubscriptionId, ids: impl IntoIterator<Item = u64>) -> Vec<Command> {
    ids.into_iter()
        .map(|id| Command::NotDelivered(number, DeliveryId(id)))
        .collect()
}

#[test]
fn a_delivery_past_its_time_is_given_back_and_not_written() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    let until = peer.now.boot + Duration::from_millis(800);
    peer.deliver(
        (1..=3)
            .map(|id| delivery(number, id, message("x")))
            .collect(),
        until,
    );
    peer.advance(Duration::from_millis(801));
    peer.read_nothing();
    let (commands, fence) = without_fence(&mut peer);
    assert_eq!(commands, not_delivered(number, 1..=3));
    assert!(fence.is_some());
}

#[test]
fn a_delivery_at_its_last_moment_is_written() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    let until = peer.now.boot;
    peer.deliver(vec![delivery(number, 1, message("x"))], until);
    assert_eq!(peer.read_one().command, "MESSAGE");
}

#[test]
fn younger_deliveries_do_not_overtake_what_was_given_back() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    let other = peer
        .subscribe("SUBSCRIBE\nid:t\ndestination:/queue/P\n\n\0")
        .subscription;
    let past = peer.now.boot;
    peer.advance(Duration::from_millis(1));
    peer.deliver(vec![delivery(number, 1, message("x"))], past);
    peer.deliver(
        vec![
            delivery(number, 2, message("x")),
            delivery(other, 1, message("y")),
        ],
        VALID,
    );
    assert_eq!(peer.read_one().body, "y", "the other subscription goes on");
    let (commands, fence) = without_fence(&mut peer);
    assert_eq!(
        commands,
        [
            not_delivered(number, 1..=2),
            vec![Command::Written(other, DeliveryId(1))]
        ]
        .concat()
    );
    assert!(fence.is_some());

    peer.deliver(vec![delivery(number, 3, message("x"))], VALID);
    peer.read_nothing();
    let (commands, _) = without_fence(&mut peer);
    assert_eq!(
        commands,
        not_delivered(number, [3]),
        "dispatched before the engine heard"
    );
}

/// The delivery that brings the message of `offset` again, under a new number.
fn again(number: SubscriptionId, id: u64, offset: u64) -> Delivery {
    let mut again = delivery(number, offset, message(format!("{offset}")));
    if let Delivery::Message { id: own, .. } = &mut again {
        *own = DeliveryId(id);
    }
    again
}

#[test]
fn what_was_given_back_is_written_when_it_comes_again_in_order() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    peer.deliver(
        (1..=3)
            .map(|offset| again(number, offset, offset))
            .collect(),
        Time::ZERO,
    );
    peer.read_nothing();
    let (commands, _) = without_fence(&mut peer);
    assert_eq!(commands, not_delivered(number, 1..=3));
    peer.deliver(
        (1..=3)
            .map(|offset| again(number, 3 + offset, offset))
            .collect(),
        VALID,
    );
    let bodies: Vec<_> = peer.read().into_iter().map(|frame| frame.body).collect();
    assert_eq!(
        bodies,
        ["1", "2", "3"],
        "the fence need not be answered for that"
    );
}

#[test]
fn after_the_fence_what_another_consumer_took_holds_nothing_up() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "client");
    peer.deliver(vec![again(number, 1, 1)], Time::ZERO);
    peer.read_nothing();
    let (_, fence) = without_fence(&mut peer);
    peer.reply(
        fence.unwrap(),
        refusal(tandemmq_model::RefusalKind::Unknown, "no transaction"),
    );
    peer.deliver(vec![again(number, 2, 2)], VALID);
    assert_eq!(
        peer.read_one().body,
        "2",
        "and the client never hears of the fence"
    );
}

#[test]
fn a_browsers_copies_are_good_for_as_long_as_it_reads() {
    let mut peer = Peer::connected(Version::V1_2);
    let number = peer
        .subscribe("SUBSCRIBE\nid:b\ndestination:/queue/Q\nbrowser:true\n\n\0")
        .subscription;
    let past = Time::ZERO;
    peer.deliver(
        vec![
            delivery(number, 1, message("x")),
            Delivery::End {
                subscription: number,
            },
        ],
        past,
    );
    assert_eq!(peer.read().len(), 2);
}

#[test]
fn deliveries_of_an_ended_subscription_are_given_back() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    peer.write("UNSUBSCRIBE\nid:s\n\n\0");
    assert!(matches!(peer.command(), Command::Unsubscribe(..)));
    peer.read_nothing();
    assert_eq!(peer.commands(), not_delivered(number, [1]));
}

#[test]
fn an_unsubscribe_waits_for_a_message_that_is_half_written() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    let piece = peer.session.poll_transmit(peer.now).unwrap();
    peer.session.handle_transmitted(peer.now, piece.len() / 2);
    peer.write("UNSUBSCRIBE\nid:s\nreceipt:r\n\n\0BEGIN\ntransaction:after\n\n\0");
    assert_eq!(
        peer.commands(),
        [],
        "the engine would give back what the client is about to read"
    );
    assert!(!peer.session.wants_input());
    peer.deliver(vec![delivery(number, 2, message("late"))], VALID);
    assert_eq!(
        peer.session.poll_transmit(peer.now),
        None,
        "no more of it is begun"
    );
    peer.session
        .handle_transmitted(peer.now, piece.len() - piece.len() / 2);
    let commands = peer.commands();
    assert_eq!(commands[0], Command::Written(number, DeliveryId(1)));
    assert!(matches!(commands[1], Command::Unsubscribe(own, _) if own == number));
    assert!(
        matches!(commands[2], Command::Begin(..)),
        "and what follows it comes after"
    );
    assert!(peer.session.wants_input());
    peer.read_nothing();
    assert_eq!(peer.commands(), not_delivered(number, [2]));
}

#[test]
fn a_disconnect_waits_for_messages_that_are_half_written() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    peer.deliver(vec![delivery(number, 1, message("x"))], VALID);
    let piece = peer.session.poll_transmit(peer.now).unwrap();
    peer.write("DISCONNECT\nreceipt:r\n\n\0");
    assert_eq!(peer.commands(), []);
    peer.session.handle_transmitted(peer.now, piece.len());
    let commands = peer.commands();
    assert_eq!(commands[0], Command::Written(number, DeliveryId(1)));
    assert!(matches!(commands[1], Command::Disconnect(_)));
}

#[test]
fn many_small_messages_share_buffers_of_about_64_kib() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    let body = "x".repeat(1024);
    peer.deliver(
        (1..=1_000)
            .map(|id| delivery(number, id, message(body.clone())))
            .collect(),
        VALID,
    );
    let mut pieces = 0;
    let mut bytes = 0;
    while let Some(piece) = peer.session.poll_transmit(peer.now) {
        pieces += 1;
        bytes += piece.len();
        assert!(piece.len() < 70 * 1024);
        peer.session.handle_transmitted(peer.now, piece.len());
    }
    assert!(bytes > 1_000 * 1024);
    assert!(
        pieces <= bytes / (60 * 1024),
        "{pieces} pieces for {bytes} bytes"
    );
}

#[test]
fn a_large_body_is_between_its_head_and_its_end() {
    let (mut peer, number) = Peer::subscribed(Version::V1_2, "auto");
    let body = Bytes::from(vec![7; 200_000]);
    peer.deliver(
        vec![
            delivery(number, 1, message("a")),
            delivery(number, 2, message(body.clone())),
            delivery(number, 3, message("b")),
        ],
        VALID,
    );
    let frames = peer.read();
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[1].body, body);
    assert_eq!(frames[2].body, "b");
    assert!(
        peer.commands()
            .contains(&Command::Written(number, DeliveryId(3)))
    );
}
