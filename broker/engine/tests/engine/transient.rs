//! Non-persistent messages and the memory limit.

use std::time::Duration;

use tandemmq_engine::EngineConfig;
use tandemmq_model::{
    AckMode, Command, Destination, DestinationKind, Epoch, MessageId, RefusalKind,
};

use crate::bench::{Bench, message, transient};

/// Room for two messages of 1,000 bytes each.
fn small() -> Bench {
    let config = EngineConfig {
        transient_bytes_max: 2_800,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    bench.connect(1);
    bench.connect(2);
    bench
}

fn large(body: &str) -> tandemmq_model::Message {
    transient("Q", &body.repeat(1_000))
}

#[test]
fn a_non_persistent_message_is_not_journaled_and_answered_at_once() {
    let mut bench = Bench::holding();
    bench.connect(1);
    let before = bench.log.len();
    let sent = bench.send(1, transient("Q", "a"));
    assert!(bench.is_done(1, sent));
    assert_eq!(bench.log.len(), before);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    let got = bench.receive(1, 1);
    assert_eq!(got[0].message_id, MessageId::Transient(Epoch(1), 1));
    let acked = bench.ack(1, 1, 1);
    assert!(bench.is_done(1, acked), "no record, no wait");
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn non_persistent_messages_keep_their_place_between_persistent_ones() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.send(1, transient("Q", "b"));
    bench.send(1, message("Q", "c"));
    bench.send(1, transient("Q", "d"));
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.got(1, 1).len(), 0, "b waits for a");
    bench.commit(1);
    assert_eq!(bench.bodies(1, 1), ["a", "b"]);
    bench.commit(1);
    assert_eq!(bench.bodies(1, 1), ["c", "d"]);
}

#[test]
fn a_returned_non_persistent_message_is_at_its_place_and_redelivered() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.connect(2);
    bench.send(1, message("Q", "a"));
    bench.send(1, transient("Q", "b"));
    bench.send(1, message("Q", "c"));
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.written(1, 1, 2);
    bench.disconnect(1);
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    let got = bench.got(2, 1);
    let seen: Vec<(&str, bool)> = got
        .iter()
        .map(|got| (&*got.body, got.redelivered))
        .collect();
    assert_eq!(seen, [("a", true), ("b", true), ("c", false)]);
}

#[test]
fn non_persistent_messages_end_with_their_master() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, transient("Q", "a"));
    bench.fail_over();
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.got(2, 1).len(), 0);
}

#[test]
fn a_send_without_memory_waits_for_consumers() {
    let mut bench = small();
    bench.send(1, large("a"));
    bench.send(1, large("b"));
    let parked = bench.send(1, large("c"));
    assert!(!bench.is_answered(1, parked));
    bench.subscribe(2, 1, "Q", AckMode::Auto, 1);
    bench.written(2, 1, 1);
    assert!(bench.is_done(1, parked));
    assert_eq!(bench.receive(2, 1).len(), 3);
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn a_send_without_memory_is_refused_after_three_seconds() {
    let mut bench = small();
    bench.send(1, large("a"));
    bench.send(1, large("b"));
    let parked = bench.send(1, large("c"));
    assert_eq!(
        bench.master.poll_timeout(),
        Some(bench.now.boot + Duration::from_secs(3)),
        "the engine asks to be woken"
    );
    bench.wait(Duration::from_millis(2_999));
    assert!(!bench.is_answered(1, parked));
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.refused(1, parked), Some(RefusalKind::NoSpace));
    assert_eq!(bench.depth("Q"), 2);
}

#[test]
fn later_commands_of_a_parked_connection_keep_their_order() {
    let mut bench = small();
    bench.send(1, large("a"));
    bench.send(1, large("b"));
    bench.send(1, large("c"));
    let later = bench.send(1, message("Q", "d"));
    let left = bench.command(1, Command::Disconnect);
    assert!(!bench.is_answered(1, later), "it stands behind c");
    let other = bench.send(2, message("Q", "e"));
    assert!(bench.is_done(2, other), "other connections go on");
    bench.subscribe(2, 1, "Q", AckMode::Auto, 10);
    let bodies: Vec<String> = bench
        .receive(2, 1)
        .into_iter()
        .map(|got| got.body[..1].to_owned())
        .collect();
    assert_eq!(bodies, ["a", "b", "e", "c", "d"]);
    assert!(bench.is_done(1, later) && bench.is_done(1, left));
}

#[test]
fn an_ack_passes_a_parked_send_of_its_connection() {
    let mut bench = small();
    bench.send(1, large("a"));
    bench.send(1, large("b"));
    bench.subscribe(1, 1, "Q", AckMode::Individual, 10);
    bench.receive(1, 1);
    let parked = bench.send(1, large("c"));
    assert!(!bench.is_answered(1, parked));
    bench.ack(1, 1, 1);
    assert!(bench.is_done(1, parked), "its own ack made room");
}

#[test]
fn what_waits_for_memory_is_bounded() {
    let mut bench = small();
    bench.send(1, large("a"));
    bench.send(1, large("b"));
    let waiting: Vec<u64> = (0..2_000).map(|_| bench.send(1, large("c"))).collect();
    let refused = waiting
        .iter()
        .filter(|request| bench.is_answered(1, **request))
        .count();
    assert!(refused > 0 && refused < 2_000, "{refused} of 2,000");
    let last = *waiting.last().unwrap();
    assert_eq!(bench.refused(1, last), Some(RefusalKind::NoSpace));
    bench.disconnect(1);
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.depth("Q"), 2, "what waited went with its connection");
}

#[test]
fn a_message_larger_than_the_memory_is_refused_at_once() {
    let mut bench = small();
    let sent = bench.send(1, transient("Q", &"x".repeat(10_000)));
    assert_eq!(bench.refused(1, sent), Some(RefusalKind::NoSpace));
}

#[test]
fn a_refused_send_in_a_transaction_has_no_effect_on_it() {
    let mut bench = small();
    bench.begin(1, "t");
    bench.send_in(1, "t", large("a"));
    bench.send_in(1, "t", large("b"));
    let parked = bench.send_in(1, "t", large("c"));
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.refused(1, parked), Some(RefusalKind::NoSpace));
    let committed = bench.commit_tx(1, "t");
    assert!(bench.is_done(1, committed));
    assert_eq!(bench.depth("Q"), 2);
}

// === temporary queues ===

fn temp(name: &str) -> Destination {
    Destination {
        kind: DestinationKind::TempQueue,
        name: name.into(),
    }
}

#[test]
fn a_temporary_queue_lives_with_the_connection_that_subscribed_first() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.connect(2);
    let mut answer = message("reply", "a");
    answer.destination = temp("reply");
    let early = bench.send(2, answer.clone());
    assert_eq!(
        bench.refused(2, early),
        Some(RefusalKind::Unknown),
        "it does not exist"
    );
    bench.subscribe_to(1, 1, temp("reply"), AckMode::Client, 1);
    let before = bench.log.len();
    for _ in 0..3 {
        let sent = bench.send(2, answer.clone());
        assert!(bench.is_done(2, sent));
    }
    assert_eq!(
        bench.log.len(),
        before,
        "persistent or not, it is not journaled"
    );
    assert_eq!(bench.got(1, 1).len(), 1);
    let foreign = bench.subscribe_to(2, 1, temp("reply"), AckMode::Client, 1);
    assert_eq!(bench.refused(2, foreign), Some(RefusalKind::Denied));
    bench.disconnect(1);
    let late = bench.send(2, answer);
    assert_eq!(bench.refused(2, late), Some(RefusalKind::Unknown));
    assert!(
        bench
            .master
            .destinations()
            .all(|stats| &*stats.name != "reply")
    );
}

#[test]
fn a_temporary_queue_frees_its_memory() {
    let mut bench = small();
    for round in 3..20 {
        bench.connect(round);
        bench.subscribe_to(round, 1, temp("reply"), AckMode::Client, 1);
        for _ in 0..2 {
            let mut answer = large("a");
            answer.destination = temp("reply");
            let sent = bench.send(1, answer);
            assert!(bench.is_done(1, sent), "round {round}");
        }
        bench.disconnect(round);
    }
}

#[test]
fn a_transaction_may_commit_to_a_temporary_queue_that_is_gone() {
    let mut bench = small();
    bench.connect(3);
    bench.subscribe_to(3, 1, temp("reply"), AckMode::Client, 1);
    bench.begin(1, "t");
    let mut answer = large("a");
    answer.destination = temp("reply");
    bench.send_in(1, "t", answer);
    bench.disconnect(3);
    let committed = bench.commit_tx(1, "t");
    assert!(bench.is_done(1, committed));
    for _ in 0..2 {
        let sent = bench.send(1, large("b"));
        assert!(bench.is_done(1, sent), "its memory is free");
    }
}
