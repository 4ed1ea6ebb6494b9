//! Claims about full disks and `journal.maxBytes`.

use std::time::Duration;

use tandemmq_model::{Epoch, Offset, RecordKind};

use super::testing::{Member, config, enqueue, promised};
use crate::{BatchBuilder, JournalConfig, JournalEvent, Space, Storage};

const SEGMENT: u64 = 4 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// Segments of 4 MiB, a reserve of two, room for five.
fn limited() -> JournalConfig {
    JournalConfig {
        reserve_bytes: 2 * SEGMENT,
        max_bytes: Some(5 * SEGMENT),
        ..config(SEGMENT as u32)
    }
}

fn on_a_small_disk() -> (Member, u64) {
    let config = JournalConfig {
        max_bytes: None,
        ..limited()
    };
    let member = Member::new(config);
    let capacity = 5 * SEGMENT + 100_000;
    member.disk.set_capacity(Some(capacity));
    (member, capacity)
}

/// Appends 64 KiB at a time until that is the space left, or nothing more has room.
fn fill(member: &mut Member, until: Space) -> usize {
    let body = vec![3; 64 * 1024];
    let mut appended = 0;
    member.settle();
    while member.journal.space() < until && member.journal.has_room(body.len() + 100) {
        member.extend(1, &[&body]);
        member.settle();
        appended += 1;
        assert!(appended < 1000, "the disk never fills");
    }
    appended
}

fn fatal(member: &Member) -> bool {
    member
        .events
        .iter()
        .any(|event| matches!(event, JournalEvent::Fatal(_)))
}

#[test]
fn room_is_zero_filled_ahead_while_there_is_some() {
    let mut member = Member::new(JournalConfig {
        max_bytes: None,
        ..limited()
    });
    member.settle();
    assert_eq!(
        member.disk_names("spare"),
        3,
        "the reserve and half a segment, in whole segments"
    );
    assert_eq!(member.journal.used_bytes(), 3 * SEGMENT);
    assert_eq!(member.journal.space(), Space::Open);
}

#[test]
fn zero_filling_goes_in_pieces_between_which_batches_are_written() {
    let mut member = Member::new(limited());
    member.settle();
    let body = vec![3; 64 * 1024];
    let (mut pieces, mut longest) = (0, 0);
    for _ in 0..100 {
        member.extend(1, &[&body]);
        let mut before = 0;
        while let Some(op) = member.poll() {
            let background = op.is_background();
            before = if background { before + 1 } else { 0 };
            pieces += usize::from(background);
            longest = longest.max(before);
            member.finish(op);
            if !background && member.journal.is_idle() {
                break;
            }
        }
    }
    assert!(pieces > 3, "something was zero-filled meanwhile");
    assert!(longest <= 1, "a batch waited for {longest} pieces");
}

#[test]
fn near_the_limit_producers_are_refused_then_all_but_elections() {
    let mut member = Member::new(limited());
    let open = fill(&mut member, Space::RefuseProducers) as u64 * 65_642;
    assert_eq!(member.journal.space(), Space::RefuseProducers);
    assert!(open <= 3 * SEGMENT, "the reserve of two segments is left");
    assert!(open >= 3 * SEGMENT - 200_000, "and no more than that");
    let consumers = fill(&mut member, Space::OnlyElection);
    assert_eq!(member.journal.space(), Space::OnlyElection);
    assert!(consumers > 60, "consumers went on: {consumers}");
    assert!(
        member.journal.used_bytes() <= 5 * SEGMENT,
        "journal.maxBytes holds"
    );
    assert!(!fatal(&member));
}

#[test]
fn the_last_bytes_are_for_epoch_starts_alone() {
    let mut member = Member::new(limited());
    fill(&mut member, Space::OnlyElection);
    let next = member.journal.appended().next();
    let crc = member.journal.last_crc().unwrap();
    let one = |kind: RecordKind| {
        let mut builder = BatchBuilder::new(Epoch(2), next, crc);
        builder.push(&tandemmq_model::Record::critical(kind, "x".into()));
        builder.finish()
    };
    assert!(!member.journal.has_room_for(&one(RecordKind::Enqueue)));
    let start = one(RecordKind::EpochStart);
    assert!(member.journal.has_room_for(&start));
    member.journal.append(start);
    member.journal.store_control(promised(2));
    member.settle();
    assert_eq!(member.journal.synced(), next);
    assert!(
        member.events.contains(&JournalEvent::Stored(1)),
        "promises need no room"
    );
}

#[test]
fn a_raised_limit_opens_the_journal_by_itself() {
    let mut member = Member::new(limited());
    fill(&mut member, Space::OnlyElection);
    member.pass(SECOND);
    assert_eq!(
        member.journal.space(),
        Space::OnlyElection,
        "time alone makes no room"
    );
    member.journal.set_max_bytes(Some(9 * SEGMENT));
    member.settle();
    assert_eq!(member.journal.space(), Space::Open);
}

#[test]
fn a_freed_disk_opens_the_journal_within_a_second() {
    let (mut member, capacity) = on_a_small_disk();
    fill(&mut member, Space::OnlyElection);
    assert_eq!(member.journal.space(), Space::OnlyElection);
    assert!(!fatal(&member));
    member.pass(SECOND);
    assert_eq!(member.journal.space(), Space::OnlyElection);
    member.disk.set_capacity(Some(capacity + 8 * SEGMENT));
    member.pass(SECOND);
    assert_eq!(member.journal.space(), Space::Open);
    assert!(
        fill(&mut member, Space::RefuseProducers) > 60,
        "and takes producers again"
    );
    assert!(!fatal(&member));
}

/// A cut leaves room enough ahead, so nothing else would ask whether the disk is full still.
#[test]
fn a_freed_disk_takes_a_batch_larger_than_a_segment_though_there_is_room_ahead() {
    let mut member = Member::new(JournalConfig {
        reserve_bytes: SEGMENT / 8,
        ..config(SEGMENT as u32)
    });
    member.disk.set_capacity(Some(4 * SEGMENT));
    let body = vec![1; SEGMENT as usize / 8];
    while member.journal.has_room(body.len() + 100) {
        member.extend(1, &[&body]);
        member.settle();
    }
    member.journal.cut(Offset(1));
    member.settle();
    member.disk.set_capacity(None);
    member.pass(SECOND);
    member.pass(SECOND);
    assert!(member.journal.has_room(2 * SEGMENT as usize));
}

#[test]
fn a_full_disk_is_asked_again_with_one_piece_a_second_and_never_looks_open() {
    let (mut member, _) = on_a_small_disk();
    fill(&mut member, Space::RefuseProducers);
    member.settle();
    for _ in 0..10 {
        let syncs = member.disk.syncs();
        member.now.boot = member.now.boot + SECOND;
        member.journal.handle_timeout(member.now);
        let mut ops = 0;
        while let Some(op) = member.poll() {
            member.finish(op);
            assert_ne!(
                member.journal.space(),
                Space::Open,
                "a producer would eat the reserve"
            );
            ops += 1;
        }
        assert!(ops <= 2, "{ops} operations for one question");
        assert!(member.disk.syncs() - syncs <= 2, "and next to no writing");
    }
}

#[test]
fn room_for_a_part_of_a_segment_does_not_look_open() {
    let (mut member, capacity) = on_a_small_disk();
    fill(&mut member, Space::RefuseProducers);
    member.settle();
    for pieces in 1..4 {
        member
            .disk
            .set_capacity(Some(capacity + pieces * (1 << 20)));
        member.now.boot = member.now.boot + SECOND;
        member.journal.handle_timeout(member.now);
        let used = member.journal.used_bytes();
        while let Some(op) = member.poll() {
            member.finish(op);
            assert_eq!(
                member.journal.space(),
                Space::RefuseProducers,
                "{pieces} pieces"
            );
        }
        assert!(
            member.journal.used_bytes() > used,
            "what there is is taken: {pieces} pieces"
        );
    }
    member.disk.set_capacity(Some(capacity + SEGMENT));
    member.pass(SECOND);
    assert_eq!(member.journal.space(), Space::Open, "a whole one is");
}

#[test]
fn a_group_can_be_joined_on_a_full_disk() {
    let mut member = Member::new(limited());
    member.settle();
    let names = member.disk.list().unwrap();
    let used: u64 = names
        .iter()
        .map(|name| member.disk.len(name).unwrap())
        .sum();
    member.disk.set_capacity(Some(used));
    let ticket = member
        .journal
        .store_identity(crate::tests::testing::identity());
    member.settle();
    assert!(!fatal(&member), "{:?}", member.events);
    assert!(member.events.contains(&JournalEvent::Stored(ticket)));
}

#[test]
fn a_full_disk_never_ends_the_process_and_takes_no_promise_away() {
    // Full from the beginning: not one segment can be made.
    let mut member = Member::new(limited());
    member.disk.set_capacity(Some(200_000));
    member.extend(1, &[&vec![1; 1000]]);
    let ticket = member.journal.store_control(promised(3));
    member.settle();
    assert!(!fatal(&member), "{:?}", member.events);
    assert_eq!(
        member.journal.synced(),
        Offset::ZERO,
        "nothing is acknowledged"
    );
    assert!(
        member.events.contains(&JournalEvent::Stored(ticket)),
        "the promise is stored"
    );
    assert!(!member.journal.is_idle());
    assert!(!member.journal.has_room(1));
    member.pass(SECOND);
    assert_eq!(member.journal.synced(), Offset::ZERO);
    member.disk.set_capacity(None);
    member.pass(SECOND);
    assert_eq!(member.journal.synced(), Offset(1), "it goes on by itself");
    assert!(member.journal.is_idle());
    let member = member.power_cut(&mut || 1);
    assert_eq!(member.journal.appended(), Offset(1));
}

#[test]
fn a_batch_that_found_no_room_can_still_be_cut() {
    let mut member = Member::new(limited());
    member.disk.set_capacity(Some(200_000));
    member.extend(1, &[b"never written"]);
    member.settle();
    member.journal.cut(Offset::ZERO);
    member.extend(2, &[b"instead of it"]);
    member.settle();
    member.disk.set_capacity(None);
    member.pass(SECOND);
    assert_eq!(member.journal.synced_tail(), (Epoch(2), Offset(1)));
    assert_eq!(member.log().len(), 1);
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own_size() {
    let mut member = Member::new(config(1 << 20));
    member.extend(1, &[b"before"]);
    let large = member.extend(1, &[&vec![9; 3 << 20]]);
    member.extend(1, &[b"behind"]);
    member.settle();
    assert_eq!(member.journal.synced(), Offset(3));
    let member = member.power_cut(&mut || 1);
    let log = member.log();
    assert_eq!(log[1], large);
    assert_eq!(log.len(), 3);
}

#[test]
fn a_large_batch_that_finds_no_room_waits_without_an_end_of_the_process() {
    let mut member = Member::new(JournalConfig {
        max_bytes: None,
        ..config(1 << 20)
    });
    member.settle();
    let full: u64 = member
        .disk
        .list()
        .unwrap()
        .iter()
        .map(|f| member.disk.len(f).unwrap())
        .sum();
    member.disk.set_capacity(Some(full + (1 << 20)));
    let body = vec![9; 3 << 20];
    assert!(
        member.journal.has_room(body.len()),
        "nobody knows yet that the disk is full"
    );
    member.extend(1, &[&body]);
    member.settle();
    assert!(!fatal(&member));
    assert_eq!(member.journal.synced(), Offset::ZERO);
    assert_eq!(member.journal.space(), Space::OnlyElection);
    member.disk.set_capacity(None);
    member.pass(SECOND);
    assert_eq!(member.journal.synced(), Offset(1));
}

#[test]
fn a_start_on_a_full_disk_knows_it_after_the_first_piece() {
    let (mut member, capacity) = on_a_small_disk();
    fill(&mut member, Space::RefuseProducers);
    let mut member = member.killed();
    member.disk.set_capacity(Some(capacity));
    member.settle();
    assert_eq!(member.journal.space(), Space::RefuseProducers);
    let body = enqueue(vec![1; 1000]).body;
    member.extend(1, &[&body]);
    member.settle();
    assert!(!fatal(&member));
}

#[test]
fn a_log_that_grows_fast_is_zero_filled_faster() {
    let mut member = Member::new(JournalConfig {
        max_bytes: None,
        ..limited()
    });
    member.settle();
    let body = vec![3; 1 << 20];
    for _ in 0..40 {
        for _ in 0..3 {
            member.extend(1, &[&body]);
        }
        while let Some(op) = member.poll() {
            let background = op.is_background();
            member.finish(op);
            if !background {
                break;
            }
        }
        assert!(member.journal.has_room(body.len() + 100));
        let spares = member.disk_names("spare") as u64;
        assert!(
            (spares + 1) * SEGMENT >= 2 * SEGMENT,
            "the reserve is kept: {spares} spares"
        );
    }
}
