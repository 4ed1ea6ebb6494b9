//! Claims about the files of identity and witnesses.

use super::*;
use crate::storage::MemStorage;
use crate::tests::testing::{ballot, golden, identity};

fn stored(identity: &Identity) -> Vec<u8> {
    let disk = MemStorage::new();
    write(&disk, identity).unwrap();
    disk.read_at(FILE, 0, 1 << 20).unwrap().to_vec()
}

fn rows() -> Vec<Witness> {
    (1..4)
        .map(|n| Witness {
            incarnation: Incarnation(n),
            promise: ballot(n as u64),
            matched: (ballot(1), Offset(n as u64 * 7)),
        })
        .collect()
}

fn stored_witness(rows: &[Witness]) -> Vec<u8> {
    let disk = MemStorage::new();
    write_witness(&disk, rows).unwrap();
    disk.read_at(WITNESS_FILE, 0, 1 << 20).unwrap().to_vec()
}

#[test]
fn both_files_are_stored_as_they_always_were() {
    let blank = Identity {
        volume_id: None,
        group: None,
        ..identity()
    };
    golden(
        "identity.txt",
        &[
            ("blank".to_owned(), stored(&blank)),
            ("adopted".to_owned(), stored(&identity())),
            ("witness".to_owned(), stored_witness(&rows())),
        ],
    );
}

#[test]
fn an_identity_comes_back_whole_or_not_at_all() {
    let bytes = stored(&identity());
    assert_eq!(parse(&bytes), Some(identity()));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse(&damaged), None, "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length]), None, "{length} bytes");
    }
}

#[test]
fn a_damaged_witness_table_is_an_empty_one() {
    let bytes = stored_witness(&rows());
    assert_eq!(parse_witness(&bytes), rows());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse_witness(&damaged), [], "bit {bit}");
    }
}

#[test]
fn a_crash_while_adopting_leaves_the_blank_or_the_adopted_identity() {
    let blank = Identity {
        group: None,
        ..identity()
    };
    for calls in 0..6 {
        for chance in [0, 1] {
            let disk = MemStorage::new();
            format(&disk, &blank).unwrap();
            disk.stop_after(Some(calls));
            let adopted = write(&disk, &identity()).is_ok();
            disk.power_cut(&mut || chance);
            let now = parse(&disk.read_at(FILE, 0, 1 << 20).unwrap()).expect("an identity");
            assert!(
                now == identity() || !adopted && now == blank,
                "after {calls} calls"
            );
        }
    }
}
