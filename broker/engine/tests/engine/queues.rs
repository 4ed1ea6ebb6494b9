//! Persistent queues: order, prefetch, competing consumers, redelivery.

use tandemmq_model::{AckMode, Epoch, MessageId, Offset};

use crate::bench::{Bench, message};

fn send_all(bench: &mut Bench, conn: u64, bodies: &[&str]) {
    for body in bodies {
        bench.send(conn, message("Q", body));
    }
}

#[test]
fn a_persistent_send_is_answered_when_its_record_is_committed() {
    let mut bench = Bench::holding();
    bench.connect(1);
    let sent = bench.send(1, message("Q", "a"));
    assert!(!bench.is_answered(1, sent), "a proposal is no promise");
    bench.commit(1);
    assert!(bench.is_done(1, sent));
}

#[test]
fn nothing_is_delivered_before_it_is_committed() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    send_all(&mut bench, 1, &["a", "b"]);
    assert_eq!(bench.bodies(1, 1), [""; 0]);
    bench.commit(1);
    assert_eq!(bench.bodies(1, 1), ["a"]);
    bench.commit(1);
    assert_eq!(bench.bodies(1, 1), ["b"]);
}

#[test]
fn a_message_id_names_epoch_and_offset() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.fail_over();
    bench.connect(2);
    bench.send(2, message("Q", "b"));
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    let ids: Vec<MessageId> = bench.got(2, 1).iter().map(|got| got.message_id).collect();
    let id = |epoch, offset| MessageId::Persistent(Epoch(epoch), Offset(offset));
    assert_eq!(
        ids,
        [id(1, 2), id(2, 4)],
        "the epoch is the record's, not the master's"
    );
}

#[test]
fn a_message_arrives_as_it_was_sent() {
    let mut bench = Bench::new();
    bench.connect(1);
    let mut sent = message("Q", "body");
    sent.correlation_id = Some("c-1".into());
    sent.reply_to = Some(tandemmq_model::Destination::topic("answers"));
    sent.jms_type = Some("order".into());
    sent.body_kind = tandemmq_model::BodyKind::Bytes;
    sent.properties = vec![
        ("a".into(), "1".into()),
        ("a".into(), "2".into()),
        ("".into(), "".into()),
    ];
    bench.send(1, sent.clone());
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(*bench.got(1, 1)[0].message, sent);
}

#[test]
fn prefetch_bounds_what_is_out() {
    let mut bench = Bench::new();
    bench.connect(1);
    send_all(&mut bench, 1, &["a", "b", "c", "d"]);
    bench.subscribe(1, 1, "Q", AckMode::Individual, 2);
    assert_eq!(bench.bodies(1, 1), ["a", "b"]);
    bench.written(1, 1, 2);
    assert_eq!(bench.bodies(1, 1), [""; 0], "written is not acknowledged");
    bench.ack(1, 1, 2);
    assert_eq!(bench.bodies(1, 1), ["c"]);
    assert_eq!(bench.stats("Q").in_flight, 2);
}

#[test]
fn a_prefetch_of_zero_still_delivers_one() {
    let mut bench = Bench::new();
    bench.connect(1);
    send_all(&mut bench, 1, &["a", "b"]);
    bench.subscribe(1, 1, "Q", AckMode::Individual, 0);
    assert_eq!(bench.bodies(1, 1), ["a"]);
}

#[test]
fn competing_consumers_take_turns() {
    let mut bench = Bench::holding();
    bench.connect(1);
    bench.connect(2);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.subscribe(2, 1, "Q", AckMode::Client, 2);
    send_all(&mut bench, 1, &["a", "b", "c", "d", "e", "f"]);
    bench.commit_all();
    assert_eq!(bench.bodies(1, 1), ["a", "c", "e", "f"]);
    assert_eq!(bench.bodies(2, 1), ["b", "d"], "its prefetch is 2");
}

#[test]
fn an_acknowledged_message_never_comes_again() {
    let mut bench = Bench::new();
    bench.connect(1);
    send_all(&mut bench, 1, &["a", "b"]);
    bench.subscribe(1, 1, "Q", AckMode::Individual, 10);
    bench.receive(1, 1);
    let acked = bench.ack(1, 1, 1);
    assert!(bench.is_done(1, acked));
    assert_eq!(bench.depth("Q"), 1);
    bench.disconnect(1);
    bench.fail_over();
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Individual, 10);
    assert_eq!(bench.bodies(2, 1), ["b"]);
}

#[test]
fn what_was_written_to_a_lost_consumer_returns_to_its_place_redelivered() {
    let mut bench = Bench::new();
    bench.connect(1);
    send_all(&mut bench, 1, &["a", "b", "c", "d"]);
    bench.subscribe(1, 1, "Q", AckMode::Client, 3);
    bench.written(1, 1, 2);
    bench.disconnect(1);
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    let got = bench.got(2, 1);
    let seen: Vec<(&str, bool)> = got
        .iter()
        .map(|got| (&*got.body, got.redelivered))
        .collect();
    assert_eq!(seen, [("a", true), ("b", true), ("c", false), ("d", false)]);
}

#[test]
fn after_an_unsubscribe_all_that_was_out_counts_as_seen() {
    let mut bench = Bench::new();
    bench.connect(1);
    send_all(&mut bench, 1, &["a", "b"]);
    bench.subscribe(1, 1, "Q", AckMode::Client, 2);
    bench.written(1, 1, 1);
    let left = bench.unsubscribe(1, 1);
    assert!(bench.is_done(1, left));
    bench.subscribe(1, 2, "Q", AckMode::Client, 10);
    let redelivered: Vec<bool> = bench.got(1, 2).iter().map(|got| got.redelivered).collect();
    assert_eq!(
        redelivered,
        [true, true],
        "bytes may have been on their way to the socket"
    );
}

#[test]
fn what_was_not_delivered_returns_to_its_place_unmarked() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.connect(2);
    send_all(&mut bench, 1, &["a", "b", "c"]);
    bench.subscribe(1, 1, "Q", AckMode::Client, 2);
    bench.subscribe(2, 1, "Q", AckMode::Client, 1);
    assert_eq!(bench.bodies(2, 1), ["c"]);
    bench.not_delivered(1, 1, 1);
    bench.not_delivered(1, 1, 2);
    let got = bench.got(1, 1);
    let seen: Vec<_> = got
        .iter()
        .map(|got| (got.id, &*got.body, got.redelivered))
        .collect();
    assert_eq!(
        seen[2..],
        [(3, "a", false), (4, "b", false)],
        "in order, with new numbers"
    );
}

#[test]
fn a_returned_message_is_first_for_the_next_consumer() {
    let mut bench = Bench::new();
    for conn in 1..=3 {
        bench.connect(conn);
    }
    send_all(&mut bench, 1, &["a", "b", "c", "d"]);
    bench.subscribe(1, 1, "Q", AckMode::Client, 1);
    bench.subscribe(2, 1, "Q", AckMode::Individual, 1);
    bench.receive(1, 1);
    assert_eq!(bench.receive(2, 1)[0].body, "b");
    bench.disconnect(1);
    bench.ack(2, 1, 1);
    assert_eq!(bench.bodies(2, 1), ["a"], "its place is before c");
}

#[test]
fn after_a_change_of_master_older_entries_are_redelivered() {
    let mut bench = Bench::new();
    bench.connect(1);
    send_all(&mut bench, 1, &["a", "b"]);
    bench.fail_over();
    bench.connect(2);
    send_all(&mut bench, 2, &["c"]);
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    let got = bench.got(2, 1);
    let seen: Vec<(&str, bool)> = got
        .iter()
        .map(|got| (&*got.body, got.redelivered))
        .collect();
    assert_eq!(seen, [("a", true), ("b", true), ("c", false)]);
}

#[test]
fn what_was_not_committed_is_gone_after_a_change_of_master() {
    let mut bench = Bench::holding();
    bench.connect(1);
    send_all(&mut bench, 1, &["a", "b"]);
    bench.commit(1);
    bench.fail_over();
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    bench.commit_all();
    assert_eq!(bench.bodies(2, 1), ["a"]);
}

#[test]
fn a_demoted_engine_says_nothing_and_takes_nothing() {
    let mut bench = Bench::holding();
    bench.connect(1);
    let sent = bench.send(1, message("Q", "a"));
    bench.master.demote();
    assert_eq!(bench.master.poll_effect(bench.now), None);
    assert_eq!(bench.master.poll_timeout(), None);
    bench.send(1, message("Q", "b"));
    assert_eq!(bench.master.backlog(), tandemmq_engine::Backlog::default());
    bench.commit(1);
    assert!(!bench.is_answered(1, sent), "a slave answers nobody");
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn a_deep_queue_gives_its_first_entries_at_once() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.commits_at_once = false;
    for _ in 0..20_000 {
        bench.queue_command(1, |request| tandemmq_model::Command::Send {
            message: message("Q", "x"),
            tx: None,
            request,
        });
    }
    bench.commit_all();
    assert_eq!(bench.depth("Q"), 20_000);
    bench.commits_at_once = true;
    bench.subscribe(1, 1, "Q", AckMode::Individual, 3);
    assert_eq!(bench.got(1, 1).len(), 3);
}

#[test]
fn a_client_that_does_not_read_gets_no_more_than_its_share_of_memory() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.connect(2);
    let large = "x".repeat(100_000);
    for _ in 0..40 {
        bench.send(2, message("Q", &large));
    }
    bench.subscribe(1, 1, "Q", AckMode::Client, 1_000);
    let got = bench.got(1, 1);
    assert_eq!(got.len(), 11, "a mebibyte and what went beyond it");
    bench.written(1, 1, got.last().unwrap().id);
    let got = bench.got(1, 1);
    assert_eq!(got.len(), 11, "the socket took it: the next part");
    bench.written(1, 1, got.last().unwrap().id);
    let rest = bench.receive(1, 1);
    assert_eq!(rest.len(), 40 - 22);
}

#[test]
fn a_message_for_nobody_waits_for_the_first_consumer() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.unsubscribe(1, 1);
    send_all(&mut bench, 1, &["a"]);
    bench.subscribe(1, 2, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(1, 2), ["a"]);
}
