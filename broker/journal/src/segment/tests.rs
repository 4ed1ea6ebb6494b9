//! Claims about segments.

use super::*;
use crate::storage::MemStorage;
use crate::tests::testing::batch;
#[cfg(not(feature = "next-format"))]
use crate::tests::testing::golden;

const HEAD: SegmentHeader = SegmentHeader {
    format: 1,
    number: 3,
    base: Offset(1000),
    epoch: Epoch(7),
    group: Some(GroupId(0xabcd)),
};

// A build of the next version says that it understands more.
#[cfg(not(feature = "next-format"))]
#[test]
fn the_header_is_stored_as_it_always_was() {
    golden(
        "segment.txt",
        &[("header".to_owned(), HEAD.encode().to_vec())],
    );
}

#[test]
fn a_header_comes_back_whole_or_not_at_all() {
    let bytes = HEAD.encode();
    assert_eq!(SegmentHeader::parse(&bytes), Ok(HEAD));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::parse(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn names_count_in_decimal_and_only_whole_names_are_ours() {
    assert_eq!(number_in(&name(12), "journal"), Some(12));
    assert_eq!(number_in(&spare_name(12), "spare"), Some(12));
    for other in [
        "journal-12",
        "journal-0000000000000012.tmp",
        "journal-00000000000000ab",
    ] {
        assert_eq!(number_in(other, "journal"), None, "{other}");
    }
}

#[test]
fn a_later_format_is_told_from_damage_by_its_checksum() {
    let disk = MemStorage::new();
    let made = batch(1, Offset(1), 0, &[b"abc"]);
    let mut later = made.bytes().to_vec();
    later[5] = 9;
    let place = Place {
        segment: 1,
        position: 0,
    };
    disk.create(&name(1)).unwrap();
    disk.write_at(&name(1), 0, &later).unwrap();
    let found = Cursor::new(&disk, place, 64).next().unwrap();
    assert!(matches!(found, Found::Bad(FormatError::Crc)), "{found:?}");
    let crc = crate::format::batch_crc(&later);
    later[36..40].copy_from_slice(&crc.to_be_bytes());
    disk.write_at(&name(1), 0, &later).unwrap();
    let found = Cursor::new(&disk, place, 64).next().unwrap();
    assert!(
        matches!(found, Found::Bad(FormatError::Newer(9))),
        "{found:?}"
    );
}

#[test]
fn zeroing_touches_only_what_is_not_zero() {
    let disk = MemStorage::new();
    disk.create("a").unwrap();
    disk.write_at("a", 3 * PIECE as u64 - 1, &[0]).unwrap();
    assert_eq!(zero(&disk, "a", 100, 3 * PIECE as u64), Ok(false));
    disk.write_at("a", 2 * PIECE as u64, &[1]).unwrap();
    disk.write_at("a", 50, &[1]).unwrap();
    assert_eq!(zero(&disk, "a", 100, 3 * PIECE as u64), Ok(true));
    assert_eq!(disk.read_at("a", 2 * PIECE as u64, 1).unwrap()[0], 0);
    assert_eq!(
        disk.read_at("a", 50, 1).unwrap()[0],
        1,
        "before the range nothing changes"
    );
}
