//! Hand-made histories: each guarantee is seen broken, and a good history is not accused.

use tandemmq_model::{AckMode, Destination, Epoch, MessageId, Offset};

use super::*;

fn attempt(seq: u32, index: u32, tx: u32) -> Attempt {
    Attempt {
        id: SendId { producer: 1, seq },
        conn: 1,
        index,
        tx,
    }
}

fn message_id(offset: u64) -> MessageId {
    MessageId::Persistent(Epoch(1), Offset(offset))
}

fn queue() -> Destination {
    Destination::queue("Q")
}

fn reception(attempt: Attempt, offset: u64, redelivered: bool) -> Reception {
    Reception {
        key: SubscriptionKey {
            client: 9,
            conn: 1,
            subscription: 1,
        },
        destination: queue(),
        message_id: message_id(offset),
        attempt,
        redelivered,
        order: FirstDeliveries::Ordered,
    }
}

fn violated(history: &mut History) -> Option<Invariant> {
    history.violation().map(|violation| violation.invariant)
}

#[test]
fn a_message_sent_confirmed_received_and_acked_is_no_violation() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.acknowledged(attempt(1, 1, 0).id);
    history.received(&reception(attempt(1, 1, 0), 5, false));
    history.ack_sent(&queue(), message_id(5), None, false);
    history.ack_confirmed(queue(), message_id(5), Epoch(1));
    history.finish();
    assert_eq!(violated(&mut history), None);
}

#[test]
fn an_acknowledged_message_that_nobody_acked_is_lost_even_if_it_was_received() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.acknowledged(attempt(1, 1, 0).id);
    history.received(&reception(attempt(1, 1, 0), 5, false));
    history.finish();
    assert_eq!(violated(&mut history), Some(Invariant::AckedLost));
}

#[test]
fn an_auto_delivery_is_consumed_once_it_was_handed_to_the_socket() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.acknowledged(attempt(1, 1, 0).id);
    history.written(AckMode::Auto, message_id(5), attempt(1, 1, 0));
    history.finish();
    assert_eq!(violated(&mut history), None);
}

#[test]
fn a_message_of_best_effort_may_be_lost_after_its_receipt() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::BestEffort);
    history.acknowledged(attempt(1, 1, 0).id);
    history.finish();
    assert_eq!(violated(&mut history), None);
}

#[test]
fn what_is_received_must_have_been_sent() {
    let mut history = History::default();
    history.received(&reception(attempt(1, 1, 0), 5, false));
    assert_eq!(violated(&mut history), Some(Invariant::NeverSent));
}

#[test]
fn one_send_frame_is_one_message() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.received(&reception(attempt(1, 1, 0), 5, false));
    history.received(&reception(attempt(1, 1, 0), 6, true));
    assert_eq!(violated(&mut history), Some(Invariant::EnqueuedTwice));
}

#[test]
fn a_resend_is_another_frame_and_may_be_another_message() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    let again = Attempt {
        conn: 2,
        ..attempt(1, 1, 0)
    };
    history.sent(again, Promise::Durable);
    history.received(&reception(attempt(1, 1, 0), 5, false));
    history.received(&reception(again, 6, false));
    assert_eq!(violated(&mut history), None);
}

#[test]
fn of_two_deliveries_one_carries_the_redelivered_flag() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.received(&reception(attempt(1, 1, 0), 5, true));
    history.received(&reception(attempt(1, 1, 0), 5, false));
    assert_eq!(
        violated(&mut history),
        None,
        "a late first delivery may come second"
    );
    history.received(&reception(attempt(1, 1, 0), 5, false));
    assert_eq!(violated(&mut history), Some(Invariant::NotFlagged));
}

#[test]
fn first_deliveries_follow_the_order_of_their_producer() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.sent(attempt(2, 2, 0), Promise::Durable);
    history.received(&reception(attempt(2, 2, 0), 6, false));
    history.received(&reception(attempt(1, 1, 0), 5, false));
    assert_eq!(violated(&mut history), Some(Invariant::OutOfOrder));
}

#[test]
fn competing_consumers_have_no_order() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.sent(attempt(2, 2, 0), Promise::Durable);
    let order = FirstDeliveries::Competing;
    history.received(&Reception {
        order,
        ..reception(attempt(2, 2, 0), 6, false)
    });
    history.received(&Reception {
        order,
        ..reception(attempt(1, 1, 0), 5, false)
    });
    assert_eq!(violated(&mut history), None);
}

#[test]
fn a_confirmed_message_is_not_dispatched_again_by_the_same_or_a_later_master() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.ack_confirmed(queue(), message_id(5), Epoch(3));
    history.dispatched(Epoch(2), &queue(), message_id(5));
    assert_eq!(
        violated(&mut history),
        None,
        "a master of before may, for its last moments"
    );
    history.dispatched(Epoch(3), &queue(), message_id(5));
    assert_eq!(violated(&mut history), Some(Invariant::CameBack));
}

#[test]
fn a_message_of_a_transaction_is_not_visible_before_its_commit_was_asked_for() {
    let mut history = History::default();
    history.sent(attempt(1, 1, 7), Promise::Durable);
    history.received(&reception(attempt(1, 1, 7), 5, false));
    assert_eq!(violated(&mut history), Some(Invariant::I17TxAtomic));
}

#[test]
fn half_a_transaction_is_a_violation() {
    let tx = TxId {
        client: 1,
        conn: 1,
        tx: 7,
    };
    let mut history = History::default();
    history.sent(attempt(1, 1, 7), Promise::Durable);
    history.sent(attempt(2, 2, 7), Promise::Durable);
    history.commit_sent(tx);
    history.received(&reception(attempt(1, 1, 7), 5, false));
    history.finish();
    assert_eq!(violated(&mut history), Some(Invariant::I17TxAtomic));
}

#[test]
fn acks_of_a_transaction_count_from_its_commit_on() {
    let tx = TxId {
        client: 9,
        conn: 1,
        tx: 1,
    };
    let mut history = History::default();
    history.sent(attempt(1, 1, 0), Promise::Durable);
    history.acknowledged(attempt(1, 1, 0).id);
    history.received(&reception(attempt(1, 1, 0), 5, false));
    history.ack_sent(&queue(), message_id(5), Some(tx), false);
    history.dispatched(Epoch(1), &queue(), message_id(5));
    assert_eq!(
        violated(&mut history),
        None,
        "not committed: it may come again"
    );
    history.commit_sent(tx);
    history.committed(tx, Epoch(1));
    history.dispatched(Epoch(1), &queue(), message_id(5));
    assert_eq!(violated(&mut history), Some(Invariant::CameBack));
}
