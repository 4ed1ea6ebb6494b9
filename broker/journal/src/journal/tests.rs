//! Claims about the machine: when it asks the disk for what, and what it tells.

use std::time::Duration;

use super::*;
use crate::tests::testing::{Member, batch, config, identity, promised};

const SEGMENT: u32 = 1 << 20;

fn settled() -> Member {
    let mut member = Member::new(config(SEGMENT));
    member.settle();
    member.events.clear();
    member
}

fn item_names(op: &DiskOp) -> Vec<&'static str> {
    let Work::Write { items, .. } = &op.work else {
        return vec!["background"];
    };
    let name = |item: &Item| match item {
        Item::Append(_) => "append",
        Item::Cut(_) => "cut",
        Item::Control(_) => "control",
        Item::Identity(_) => "identity",
        Item::Witness(_) => "witness",
        Item::Checkpoint(_) => "checkpoint",
        Item::Side(_) => "side",
        Item::Abandon => "abandon",
        Item::Switch => "switch",
        Item::SetAside(_) => "set aside",
    };
    items.iter().map(name).collect()
}

#[test]
fn what_is_appended_while_a_sync_is_out_shares_the_next_one() {
    let mut member = settled();
    member.extend(1, &[b"a"]);
    let first = member.poll().unwrap();
    assert_eq!(item_names(&first), ["append"]);
    member.extend(1, &[b"b"]);
    member.extend(1, &[b"c"]);
    assert!(member.poll().is_none(), "one operation is out at a time");
    let syncs = member.disk.syncs();
    member.finish(first);
    assert_eq!(member.events, [JournalEvent::Synced(Offset(1))]);
    let second = member.poll().unwrap();
    assert_eq!(item_names(&second), ["append", "append"]);
    member.finish(second);
    assert_eq!(member.events[1..], [JournalEvent::Synced(Offset(3))]);
    let rolled = 1; // The first batch also made a name durable.
    assert_eq!(
        member.disk.syncs() - syncs,
        2 + rolled,
        "two batches shared one fdatasync"
    );
}

#[test]
fn it_is_idle_only_while_nothing_appended_waits() {
    let mut member = settled();
    assert!(member.journal.is_idle());
    member.extend(1, &[b"a"]);
    assert!(!member.journal.is_idle());
    let op = member.poll().unwrap();
    assert!(!member.journal.is_idle());
    member.finish(op);
    assert!(member.journal.is_idle());
}

#[test]
fn a_sync_given_before_a_cut_raises_synced_no_further_than_the_cut() {
    let mut member = settled();
    for body in [b"a", b"b", b"c"] {
        member.extend(1, &[body]);
    }
    let out = member.poll().unwrap();
    member.journal.cut(Offset(1));
    member.extend(2, &[b"x"]);
    member.extend(2, &[b"y"]);
    assert_eq!(member.journal.synced(), Offset::ZERO);
    member.finish(out);
    assert_eq!(
        member.journal.synced(),
        Offset(1),
        "2 and 3 are others now, and not synced"
    );
    assert_eq!(member.journal.synced_tail(), (Epoch(1), Offset(1)));
    member.settle();
    assert_eq!(member.journal.synced_tail(), (Epoch(2), Offset(3)));
}

#[test]
fn a_cut_lowers_synced_in_the_same_step() {
    let mut member = settled();
    for body in [b"a", b"b", b"c"] {
        member.extend(1, &[body]);
    }
    member.settle();
    member.journal.cut(Offset(2));
    assert_eq!(
        (member.journal.appended(), member.journal.synced()),
        (Offset(2), Offset(2))
    );
    assert_eq!(member.journal.epoch_at(Offset(3)), None);
}

#[test]
fn each_ticket_is_told_once_and_in_order() {
    let mut member = settled();
    let first = member.journal.store_control(promised(1));
    let second = member.journal.store_identity(identity());
    let third = member.journal.store_witness(Vec::new());
    let fourth = member.journal.store_witness(Vec::new());
    member.settle();
    let told = [first, second, third, fourth].map(JournalEvent::Stored);
    assert_eq!(member.events, told);
    member.extend(1, &[b"a"]);
    member.settle();
    assert_eq!(member.events[4..], [JournalEvent::Synced(Offset(1))]);
}

#[test]
fn a_promise_is_done_before_the_append_that_came_after_it() {
    let mut member = settled();
    member.extend(1, &[b"a"]);
    member.journal.store_control(promised(2));
    member.journal.cut(Offset(0));
    member.extend(2, &[b"b"]);
    let op = member.poll().unwrap();
    assert_eq!(item_names(&op), ["append", "control", "cut", "append"]);
    member.finish(op);
    assert_eq!(member.journal.synced_tail(), (Epoch(2), Offset(1)));
}

#[test]
fn a_failed_sync_is_fatal_and_nothing_is_asked_any_more() {
    let mut member = settled();
    member.extend(1, &[b"a"]);
    let op = member.poll().unwrap();
    member.disk.fail_next_sync();
    member.finish(op);
    assert!(
        matches!(&member.events[..], [JournalEvent::Fatal(_)]),
        "{:?}",
        member.events
    );
    assert_eq!(member.journal.synced(), Offset::ZERO);
    member.extend(1, &[b"b"]);
    assert!(member.poll().is_none());
}

#[test]
fn a_stall_is_counted_from_when_the_disk_was_given_the_operation() {
    let mut member = settled();
    assert_eq!(member.journal.stalled_since(), None);
    member.extend(1, &[b"a"]);
    let op = member.poll().unwrap();
    let given = member.now.boot;
    member.now.boot = given + Duration::from_secs(3);
    member.extend(1, &[b"b"]);
    assert_eq!(member.journal.stalled_since(), Some(given));
    member.finish(op);
    assert_eq!(member.journal.stalled_since(), None);
}

#[test]
fn the_durable_mark_follows_within_a_second_and_costs_no_record_anything() {
    let mut member = settled();
    member.extend(1, &[b"a"]);
    member.settle();
    assert_eq!(member.journal.durable, Offset::ZERO);
    let due = member.journal.poll_timeout().expect("a timer for the mark");
    assert_eq!(due, member.now.boot + MARK_EVERY);
    member.pass(MARK_EVERY);
    assert_eq!(member.journal.durable, Offset(1));
    assert_eq!(
        member.journal.poll_timeout(),
        None,
        "an idle journal asks for nothing"
    );
}

#[test]
fn moving_the_mark_answers_for_no_promise_that_still_waits() {
    let mut member = settled();
    member.extend(1, &[b"a"]);
    member.settle();
    member.now.boot = member.now.boot + MARK_EVERY;
    member.journal.store_control(promised(2));
    let mark = member.poll().unwrap();
    assert_eq!(item_names(&mark), [""; 0], "the mark goes first");
    member.events.clear();
    member.finish(mark);
    assert_eq!(member.events, [], "the promise is not on the disk yet");
    member.settle();
    assert_eq!(member.events, [JournalEvent::Stored(1)]);
}

#[test]
fn every_promise_moves_the_durable_mark_for_nothing() {
    let mut member = settled();
    member.extend(1, &[b"a"]);
    member.settle();
    member.journal.store_control(promised(2));
    member.settle();
    assert_eq!(member.journal.durable, Offset(1));
}

#[test]
fn epochs_are_told_from_the_table() {
    let mut member = settled();
    member.extend(2, &[b"a", b"b"]);
    member.extend(2, &[b"c"]);
    member.extend(5, &[b"d"]);
    let epochs: Vec<_> = (0..6)
        .map(|at| member.journal.epoch_at(Offset(at)))
        .collect();
    let expected = [Some(0), Some(2), Some(2), Some(2), Some(5), None];
    assert_eq!(epochs, expected.map(|epoch| epoch.map(Epoch)));
    assert_eq!(member.journal.last_epoch(), Epoch(5));
    member.journal.cut(Offset(3));
    assert_eq!(member.journal.last_epoch(), Epoch(2));
}

#[test]
fn recent_batches_stay_in_memory_and_unsynced_ones_always() {
    let mut member = settled();
    let body = vec![1; 10_000];
    for _ in 0..20 {
        member.extend(1, &[&body]);
    }
    let all = member
        .journal
        .tail_batches(Offset(1), usize::MAX)
        .expect("nothing is synced yet");
    assert_eq!(all.len(), 20);
    member.settle();
    assert_eq!(
        member.journal.tail_batches(Offset(1), usize::MAX),
        None,
        "to be read from disk"
    );
    let two = member.journal.tail_batches(Offset(18), 15_000).unwrap();
    assert_eq!(two.len(), 1, "a second one is beyond the bytes asked for");
    assert_eq!(
        member.journal.tail_batches(Offset(18), 1).unwrap().len(),
        1,
        "at least one"
    );
    assert_eq!(member.journal.tail_batches(Offset(21), 1), Some(Vec::new()));
}

#[test]
fn after_a_deep_cut_the_disk_thread_tells_the_checksum() {
    let mut member = settled();
    let first = member.extend(1, &[b"a"]);
    member.extend(1, &[b"b"]);
    member.settle();
    let mut member = member.killed();
    member.settle();
    member.journal.cut(Offset(1));
    assert_eq!(
        member.journal.last_crc(),
        None,
        "nothing of the log is in memory"
    );
    member.settle();
    assert_eq!(member.journal.last_crc(), Some(first.crc()));
    member.extend(2, &[b"c"]);
    member.settle();
    assert_eq!(member.journal.synced_tail(), (Epoch(2), Offset(2)));
}

#[test]
fn a_checksum_told_late_is_not_taken_for_another_ones() {
    let mut member = settled();
    let first = member.extend(1, &[b"a"]);
    member.extend(1, &[b"b"]);
    member.settle();
    let mut member = member.killed();
    member.settle();
    member.journal.store_control(promised(1));
    let out = member.poll().unwrap();
    member.journal.cut(Offset(1));
    let other = batch(2, Offset(2), first.crc(), &[b"other"]);
    member.journal.append(other.clone());
    member.finish(out);
    assert_eq!(member.journal.last_crc(), Some(other.crc()));
    member.settle();
    assert_eq!(member.log(), [first, other]);
}

#[test]
#[should_panic(expected = "a log has no gaps")]
fn a_gap_is_an_error_of_the_caller() {
    let mut member = settled();
    member.journal.append(batch(1, Offset(2), 0, &[b"a"]));
}

#[test]
#[should_panic(expected = "epochs along a log never decrease")]
fn an_older_epoch_is_an_error_of_the_caller() {
    let mut member = settled();
    let last = member.extend(3, &[b"a"]);
    member
        .journal
        .append(batch(2, Offset(2), last.crc(), &[b"a"]));
}
