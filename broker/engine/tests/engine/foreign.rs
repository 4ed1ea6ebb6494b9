//! Records of the master's log that its engine did not propose.

use tandemmq_engine::{Admission, Backlog};
use tandemmq_model::{AckKind, AckMode, AckRef, Command, DeliveryId, RecordKind, SubscriptionId};

use crate::bench::{Bench, message, transient};

#[test]
fn sends_around_a_foreign_record_are_answered_by_their_own_records() {
    let mut bench = Bench::holding();
    bench.connect(1);
    let before = bench.send(1, message("Q", "before"));
    bench.put_foreign();
    bench.put_foreign();
    let after = bench.send(1, message("Q", "after"));
    bench.commit(1);
    assert!(bench.is_done(1, before) && !bench.is_answered(1, after));
    bench.commit(2);
    assert!(!bench.is_answered(1, after), "a Config answers nobody");
    bench.commit(1);
    assert!(bench.is_done(1, after));
    bench.subscribe(1, 1, "Q", AckMode::Individual, 10);
    let got = bench.receive(1, 1);
    let offsets: Vec<String> = got
        .iter()
        .map(|got| format!("{:?}", got.message_id))
        .collect();
    assert!(offsets[0].contains("Offset(2)") && offsets[1].contains("Offset(5)"));
    bench.ack(1, 1, 1);
    bench.put_foreign();
    let last = bench.ack(1, 1, 2);
    bench.commit_all();
    assert!(bench.is_done(1, last) && bench.depth("Q") == 0);
}

#[test]
fn a_foreign_record_is_no_backlog_of_the_engine() {
    let mut bench = Bench::holding();
    bench.put_foreign();
    assert_eq!(bench.master.backlog(), Backlog::default());
}

#[test]
fn a_non_persistent_message_behind_a_foreign_record_waits_for_it_and_no_longer() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.subscribe(1, 1, "Q", AckMode::Auto, 10);
    bench.put_foreign();
    bench.send(1, transient("Q", "t"));
    assert!(bench.bodies(1, 1).is_empty());
    bench.commit(1);
    assert_eq!(bench.bodies(1, 1), ["t"]);
}

#[test]
fn disconnect_behind_a_foreign_record_is_answered_when_it_is_applied() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.put_foreign();
    let bye = bench.command(1, Command::Disconnect);
    assert!(!bench.is_answered(1, bye));
    bench.commit(1);
    assert!(bench.is_done(1, bye));
}

#[test]
fn what_is_held_by_a_pause_stands_after_a_foreign_record() {
    let mut bench = Bench::holding();
    bench.connect(1);
    for body in ["a", "b"] {
        bench.send(1, message("Q", body));
    }
    bench.commit_all();
    bench.subscribe(1, 1, "Q", AckMode::Individual, 10);
    assert_eq!(bench.receive(1, 1).len(), 2);
    bench.begin(1, "t");
    bench.admit(Admission::PauseDispatch);
    let which = AckRef::Delivery(SubscriptionId(1), DeliveryId(1));
    bench.ack_as(1, which, AckKind::Consumed, Some("t"));
    let commit = bench.commit_tx(1, "t");
    let ack = bench.ack(1, 1, 2);
    bench.put_foreign();
    bench.commit_all();
    assert!(!bench.is_answered(1, commit) && !bench.is_answered(1, ack));
    bench.put_foreign();
    let bye = bench.command(1, Command::Disconnect);
    bench.admit(Admission::Open);
    let kinds = bench.kinds().split_off(3);
    let foreign = |kind: &RecordKind| *kind == RecordKind::Config;
    assert_eq!(kinds.iter().position(foreign), Some(0));
    assert_eq!(kinds.iter().rposition(foreign), Some(1));
    assert_eq!(kinds.len(), 5, "two acknowledgements and a commit follow");
    bench.commit_all();
    assert!(bench.is_done(1, commit) && bench.is_done(1, ack) && bench.is_done(1, bye));
    assert_eq!((bench.depth("Q"), bench.master.backlog().records), (0, 0));
}

#[test]
fn a_foreign_record_that_is_cut_off_by_a_failover_leaves_no_gap() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.send(1, message("Q", "kept"));
    bench.commit_all();
    bench.put_foreign();
    bench.send(1, message("Q", "lost"));
    bench.fail_over();
    bench.connect(2);
    let sent = bench.send(2, message("Q", "next"));
    bench.commit_all();
    assert!(bench.is_done(2, sent) && bench.depth("Q") == 2);
}

#[test]
fn a_foreign_record_that_outlives_its_master_is_applied_by_the_next() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.put_foreign();
    bench.send(1, message("Q", "kept"));
    bench.commit_all();
    bench.slave.skip_record();
    bench.put_foreign();
    bench.commit(1);
    bench.fail_over();
    bench.connect(2);
    let sent = bench.send(2, message("Q", "next"));
    bench.commit_all();
    assert!(bench.is_done(2, sent), "a slave has nothing to skip");
}

#[test]
#[should_panic(expected = "what was proposed before is appended before")]
fn a_foreign_record_does_not_overtake_what_was_proposed() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.queue_command(1, |request| Command::Send {
        message: message("Q", "not polled"),
        tx: None,
        request,
    });
    bench.master.skip_record();
}
