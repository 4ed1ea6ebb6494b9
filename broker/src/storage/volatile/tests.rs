//! What a process that dies leaves below, and what it never does.

use std::collections::BTreeSet;

use tandemmq_journal::{MemStorage, contract_tests};

use super::*;
use crate::storage::FileStorage;
use crate::testing::TempDir;

fn disk(below: &MemStorage, seed: u64) -> VolatileStorage<MemStorage> {
    VolatileStorage::open(below.clone(), seed).unwrap()
}

/// What the next process finds; the old one drops its disk without a word, as a killed one does.
fn after_kill(
    disk: VolatileStorage<MemStorage>,
    below: &MemStorage,
) -> VolatileStorage<MemStorage> {
    drop(disk);
    self::disk(below, 0)
}

#[test]
fn it_keeps_the_contract_of_storage() {
    for seed in 0..20 {
        contract_tests::check(|| disk(&MemStorage::new(), seed));
    }
}

#[test]
fn it_keeps_the_contract_of_storage_over_real_files() {
    let mut folders = Vec::new();
    contract_tests::check(|| {
        folders.push(TempDir::new());
        let files = FileStorage::open(folders.last().unwrap().path()).unwrap();
        VolatileStorage::open(files, 1).unwrap()
    });
}

#[test]
fn what_was_synced_survives_a_kill() {
    for seed in 0..50 {
        let below = MemStorage::new();
        let first = disk(&below, seed);
        first.create("a").unwrap();
        first.write_at("a", 100, &[7; 2_000]).unwrap();
        first.sync("a").unwrap();
        first.sync_dir().unwrap();
        let second = after_kill(first, &below);
        let read = second.read_at("a", 0, 9_999).unwrap();
        assert_eq!(read, [vec![0; 100], vec![7; 2_000]].concat());
    }
}

#[test]
fn what_was_not_synced_is_lost_sector_by_sector() {
    let mut kept = BTreeSet::new();
    for seed in 0..200 {
        let below = MemStorage::new();
        let first = disk(&below, seed);
        first.create("a").unwrap();
        first.write_at("a", 0, &[1; 4 * SECTOR as usize]).unwrap();
        first.sync("a").unwrap();
        first.sync_dir().unwrap();
        first.write_at("a", 0, &[2; 4 * SECTOR as usize]).unwrap();
        let seen = first.read_at("a", 0, 9_999).unwrap();
        assert_eq!(seen, vec![2; 4 * SECTOR as usize], "readers see it all");
        let second = after_kill(first, &below);
        let read = second.read_at("a", 0, 9_999).unwrap();
        let sectors = read.chunks(SECTOR as usize);
        let values: Vec<u8> = sectors
            .map(|sector| {
                assert!(
                    sector.iter().all(|byte| *byte == sector[0]),
                    "a torn sector"
                );
                sector[0]
            })
            .collect();
        kept.insert(values);
    }
    assert!(
        kept.contains(&vec![1; 4]),
        "mostly nothing reaches the disk"
    );
    let torn = kept
        .iter()
        .any(|values| values.contains(&1) && values.contains(&2));
    let reordered = kept.iter().any(|values| values[0] == 1 && values[3] == 2);
    assert!(torn && reordered, "{kept:?}");
}

#[test]
fn names_survive_as_a_prefix_of_their_changes() {
    let mut found = BTreeSet::new();
    for seed in 0..300 {
        let below = MemStorage::new();
        let first = disk(&below, seed);
        first.create("a").unwrap();
        first.sync_dir().unwrap();
        first.create("b").unwrap();
        first.rename("b", "a").unwrap();
        first.remove("a").unwrap();
        assert_eq!(first.list(), Ok(Vec::new()));
        let second = after_kill(first, &below);
        found.insert(second.list().unwrap());
    }
    let [none, old, both] = [
        vec![],
        vec!["a".to_owned()],
        vec!["a".to_owned(), "b".to_owned()],
    ];
    assert_eq!(found, BTreeSet::from([none, old, both]));
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..300 {
        let below = MemStorage::new();
        let first = disk(&below, seed);
        first.replace("a", b"old").unwrap();
        first.create("b").unwrap();
        first.write_at("b", 0, b"new").unwrap();
        first.sync("b").unwrap();
        first.rename("b", "a").unwrap();
        assert_eq!(&first.read_at("a", 0, 9).unwrap()[..], b"new");
        let second = after_kill(first, &below);
        match &second.read_at("a", 0, 9).unwrap()[..] {
            b"old" => old += 1,
            b"new" => new += 1,
            other => panic!("neither: {other:?}"),
        }
    }
    assert!(old > new && new > 0, "{old} old, {new} new");
}

#[test]
fn nothing_is_left_of_a_file_without_a_name() {
    for seed in 0..50 {
        let below = MemStorage::new();
        let first = disk(&below, seed);
        first.create("a").unwrap();
        first.write_at("a", 0, b"x").unwrap();
        first.sync("a").unwrap();
        let second = after_kill(first, &below);
        let names = second.list().unwrap();
        assert_eq!(below.list().unwrap(), names, "no hidden file stays");
    }
}

#[test]
fn memory_is_bounded() {
    let below = MemStorage::new();
    let storage = disk(&below, 1);
    for name in ["a", "b"] {
        storage.create(name).unwrap();
    }
    let piece = vec![5; 1 << 20];
    for at in 0..40 {
        storage.write_at("a", at << 20, &piece).unwrap();
        storage.write_at("b", at << 20, &piece).unwrap();
        let unsynced = |cache: &Cache| -> usize {
            cache.files.values().map(|file| file.unsynced.bytes()).sum()
        };
        assert!(unsynced(&storage.cache()) <= UNSYNCED_BYTES_MAX);
    }
    assert_eq!(
        storage.read_at("a", 0, 40 << 20).unwrap(),
        vec![5; 40 << 20]
    );
}
