//! A start on a disk with random damage: whatever it finds, it ends, and what it shows is a prefix
//! of the log. The same walk as the fuzz target, on mutated disks of a real journal.

use std::time::Duration;

use tandemmq_model::Offset;

use super::testing::{Member, Rng, config, promised};
use crate::{Batch, LogState, MemStorage, Storage, recover};

const FILES: [&str; 5] = [
    "control",
    "identity",
    "witness",
    "journal-0000000000000001",
    "journal-0000000000000002",
];

fn sound() -> (MemStorage, Vec<Batch>) {
    let mut member = Member::new(config(1 << 16));
    let mut all = Vec::new();
    for n in 0..12 {
        all.push(member.extend(1 + n / 5, &[&[n as u8; 900], b"short"]));
        member.journal.store_control(promised(1 + n / 5));
        member.settle();
    }
    member.pass(Duration::from_secs(1));
    all.push(member.extend(4, &[&[1; 50_000]]));
    member.journal.store_witness(Vec::new());
    member.settle();
    assert_eq!(member.disk_names("journal"), 2);
    (member.die(), all)
}

fn damage(disk: &MemStorage, rng: &mut Rng) {
    if rng.below(20) == 0 {
        // A slot of the control file: both copies.
        let slot = rng.below(2) * 16_384;
        disk.flip_bit("control", slot + rng.below(90), 1);
        disk.flip_bit("control", slot + 8_192 + rng.below(90), 1);
        return;
    }
    if rng.below(40) == 0 {
        for file in ["identity", "identity.copy"] {
            disk.flip_bit(file, rng.below(80), 1);
        }
        return;
    }
    let file = FILES[rng.below(FILES.len() as u64) as usize];
    let length = disk.len(file).unwrap_or(0).max(1);
    // Mostly where something stands.
    let at = if rng.below(4) == 0 {
        rng.below(length)
    } else {
        rng.below(length.min(17_000))
    };
    match rng.below(6) {
        0..3 => disk.flip_bit(file, at, rng.next() as u8),
        3 => {
            let bytes: Vec<u8> = (0..rng.below(100)).map(|_| rng.next() as u8).collect();
            let _ = disk.write_at(file, at, &bytes);
        }
        4 => {
            let zeros = vec![0; rng.below(5_000) as usize];
            let _ = disk.write_at(file, at, &zeros);
        }
        _ => {
            let from = rng.below(length);
            if let Ok(bytes) = disk.read_at(file, from, 2_000) {
                let _ = disk.write_at(file, at, &bytes);
            }
        }
    }
}

#[test]
fn a_start_on_a_damaged_disk_shows_a_prefix_or_refuses() {
    let (sound, all) = sound();
    let (mut clean, mut repair, mut lost, mut refused) = (0, 0, 0, 0);
    let mut rng = Rng::new(11);
    for _ in 0..3_000 {
        let disk = sound.snapshot();
        for _ in 0..=rng.below(3) {
            damage(&disk, &mut rng);
        }
        let Ok(found) = recover(&disk, &config(1 << 16)) else {
            refused += 1;
            continue;
        };
        let recovered = found.expect("an identity file is there, so it is not blank");
        match recovered.control.log_state {
            LogState::Clean => clean += 1,
            LogState::NeedsRepair => repair += 1,
            LogState::DataLoss => lost += 1,
            LogState::Learner => panic!("nobody made it a learner"),
        }
        let below_mark = recovered.last() < all[11].last();
        assert!(
            !below_mark || recovered.control.log_state != LogState::Clean,
            "{} is left of what was synced, and the member would vote",
            recovered.last()
        );
        let member = Member::go_on(disk, config(1 << 16), recovered);
        assert!(
            all.starts_with(&member.log()),
            "what is shown is no prefix of the log"
        );
    }
    let counts = [clean, repair, lost, refused];
    assert!(
        counts.iter().all(|count| *count > 20),
        "one kind of damage is missing: {counts:?}"
    );
}

#[test]
fn a_second_start_finds_what_the_first_one_left() {
    let (sound, _) = sound();
    let mut rng = Rng::new(12);
    for round in 0..1_000 {
        let disk = sound.snapshot();
        damage(&disk, &mut rng);
        let Ok(Some(first)) = recover(&disk, &config(1 << 16)) else {
            continue;
        };
        let second = recover(&disk, &config(1 << 16)).unwrap().unwrap();
        assert_eq!(second.last(), first.last(), "round {round}");
        assert_eq!(second.control, first.control, "round {round}");
        assert_ne!(second.last(), Offset(u64::MAX));
    }
}
