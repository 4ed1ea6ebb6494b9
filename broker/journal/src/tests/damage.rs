//! Claims about what a start makes of a damaged disk.

use tandemmq_model::{Bytes, Epoch, GroupId, Offset, Record};

use super::testing::{Member, batch, config, identity, promised};
use crate::format::batch_crc;
use crate::{
    Batch, BatchBuilder, FORMAT, Founding, Identity, LogState, MemStorage, RecoverError, Recovered,
    Storage, format, recover,
};

const FIRST: &str = "journal-0000000000000001";
const SECOND: &str = "journal-0000000000000002";

/// Ten batches of one record; the durable mark stands behind them.
fn marked() -> (Member, Vec<Batch>) {
    let (mut member, all) = unmarked();
    member.journal.store_control(promised(1));
    member.settle();
    (member, all)
}

/// The same, the mark still at the beginning.
fn unmarked() -> (Member, Vec<Batch>) {
    let mut member = Member::new(config(1 << 18));
    let all = (0..10).map(|n| member.extend(1, &[&[n; 100]])).collect();
    member.settle();
    (member, all)
}

fn place_of(all: &[Batch], number: usize) -> u64 {
    4096 + all[..number]
        .iter()
        .map(|batch| batch.bytes().len() as u64)
        .sum::<u64>()
}

fn again(disk: &MemStorage) -> Recovered {
    recover(disk, &config(1 << 18))
        .unwrap()
        .expect("a formatted volume")
}

#[test]
fn a_blank_volume_is_blank_and_formatting_it_makes_a_member() {
    let disk = MemStorage::new();
    assert!(recover(&disk, &config(1 << 18)).unwrap().is_none());
    format(&disk, &identity()).unwrap();
    let found = again(&disk);
    assert_eq!(found.identity, identity());
    assert_eq!(
        (found.control.log_state, found.last()),
        (LogState::Clean, Offset::ZERO)
    );
    disk.power_cut(&mut || 1);
    assert_eq!(again(&disk).identity, identity(), "formatting is durable");
}

#[test]
fn a_crash_at_any_call_of_formatting_leaves_a_blank_volume_or_a_member() {
    for calls in 0..14 {
        let disk = MemStorage::new();
        disk.stop_after(Some(calls));
        let formatted = format(&disk, &identity()).is_ok();
        disk.power_cut(&mut || 1);
        let found = recover(&disk, &config(1 << 18)).unwrap();
        assert!(found.is_some() || !formatted, "after {calls} calls");
    }
}

#[test]
fn a_journal_without_its_identity_is_not_touched() {
    let (member, _) = marked();
    let disk = member.die();
    disk.remove("identity").unwrap();
    disk.remove("identity.copy").unwrap();
    let before = disk.list().unwrap();
    let error = recover(&disk, &config(1 << 18)).unwrap_err();
    assert_eq!(error, RecoverError::NoIdentity);
    assert_eq!(disk.list().unwrap(), before);
}

#[test]
fn one_of_two_identity_files_is_enough_and_mends_the_other() {
    for (lost, kept) in [("identity", "identity.copy"), ("identity.copy", "identity")] {
        for how in 0..2 {
            let disk = marked().0.die();
            match how {
                0 => disk.remove(lost).unwrap(),
                _ => disk.flip_bit(lost, 30, 2),
            }
            assert_eq!(again(&disk).identity, identity());
            let mended = disk.read_at(lost, 0, 4096).unwrap();
            assert_eq!(
                mended,
                disk.read_at(kept, 0, 4096).unwrap(),
                "{lost} is whole again"
            );
        }
    }
}

#[test]
pub(super) fn damage_below_the_mark_is_stored_first_and_nothing_is_cut_away() {
    let (member, all) = marked();
    let disk = member.die();
    disk.flip_bit(FIRST, place_of(&all, 6) + 50, 0);
    let bytes = disk.read_at(FIRST, 0, 1 << 20).unwrap();
    let found = again(&disk);
    assert_eq!(found.control.log_state, LogState::NeedsRepair);
    assert_eq!(
        found.control.promise,
        promised(1).promise,
        "the promise is still known"
    );
    assert_eq!(
        found.last(),
        Offset(6),
        "the log shown ends before the damage"
    );
    assert_eq!(
        disk.read_at(FIRST, 0, 1 << 20).unwrap(),
        bytes,
        "every byte is kept"
    );
    disk.power_cut(&mut || 1);
    assert_eq!(
        again(&disk).control.log_state,
        LogState::NeedsRepair,
        "stored durably"
    );
}

#[test]
fn damage_is_found_in_every_batch_and_in_the_header_of_a_segment() {
    for number in 0..10 {
        let (member, all) = marked();
        let disk = member.die();
        disk.flip_bit(FIRST, place_of(&all, number) + 8, 0);
        let found = again(&disk);
        assert_eq!(
            found.control.log_state,
            LogState::NeedsRepair,
            "batch {number}"
        );
        assert_eq!(found.last(), Offset(number as u64));
    }
    let (member, _) = marked();
    let disk = member.die();
    disk.flip_bit(FIRST, 9, 0);
    let found = again(&disk);
    assert_eq!(
        (found.control.log_state, found.last()),
        (LogState::NeedsRepair, Offset::ZERO)
    );
    assert_eq!(
        disk.list()
            .unwrap()
            .iter()
            .filter(|name| name.starts_with("damaged"))
            .count(),
        1
    );
}

#[test]
fn a_lost_segment_file_is_damage() {
    let (member, _) = marked();
    let disk = member.die();
    disk.remove(FIRST).unwrap();
    assert_eq!(again(&disk).control.log_state, LogState::NeedsRepair);
}

#[test]
fn a_damaged_member_appends_what_it_is_sent_and_keeps_its_mark() {
    let (member, all) = marked();
    let disk = member.die();
    disk.flip_bit(FIRST, place_of(&all, 6) + 50, 0);
    let mut member = Member::start(disk, config(1 << 18));
    member.settle();
    for batch in &all[6..8] {
        member.journal.append(batch.clone());
    }
    member.settle();
    assert_eq!(member.journal.synced(), Offset(8));
    assert_eq!(member.log(), all[..8]);
    let mut member = member.killed();
    assert_eq!(member.journal.control().log_state, LogState::NeedsRepair);
    let have = member.journal.appended().0 as usize;
    assert!(
        have >= 8,
        "what was appended is there, and what still stood behind it may be"
    );
    for batch in &all[have..] {
        member.journal.append(batch.clone());
    }
    member.settle();
    assert_eq!(member.log(), all);
}

#[test]
fn a_torn_tail_beyond_the_mark_is_zeroed_and_the_member_is_clean() {
    let (member, all) = unmarked();
    let disk = member.die();
    disk.flip_bit(FIRST, place_of(&all, 9) + 50, 0);
    let found = again(&disk);
    assert_eq!(
        (found.control.log_state, found.last()),
        (LogState::Clean, Offset(9))
    );
    assert!(found.report.torn);
    let rest = disk.read_at(FIRST, place_of(&all, 9), 1 << 20).unwrap();
    assert!(rest.iter().all(|byte| *byte == 0), "nothing of it is left");
    disk.power_cut(&mut || 1);
    assert_eq!(again(&disk).last(), Offset(9), "and that is durable");
}

#[test]
fn what_stands_behind_a_torn_batch_never_comes_back() {
    let (member, all) = unmarked();
    let disk = member.die();
    disk.flip_bit(FIRST, place_of(&all, 5) + 50, 0);
    let mut member = Member::start(disk, config(1 << 18));
    assert_eq!(member.journal.appended(), Offset(5));
    member.journal.append(all[5].clone());
    member.settle();
    let member = member.killed();
    assert_eq!(
        member.log(),
        all[..6],
        "6 fits behind 5 again, 7 must not follow it"
    );
}

#[test]
fn a_cut_log_that_gets_the_same_batch_again_ends_with_it() {
    let (mut member, all) = marked();
    member.journal.cut(Offset(4));
    member.settle();
    member.journal.append(all[4].clone());
    member.settle();
    for kill in [true, false] {
        let disk = member.disk.snapshot();
        if !kill {
            disk.power_cut(&mut || 1);
        }
        let member = Member::start(disk, config(1 << 18));
        assert_eq!(
            member.log(),
            all[..5],
            "batches 6 to 10 were cut and stay away"
        );
    }
}

#[test]
fn a_cut_and_a_shorter_append_leave_no_old_batch_behind() {
    for length in [1, 50, 99, 100, 101, 250] {
        let (mut member, all) = marked();
        member.journal.cut(Offset(4));
        let new = batch(2, Offset(5), all[3].crc(), &[&vec![9; length]]);
        member.journal.append(new.clone());
        member.settle();
        let member = member.killed();
        assert_eq!(member.journal.control().log_state, LogState::Clean);
        assert_eq!(member.log(), [&all[..4], &[new]].concat(), "{length} bytes");
    }
}

#[test]
fn a_crash_at_any_call_of_a_cut_leaves_a_clean_log_of_the_old_batches() {
    for calls in 0..20 {
        for chance in 0..4 {
            let (mut member, all) = marked();
            member.journal.cut(Offset(4));
            let op = member.poll().unwrap();
            member.disk.stop_after(Some(calls));
            member.finish(op);
            member.disk.stop_after(None);
            let mut rng = super::testing::Rng::new(chance);
            let member = member.power_cut(&mut || rng.next());
            assert_eq!(
                member.journal.control().log_state,
                LogState::Clean,
                "after {calls} calls"
            );
            let log = member.log();
            assert!(
                log.len() >= 4,
                "after {calls} calls {} batches are left",
                log.len()
            );
            assert_eq!(log, all[..log.len()]);
        }
    }
}

#[test]
fn both_copies_of_a_promise_lost_is_data_loss_and_stays_it() {
    let (mut member, _) = marked();
    member.journal.store_control(promised(2));
    member.settle();
    let disk = member.die();
    // Sequences 2 and 3: promise 2 stands in slot 1, after 1 in slot 0.
    for copy in [0, 8192] {
        disk.flip_bit("control", 16384 + copy + 20, 0);
    }
    let found = again(&disk);
    assert_eq!(found.control.log_state, LogState::DataLoss);
    assert_eq!(found.last(), Offset(10), "the log is still shown");
    disk.power_cut(&mut || 1);
    assert_eq!(again(&disk).control.log_state, LogState::DataLoss);
}

#[test]
fn one_copy_of_a_promise_lost_is_mended() {
    for copy in [0, 8192] {
        let (mut member, _) = marked();
        member.journal.store_control(promised(2));
        member.settle();
        let disk = member.die();
        disk.flip_bit("control", 16384 + copy + 20, 0);
        assert_eq!(again(&disk).control, promised(2));
        disk.flip_bit("control", 16384 + (8192 - copy) + 20, 0);
        assert_eq!(
            again(&disk).control,
            promised(2),
            "the mended copy holds it"
        );
    }
}

#[test]
fn a_missing_control_file_is_data_loss_even_if_the_start_dies_on_the_way() {
    for calls in 0..12 {
        let (member, _) = marked();
        let disk = member.die();
        disk.remove("control").unwrap();
        disk.sync_dir().unwrap();
        disk.stop_after(Some(calls));
        let _ = recover(&disk, &config(1 << 18));
        disk.stop_after(None);
        disk.power_cut(&mut || 0);
        let state = again(&disk).control.log_state;
        assert_eq!(state, LogState::DataLoss, "died after {calls} calls");
    }
}

#[test]
fn a_damaged_witness_table_is_empty_and_nothing_else() {
    let (member, _) = marked();
    let disk = member.die();
    disk.replace("witness", b"not a table").unwrap();
    let found = again(&disk);
    assert_eq!(
        (found.witness.len(), found.control.log_state),
        (0, LogState::Clean)
    );
}

#[test]
fn a_record_that_must_not_be_skipped_stops_the_start() {
    let (mut member, all) = unmarked();
    let mut builder = BatchBuilder::new(Epoch(1), Offset(11), all[9].crc());
    builder.push(&Record {
        kind: 99,
        flags: 0,
        body: Bytes::new(),
    });
    builder.push(&Record {
        kind: 98,
        flags: 1,
        body: Bytes::new(),
    });
    member.journal.append(builder.finish());
    member.settle();
    let error = recover(&member.die(), &config(1 << 18)).unwrap_err();
    assert_eq!(
        error,
        RecoverError::UnknownRecord {
            offset: Offset(12),
            kind: 98
        }
    );
    assert!(error.to_string().contains("start a later one"));
}

#[test]
fn a_later_format_stops_the_start_and_changes_nothing() {
    let (member, all) = unmarked();
    let disk = member.die();
    let mut later = all[9].bytes().to_vec();
    later[5] = FORMAT as u8 + 1;
    let crc = batch_crc(&later);
    later[36..40].copy_from_slice(&crc.to_be_bytes());
    disk.write_at(FIRST, place_of(&all, 9), &later).unwrap();
    let before = disk.read_at(FIRST, 0, 1 << 20).unwrap();
    assert_eq!(
        recover(&disk, &config(1 << 18)).unwrap_err(),
        RecoverError::Newer {
            found: FORMAT + 1,
            understood: FORMAT
        }
    );
    assert_eq!(disk.read_at(FIRST, 0, 1 << 20).unwrap(), before);
}

#[test]
fn a_flipped_bit_in_a_format_is_damage_not_a_later_version() {
    let (member, all) = marked();
    let disk = member.die();
    disk.flip_bit(FIRST, place_of(&all, 3) + 5, 1);
    assert_eq!(again(&disk).control.log_state, LogState::NeedsRepair);
}

#[test]
fn a_segment_of_another_group_is_not_taken() {
    let (member, _) = marked();
    let disk = member.die();
    let mine = identity();
    let group = Founding {
        id: GroupId(0xffff),
        members: Vec::new(),
    };
    crate::identity::write(
        &disk,
        &Identity {
            group: Some(group),
            ..mine
        },
    )
    .unwrap();
    assert_eq!(
        recover(&disk, &config(1 << 18)).unwrap_err(),
        RecoverError::Foreign(1)
    );
}

#[test]
pub(super) fn the_unsure_tail_is_on_the_disk_before_it_counts() {
    for bodies in [1, 30] {
        // Thirty of them begin a second segment, whose header is as unsure as its batches.
        let mut member = Member::new(config(1 << 18));
        let body = vec![5; 12_000];
        let mut all: Vec<Batch> = (0..5).map(|_| member.extend(1, &[&body])).collect();
        member.settle();
        member.journal.store_control(promised(1));
        member.settle();
        all.extend((0..bodies).map(|_| member.extend(1, &[&body])));
        let out = member.poll().unwrap();
        member.disk.fail_next_sync();
        member.finish(out);
        assert!(matches!(
            member.events.last(),
            Some(crate::JournalEvent::Fatal(_))
        ));
        // The page cache shows the batches, and clean; the disk may not have them.
        let member = member.killed();
        let shown = member.log();
        assert!(
            shown.len() > 5,
            "the page cache shows {} batches",
            shown.len()
        );
        let member = member.power_cut(&mut || 1);
        assert_eq!(
            member.log(),
            shown,
            "what counted as synced is there after a power cut"
        );
        assert_eq!(shown, all[..shown.len()]);
    }
}

#[test]
fn the_header_of_an_unsure_segment_is_written_again_too() {
    let mut member = Member::new(config(1 << 18));
    member.settle();
    let only = member.extend(1, &[b"first of its segment"]);
    let out = member.poll().unwrap();
    member.disk.fail_next_sync();
    member.finish(out);
    let member = member.killed();
    assert_eq!(member.log(), std::slice::from_ref(&only));
    let member = member.power_cut(&mut || 1);
    assert_eq!(member.log(), [only]);
}

#[test]
fn a_second_segment_that_does_not_go_on_is_removed_beyond_the_mark() {
    let (mut member, mut all) = unmarked();
    let body = vec![5; 100_000];
    all.extend((0..4).map(|_| member.extend(1, &[&body])));
    member.settle();
    assert_eq!(member.disk_names("journal"), 2);
    let disk = member.die();
    disk.flip_bit(SECOND, 4096 + 60, 0);
    let found = again(&disk);
    assert_eq!(found.control.log_state, LogState::Clean);
    let first = found.last().0 as usize;
    assert!((10..14).contains(&first));
    assert!(
        disk.len(SECOND).is_err(),
        "what does not go on is no part of the log"
    );
}

#[test]
fn a_start_that_dies_anywhere_leaves_a_start_that_ends_the_same() {
    for calls in 0..30 {
        let (member, all) = unmarked();
        let disk = member.die();
        disk.flip_bit(FIRST, place_of(&all, 8) + 50, 0);
        disk.stop_after(Some(calls));
        let _ = recover(&disk, &config(1 << 18));
        disk.stop_after(None);
        let mut rng = super::testing::Rng::new(calls);
        disk.power_cut(&mut || rng.next());
        let found = again(&disk);
        assert_eq!(
            (found.control.log_state, found.last()),
            (LogState::Clean, Offset(8))
        );
    }
}

#[test]
fn a_log_cut_at_the_ends_of_segments_again_and_again_is_found_whole() {
    // Each batch has a segment of its own size, so each cut is one at the end of a segment.
    let mut member = Member::new(config(1 << 16));
    for round in 0..4 {
        let kept = member.journal.appended();
        let large = 80_000 + 20_000 * round as usize;
        member.extend(1 + round, &[&vec![1; large]]);
        member.extend(1 + round, &[&vec![2; large + 10_000]]);
        member.settle();
        member
            .journal
            .cut(if round % 2 == 0 { kept } else { kept.next() });
        member.settle();
        member.extend(1 + round, &[&vec![3; large + 20_000]]);
        member.settle();
        let before = member.log();
        member = member.killed();
        assert_eq!(member.log(), before, "round {round}");
        assert_eq!(member.journal.control().log_state, LogState::Clean);
        member.settle();
    }
    member.journal.cut(Offset::ZERO);
    member.settle();
    member = member.killed();
    assert_eq!(member.journal.appended(), Offset::ZERO);
    assert_eq!(member.disk_names("journal"), 0);
}

#[test]
fn a_promise_that_only_the_page_cache_shows_is_stored_before_it_is_told() {
    let (mut member, _) = marked();
    member.journal.store_control(promised(5));
    let out = member.poll().unwrap();
    member.disk.fail_next_sync();
    member.finish(out);
    let member = member.killed();
    let told = member.journal.control().promise;
    let member = member.power_cut(&mut || 1);
    assert_eq!(member.journal.control().promise, told);
}

#[test]
fn a_first_segment_that_got_its_header_alone_is_not_kept() {
    // Found by the fuzz target. The process dies between header and batch; the next batch is larger
    // than a segment and gets one of its own.
    for calls in 0..8 {
        let mut member = Member::new(config(1 << 16));
        member.settle();
        member.extend(1, &[b"small"]);
        member.disk.stop_after(Some(calls));
        member.settle();
        member.disk.stop_after(None);
        let mut member = member.killed();
        let large = member.extend(2, &[&vec![1; 100_000]]);
        member.settle();
        let member = member.power_cut(&mut || 1);
        assert_eq!(
            member.log().last(),
            Some(&large),
            "died after {calls} calls"
        );
    }
}

#[test]
fn a_disk_that_fails_in_the_middle_of_a_cut_is_told_as_fatal() {
    // Segments of different sizes, so that the place of the end fits into no other one.
    for calls in 0..16 {
        let mut member = Member::new(config(1 << 16));
        member.extend(1, &[b"small"]);
        member.extend(1, &[&vec![1; 150_000]]);
        member.settle();
        member.journal.cut(Offset(1));
        member.disk.stop_after(Some(calls));
        member.settle();
        member.disk.stop_after(None);
        let member = member.killed();
        assert!(
            member.journal.appended() >= Offset(1),
            "after {calls} calls"
        );
        assert_eq!(member.journal.control().log_state, LogState::Clean);
    }
}
