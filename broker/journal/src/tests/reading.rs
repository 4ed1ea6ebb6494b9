//! Claims about reading beside the disk thread.

use tandemmq_model::Offset;

use super::testing::{Member, Rng, config};
use crate::{Batch, ReadDone};

/// Some hundred batches over several segments.
fn filled() -> (Member, Vec<Batch>) {
    let mut member = Member::new(config(1 << 18));
    let mut rng = Rng::new(3);
    let mut all = Vec::new();
    for epoch in 1..4 {
        for _ in 0..60 {
            let body = vec![epoch as u8; rng.below(8_000) as usize];
            let bodies: Vec<&[u8]> = (0..=rng.below(3)).map(|_| &body[..]).collect();
            all.push(member.extend(epoch, &bodies));
        }
        member.settle();
    }
    let segments = member.disk_names("journal");
    assert!(segments >= 4, "the log must cross segments: {segments}");
    (member, all)
}

impl Member {
    pub(crate) fn disk_names(&self, kind: &str) -> usize {
        use crate::Storage;
        let names = self.disk.list().unwrap();
        names.iter().filter(|name| name.starts_with(kind)).count()
    }
}

fn records(member: &Member, offsets: Vec<Offset>) -> Vec<(Offset, Option<usize>)> {
    match member.reader.read(&member.journal.read_records(offsets)) {
        ReadDone::Records(records) => records
            .into_iter()
            .map(|(at, record)| (at, record.map(|r| r.body.len())))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_whole_log_is_read_over_the_ends_of_segments() {
    let (member, all) = filled();
    assert_eq!(member.log(), all);
    let again = member.killed();
    assert_eq!(again.log(), all, "and by the next process");
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset() {
    let (member, all) = filled();
    for batch in &all {
        for at in [batch.base(), batch.last()] {
            let ReadDone::Batches(read) = member.reader.read(&member.journal.read_batches(at, 1))
            else {
                panic!("{at} cannot be read");
            };
            assert_eq!(read, std::slice::from_ref(batch), "from {at}");
        }
    }
}

#[test]
fn every_record_is_found_alone_and_among_others() {
    let (member, all) = filled();
    let expected: Vec<_> = all
        .iter()
        .flat_map(Batch::records)
        .map(|(at, record)| (at, Some(record.body.len())))
        .collect();
    let offsets: Vec<Offset> = expected.iter().map(|(at, _)| *at).collect();
    assert_eq!(records(&member, offsets.clone()), expected);
    for (at, length) in &expected {
        assert_eq!(records(&member, vec![*at]), [(*at, *length)]);
    }
    let sparse: Vec<_> = offsets.iter().copied().step_by(37).collect();
    assert_eq!(records(&member, sparse).len(), expected.len().div_ceil(37));
}

#[test]
fn what_is_not_in_the_log_is_none_and_no_error() {
    let (member, all) = filled();
    let beyond = all.last().unwrap().last().next();
    assert_eq!(records(&member, vec![Offset(1), beyond])[1], (beyond, None));
    assert_eq!(records(&member, vec![Offset::ZERO])[0].1, None);
}

#[test]
fn a_damaged_record_is_told_never_a_wrong_one() {
    let (member, all) = filled();
    let victim = &all[5];
    let before: usize = all[..5].iter().map(|batch| batch.bytes().len()).sum();
    let place = 4096 + before + victim.bytes().len() / 2;
    member
        .disk
        .flip_bit("journal-0000000000000001", place as u64, 1);
    let op = member.journal.read_records(vec![victim.base()]);
    assert!(matches!(member.reader.read(&op), ReadDone::Damaged(_)));
    let op = member.journal.read_batches(victim.base(), 1 << 20);
    assert!(matches!(member.reader.read(&op), ReadDone::Damaged(_)));
    // The next segment goes on elsewhere: it must not be taken for what comes behind.
    let op = member.journal.read_batches(Offset(1), 1 << 20);
    assert!(matches!(member.reader.read(&op), ReadDone::Damaged(_)));
    let first = &all[0];
    assert!(
        records(&member, vec![first.base()])[0].1.is_some(),
        "the others are readable"
    );
}

#[test]
fn a_record_that_was_cut_is_not_read_any_more() {
    let (mut member, all) = filled();
    let keep = &all[100];
    let op = member.journal.read_batches(keep.last().next(), 1 << 20);
    member.journal.cut(keep.last());
    member.settle();
    match member.reader.read(&op) {
        ReadDone::Failed(_) => {}
        other => panic!("cut, and read: {other:?}"),
    }
    assert_eq!(records(&member, vec![keep.last().next()])[0].1, None);
    assert_eq!(member.log(), all[..=100]);
}
