//! Claims about checkpoint files.

use super::*;
use crate::storage::MemStorage;
use crate::tests::testing::golden;

fn head() -> CheckpointHead {
    CheckpointHead {
        format: 1,
        offset: Offset(1_000),
        epoch: Epoch(3),
        crc: 0xdead_beef,
        config: Bytes::from_static(b"voters"),
        epochs: vec![EpochStartAt {
            epoch: Epoch(3),
            first: Offset(900),
        }],
    }
}

fn written() -> MemStorage {
    let disk = MemStorage::new();
    let mut writer = Writer::begin(&disk, 7, &head()).unwrap();
    writer.piece(&disk, b"first").unwrap();
    writer.piece(&disk, b"second").unwrap();
    let bytes = writer.end(&disk).unwrap();
    assert_eq!(disk.len(&name(7)), Ok(bytes));
    disk
}

#[test]
fn a_checkpoint_reads_back_as_written() {
    let read = read(&written(), 7).unwrap();
    assert_eq!(read.head, head());
    assert_eq!(read.image, [&b"first"[..], b"second"]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = written().len(&name(7)).unwrap();
    for byte in 0..bytes {
        let disk = written();
        disk.flip_bit(&name(7), byte, (byte % 8) as u8);
        assert!(read(&disk, 7).is_err(), "byte {byte}");
    }
}

#[test]
fn a_checkpoint_without_its_end_is_none() {
    let disk = MemStorage::new();
    let mut writer = Writer::begin(&disk, 7, &head()).unwrap();
    writer.piece(&disk, b"first").unwrap();
    assert!(matches!(read(&disk, 7), Err(CheckpointError::Damaged(_))));
}

#[test]
fn a_cut_head_is_no_head() {
    let bytes = head().encode();
    for length in 0..bytes.len() {
        assert_eq!(
            CheckpointHead::parse(bytes.slice(..length)),
            Ok(None),
            "{length} bytes"
        );
    }
}

#[test]
fn the_bytes_of_a_checkpoint_never_change() {
    let disk = written();
    let bytes = disk.read_at(&name(7), 0, 4096).unwrap().to_vec();
    golden("checkpoint.txt", &[("checkpoint".to_owned(), bytes)]);
}
