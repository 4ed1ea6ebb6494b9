//! Local transactions.

use tandemmq_model::limits::{TRANSACTION_MESSAGES_MAX, TRANSACTIONS_MAX};
use tandemmq_model::{
    AckKind, AckMode, AckRef, DeliveryId, RecordKind, RefusalKind, SubscriptionId,
};

use crate::bench::{Bench, message, topic, transient};

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.connect(2);
    bench
}

#[test]
fn sends_of_a_transaction_are_visible_at_its_commit() {
    let mut bench = bench();
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.begin(1, "t");
    let sent = bench.send_in(1, "t", message("Q", "a"));
    bench.send_in(1, "t", message("P", "b"));
    assert!(bench.is_done(1, sent), "accepted, no more");
    assert_eq!(bench.depth("Q"), 0);
    assert_eq!(bench.got(2, 1).len(), 0);
    let committed = bench.commit_tx(1, "t");
    assert!(bench.is_done(1, committed));
    assert_eq!(bench.bodies(2, 1), ["a"]);
    assert_eq!(bench.depth("P"), 1);
}

#[test]
fn a_commit_is_answered_when_its_record_is_committed() {
    let mut bench = bench();
    bench.commits_at_once = false;
    bench.begin(1, "t");
    bench.send_in(1, "t", message("Q", "a"));
    let committed = bench.commit_tx(1, "t");
    bench.commit(1);
    assert!(!bench.is_answered(1, committed));
    bench.commit(1);
    assert!(bench.is_done(1, committed));
}

#[test]
fn entries_of_a_transaction_stand_at_their_own_offsets() {
    let mut bench = bench();
    bench.begin(1, "t");
    bench.send_in(1, "t", message("Q", "a"));
    bench.send(1, message("Q", "b"));
    bench.send_in(1, "t", message("Q", "c"));
    bench.commit_tx(1, "t");
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(2, 1), ["a", "b", "c"]);
}

#[test]
fn entries_that_appear_behind_the_consumers_are_taken_first() {
    let mut bench = bench();
    bench.subscribe(2, 1, "Q", AckMode::Individual, 1);
    bench.begin(1, "t");
    bench.send_in(1, "t", message("Q", "a"));
    for body in ["b", "c"] {
        bench.send(1, message("Q", body));
    }
    assert_eq!(bench.receive(2, 1)[0].body, "b");
    bench.commit_tx(1, "t");
    bench.ack(2, 1, 1);
    assert_eq!(bench.receive(2, 1)[0].body, "a");
    bench.ack(2, 1, 2);
    assert_eq!(bench.bodies(2, 1), ["c"]);
}

#[test]
fn acks_of_a_transaction_take_effect_at_its_commit() {
    let mut bench = bench();
    bench.send(1, message("Q", "a"));
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.receive(2, 1);
    bench.begin(2, "t");
    let acked = bench.ack_in(2, "t", 1, 1);
    assert!(bench.is_done(2, acked), "accepted, no more");
    assert_eq!(bench.depth("Q"), 1);
    assert_eq!(bench.stats("Q").in_flight, 1);
    bench.commit_tx(2, "t");
    assert_eq!(bench.depth("Q"), 0);
    assert_eq!(bench.stats("Q").in_flight, 0);
}

#[test]
fn after_an_abort_acked_deliveries_stay_with_the_consumer() {
    let mut bench = bench();
    bench.send(1, message("Q", "a"));
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.receive(2, 1);
    bench.begin(2, "t");
    bench.ack_in(2, "t", 1, 1);
    bench.send_in(2, "t", message("P", "never"));
    let aborted = bench.abort(2, "t");
    assert!(bench.is_done(2, aborted));
    assert_eq!(bench.got(2, 1).len(), 0, "not delivered again");
    assert_eq!((bench.depth("Q"), bench.depth("P")), (1, 0));
    let acked = bench.ack(2, 1, 1);
    assert!(bench.is_done(2, acked), "it can still be acknowledged");
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn a_delivery_acked_in_a_transaction_cannot_be_acked_again() {
    let mut bench = bench();
    bench.send(1, message("Q", "a"));
    bench.subscribe(2, 1, "Q", AckMode::Individual, 10);
    bench.receive(2, 1);
    bench.begin(2, "t");
    bench.ack_in(2, "t", 1, 1);
    let again = bench.ack(2, 1, 1);
    assert_eq!(bench.refused(2, again), Some(RefusalKind::Unknown));
}

#[test]
fn a_transaction_may_consume_more_than_the_prefetch() {
    let mut bench = bench();
    for body in ["a", "b", "c"] {
        bench.send(1, message("Q", body));
    }
    bench.subscribe(2, 1, "Q", AckMode::Individual, 1);
    bench.begin(2, "t");
    for delivery in 1..=3 {
        assert_eq!(bench.receive(2, 1).len(), 1);
        bench.ack_in(2, "t", 1, delivery);
    }
    bench.commit_tx(2, "t");
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn a_lost_connection_rolls_back() {
    let mut bench = bench();
    bench.send(1, message("Q", "a"));
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.receive(2, 1);
    bench.begin(2, "t");
    bench.ack_in(2, "t", 1, 1);
    bench.send_in(2, "t", message("P", "never"));
    bench.disconnect(2);
    assert_eq!(bench.kinds().last(), Some(&RecordKind::TxRollback));
    assert_eq!(bench.depth("P"), 0);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    let got = bench.got(1, 1);
    assert_eq!((got.len(), got[0].redelivered), (1, true));
}

#[test]
fn a_lost_connection_does_not_take_back_a_commit() {
    let mut bench = bench();
    bench.send(1, message("Q", "a"));
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.receive(2, 1);
    bench.begin(2, "t");
    bench.ack_in(2, "t", 1, 1);
    bench.commits_at_once = false;
    bench.commit_tx(2, "t");
    bench.disconnect(2);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(
        bench.got(1, 1).len(),
        0,
        "its acknowledgement is on its way"
    );
    bench.commit_all();
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn a_change_of_master_rolls_back() {
    let mut bench = bench();
    bench.send(1, message("Q", "a"));
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.receive(2, 1);
    bench.begin(2, "t");
    bench.ack_in(2, "t", 1, 1);
    bench.send_in(2, "t", message("P", "never"));
    bench.fail_over();
    bench.connect(3);
    // The same key in the new epoch is another transaction.
    bench.begin(3, "t");
    bench.send_in(3, "t", message("P", "new"));
    bench.commit_tx(3, "t");
    bench.subscribe(3, 1, "P", AckMode::Client, 10);
    assert_eq!(bench.bodies(3, 1), ["new"]);
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn an_unsubscribed_consumers_acks_stay_with_their_transaction() {
    let mut bench = bench();
    for body in ["a", "b"] {
        bench.send(1, message("Q", body));
    }
    bench.subscribe(2, 1, "Q", AckMode::Individual, 10);
    bench.receive(2, 1);
    bench.begin(2, "keep");
    bench.begin(2, "drop");
    bench.ack_in(2, "keep", 1, 1);
    bench.ack_in(2, "drop", 1, 2);
    bench.unsubscribe(2, 1);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.got(1, 1).len(), 0);
    bench.commit_tx(2, "keep");
    bench.abort(2, "drop");
    let got = bench.got(1, 1);
    assert_eq!(
        (got.len(), &*got[0].body, got[0].redelivered),
        (1, "b", true)
    );
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn poison_in_a_transaction_buries_at_its_commit() {
    let mut bench = bench();
    bench.send(1, message("Q", "a"));
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.receive(2, 1);
    bench.begin(2, "t");
    let which = AckRef::Delivery(SubscriptionId(1), DeliveryId(1));
    bench.ack_as(2, which, AckKind::Poison, Some("t"));
    assert_eq!(bench.depth("Q"), 1);
    bench.commit_tx(2, "t");
    assert_eq!((bench.depth("Q"), bench.depth("ActiveMQ.DLQ")), (0, 1));
}

#[test]
fn a_transaction_without_records_commits_at_once() {
    let mut bench = bench();
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.subscribe_to(
        2,
        2,
        tandemmq_model::Destination::topic("T"),
        AckMode::Auto,
        10,
    );
    bench.commits_at_once = false;
    let before = bench.log.len();
    bench.begin(1, "t");
    bench.send_in(1, "t", transient("Q", "a"));
    bench.send_in(1, "t", topic("T", "b"));
    assert_eq!((bench.got(2, 1).len(), bench.got(2, 2).len()), (0, 0));
    let committed = bench.commit_tx(1, "t");
    assert!(bench.is_done(1, committed));
    assert_eq!(bench.bodies(2, 1), ["a"]);
    assert_eq!(bench.bodies(2, 2), ["b"]);
    assert_eq!(bench.log.len(), before);
}

#[test]
fn what_has_no_record_appears_with_the_rest_of_its_transaction() {
    let mut bench = bench();
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.commits_at_once = false;
    bench.begin(1, "t");
    bench.send_in(1, "t", message("Q", "a"));
    bench.send_in(1, "t", transient("Q", "b"));
    bench.send_in(1, "t", message("Q", "c"));
    bench.commit_tx(1, "t");
    bench.commit(2);
    assert_eq!(bench.got(2, 1).len(), 0, "all or nothing");
    bench.commit_all();
    assert_eq!(bench.bodies(2, 1), ["a", "b", "c"]);
}

#[test]
fn an_aborted_transaction_frees_its_memory() {
    let config = tandemmq_engine::EngineConfig {
        transient_bytes_max: 1_000,
        ..tandemmq_engine::EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    bench.connect(1);
    for _ in 0..10 {
        bench.begin(1, "t");
        let sent = bench.send_in(1, "t", transient("Q", &"x".repeat(400)));
        assert!(bench.is_done(1, sent));
        bench.abort(1, "t");
    }
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn names_are_unknown_or_taken() {
    let mut bench = bench();
    let unknown = [
        bench.send_in(1, "t", message("Q", "a")),
        bench.commit_tx(1, "t"),
        bench.abort(1, "t"),
    ];
    for request in unknown {
        assert_eq!(bench.refused(1, request), Some(RefusalKind::Unknown));
    }
    bench.begin(1, "t");
    let twice = bench.begin(1, "t");
    assert_eq!(bench.refused(1, twice), Some(RefusalKind::Exists));
    let other = bench.begin(2, "t");
    assert!(bench.is_done(2, other), "names are of one connection");
    bench.commit_tx(1, "t");
    let again = bench.begin(1, "t");
    assert!(bench.is_done(1, again), "a name is free after the end");
}

#[test]
fn open_transactions_are_bounded() {
    let mut bench = bench();
    for n in 0..TRANSACTIONS_MAX {
        let begun = bench.begin(1, &n.to_string());
        assert!(bench.is_done(1, begun));
    }
    let over = bench.begin(1, "over");
    assert_eq!(bench.refused(1, over), Some(RefusalKind::Limit));
    bench.abort(1, "0");
    let fits = bench.begin(1, "over");
    assert!(bench.is_done(1, fits));
}

#[test]
fn operations_of_open_transactions_are_bounded() {
    let mut bench = bench();
    bench.begin(1, "t");
    bench.begin(1, "u");
    for n in 0..TRANSACTION_MESSAGES_MAX {
        let name = if n % 2 == 0 { "t" } else { "u" };
        let sent = bench.send_in(1, name, message("Q", "a"));
        assert!(bench.is_done(1, sent));
    }
    let before = bench.log.len();
    let over = bench.send_in(1, "t", message("Q", "a"));
    assert_eq!(bench.refused(1, over), Some(RefusalKind::Limit));
    assert_eq!(bench.log.len(), before, "a refused send has no effect");
    bench.commit_tx(1, "u");
    let fits = bench.send_in(1, "t", message("Q", "a"));
    assert!(bench.is_done(1, fits));
}

#[test]
fn bytes_of_open_transactions_are_bounded() {
    let mut bench = bench();
    bench.begin(1, "t");
    let large = "x".repeat(8 * 1024 * 1024 - 1_000);
    for _ in 0..8 {
        let sent = bench.send_in(1, "t", message("Q", &large));
        assert!(bench.is_done(1, sent));
    }
    let over = bench.send_in(1, "t", message("Q", &large));
    assert_eq!(bench.refused(1, over), Some(RefusalKind::Limit));
    bench.disconnect(1);
    assert_eq!(bench.depth("Q"), 0);
}
