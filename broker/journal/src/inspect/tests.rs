//! Claims about looking at a volume.

use super::*;
use crate::storage::MemStorage;
use crate::tests::checkpoints::Book;

fn volume() -> (MemStorage, usize) {
    let mut book = Book::new(31);
    for _ in 0..5 {
        for _ in 0..12 {
            book.append(20, 700);
            book.member.settle();
        }
        book.kill_all_but_one_of(9);
        book.checkpoint();
    }
    book.member.pass(std::time::Duration::from_secs(1));
    let live = book.live.len();
    (book.member.die(), live)
}

fn problems(disk: &MemStorage) -> Vec<String> {
    let found = inspect(disk, &mut |_, _, _, _| {}).unwrap();
    found.problems().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn a_sound_volume_has_no_problem_and_shows_every_live_record() {
    let (disk, live) = volume();
    let before = disk.list().unwrap();
    let mut seen = 0;
    let found = inspect(&disk, &mut |_, _, _, _| seen += 1).unwrap();
    assert_eq!(found.problems().count(), 0, "{:?}", found.files);
    assert_eq!(found.log.1, Offset(5 * 240));
    assert_eq!(found.checkpoint, Some(Offset(5 * 240)));
    assert!(seen >= live, "{seen} records for {live} live ones");
    assert_eq!(disk.list().unwrap(), before, "nothing is changed");
}

#[test]
fn damage_is_named_with_its_file() {
    let (sound, _) = volume();
    for name in sound.list().unwrap() {
        let counts = ["journal-", "survivors-", "checkpoint-", "manifest"];
        if !counts.iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let disk = sound.snapshot();
        disk.flip_bit(&name, 20, 2);
        assert_eq!(problems(&disk), [name], "the header is hit");
    }
}

#[test]
fn a_lost_file_is_a_problem() {
    let (sound, _) = volume();
    for name in sound.list().unwrap() {
        if name.starts_with("survivors-") || name.starts_with("checkpoint-") {
            sound.remove(&name).unwrap();
            assert!(problems(&sound).contains(&name));
        }
    }
}
