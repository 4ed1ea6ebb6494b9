//! Expiry and what the sweep does.

use std::time::Duration;

use tandemmq_model::{AckMode, Destination, Message, RecordKind};

use crate::bench::{Bench, message, transient};

const DLQ: &str = "ActiveMQ.DLQ";

fn expiring(bench: &Bench, body: &str, in_ms: u64) -> Message {
    Message {
        expiration_ms: bench.now.wall_ms + in_ms,
        ..message("Q", body)
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.connect(1);
    bench
}

#[test]
fn an_expired_message_is_not_delivered_but_buried() {
    let mut bench = bench();
    let sent = expiring(&bench, "a", 1_000);
    bench.send(1, sent);
    bench.send(1, message("Q", "b"));
    bench.now.wall_ms += 1_000;
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(1, 1), ["b"]);
    let stats = bench.stats("Q");
    assert_eq!((stats.expired, stats.dead_lettered), (1, 1));
    bench.subscribe(1, 2, DLQ, AckMode::Client, 10);
    let got = bench.got(1, 2).remove(0);
    let origin = got.origin.unwrap();
    assert_eq!(origin.destination, Destination::queue("Q"));
    assert!(origin.cause.contains("expired"), "{}", origin.cause);
    assert_eq!(
        got.message.expiration_ms, 0,
        "a dead letter does not expire"
    );
    assert!(!got.redelivered, "no consumer has seen it");
}

#[test]
fn a_dead_letter_does_not_expire_again() {
    let mut bench = bench();
    let sent = expiring(&bench, "a", 1_000);
    bench.send(1, sent);
    bench.wait(Duration::from_secs(30));
    bench.wait(Duration::from_secs(60));
    assert_eq!((bench.depth("Q"), bench.depth(DLQ)), (0, 1));
}

#[test]
fn the_sweep_buries_what_nobody_asks_for() {
    let mut bench = bench();
    let sent = expiring(&bench, "a", 10_000);
    bench.send(1, sent);
    bench.send(1, message("Q", "b"));
    assert_eq!(
        bench
            .master
            .poll_timeout()
            .map(|at| at.since(bench.now.boot)),
        Some(Duration::from_secs(30))
    );
    bench.wait(Duration::from_secs(30));
    assert_eq!((bench.depth("Q"), bench.depth(DLQ)), (1, 1));
    assert_eq!(bench.kinds().last(), Some(&RecordKind::DeadLetter));
}

#[test]
fn a_slave_reads_no_clock() {
    let mut bench = bench();
    let sent = expiring(&bench, "a", 1_000);
    bench.send(1, sent);
    bench.now.wall_ms += 2_000;
    bench.slave.handle_timeout(bench.now);
    assert_eq!(bench.slave.poll_effect(bench.now), None);
    assert_eq!(bench.slave.poll_timeout(), None);
    assert_eq!(bench.slave.destinations().next().unwrap().depth, 1);
}

#[test]
fn what_is_in_flight_does_not_expire() {
    let mut bench = bench();
    let sent = expiring(&bench, "a", 1_000);
    bench.send(1, sent);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.receive(1, 1);
    bench.wait(Duration::from_secs(30));
    assert_eq!(bench.depth("Q"), 1);
    let acked = bench.ack(1, 1, 1);
    assert!(bench.is_done(1, acked));
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn what_returned_expires_too() {
    let mut bench = bench();
    let sent = expiring(&bench, "a", 1_000);
    bench.send(1, sent);
    bench.send(1, message("Q", "b"));
    bench.connect(2);
    bench.subscribe(1, 1, "Q", AckMode::Client, 1);
    bench.subscribe(2, 1, "Q", AckMode::Client, 1);
    bench.receive(1, 1);
    bench.disconnect(1);
    bench.wait(Duration::from_secs(30));
    assert_eq!((bench.depth("Q"), bench.depth(DLQ)), (1, 1));
    bench.subscribe(2, 2, DLQ, AckMode::Client, 10);
    assert!(bench.got(2, 2)[0].redelivered, "a consumer has seen it");
}

#[test]
fn an_entry_condemned_by_the_sweep_is_not_delivered_meanwhile() {
    let mut bench = bench();
    let sent = expiring(&bench, "a", 1_000);
    bench.send(1, sent);
    bench.send(1, message("Q", "b"));
    bench.commits_at_once = false;
    bench.wait(Duration::from_secs(30));
    // The wall clock jumps back: the decision stands.
    bench.now.wall_ms -= 30_000;
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(1, 1), ["b"]);
    bench.wait(Duration::from_secs(30));
    bench.commit_all();
    assert_eq!((bench.depth("Q"), bench.depth(DLQ)), (1, 1));
}

#[test]
fn a_large_sweep_goes_in_parts() {
    let mut bench = bench();
    bench.commits_at_once = false;
    let sent = expiring(&bench, "a", 1_000);
    for _ in 0..5_000 {
        let message = sent.clone();
        bench.queue_command(1, |request| tandemmq_model::Command::Send {
            message,
            tx: None,
            request,
        });
    }
    bench.commit_all();
    bench.commits_at_once = true;
    bench.wait(Duration::from_secs(30));
    assert_eq!(bench.depth(DLQ), 2_048);
    bench.wait(Duration::from_millis(100));
    bench.wait(Duration::from_millis(100));
    assert_eq!((bench.depth("Q"), bench.depth(DLQ)), (0, 5_000));
}

#[test]
fn thousands_of_expired_entries_are_no_obstacle_to_a_consumer() {
    let mut bench = bench();
    bench.commits_at_once = false;
    let sent = expiring(&bench, "a", 1_000);
    for _ in 0..3_000 {
        let message = sent.clone();
        bench.queue_command(1, |request| tandemmq_model::Command::Send {
            message,
            tx: None,
            request,
        });
    }
    bench.send(1, message("Q", "good"));
    bench.commit_all();
    bench.commits_at_once = true;
    bench.now.wall_ms += 1_000;
    bench.subscribe(1, 1, "Q", AckMode::Client, 1);
    assert_eq!(bench.bodies(1, 1), ["good"]);
    assert_eq!(bench.depth(DLQ), 3_000);
}

#[test]
fn an_expired_non_persistent_message_is_dropped() {
    let mut bench = bench();
    let sent = Message {
        expiration_ms: bench.now.wall_ms + 1_000,
        ..transient("Q", "a")
    };
    bench.send(1, sent.clone());
    bench.wait(Duration::from_secs(30));
    assert_eq!(
        (bench.depth("Q"), bench.stats("Q").expired),
        (0, 1),
        "the sweep"
    );
    bench.send(1, sent);
    bench.subscribe(1, 1, "Q", AckMode::Client, 1);
    assert_eq!(bench.got(1, 1).len(), 0);
    assert_eq!(
        (bench.depth("Q"), bench.stats("Q").expired),
        (0, 2),
        "the delivery"
    );
    assert!(bench.master.destinations().all(|stats| &*stats.name != DLQ));
}
