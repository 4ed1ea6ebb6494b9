//! Each rule of the checker, kept and broken.

use super::*;

const fn id(sequence: u64) -> SendId {
    SendId {
        producer: 1,
        sequence,
    }
}

/// A run in which messages 1 to 3 were written and acknowledged.
fn run() -> Checker {
    let mut checker = Checker::default();
    for sequence in 1..=3 {
        checker.written(id(sequence));
        checker.acknowledged(id(sequence));
    }
    checker
}

struct Reader {
    consumer: u32,
    connection: ConnectionNo,
}

impl Reader {
    fn open(checker: &mut Checker, consumer: u32) -> Self {
        Self {
            consumer,
            connection: checker.opened(),
        }
    }

    fn first(&self, checker: &mut Checker, sequence: u64) {
        self.read(checker, sequence, &format!("ID:a-1-{sequence}"), false);
    }

    fn again(&self, checker: &mut Checker, sequence: u64) {
        self.read(checker, sequence, &format!("ID:a-1-{sequence}"), true);
    }

    fn read(&self, checker: &mut Checker, sequence: u64, message_id: &str, redelivered: bool) {
        checker.received(&Received {
            id: id(sequence),
            message_id,
            redelivered,
            destination: "/queue/Q",
            consumer: self.consumer,
            connection: self.connection,
        });
    }
}

#[test]
fn a_whole_run_is_good() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    let verdict = checker.judge();
    assert!(verdict.is_good(), "{:?}", verdict.lines());
    let expected = Totals {
        sent: 3,
        acknowledged: 3,
        received: 3,
        ..Totals::default()
    };
    assert_eq!(verdict.totals, expected);
}

#[test]
fn an_empty_run_is_not_good() {
    let verdict = Checker::default().judge();
    assert!(verdict.violations.is_empty());
    assert!(!verdict.is_good(), "a run that did nothing proves nothing");
    assert_eq!(verdict.lines().len(), 1);
}

#[test]
fn an_acknowledged_message_that_nobody_got_is_lost() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    reader.first(&mut checker, 1);
    reader.first(&mut checker, 3);
    let verdict = checker.judge();
    assert_eq!(verdict.violations, [Violation::Lost { id: id(2) }]);
    assert_eq!(verdict.totals.lost, 1);
}

#[test]
fn what_is_still_queued_is_not_lost() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    reader.first(&mut checker, 1);
    checker.queued(id(2), "ID:a-1-2");
    checker.queued(id(3), "ID:a-1-3");
    let verdict = checker.judge();
    assert!(verdict.is_good(), "{:?}", verdict.lines());
    assert_eq!(verdict.totals.queued, 2);
}

#[test]
fn an_unknown_send_may_arrive_or_not() {
    let mut checker = run();
    checker.written(id(4));
    checker.written(id(5));
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=4 {
        reader.first(&mut checker, sequence);
    }
    let verdict = checker.judge();
    assert!(verdict.is_good(), "{:?}", verdict.lines());
    assert_eq!(verdict.totals.unknown, 2);
}

#[test]
fn a_message_that_nobody_sent_is_a_violation() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    reader.first(&mut checker, 9);
    checker.queued(id(8), "ID:a-1-8");
    let violations = checker.judge().violations;
    assert!(violations.contains(&Violation::NeverSent { id: id(9) }));
    assert!(violations.contains(&Violation::NeverSent { id: id(8) }));
}

#[test]
fn two_entries_of_one_send_are_a_violation() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    reader.read(&mut checker, 2, "ID:a-2-9", true);
    let verdict = checker.judge();
    let entries = vec!["ID:a-1-2".to_owned(), "ID:a-2-9".to_owned()];
    let expected = Violation::EnqueuedTooOften {
        id: id(2),
        written: 1,
        entries,
    };
    assert_eq!(verdict.violations, [expected]);
    assert_eq!(verdict.totals.enqueued_twice, 1);
}

#[test]
fn a_second_entry_that_is_only_queued_is_found_too() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    checker.queued(id(2), "ID:a-2-9");
    assert_eq!(checker.judge().totals.enqueued_twice, 1);
}

#[test]
fn a_send_written_twice_may_be_enqueued_twice() {
    let mut checker = run();
    checker.written(id(2));
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    reader.read(&mut checker, 2, "ID:a-2-9", false);
    let verdict = checker.judge();
    assert!(verdict.is_good(), "{:?}", verdict.lines());
    assert_eq!(verdict.totals.duplicates, 1);
}

#[test]
fn a_refused_send_must_not_arrive() {
    let mut checker = run();
    checker.written(id(4));
    checker.refused(id(4));
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=4 {
        reader.first(&mut checker, sequence);
    }
    let verdict = checker.judge();
    assert_eq!(verdict.violations.len(), 1);
    assert_eq!(
        (verdict.totals.refused, verdict.totals.enqueued_twice),
        (1, 1)
    );
}

#[test]
fn a_repeated_delivery_needs_the_flag() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    reader.again(&mut checker, 3);
    let flagged = checker.judge();
    assert!(flagged.is_good(), "{:?}", flagged.lines());
    assert_eq!(flagged.totals.duplicates, 1);
    reader.first(&mut checker, 2);
    let message_id = "ID:a-1-2".to_owned();
    let expected = Violation::NotFlagged {
        id: id(2),
        message_id,
        unflagged: 2,
    };
    assert_eq!(checker.judge().violations, [expected]);
}

#[test]
fn first_deliveries_to_one_consumer_keep_the_order() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    reader.first(&mut checker, 2);
    reader.first(&mut checker, 1);
    reader.first(&mut checker, 3);
    let destination = "/queue/Q".to_owned();
    let expected = Violation::OutOfOrder {
        id: id(1),
        after: 2,
        destination,
    };
    assert_eq!(checker.judge().violations, [expected]);
}

#[test]
fn competing_consumers_have_no_order() {
    let mut checker = run();
    let one = Reader::open(&mut checker, 1);
    let other = Reader::open(&mut checker, 2);
    one.first(&mut checker, 2);
    other.first(&mut checker, 1);
    one.first(&mut checker, 3);
    assert!(checker.judge().is_good());
}

#[test]
fn a_redelivery_is_not_out_of_order() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    for sequence in 1..=3 {
        reader.again(&mut checker, sequence);
    }
    assert!(checker.judge().is_good());
}

#[test]
fn a_consumed_message_never_comes_back() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    let older = Reader::open(&mut checker, 2);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    checker.consumed(id(2), "ID:a-1-2");
    older.again(&mut checker, 2);
    assert!(
        checker.judge().is_good(),
        "an older connection may still hold a copy"
    );
    let later = Reader::open(&mut checker, 3);
    later.again(&mut checker, 2);
    let message_id = "ID:a-1-2".to_owned();
    assert_eq!(
        checker.judge().violations,
        [Violation::CameBack {
            id: id(2),
            message_id
        }]
    );
}

#[test]
fn a_receipt_for_nothing_is_a_violation() {
    let mut checker = run();
    checker.acknowledged(id(7));
    assert!(
        checker
            .judge()
            .violations
            .contains(&Violation::ReceiptForNothing { id: id(7) })
    );
}

#[test]
fn ids_survive_the_header() {
    assert_eq!(SendId::parse(&id(42).to_string()), Some(id(42)));
    assert_eq!(SendId::parse("x-1"), None);
    assert_eq!(SendId::parse("1"), None);
}

#[test]
fn another_body_than_was_sent_is_found() {
    let mut checker = run();
    let reader = Reader::open(&mut checker, 1);
    for sequence in 1..=3 {
        reader.first(&mut checker, sequence);
    }
    assert!(checker.judge().is_good());
    checker.wrong_body(id(2), "ID:a-1-2");
    let text = checker.judge().lines().concat();
    assert!(
        text.contains("1-2") && text.contains("another body"),
        "{text}"
    );
}
