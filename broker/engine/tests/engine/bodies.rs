//! Bodies that are not in memory.

use std::time::Duration;

use tandemmq_engine::EngineConfig;
use tandemmq_model::{AckMode, Offset};

use crate::bench::{Bench, message};

/// Nothing is cached: every body is read.
fn uncached() -> Bench {
    let config = EngineConfig {
        body_cache_bytes_max: 0,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    bench.connect(1);
    bench
}

fn filled(count: usize) -> Bench {
    let mut bench = uncached();
    for n in 0..count {
        bench.send(1, message("Q", &n.to_string()));
    }
    bench
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_fresh_body_is_dispatched_without_a_read() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.send(1, message("Q", "a"));
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(1, 1), ["a"]);
    assert_eq!(bench.reads_seen, 0);
}

#[test]
fn bodies_are_read_in_windows_and_dispatched_in_order() {
    let mut bench = filled(200);
    bench.subscribe(1, 1, "Q", AckMode::Client, 1_000);
    assert_eq!(bench.bodies(1, 1), numbers(0..200));
    assert_eq!(bench.reads_seen, 4, "64 entries at a time");
}

#[test]
fn a_window_is_bounded_in_bytes() {
    let mut bench = uncached();
    let large = "x".repeat(400_000);
    for _ in 0..10 {
        bench.send(1, message("Q", &large));
    }
    bench.reads_at_once = false;
    bench.subscribe(1, 1, "Q", AckMode::Client, 1_000);
    assert_eq!(bench.reads.len(), 2, "a mebibyte");
}

#[test]
fn a_queue_waits_for_its_bodies() {
    let mut bench = filled(3);
    bench.reads_at_once = false;
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.send(1, message("Q", "3"));
    assert_eq!(bench.got(1, 1).len(), 0);
    assert_eq!(
        bench.reads,
        [Offset(2), Offset(3), Offset(4)],
        "asked for once"
    );
    bench.answer_reads();
    bench.drain();
    assert_eq!(bench.bodies(1, 1), numbers(0..3));
    bench.answer_reads();
    bench.drain();
    assert_eq!(bench.bodies(1, 1), numbers(3..4));
}

#[test]
fn answers_may_come_in_parts() {
    let mut bench = filled(3);
    bench.reads_at_once = false;
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    let mut parts: Vec<_> = std::mem::take(&mut bench.reads);
    parts.reverse();
    for offset in parts {
        assert_eq!(bench.got(1, 1).len(), 0);
        bench.reads = vec![offset];
        bench.answer_reads();
        bench.drain();
    }
    assert_eq!(bench.bodies(1, 1), numbers(0..3));
}

#[test]
fn what_cannot_be_read_is_skipped_and_tried_again() {
    let mut bench = filled(4);
    bench.broken = vec![Offset(3)];
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(1, 1), ["0", "2", "3"]);
    assert_eq!(bench.depth("Q"), 4, "never dropped");
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.got(1, 1).len(), 0);
    bench.broken.clear();
    bench.wait(Duration::from_millis(999));
    assert_eq!(bench.got(1, 1).len(), 0, "a second between two tries");
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.bodies(1, 1), ["1"]);
}

#[test]
fn a_disk_that_reads_nothing_is_not_asked_for_the_whole_queue() {
    let mut bench = filled(1_000);
    bench.broken = (1..2_000).map(Offset).collect();
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.reads_seen, 1);
    bench.broken.clear();
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.bodies(1, 1), numbers(0..10));
}

#[test]
fn a_consumer_that_leaves_while_its_bodies_are_read_loses_nothing() {
    let mut bench = filled(3);
    bench.reads_at_once = false;
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    bench.unsubscribe(1, 1);
    bench.answer_reads();
    bench.drain();
    bench.reads_at_once = true;
    bench.subscribe(1, 2, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(1, 2), numbers(0..3));
}

#[test]
fn answers_of_an_earlier_reign_are_harmless() {
    let mut bench = filled(3);
    bench.reads_at_once = false;
    bench.subscribe(1, 1, "Q", AckMode::Client, 10);
    let stale = std::mem::take(&mut bench.reads);
    bench.fail_over();
    bench.reads = stale;
    bench.answer_reads();
    bench.connect(2);
    bench.reads_at_once = true;
    bench.subscribe(2, 1, "Q", AckMode::Client, 10);
    assert_eq!(bench.bodies(2, 1), numbers(0..3));
}

#[test]
fn the_cache_forgets_the_oldest_first() {
    let config = EngineConfig {
        body_cache_bytes_max: 1_000,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config);
    bench.connect(1);
    for n in 0..20 {
        bench.send(1, message("Q", &n.to_string()));
    }
    bench.subscribe(1, 1, "Q", AckMode::Client, 100);
    assert_eq!(bench.bodies(1, 1), numbers(0..20));
    assert!(bench.reads_seen >= 1);
}

#[test]
fn many_queues_share_the_readers() {
    let mut bench = uncached();
    for queue in 0..40 {
        for n in 0..64 {
            bench.send(1, message(&format!("Q{queue}"), &n.to_string()));
        }
    }
    bench.reads_at_once = false;
    for queue in 0..40 {
        bench.subscribe(1, queue, &format!("Q{queue}"), AckMode::Client, 64);
    }
    assert_eq!(bench.reads.len(), 16 * 64, "no more at once");
    bench.reads_at_once = true;
    bench.drain();
    for queue in 0..40 {
        assert_eq!(bench.bodies(1, queue), numbers(0..64), "queue {queue}");
    }
}
