//! Claims about one batch.

use tandemmq_model::limits::BATCH_BYTES_MAX;
use tandemmq_model::{Bytes, Epoch, Offset, RECORD_FLAG_CRITICAL, Record, RecordKind};

use super::*;
use crate::tests::testing::{Rng, batch, golden};

fn flipped(bytes: &Bytes, bit: usize) -> Bytes {
    let mut copy = bytes.to_vec();
    copy[bit / 8] ^= 1 << (bit % 8);
    copy.into()
}

/// Puts a field into a batch's header and seals it anew.
fn resealed(bytes: &Bytes, at: usize, field: &[u8]) -> Bytes {
    let mut copy = bytes.to_vec();
    copy[at..at + field.len()].copy_from_slice(field);
    let crc = batch_crc(&copy);
    copy[36..40].copy_from_slice(&crc.to_be_bytes());
    copy.into()
}

#[test]
fn every_record_kind_is_stored_as_it_always_was() {
    let lines: Vec<_> = RecordKind::ALL
        .into_iter()
        .map(|kind| {
            let mut builder = BatchBuilder::new(Epoch(3), Offset(41), 0x0102_0304);
            builder.push(&Record::critical(
                kind,
                Bytes::from(format!("body of {kind:?}")),
            ));
            builder.push(&Record {
                kind: kind as u8,
                flags: 0,
                body: Bytes::new(),
            });
            (format!("{kind:?}"), builder.finish().bytes().to_vec())
        })
        .collect();
    golden("batches.txt", &lines);
}

#[test]
fn what_was_pushed_comes_back_as_slices_of_the_batch() {
    let made = batch(3, Offset(10), 99, &[b"one", b"", b"three"]);
    let read = Batch::parse(made.bytes().clone()).unwrap();
    assert_eq!(read, made);
    assert_eq!(
        (read.base(), read.last(), read.count()),
        (Offset(10), Offset(12), 3)
    );
    assert_eq!((read.epoch(), read.previous_crc()), (Epoch(3), 99));
    let bodies: Vec<_> = read
        .records()
        .map(|(offset, record)| (offset.0, record.body))
        .collect();
    assert_eq!(
        bodies,
        [(10, "one".into()), (11, "".into()), (12, "three".into())]
    );
    let inside = made.bytes().as_ptr_range();
    let first = read.records().next().unwrap().1.body;
    assert!(inside.contains(&first.as_ptr()), "a body is no copy");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let made = batch(3, Offset(10), 99, &[b"one", b"two"]);
    for bit in 0..made.bytes().len() * 8 {
        assert!(
            Batch::parse(flipped(made.bytes(), bit)).is_err(),
            "bit {bit} was taken"
        );
    }
}

#[test]
fn every_shorter_or_longer_input_is_refused() {
    let made = batch(3, Offset(10), 99, &[b"one", b"two"]);
    let all = made.bytes();
    for length in 0..all.len() {
        assert!(
            Batch::parse(all.slice(..length)).is_err(),
            "{length} bytes were taken"
        );
    }
    let longer: Bytes = [&all[..], b"x"].concat().into();
    assert!(Batch::parse(longer).is_err());
}

#[test]
fn fields_that_cannot_be_are_refused_though_the_checksum_is_right() {
    let made = batch(3, Offset(10), 99, &[b"one", b"two"]);
    let cases: [(&str, usize, Vec<u8>); 6] = [
        ("a later format", 4, 2_u16.to_be_bytes().into()),
        ("epoch 0", 8, 0_u64.to_be_bytes().into()),
        ("base 0", 16, 0_u64.to_be_bytes().into()),
        ("an offset beyond all", 16, u64::MAX.to_be_bytes().into()),
        ("no records", 24, 0_u32.to_be_bytes().into()),
        (
            "a record more than there is",
            24,
            3_u32.to_be_bytes().into(),
        ),
    ];
    for (what, at, field) in cases {
        let error = Batch::parse(resealed(made.bytes(), at, &field)).unwrap_err();
        assert_ne!(error, FormatError::Crc, "{what}: the checksum was right");
    }
    let fewer = resealed(made.bytes(), 24, &1_u32.to_be_bytes());
    assert_eq!(
        Batch::parse(fewer),
        Err(FormatError::Impossible("bytes after its records"))
    );
}

#[test]
fn a_length_is_checked_before_it_is_used() {
    let mut head = batch(3, Offset(10), 99, &[b"one"]).bytes()[..BATCH_HEADER].to_vec();
    head[28..32].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(
        Batch::parse(head.into()),
        Err(FormatError::Impossible("a length above the limit"))
    );
}

#[test]
fn a_batch_of_the_greatest_size_fits() {
    let mut builder = BatchBuilder::new(Epoch(1), Offset(1), 0);
    let body = vec![7; BATCH_BYTES_MAX - BATCH_HEADER - RECORD_HEADER];
    builder.push(&Record {
        kind: 16,
        flags: 0,
        body: body.into(),
    });
    assert_eq!(builder.len_bytes(), BATCH_BYTES_MAX);
    let made = builder.finish();
    assert_eq!(Batch::parse(made.bytes().clone()), Ok(made));
}

#[test]
fn only_an_unknown_kind_with_the_flag_stops_a_reader() {
    let stops = |records: &[(u8, u8)]| {
        let mut builder = BatchBuilder::new(Epoch(1), Offset(5), 0);
        for (kind, flags) in records {
            builder.push(&Record {
                kind: *kind,
                flags: *flags,
                body: Bytes::from_static(b"abc"),
            });
        }
        builder.finish().must_stop_at()
    };
    let known = RecordKind::Ack as u8;
    assert_eq!(stops(&[(known, RECORD_FLAG_CRITICAL), (200, 0)]), None);
    let found = stops(&[(known, 0), (200, 0), (201, RECORD_FLAG_CRITICAL)]);
    assert_eq!(found, Some((Offset(7), 201)));
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::new(1);
    let made = batch(3, Offset(10), 99, &[b"one", b"two", b"three"]);
    for _ in 0..20_000 {
        let mut bytes = made.bytes().to_vec();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next() as u8;
        }
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        if let Ok(batch) = Batch::parse(bytes.clone().into()) {
            assert_eq!(batch.bytes()[..], bytes[..]);
        }
        // With a checksum that is right whatever the fields say.
        if bytes.len() >= BATCH_HEADER
            && let Ok(batch) = Batch::parse(resealed(&bytes.into(), 0, &[]))
        {
            assert_eq!(batch.records().count(), batch.count() as usize);
        }
    }
}

#[test]
fn batch_holds_no_more_memory_than_twice_its_bytes() {
    for body in [1, 100, 3_000, 5_000, 100_000] {
        let mut builder = BatchBuilder::new(Epoch(1), Offset(1), 0);
        builder.push(&Record {
            kind: RecordKind::Enqueue as u8,
            flags: 0,
            body: vec![7; body].into(),
        });
        let bytes = builder.finish().bytes;
        let len = bytes.len();
        let held = bytes.try_into_mut().unwrap().capacity();
        assert!(held <= 2 * len, "{held} bytes are held for {len}");
    }
}
