//! Claims about formats: what a start refuses, and (with the feature `next-format`) how a log goes
//! over from one to the next.

use tandemmq_model::{Bytes, Epoch, Offset};

use super::testing::{Member, config};
use crate::checkpoint::{self, Writer};
use crate::segment::{self, SegmentHeader};
use crate::{CheckpointHead, FORMAT, MemStorage, RecoverError, SetAside, Storage, recover};

const SEGMENT: u32 = 1 << 18;

fn member() -> Member {
    let mut member = Member::new(config(SEGMENT));
    for n in 0..10 {
        member.extend(1, &[&[n; 100]]);
    }
    member.settle();
    member
}

/// Every file with its bytes.
fn files(disk: &MemStorage) -> Vec<(String, Bytes)> {
    let mut names = disk.list().unwrap();
    names.sort();
    let bytes = |name: &String| disk.read_at(name, 0, 1 << 30).unwrap();
    names
        .iter()
        .map(|name| (name.clone(), bytes(name)))
        .collect()
}

fn refuses_and_changes_nothing(disk: &MemStorage, found: u16, understood: u16) {
    let before = files(disk);
    let limited = crate::JournalConfig {
        format_max: understood,
        ..config(SEGMENT)
    };
    let error = recover(disk, &limited).unwrap_err();
    assert_eq!(error, RecoverError::Newer { found, understood });
    let text = format!(
        "the journal has format {found}, this version understands up to {understood}: start the \
         newer version again"
    );
    assert_eq!(error.to_string(), text);
    assert!(files(disk) == before, "a refused volume is as it was");
}

fn later_header(number: u64) -> SegmentHeader {
    SegmentHeader {
        format: FORMAT + 1,
        number,
        base: Offset(11),
        epoch: Epoch(2),
        group: None,
    }
}

#[test]
fn files_of_a_later_format_stop_the_start_before_anything_is_touched() {
    for name in [
        segment::name(2),
        segment::survivors_name(7),
        segment::side_name(1),
    ] {
        let disk = member().die();
        // A start would end this first.
        crate::set_aside::begin(&disk, SetAside::Log).unwrap();
        disk.create(&name).unwrap();
        disk.write_at(&name, 0, &later_header(2).encode()).unwrap();
        refuses_and_changes_nothing(&disk, FORMAT + 1, FORMAT);
    }
}

#[test]
fn checkpoint_of_a_later_format_stops_the_start_before_anything_is_touched() {
    let disk = member().die();
    let head = CheckpointHead {
        format: FORMAT + 1,
        offset: Offset(10),
        epoch: Epoch(1),
        crc: 5,
        config: Bytes::new(),
        epochs: Vec::new(),
    };
    Writer::begin(&disk, 1, &head).unwrap().end(&disk).unwrap();
    refuses_and_changes_nothing(&disk, FORMAT + 1, FORMAT);
    // One that is damaged says nothing: it is no reason to refuse.
    disk.flip_bit(&checkpoint::name(1), 20, 0);
    assert!(recover(&disk, &config(SEGMENT)).unwrap().is_some());
}

#[cfg(feature = "next-format")]
mod next {
    use super::*;
    use crate::{BatchBuilder, FormatError, JournalConfig};

    fn extend(member: &mut Member, format: u16) -> crate::Batch {
        let (next, crc) = (
            member.journal.appended().next(),
            member.journal.last_crc().unwrap(),
        );
        let mut builder = BatchBuilder::of_format(format, Epoch(1), next, crc);
        builder.push(&super::super::testing::enqueue(Bytes::from_static(b"body")));
        let batch = builder.finish();
        member.journal.append(batch.clone());
        member.settle();
        batch
    }

    fn format_of(disk: &MemStorage, number: u64) -> u16 {
        let head = disk.read_at(&segment::name(number), 0, 4096).unwrap();
        SegmentHeader::parse(&head).unwrap().format
    }

    #[test]
    fn greater_format_begins_a_segment_and_an_older_version_refuses_it() {
        let mut member = member();
        assert_eq!(member.journal.format(), 1);
        extend(&mut member, 2);
        extend(&mut member, 2);
        assert_eq!(
            (
                member.journal.format(),
                member.journal.format_at(Offset(10))
            ),
            (2, 1)
        );
        let log = member.log();
        let disk = member.die();
        assert_eq!((format_of(&disk, 1), format_of(&disk, 2)), (1, 2));
        refuses_and_changes_nothing(&disk, 2, 1);
        let mut member = Member::start(disk, config(SEGMENT));
        assert_eq!(member.journal.format(), 2, "it is told by the log");
        extend(&mut member, 2);
        assert_eq!(member.log()[..12], log[..]);
    }

    #[test]
    fn cut_of_the_first_greater_batch_leaves_a_log_for_the_older_version() {
        let mut member = member();
        extend(&mut member, 2);
        member.journal.cut(Offset(10));
        member.settle();
        assert_eq!(member.journal.format(), 1);
        extend(&mut member, 1);
        let older = JournalConfig {
            format_max: 1,
            ..config(SEGMENT)
        };
        let member = Member::start(member.die(), older);
        assert_eq!(member.journal.appended(), Offset(11));
    }

    #[test]
    fn count_that_is_not_repeated_is_no_batch_of_the_next_format() {
        let mut member = member();
        let mut bytes = extend(&mut member, 2).bytes().to_vec();
        bytes[7] ^= 1;
        let crc = crate::format::batch_crc(&bytes);
        bytes[36..40].copy_from_slice(&crc.to_be_bytes());
        let parsed = crate::Batch::parse(bytes.into());
        assert_eq!(
            parsed,
            Err(FormatError::Impossible("a count that it does not repeat"))
        );
    }
}
