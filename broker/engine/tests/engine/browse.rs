//! Browsers.

use tandemmq_engine::EngineConfig;
use tandemmq_model::{
    AckKind, AckMode, AckRef, Command, DeliveryId, Destination, Subscribe, SubscriptionId,
};

use crate::bench::{Bench, message, transient};

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.connect(1);
    for body in ["a", "b", "c"] {
        bench.send(1, message("Q", body));
    }
    bench
}

#[test]
fn a_browser_sees_everything_takes_nothing_and_ends() {
    let mut bench = bench();
    bench.send(1, transient("Q", "d"));
    let asked = bench.browse(1, 1, "Q", 2);
    assert!(bench.is_done(1, asked));
    let got = bench.receive(1, 1);
    let bodies: Vec<&str> = got.iter().map(|got| &*got.body).collect();
    assert_eq!(bodies, ["a", "b", "c", "d", ""]);
    assert!(got[4].is_end && got[..4].iter().all(|got| !got.is_end));
    assert_eq!(bench.depth("Q"), 4);
    bench.unsubscribe(1, 1);
    bench.subscribe(1, 2, "Q", AckMode::Client, 10);
    let got = bench.got(1, 2);
    assert!(
        got.len() == 4 && got.iter().all(|got| !got.redelivered),
        "a look is no delivery"
    );
}

#[test]
fn a_browser_of_an_empty_queue_ends_at_once() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.browse(1, 1, "Q", 10);
    let got = bench.got(1, 1);
    assert!(got.len() == 1 && got[0].is_end);
}

#[test]
fn a_browser_does_not_see_what_came_later() {
    let mut bench = bench();
    bench.browse(1, 1, "Q", 1);
    bench.send(1, message("Q", "late"));
    let got = bench.receive(1, 1);
    assert_eq!((got.len(), got[3].is_end), (4, true));
}

#[test]
fn a_browser_sees_what_is_in_flight() {
    let mut bench = bench();
    bench.subscribe(1, 1, "Q", AckMode::Client, 2);
    bench.receive(1, 1);
    bench.browse(1, 2, "Q", 10);
    assert_eq!(bench.receive(1, 2).len(), 4);
}

#[test]
fn a_browser_walks_a_queue_whose_bodies_must_be_read() {
    let config = EngineConfig {
        body_cache_bytes_max: 0,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    bench.connect(1);
    for n in 0..200 {
        bench.send(1, message("Q", &n.to_string()));
    }
    bench.broken.push(tandemmq_model::Offset(12));
    bench.browse(1, 1, "Q", 50);
    let got = bench.receive(1, 1);
    let mut wanted: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    wanted.remove(10);
    wanted.push(String::new());
    let bodies: Vec<String> = got.into_iter().map(|got| got.body).collect();
    assert_eq!(bodies, wanted, "what cannot be read is not shown");
}

#[test]
fn a_browser_gets_again_what_was_not_delivered() {
    let mut bench = bench();
    bench.browse(1, 1, "Q", 10);
    bench.got(1, 1);
    bench.not_delivered(1, 1, 2);
    let got = bench.got(1, 1);
    assert_eq!((got[0].id, &*got[0].body), (4, "b"));
    bench.written(1, 1, 4);
    assert!(bench.got(1, 1)[0].is_end);
}

#[test]
fn an_ack_of_a_browsed_message_changes_nothing() {
    let mut bench = bench();
    let subscribe = Subscribe {
        subscription: SubscriptionId(1),
        destination: Destination::queue("Q"),
        ack_mode: AckMode::Client,
        prefetch: 10,
        browser: true,
    };
    bench.command(1, |request| Command::Subscribe(subscribe, request));
    bench.receive(1, 1);
    for kind in [AckKind::Consumed, AckKind::Poison] {
        let which = AckRef::Delivery(SubscriptionId(1), DeliveryId(1));
        let acked = bench.ack_as(1, which, kind, None);
        assert!(bench.is_done(1, acked));
    }
    assert_eq!(bench.depth("Q"), 3);
}

#[test]
fn a_browser_of_a_topic_ends_at_once() {
    let mut bench = Bench::new();
    bench.connect(1);
    let subscribe = Subscribe {
        subscription: SubscriptionId(1),
        destination: Destination::topic("T"),
        ack_mode: AckMode::Auto,
        prefetch: 10,
        browser: true,
    };
    bench.command(1, |request| Command::Subscribe(subscribe, request));
    assert!(bench.got(1, 1)[0].is_end);
}

#[test]
fn the_answer_to_subscribe_comes_before_the_first_message() {
    let mut bench = bench();
    bench.trace.clear();
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.trace, ["reply 1", "deliver 1"]);
    bench.trace.clear();
    bench.browse(1, 2, "empty", 10);
    assert_eq!(bench.trace, ["reply 1", "deliver 1"]);
}

#[test]
fn an_ack_by_message_id_alone_does_not_mean_a_browser() {
    let mut bench = bench();
    bench.browse(1, 1, "Q", 10);
    let id = bench.got(1, 1)[0].message_id;
    let acked = bench.ack_as(1, AckRef::Message(None, id), AckKind::Consumed, None);
    assert_eq!(
        bench.refused(1, acked),
        Some(tandemmq_model::RefusalKind::Unknown)
    );
    assert_eq!(bench.depth("Q"), 3);
}
