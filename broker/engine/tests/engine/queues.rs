//! Persistent queues: order, prefetch, competing consumers, redelivery.

use tandemmq_model::{AckMode, Delivery, Epoch, MessageId, Offset};

use crate::bench::{Bench, message};

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
    bench.send(1, message("Q", "a"));
    bench.send(1, message("Q", "b"));
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
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    let got = bench.got(1, 1);
    assert_eq!(
        got[0].message_id,
        MessageId::Persistent(Epoch(1), Offset(2))
    );
    assert!(!got[0].redelivered);
    let _: Option<Delivery> = None;
}
