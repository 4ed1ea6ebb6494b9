//! Claims about installing a checkpoint (row 12): beside the log, resumable, one switch.

use tandemmq_model::{Bytes, Epoch, Offset};

use super::checkpoints::{Book, Live, scrub, settle_until_fatal, small};
use super::testing::{Member, Rng};
use crate::{CheckpointHead, JournalEvent, LogState, ReadDone, Storage as _, recover};

/// A master with old files, and a slave with another log.
fn pair() -> (Book, Member) {
    let mut master = Book::new(21);
    for _ in 0..4 {
        for _ in 0..12 {
            master.append(20, 700);
            master.member.settle();
        }
        master.kill_all_but_one_of(9);
        master.checkpoint();
    }
    let mut slave = Member::new(small());
    for _ in 0..30 {
        slave.extend(1, &[&[9; 500]]);
        slave.settle();
    }
    (master, slave)
}

fn head(master: &Book) -> CheckpointHead {
    CheckpointHead {
        format: 1,
        epoch: Epoch(2),
        ..master.head()
    }
}

/// Sends survivors behind what the slave has, so many at a time and so often.
fn transfer(master: &Book, slave: &mut Member, times: usize) -> bool {
    for _ in 0..times {
        let last = slave.journal.side_last();
        let wanted: Vec<Offset> = master
            .live
            .keys()
            .copied()
            .filter(|at| *at > last)
            .collect();
        if wanted.is_empty() {
            return true;
        }
        let op = master.member.journal.read_survivors(wanted, 4_000);
        let ReadDone::Survivors(batches, _) = master.member.reader.read(&op) else {
            panic!("survivors cannot be read");
        };
        slave.journal.store_side(batches);
        if !settle_until_fatal(slave) {
            return false;
        }
    }
    false
}

fn prepare(master: &Book, slave: &mut Member) {
    let head = head(master);
    let image = Box::new(Live::of(&master.live, head.offset));
    slave.journal.prepare_install(head, image);
}

fn check(master: &Book, slave: Member) {
    let at = master.member.journal.synced();
    assert_eq!(slave.journal.appended(), at);
    let book = Book {
        member: slave,
        live: master.live.clone(),
        rng: Rng::new(0),
    };
    book.check_live();
    assert_eq!(scrub(&book.member), None);
}

#[test]
fn after_the_switch_the_log_is_the_checkpoint_and_goes_on_behind_it() {
    let (master, mut slave) = pair();
    assert!(transfer(&master, &mut slave, 1_000));
    prepare(&master, &mut slave);
    slave.settle();
    assert!(slave.events.contains(&JournalEvent::Prepared));
    assert_eq!(
        slave.journal.appended(),
        Offset(30),
        "the old log, until the switch"
    );
    slave.journal.switch();
    slave.settle();
    let at = master.member.journal.synced();
    assert!(slave.events.contains(&JournalEvent::Switched(at)));
    assert_eq!(slave.journal.synced_tail(), (Epoch(1), at));
    slave.extend(3, &[b"behind"]);
    slave.settle();
    let slave = slave.killed();
    assert_eq!(slave.journal.appended(), at.next());
    let journals = slave.disk_names("journal");
    assert_eq!(journals, 1, "nothing is left of the old journal");
}

#[test]
fn what_is_appended_after_a_switch_and_a_start_is_part_of_the_log() {
    let (master, mut slave) = pair();
    assert!(transfer(&master, &mut slave, 1_000));
    prepare(&master, &mut slave);
    slave.settle();
    slave.journal.switch();
    slave.settle();
    // No segment is left, so no file says which numbers were used.
    let mut slave = slave.killed();
    slave.extend(3, &[b"behind"]);
    slave.settle();
    let slave = slave.killed();
    let at = master.member.journal.synced();
    assert_eq!(slave.journal.appended(), at.next());
}

#[test]
fn what_was_sent_before_a_crash_is_not_asked_for_again() {
    let (master, mut slave) = pair();
    assert!(!transfer(&master, &mut slave, 5));
    let stored = slave.journal.side_last();
    let mut slave = slave.power_cut(&mut || 1);
    assert_eq!(slave.journal.side_last(), stored);
    assert!(stored > Offset::ZERO);
    assert!(transfer(&master, &mut slave, 1_000));
    prepare(&master, &mut slave);
    slave.settle();
    slave.journal.switch();
    slave.settle();
    check(&master, slave);
}

#[test]
fn survivors_that_are_sent_again_are_told_as_stored_again() {
    let (master, mut slave) = pair();
    let wanted: Vec<Offset> = master.live.keys().copied().take(5).collect();
    let op = master.member.journal.read_survivors(wanted, 4_000);
    let ReadDone::Survivors(batches, _) = master.member.reader.read(&op) else {
        panic!("survivors cannot be read");
    };
    for _ in 0..2 {
        slave.events.clear();
        slave.journal.store_side(batches.clone());
        slave.settle();
        let last = batches.last().expect("five live records").last();
        assert_eq!(slave.events, [JournalEvent::SideStored(last)]);
    }
}

#[test]
fn survivors_that_find_no_room_are_told_so() {
    let (master, mut slave) = pair();
    slave.settle();
    let names = slave.disk.list().unwrap();
    let used: u64 = names.iter().map(|name| slave.disk.len(name).unwrap()).sum();
    slave.disk.set_capacity(Some(used));
    // The reserve makes room for a few.
    for _ in 0..1_000 {
        transfer(&master, &mut slave, 1);
        if slave.events.contains(&JournalEvent::NoRoom) {
            return;
        }
    }
    panic!("nothing was told: {:?}", slave.events);
}

/// The page cache shows what the disk does not have; nothing would write it again.
#[test]
fn h11_survivors_of_a_failed_fdatasync_are_written_again() {
    let (master, mut slave) = pair();
    slave.settle();
    slave.disk.fail_next_sync();
    assert!(!transfer(&master, &mut slave, 1_000));
    let mut slave = slave.killed();
    assert!(transfer(&master, &mut slave, 1_000));
    prepare(&master, &mut slave);
    slave.settle();
    slave.journal.switch();
    slave.settle();
    check(&master, slave.power_cut(&mut || 1));
}

#[test]
fn h9_a_crash_at_any_call_leaves_the_old_log_or_the_new_one() {
    let mut rng = Rng::new(22);
    let (mut old, mut new, mut calls) = (0, 0, 0);
    loop {
        let (master, mut slave) = pair();
        assert!(transfer(&master, &mut slave, 1_000));
        slave.disk.stop_after(Some(calls));
        prepare(&master, &mut slave);
        let done = settle_until_fatal(&mut slave) && {
            slave.journal.switch();
            settle_until_fatal(&mut slave)
        };
        let told = slave
            .events
            .iter()
            .any(|event| matches!(event, JournalEvent::Switched(_)));
        let disk = slave.die();
        disk.stop_after(None);
        disk.power_cut(&mut || rng.next());
        let recovered = recover(&disk, &small()).unwrap().unwrap();
        assert_eq!(
            recovered.control.log_state,
            LogState::Clean,
            "after {calls} calls"
        );
        if recovered.last() == Offset(30) {
            assert!(
                !told,
                "what was told as switched is the old log after {calls} calls"
            );
            old += 1;
        } else {
            new += 1;
            check(&master, Member::go_on(disk, small(), recovered));
        }
        if done {
            break;
        }
        calls += 1;
    }
    assert!(
        old > 10 && new > 5,
        "{old} times the old one, {new} times the new one"
    );
}

#[test]
fn an_installation_given_up_leaves_the_log_alone() {
    let (master, mut slave) = pair();
    assert!(transfer(&master, &mut slave, 1_000));
    prepare(&master, &mut slave);
    slave.settle();
    slave.journal.abandon_install();
    slave.settle();
    slave.extend(1, &[b"goes on"]);
    slave.settle();
    let slave = slave.killed();
    assert_eq!(slave.journal.appended(), Offset(31));
    assert!(
        slave.journal.side_last() > Offset::ZERO,
        "survivors stay for the next one"
    );
}

#[test]
fn a_checkpoint_is_read_piece_by_piece_by_a_peer() {
    let (master, _) = pair();
    let (offset, number) = master.member.journal.newest_checkpoint().unwrap();
    let mut position = 0;
    let mut image: Vec<Bytes> = Vec::new();
    loop {
        let op = master.member.journal.read_piece(number, position);
        match master.member.reader.read(&op) {
            ReadDone::Piece(crate::Piece::Head(head), next) => {
                assert_eq!(head.offset, offset);
                position = next;
            }
            ReadDone::Piece(crate::Piece::Image(bytes), next) => {
                image.push(bytes);
                position = next;
            }
            ReadDone::Piece(crate::Piece::End, _) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(image.len(), 1);
    let op = master.member.journal.read_piece(number + 77, 0);
    assert!(
        matches!(master.member.reader.read(&op), ReadDone::Failed(_)),
        "not kept: no damage"
    );
}
