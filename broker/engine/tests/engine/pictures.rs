//! Pictures as the neighbours of the engine use them.

use tandemmq_engine::{Engine, EngineConfig, Picture};
use tandemmq_model::AckMode;

use crate::bench::{Bench, message, through_bytes};

#[test]
fn a_picture_may_be_given_to_another_thread() {
    fn check<T: Send + Clone + std::fmt::Debug + 'static>() {}
    check::<Picture>();
}

#[test]
fn a_restored_slave_takes_over_with_messages_dead_letters_and_marks() {
    let mut bench = Bench::new();
    bench.connect(1);
    for body in ["a", "b", "c"] {
        bench.send(1, message("Q", body));
    }
    bench.subscribe(1, 1, "Q", AckMode::Individual, 2);
    bench.receive(1, 1);
    bench.nack(1, 1, 1);
    bench.restore_slave();
    bench.fail_over();
    bench.connect(2);
    bench.subscribe(2, 1, "Q", AckMode::Individual, 10);
    let got = bench.got(2, 1);
    let seen: Vec<_> = got
        .iter()
        .map(|g| (g.body.as_str(), g.redelivered))
        .collect();
    assert_eq!(seen, [("b", true), ("c", true)]);
    bench.subscribe(2, 2, "ActiveMQ.DLQ", AckMode::Individual, 10);
    let dead = bench.got(2, 2);
    assert_eq!((dead[0].body.as_str(), dead[0].redelivered), ("a", true));
    let origin = dead[0].origin.as_ref().unwrap();
    assert_eq!(&*origin.destination.name, "Q");
}

#[test]
fn a_transaction_that_was_open_in_the_picture_commits_on_the_restored_slave() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.begin(1, "t");
    bench.send_in(1, "t", message("Q", "in"));
    bench.restore_slave();
    bench.commit_tx(1, "t");
    bench.fail_over();
    assert_eq!(bench.depth("Q"), 1);
}

#[test]
fn a_picture_of_a_queue_that_is_empty_keeps_its_counts() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.subscribe(1, 1, "Q", AckMode::Auto, 1);
    bench.receive(1, 1);
    let picture = bench.master.picture();
    picture.live(&mut |offset, _| panic!("{offset} is not needed"));
    let mut engine = Engine::new(EngineConfig::default());
    engine.restore(through_bytes(picture));
    let stats = engine.destinations().next().unwrap();
    assert_eq!((stats.depth, stats.enqueued, stats.dequeued), (0, 1, 1));
}

#[test]
#[should_panic(expected = "a master's State is never replaced")]
fn a_master_is_not_restored() {
    let mut bench = Bench::new();
    let picture = bench.slave.picture();
    bench.master.restore(picture);
}
