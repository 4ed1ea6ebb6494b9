//! Claims about the manifest's bytes.

use super::*;
use crate::storage::MemStorage;
use crate::tests::testing::golden;

fn sample() -> Manifest {
    let checkpoint = |number: u64| CheckpointRef {
        number,
        offset: Offset(100 * number),
        epoch: Epoch(3),
        crc: 0xc0ff_ee00,
        bytes: 777,
    };
    let file = |kind, number: u64| OldFile {
        kind,
        number,
        first: Offset(10 * number),
        last: Offset(10 * number + 5),
        end: 9_000,
    };
    Manifest {
        sequence: 4,
        log_from: 6,
        checkpoints: vec![checkpoint(1), checkpoint(2)],
        old: vec![file(OldKind::Survivors, 1), file(OldKind::Segment, 4)],
    }
}

#[test]
fn a_manifest_reads_back_as_written() {
    let disk = MemStorage::new();
    assert_eq!(Manifest::read(&disk), Ok(FoundManifest::None));
    let mut manifest = sample();
    manifest.write(&disk).unwrap();
    assert_eq!(manifest.sequence, 5, "each writing counts");
    assert_eq!(Manifest::read(&disk), Ok(FoundManifest::Sound(manifest)));
}

#[test]
fn a_cut_manifest_is_no_manifest() {
    let bytes = sample().encode();
    for length in 0..bytes.len() {
        assert_eq!(
            Manifest::parse(bytes.slice(..length)),
            None,
            "{length} bytes"
        );
    }
    assert_eq!(Manifest::parse(bytes), Some(sample()));
}

#[test]
fn one_damaged_copy_is_told_and_two_are_lost() {
    let disk = MemStorage::new();
    let mut manifest = sample();
    manifest.write(&disk).unwrap();
    disk.flip_bit(FILE, 20, 3);
    assert_eq!(Manifest::read(&disk), Ok(FoundManifest::Once(manifest)));
    disk.flip_bit(FILE, 4096 + 20, 3);
    assert_eq!(Manifest::read(&disk), Ok(FoundManifest::Lost));
}

#[test]
fn the_bytes_of_a_manifest_never_change() {
    golden(
        "manifest.txt",
        &[("manifest".to_owned(), sample().encode().to_vec())],
    );
}
