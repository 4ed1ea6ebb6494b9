//! Topics.

use std::time::Duration;

use tandemmq_engine::EngineConfig;
use tandemmq_model::{AckMode, Destination, DestinationKind, RefusalKind};

use crate::bench::{Bench, topic};

fn bench() -> Bench {
    let mut bench = Bench::holding();
    for conn in 1..=3 {
        bench.connect(conn);
    }
    bench
}

fn subscribe(bench: &mut Bench, conn: u64, prefetch: u32) {
    bench.subscribe_to(conn, 1, Destination::topic("T"), AckMode::Client, prefetch);
}

#[test]
fn every_subscriber_of_the_moment_gets_a_message() {
    let mut bench = bench();
    let before = bench.log.len();
    bench.send(1, topic("T", "nobody"));
    subscribe(&mut bench, 2, 10);
    let sent = bench.send(1, topic("T", "a"));
    subscribe(&mut bench, 3, 10);
    bench.send(1, topic("T", "b"));
    assert!(bench.is_done(1, sent), "answered at once");
    assert_eq!(bench.bodies(2, 1), ["a", "b"]);
    assert_eq!(bench.bodies(3, 1), ["b"]);
    assert_eq!(
        bench.log.len(),
        before,
        "a topic is never journaled, persistent or not"
    );
    assert_eq!(bench.depth("T"), 0);
    assert_eq!(bench.stats("T").enqueued, 3);
}

#[test]
fn a_slow_subscriber_gets_the_rest_when_it_has_credit() {
    let mut bench = bench();
    subscribe(&mut bench, 2, 2);
    subscribe(&mut bench, 3, 10);
    for body in ["a", "b", "c", "d"] {
        bench.send(1, topic("T", body));
    }
    assert_eq!(bench.bodies(3, 1).len(), 4);
    assert_eq!(bench.receive(2, 1).len(), 2);
    let acked = bench.ack(2, 1, 2);
    assert!(bench.is_done(2, acked), "no record, no wait");
    assert_eq!(bench.bodies(2, 1), ["c", "d"]);
}

#[test]
fn an_auto_subscriber_has_consumed_what_was_written() {
    let mut bench = bench();
    bench.subscribe_to(2, 1, Destination::topic("T"), AckMode::Auto, 1);
    for body in ["a", "b"] {
        bench.send(1, topic("T", body));
    }
    assert_eq!(bench.receive(2, 1).len(), 2);
    assert_eq!(bench.stats("T").in_flight, 0);
}

#[test]
fn what_was_not_delivered_comes_again_in_order() {
    let mut bench = bench();
    subscribe(&mut bench, 2, 2);
    for body in ["a", "b", "c"] {
        bench.send(1, topic("T", body));
    }
    bench.got(2, 1);
    bench.not_delivered(2, 1, 1);
    bench.not_delivered(2, 1, 2);
    assert_eq!(bench.bodies(2, 1), ["a", "b"]);
}

#[test]
fn a_topic_takes_memory_once_until_its_last_subscriber_has_consumed() {
    let config = EngineConfig {
        transient_bytes_max: 1_500,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    for conn in 1..=3 {
        bench.connect(conn);
    }
    let large = "x".repeat(1_000);
    for _ in 0..5 {
        let sent = bench.send(1, topic("T", &large));
        assert!(
            bench.is_done(1, sent),
            "without subscribers nothing is held"
        );
    }
    subscribe(&mut bench, 2, 10);
    subscribe(&mut bench, 3, 10);
    bench.send(1, topic("T", &large));
    let parked = bench.send(1, topic("T", &large));
    bench.receive(2, 1);
    bench.receive(3, 1);
    bench.ack(2, 1, 1);
    assert!(
        !bench.is_answered(1, parked),
        "one subscriber still holds it"
    );
    bench.unsubscribe(3, 1);
    assert!(bench.is_done(1, parked));
    let refused = bench.send(1, topic("T", &large));
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.refused(1, refused), Some(RefusalKind::NoSpace));
}

#[test]
fn an_expired_message_is_dropped_before_delivery_and_by_the_sweep() {
    let mut bench = bench();
    subscribe(&mut bench, 2, 1);
    let mut expiring = topic("T", "b");
    expiring.expiration_ms = bench.now.wall_ms + 10_000;
    bench.send(1, topic("T", "a"));
    bench.send(1, expiring.clone());
    bench.send(1, topic("T", "c"));
    bench.wait(Duration::from_secs(30));
    assert_eq!(bench.stats("T").expired, 1, "the sweep");
    expiring.expiration_ms = bench.now.wall_ms;
    bench.send(1, expiring);
    bench.receive(2, 1);
    bench.ack(2, 1, 1);
    bench.receive(2, 1);
    bench.ack(2, 1, 2);
    assert_eq!(bench.stats("T").expired, 2, "the delivery");
}

#[test]
fn a_temporary_topic_lives_with_its_connection() {
    let mut bench = bench();
    let temp = Destination {
        kind: DestinationKind::TempTopic,
        name: "news".into(),
    };
    bench.subscribe_to(2, 1, temp.clone(), AckMode::Auto, 10);
    let mut news = topic("news", "a");
    news.destination = temp;
    bench.send(1, news.clone());
    assert_eq!(bench.bodies(2, 1), ["a"]);
    bench.disconnect(2);
    let late = bench.send(1, news);
    assert_eq!(bench.refused(1, late), Some(RefusalKind::Unknown));
}
