//! Claims about the storage itself, and about operations that end in the middle.

use tandemmq_model::Offset;

use super::testing::{Member, Rng, config, promised};
use crate::{
    Faults, JournalEvent, LimitedStorage, MemStorage, Storage, StorageError, contract_tests,
};

#[test]
fn the_simulated_disk_keeps_the_contract_of_storage() {
    contract_tests::check(MemStorage::new);
}

#[test]
fn a_limited_disk_keeps_the_contract_while_its_limit_is_far() {
    contract_tests::check(|| LimitedStorage::new(MemStorage::new(), Faults::default()));
    contract_tests::check(|| {
        let faults = Faults::default();
        faults.set_capacity(Some(1 << 20));
        LimitedStorage::new(MemStorage::new(), faults)
    });
}

#[test]
fn a_limited_disk_refuses_what_grows_and_takes_what_does_not() {
    let faults = Faults::default();
    let disk = LimitedStorage::new(MemStorage::new(), faults.clone());
    faults.set_capacity(Some(100));
    disk.create("a").unwrap();
    disk.write_at("a", 0, &[1; 100]).unwrap();
    assert_eq!(
        disk.write_at("a", 50, &[2; 51]),
        Err(StorageError::NoSpace("a".to_owned()))
    );
    disk.write_at("a", 50, &[2; 50]).unwrap();
    faults.set_capacity(None);
    disk.write_at("a", 100, &[3; 100]).unwrap();
    faults.fail_syncs();
    assert!(matches!(disk.sync("a"), Err(StorageError::Io(_))));
    assert!(matches!(disk.sync_dir(), Err(StorageError::Io(_))));
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_tears_the_rest_by_sectors() {
    let disk = MemStorage::new();
    disk.create("a").unwrap();
    disk.sync_dir().unwrap();
    disk.write_at("a", 0, &[1; 4096]).unwrap();
    disk.sync("a").unwrap();
    disk.write_at("a", 0, &[2; 4096]).unwrap();
    let mut rng = Rng::new(5);
    disk.power_cut(&mut || rng.next());
    let read = disk.read_at("a", 0, 4096).unwrap();
    let sectors: Vec<u8> = read.chunks(512).map(|sector| sector[0]).collect();
    assert!(sectors.contains(&1) && sectors.contains(&2), "{sectors:?}");
    assert!(
        read.chunks(512)
            .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
    );
}

#[test]
fn a_name_survives_a_power_cut_only_by_chance_before_the_folder_is_synced() {
    for (chance, survives) in [(1, false), (0, true)] {
        let disk = MemStorage::new();
        disk.create("a").unwrap();
        disk.power_cut(&mut || chance);
        assert_eq!(disk.len("a").is_ok(), survives);
    }
    let disk = MemStorage::new();
    disk.create("a").unwrap();
    disk.sync_dir().unwrap();
    disk.rename("a", "b").unwrap();
    disk.power_cut(&mut || 1);
    assert_eq!(
        disk.list(),
        Ok(vec!["a".to_owned()]),
        "the renaming was lost"
    );
}

#[test]
fn a_second_sync_does_not_make_good_a_failed_one() {
    let disk = MemStorage::new();
    disk.create("a").unwrap();
    disk.sync_dir().unwrap();
    disk.write_at("a", 0, b"old").unwrap();
    disk.sync("a").unwrap();
    disk.write_at("a", 0, b"new").unwrap();
    disk.fail_next_sync();
    assert!(disk.sync("a").is_err());
    assert_eq!(disk.sync("a"), Ok(()));
    assert_eq!(
        &disk.read_at("a", 0, 3).unwrap()[..],
        b"new",
        "the page cache shows it"
    );
    disk.power_cut(&mut || 0);
    assert_eq!(
        &disk.read_at("a", 0, 3).unwrap()[..],
        b"old",
        "the disk never had it"
    );
}

#[test]
fn a_copy_of_a_disk_is_another_disk() {
    let disk = MemStorage::new();
    disk.replace("a", b"one").unwrap();
    let copy = disk.snapshot();
    disk.replace("a", b"two").unwrap();
    assert_eq!(&copy.read_at("a", 0, 3).unwrap()[..], b"one");
    disk.restore(&copy);
    assert_eq!(&disk.read_at("a", 0, 3).unwrap()[..], b"one");
    disk.wipe();
    assert_eq!(disk.list(), Ok(Vec::new()));
}

/// Batches of which the third begins a new segment, promises between them.
fn busy(member: &mut Member) {
    let body = vec![7; 90_000];
    for epoch in 1..5 {
        member.journal.store_control(promised(epoch));
        member.extend(epoch, &[&body]);
        member.extend(epoch, &[b"small"]);
    }
    member.journal.cut(Offset(5));
    member.journal.store_control(promised(9));
    member.extend(9, &[b"after the cut"]);
}

#[test]
fn a_process_that_dies_at_any_call_of_an_operation_leaves_a_clean_log() {
    let mut ended_well = false;
    for calls in 0..120 {
        for seed in 0..3 {
            let mut member = Member::new(config(1 << 18));
            member.settle();
            busy(&mut member);
            member.disk.stop_after(Some(calls));
            member.settle();
            member.disk.stop_after(None);
            let failed = member
                .events
                .iter()
                .any(|event| matches!(event, JournalEvent::Fatal(_)));
            let told = member.journal.synced();
            let stored = member.events.contains(&JournalEvent::Stored(5));
            let mut rng = Rng::new(seed);
            let member = member.power_cut(&mut || rng.next());
            let state = member.journal.control().log_state;
            assert_eq!(state, crate::LogState::Clean, "after {calls} calls");
            assert!(member.journal.appended() >= told, "after {calls} calls");
            assert!(!stored || member.journal.control().promise == promised(9).promise);
            ended_well |= !failed;
        }
    }
    assert!(ended_well, "the last runs did everything");
}

#[test]
fn a_cut_takes_no_promise_back() {
    for calls in 0..60 {
        let mut member = Member::new(config(1 << 18));
        busy(&mut member);
        member.settle();
        let end = member.journal.appended();
        assert_eq!(member.journal.control().promise, promised(9).promise);
        // Records of the promised epoch and older ones go; the promise is not of the log.
        member.journal.cut(Offset(1));
        member.disk.stop_after(Some(calls));
        member.settle();
        member.disk.stop_after(None);
        let mut rng = Rng::new(calls);
        let member = member.power_cut(&mut || rng.next());
        assert_eq!(
            member.journal.control().promise,
            promised(9).promise,
            "after {calls} calls"
        );
        assert!(member.journal.appended() <= end, "after {calls} calls");
    }
}
