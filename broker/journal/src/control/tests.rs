//! Claims about the control file.

use super::*;
use crate::storage::MemStorage;
use crate::tests::testing::{ballot, golden, promised};

fn stored(sequence: u64, epoch: u64) -> Stored {
    Stored {
        sequence,
        control: promised(epoch),
        durable: Offset(epoch * 10),
    }
}

/// A file in which promises 1 to `last` were stored, in turn.
fn file(last: u64) -> MemStorage {
    let disk = MemStorage::new();
    create(&disk, Control::BLANK).unwrap();
    for epoch in 1..=last {
        write(&disk, &stored(1 + epoch, epoch)).unwrap();
    }
    disk
}

fn damage(disk: &MemStorage, sequence: u64, copy: u64) {
    disk.flip_bit(FILE, place(sequence, copy) + 20, 3);
}

fn found(disk: &MemStorage) -> Found {
    newest(read(disk).unwrap())
}

#[test]
fn the_record_is_stored_as_it_always_was() {
    let control = Control {
        promise: ballot(5),
        log_state: LogState::NeedsRepair,
        cut_mark: ballot(4),
    };
    let record = encode(&Stored {
        sequence: 9,
        control,
        durable: Offset(77),
    });
    golden("control.txt", &[("control".to_owned(), record.to_vec())]);
}

#[test]
fn a_new_file_holds_its_record_in_all_four_places() {
    assert_eq!(
        found(&file(0)),
        Found::Sound(Stored {
            sequence: 1,
            control: Control::BLANK,
            durable: Offset::ZERO
        })
    );
}

#[test]
fn the_newest_of_both_slots_counts() {
    for last in 1..6 {
        assert_eq!(found(&file(last)), Found::Sound(stored(1 + last, last)));
    }
}

#[test]
fn one_bad_copy_is_restored_from_the_other() {
    for copy in 0..2 {
        let disk = file(3);
        damage(&disk, 4, copy);
        assert_eq!(
            found(&disk),
            Found::Restore(stored(4, 3)),
            "copy {copy} of the newest"
        );
        let disk = file(3);
        damage(&disk, 3, copy);
        assert_eq!(
            found(&disk),
            Found::Restore(stored(4, 3)),
            "copy {copy} of the older"
        );
        let mut newest = stored(4, 3);
        write_twice(&disk, &mut newest).unwrap();
        assert_eq!(found(&disk), Found::Sound(newest));
    }
}

#[test]
fn two_bad_copies_in_a_slot_are_never_taken_for_a_crash() {
    let disk = file(3);
    damage(&disk, 4, 0);
    damage(&disk, 4, 1);
    assert_eq!(
        found(&disk),
        Found::Lost(Some(stored(3, 2))),
        "the newest may be lost"
    );
    damage(&disk, 3, 0);
    damage(&disk, 3, 1);
    assert_eq!(found(&disk), Found::Lost(None));
}

#[test]
fn a_slot_of_zeros_is_lost_too() {
    let disk = file(3);
    for copy in 0..2 {
        disk.write_at(FILE, place(4, copy), &[0; RECORD]).unwrap();
    }
    assert_eq!(found(&disk), Found::Lost(Some(stored(3, 2))));
}

#[test]
fn a_short_file_is_lost_not_blank() {
    let disk = MemStorage::new();
    disk.replace(FILE, &[1, 2, 3]).unwrap();
    assert_eq!(found(&disk), Found::Lost(None));
}

#[test]
fn a_crash_at_any_call_of_a_write_leaves_the_old_or_the_new_record() {
    for calls in 0..4 {
        for chance in [0, 1] {
            let disk = file(3);
            disk.stop_after(Some(calls));
            assert!(write(&disk, &stored(5, 4)).is_err());
            disk.stop_after(None);
            disk.power_cut(&mut || chance);
            let (Found::Sound(now) | Found::Restore(now)) = found(&disk) else {
                panic!("a crash after {calls} calls lost a slot");
            };
            assert!(
                now == stored(4, 3) || now == stored(5, 4),
                "after {calls} calls: {now:?}"
            );
        }
    }
    let disk = file(3);
    write(&disk, &stored(5, 4)).unwrap();
    disk.power_cut(&mut || 1);
    assert_eq!(
        found(&disk),
        Found::Sound(stored(5, 4)),
        "what was written is durable"
    );
}
