//! Acknowledgements in every mode, poison, and what is shared in one record.

use tandemmq_model::{
    AckKind, AckMode, AckRef, Command, Destination, Epoch, MessageId, Offset, RecordKind,
    RefusalKind, SubscriptionId,
};

use crate::bench::{Bench, message, transient};

const DLQ: &str = "ActiveMQ.DLQ";

fn with_messages(bodies: &[&str], ack_mode: AckMode) -> Bench {
    let mut bench = Bench::new();
    bench.connect(1);
    for body in bodies {
        bench.send(1, message("Q", body));
    }
    bench.subscribe(1, 1, "Q", ack_mode, 10);
    bench
}

#[test]
fn auto_acknowledges_what_was_handed_to_the_socket() {
    let mut bench = with_messages(&["a", "b", "c"], AckMode::Auto);
    assert_eq!(bench.depth("Q"), 3, "delivered is not written");
    bench.written(1, 1, 2);
    assert_eq!(bench.depth("Q"), 1);
    bench.disconnect(1);
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Auto, 10);
    let got = bench.got(2, 1);
    assert_eq!(
        (got.len(), &*got[0].body, got[0].redelivered),
        (1, "c", false)
    );
}

#[test]
fn client_acknowledges_all_up_to_the_delivery() {
    let mut bench = with_messages(&["a", "b", "c"], AckMode::Client);
    bench.receive(1, 1);
    bench.ack(1, 1, 2);
    assert_eq!(bench.depth("Q"), 1);
    let again = bench.ack(1, 1, 1);
    assert_eq!(bench.refused(1, again), Some(RefusalKind::Unknown));
}

#[test]
fn individual_acknowledges_one_delivery() {
    let mut bench = with_messages(&["a", "b", "c"], AckMode::Individual);
    bench.receive(1, 1);
    bench.ack(1, 1, 2);
    assert_eq!(bench.depth("Q"), 2);
    bench.disconnect(1);
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Auto, 10);
    assert_eq!(bench.bodies(2, 1), ["a", "c"]);
}

#[test]
fn an_ack_is_answered_when_its_record_is_committed() {
    let mut bench = with_messages(&["a"], AckMode::Individual);
    bench.receive(1, 1);
    bench.commits_at_once = false;
    let acked = bench.ack(1, 1, 1);
    assert!(!bench.is_answered(1, acked));
    assert_eq!(bench.depth("Q"), 1, "nothing is gone before the commit");
    bench.commit(1);
    assert!(bench.is_done(1, acked));
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn between_ack_and_commit_an_entry_is_nobodys() {
    let mut bench = with_messages(&["a"], AckMode::Individual);
    bench.receive(1, 1);
    bench.commits_at_once = false;
    bench.ack(1, 1, 1);
    bench.disconnect(1);
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Individual, 10);
    assert_eq!(bench.got(2, 1).len(), 0, "it does not return");
    bench.commit_all();
    assert_eq!(bench.got(2, 1).len(), 0);
    assert_eq!(bench.depth("Q"), 0);
}

#[test]
fn an_ack_that_was_not_committed_leaves_the_message_to_the_next_master() {
    let mut bench = with_messages(&["a"], AckMode::Individual);
    bench.receive(1, 1);
    bench.commits_at_once = false;
    bench.ack(1, 1, 1);
    bench.fail_over();
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Individual, 10);
    let got = bench.got(2, 1);
    assert_eq!((got.len(), got[0].redelivered), (1, true));
}

#[test]
fn acks_that_arrive_together_share_a_record() {
    let mut bench = with_messages(&["a", "b", "c", "d"], AckMode::Individual);
    bench.receive(1, 1);
    let before = bench.log.len();
    let requests: Vec<u64> = [4, 1, 2]
        .into_iter()
        .map(|delivery| {
            let id = tandemmq_model::DeliveryId(delivery);
            bench.queue_command(1, |request| Command::Ack {
                which: AckRef::Delivery(SubscriptionId(1), id),
                kind: AckKind::Consumed,
                tx: None,
                request,
            })
        })
        .collect();
    bench.run();
    assert_eq!(bench.log.len(), before + 1);
    assert_eq!(bench.kinds().last(), Some(&RecordKind::Ack));
    assert!(requests.iter().all(|request| bench.is_done(1, *request)));
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn a_send_after_an_ack_of_one_connection_stands_behind_it_in_the_log() {
    let mut bench = with_messages(&["a"], AckMode::Individual);
    bench.receive(1, 1);
    let id = tandemmq_model::DeliveryId(1);
    bench.queue_command(1, |request| Command::Ack {
        which: AckRef::Delivery(SubscriptionId(1), id),
        kind: AckKind::Consumed,
        tx: None,
        request,
    });
    bench.send(1, message("Q", "b"));
    let kinds = bench.kinds();
    assert_eq!(
        kinds[kinds.len() - 2..],
        [RecordKind::Ack, RecordKind::Enqueue]
    );
}

#[test]
fn stomp_1_1_acknowledges_by_message_id() {
    let mut bench = with_messages(&["a", "b"], AckMode::Individual);
    bench.subscribe(1, 7, "other", AckMode::Client, 10);
    let id = bench.receive(1, 1)[1].message_id;
    let consumed = AckKind::Consumed;
    let wrong = bench.ack_as(
        1,
        AckRef::Message(Some(SubscriptionId(7)), id),
        consumed,
        None,
    );
    assert_eq!(bench.refused(1, wrong), Some(RefusalKind::Unknown));
    let right = bench.ack_as(
        1,
        AckRef::Message(Some(SubscriptionId(1)), id),
        consumed,
        None,
    );
    assert!(bench.is_done(1, right));
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn stomp_1_0_acknowledges_by_message_id_alone() {
    let mut bench = with_messages(&["a", "b"], AckMode::Individual);
    let id = bench.receive(1, 1)[0].message_id;
    let acked = bench.ack_as(1, AckRef::Message(None, id), AckKind::Consumed, None);
    assert!(bench.is_done(1, acked));
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn a_message_id_of_another_epoch_acknowledges_nothing() {
    let mut bench = with_messages(&["a"], AckMode::Individual);
    bench.receive(1, 1);
    let wrong = MessageId::Persistent(Epoch(9), Offset(2));
    let acked = bench.ack_as(1, AckRef::Message(None, wrong), AckKind::Consumed, None);
    assert_eq!(bench.refused(1, acked), Some(RefusalKind::Unknown));
}

#[test]
fn a_refused_message_goes_to_the_dead_letter_queue_with_its_cause() {
    let mut bench = with_messages(&["a", "b"], AckMode::Client);
    bench.receive(1, 1);
    let refused = bench.nack(1, 1, 2);
    assert!(bench.is_done(1, refused));
    assert_eq!(
        (bench.depth("Q"), bench.depth(DLQ)),
        (1, 1),
        "poison takes one, never more"
    );
    bench.subscribe(1, 2, DLQ, AckMode::Client, 10);
    let got = bench.got(1, 2).remove(0);
    let origin = got.origin.unwrap();
    assert_eq!(got.body, "b");
    assert_eq!(got.destination, Destination::queue(DLQ));
    assert_eq!(
        got.message_id,
        MessageId::Persistent(Epoch(1), Offset(3)),
        "no copy"
    );
    assert_eq!(origin.destination, Destination::queue("Q"));
    assert!(origin.cause.contains("NACK"), "{}", origin.cause);
    assert!(got.redelivered, "a consumer has seen it");
}

#[test]
fn the_answer_to_a_nack_waits_for_the_commit() {
    let mut bench = with_messages(&["a"], AckMode::Client);
    bench.receive(1, 1);
    bench.commits_at_once = false;
    let refused = bench.nack(1, 1, 1);
    assert!(!bench.is_answered(1, refused));
    bench.commit_all();
    assert!(bench.is_done(1, refused));
}

#[test]
fn a_message_refused_from_the_dead_letter_queue_is_gone() {
    let mut bench = with_messages(&["a"], AckMode::Client);
    bench.receive(1, 1);
    bench.nack(1, 1, 1);
    bench.subscribe(1, 2, DLQ, AckMode::Client, 10);
    bench.receive(1, 2);
    let refused = bench.nack(1, 2, 1);
    assert!(bench.is_done(1, refused));
    assert_eq!(bench.depth(DLQ), 0);
}

#[test]
fn a_dead_letter_keeps_its_origin_over_a_change_of_master() {
    let mut bench = with_messages(&["a"], AckMode::Client);
    bench.receive(1, 1);
    bench.nack(1, 1, 1);
    bench.fail_over();
    bench.connect(2);
    bench.subscribe(2, 1, DLQ, AckMode::Client, 10);
    let got = bench.got(2, 1).remove(0);
    assert_eq!(got.origin.unwrap().destination, Destination::queue("Q"));
}

#[test]
fn dead_letters_of_older_offsets_come_to_a_consumer_that_is_past_them() {
    let mut bench = with_messages(&["a", "b", "c"], AckMode::Individual);
    bench.subscribe(1, 2, DLQ, AckMode::Individual, 10);
    bench.receive(1, 1);
    bench.nack(1, 1, 3);
    assert_eq!(bench.bodies(1, 2), ["c"]);
    bench.nack(1, 1, 1);
    assert_eq!(bench.bodies(1, 2), ["a"]);
    bench.ack(1, 2, 1);
    bench.ack(1, 2, 2);
    assert_eq!(bench.depth(DLQ), 0);
}

#[test]
fn a_refused_non_persistent_message_is_dropped() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, transient("Q", "a"));
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.receive(1, 1);
    let before = bench.log.len();
    let refused = bench.nack(1, 1, 1);
    assert!(bench.is_done(1, refused));
    assert_eq!((bench.depth("Q"), bench.log.len()), (0, before));
    assert!(bench.master.destinations().all(|stats| &*stats.name != DLQ));
}

#[test]
fn an_unknown_delivery_or_subscription_is_refused() {
    let mut bench = with_messages(&["a"], AckMode::Individual);
    let never = bench.ack(1, 1, 9);
    let nowhere = bench.ack(1, 9, 1);
    assert_eq!(bench.refused(1, never), Some(RefusalKind::Unknown));
    assert_eq!(bench.refused(1, nowhere), Some(RefusalKind::Unknown));
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn acks_in_random_order_leave_no_trace() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.subscribe(1, 1, "Q", AckMode::Individual, 100);
    bench.send(1, message("Q", "stays"));
    for round in 0..50 {
        for n in 0..20 {
            bench.send(1, message("Q", &format!("{round}-{n}")));
        }
        let mut ids: Vec<u64> = bench.receive(1, 1).iter().map(|got| got.id).collect();
        ids.retain(|id| *id != 1);
        ids.reverse();
        for id in ids {
            let acked = bench.ack(1, 1, id);
            assert!(bench.is_done(1, acked));
        }
    }
    assert_eq!(bench.depth("Q"), 1);
    let last = bench.ack(1, 1, 1);
    assert!(bench.is_done(1, last));
    assert_eq!(bench.stats("Q").in_flight, 0);
    assert_eq!(bench.stats("Q").dequeued, 1_001);
}

#[test]
fn disconnect_is_answered_after_everything_before_it() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.receive(1, 1);
    bench.commits_at_once = false;
    bench.ack(1, 1, 1);
    bench.send(1, message("Q", "b"));
    let left = bench.command(1, Command::Disconnect);
    bench.commit(1);
    assert!(!bench.is_answered(1, left));
    bench.commit(1);
    assert!(bench.is_done(1, left));
    assert_eq!(
        bench.got(1, 1).len(),
        0,
        "nothing is delivered to who has left"
    );
}

#[test]
fn disconnect_with_nothing_open_is_answered_at_once() {
    let mut bench = Bench::holding();
    bench.connect(1);
    let left = bench.command(1, Command::Disconnect);
    assert!(bench.is_done(1, left));
}
