//! Limits and what the journal has room for.

use std::time::Duration;

use tandemmq_engine::{Admission, EngineConfig};
use tandemmq_model::limits::{NAME_BYTES_MAX, SUBSCRIPTIONS_MAX};
use tandemmq_model::{AckMode, Command, Outcome, RefusalKind};

use crate::bench::{Bench, message, topic, transient};

#[test]
fn at_the_disk_limit_producers_are_refused_and_consumers_go_on() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.admit(Admission::RefuseProducers {
        reason: "the disk is full: free 1 GB".into(),
    });
    let refused = bench.send(1, message("Q", "b"));
    let Some(Outcome::Refused(refusal)) = bench.outcome(1, refused) else {
        panic!("refused")
    };
    assert_eq!(refusal.kind, RefusalKind::NoSpace);
    assert_eq!(&*refusal.text, "the disk is full: free 1 GB");
    bench.begin(1, "t");
    let inside = bench.send_in(1, "t", message("Q", "c"));
    assert_eq!(bench.refused(1, inside), Some(RefusalKind::NoSpace));
    let memory = bench.send(1, transient("Q", "d"));
    assert!(bench.is_done(1, memory), "it needs no disk");
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.receive(1, 1).len(), 2);
    let acked = bench.ack(1, 1, 2);
    assert!(bench.is_done(1, acked));
    bench.admit(Admission::Open);
    let sent = bench.send(1, message("Q", "e"));
    assert!(bench.is_done(1, sent));
}

#[test]
fn a_full_journal_gets_no_records_and_delivers_nothing() {
    let mut bench = Bench::new();
    bench.connect(1);
    for body in ["a", "b", "c"] {
        bench.send(1, message("Q", body));
    }
    bench.subscribe(1, 1, "Q", AckMode::Individual, 2);
    bench.receive(1, 1);
    bench.begin(1, "t");
    bench.ack_in(1, "t", 1, 2);
    let before = bench.log.len();
    bench.admit(Admission::PauseDispatch);
    let refused = bench.send(1, message("Q", "d"));
    let acked = bench.ack(1, 1, 1);
    let committed = bench.commit_tx(1, "t");
    bench.wait(Duration::from_secs(60));
    let left = bench.command(1, Command::Disconnect);
    assert_eq!(bench.refused(1, refused), Some(RefusalKind::NoSpace));
    assert_eq!(bench.log.len(), before);
    assert!(
        ![acked, committed, left]
            .iter()
            .any(|request| bench.is_answered(1, *request))
    );
    bench.admit(Admission::Open);
    assert!(
        [acked, committed, left]
            .iter()
            .all(|request| bench.is_done(1, *request))
    );
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn a_pause_ends_with_deliveries() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.admit(Admission::PauseDispatch);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.got(1, 1).len(), 0);
    bench.admit(Admission::RefuseProducers {
        reason: "little room".into(),
    });
    assert_eq!(bench.bodies(1, 1), ["a"]);
}

#[test]
fn a_master_promoted_into_a_full_journal_is_paused() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.slave.set_admission(Admission::PauseDispatch);
    bench.fail_over();
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.got(2, 1).len(), 0);
    bench.admit(Admission::Open);
    assert_eq!(bench.bodies(2, 1), ["a"]);
}

#[test]
fn subscriptions_of_a_connection_are_bounded() {
    let mut bench = Bench::new();
    bench.connect(1);
    for id in 0..SUBSCRIPTIONS_MAX {
        let made = bench.subscribe(1, id as u32, "Q", AckMode::Client, 1);
        assert!(bench.is_done(1, made));
    }
    let over = bench.subscribe(1, 9_999, "Q", AckMode::Client, 1);
    assert_eq!(bench.refused(1, over), Some(RefusalKind::Limit));
    let twice = bench.subscribe(1, 1, "Q", AckMode::Client, 1);
    assert_eq!(bench.refused(1, twice), Some(RefusalKind::Exists));
    bench.unsubscribe(1, 0);
    let fits = bench.subscribe(1, 9_999, "Q", AckMode::Client, 1);
    assert!(bench.is_done(1, fits));
    let gone = bench.unsubscribe(1, 0);
    assert_eq!(bench.refused(1, gone), Some(RefusalKind::Unknown));
}

#[test]
fn destinations_are_bounded_and_idle_ones_make_room() {
    let config = EngineConfig {
        destinations_max: 3,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    bench.connect(1);
    bench.send(1, message("A", "a"));
    bench.send(1, topic("T", "a"));
    bench.subscribe(1, 1, "B", AckMode::Client, 1);
    let third = bench.send(1, message("C", "a"));
    assert!(bench.is_done(1, third), "the topic was idle");
    let fourth = bench.send(1, message("D", "a"));
    assert_eq!(bench.refused(1, fourth), Some(RefusalKind::Limit));
    let subscribed = bench.subscribe(1, 2, "D", AckMode::Client, 1);
    assert_eq!(bench.refused(1, subscribed), Some(RefusalKind::Limit));
    let known = bench.send(1, message("A", "b"));
    assert!(bench.is_done(1, known), "those that exist go on");
}

#[test]
fn names_are_bounded() {
    let mut bench = Bench::new();
    bench.connect(1);
    for name in [String::new(), "x".repeat(NAME_BYTES_MAX + 1)] {
        let sent = bench.send(1, message(&name, "a"));
        assert_eq!(bench.refused(1, sent), Some(RefusalKind::Limit));
    }
    let longest = bench.send(1, message(&"x".repeat(NAME_BYTES_MAX), "a"));
    assert!(bench.is_done(1, longest));
}

#[test]
fn a_message_that_no_record_holds_is_refused() {
    let mut bench = Bench::new();
    bench.connect(1);
    let huge = "x".repeat(tandemmq_model::limits::RECORD_BYTES_MAX);
    for message in [message("Q", &huge), transient("Q", &huge)] {
        let sent = bench.send(1, message);
        assert_eq!(bench.refused(1, sent), Some(RefusalKind::Limit));
    }
}

#[test]
fn a_name_in_reply_to_is_bounded_too() {
    let mut bench = Bench::new();
    bench.connect(1);
    let mut asking = message("Q", "a");
    asking.reply_to = Some(tandemmq_model::Destination::queue(
        "x".repeat(NAME_BYTES_MAX + 1),
    ));
    let sent = bench.send(1, asking);
    assert_eq!(bench.refused(1, sent), Some(RefusalKind::Limit));
}

#[test]
fn the_backlog_counts_what_is_proposed_and_not_applied() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.send(1, message("Q", &"x".repeat(1_000)));
    bench.send(1, message("Q", "a"));
    let backlog = bench.master.backlog();
    assert_eq!(backlog.records, 2);
    assert!(
        backlog.bytes > 1_000 && backlog.bytes < 1_500,
        "{backlog:?}"
    );
    bench.commit(2);
    assert_eq!(bench.master.backlog(), tandemmq_engine::Backlog::default());
}

#[test]
fn commands_of_an_unknown_connection_are_ignored() {
    let mut bench = Bench::new();
    let sent = bench.send(7, message("Q", "a"));
    bench.disconnect(7);
    assert!(!bench.is_answered(7, sent));
    assert_eq!(bench.log.len(), 1);
}

#[test]
fn a_destination_that_a_send_is_on_its_way_to_is_not_idle() {
    let config = EngineConfig {
        destinations_max: 3,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    bench.commits_at_once = false;
    bench.connect(1);
    let sent = bench.send(1, message("A", "a"));
    bench.begin(1, "t");
    bench.send_in(1, "t", transient("B", "b"));
    bench.send_in(1, "t", topic("T", "c"));
    let over = bench.send(1, message("C", "a"));
    assert_eq!(bench.refused(1, over), Some(RefusalKind::Limit));
    bench.commit_all();
    assert!(bench.is_done(1, sent));
    bench.subscribe_to(
        1,
        1,
        tandemmq_model::Destination::topic("T"),
        AckMode::Auto,
        1,
    );
    bench.commit_tx(1, "t");
    assert_eq!((bench.depth("A"), bench.depth("B")), (1, 1));
    assert_eq!(bench.bodies(1, 1), ["c"]);
}
