//! Bytes of every record kind that the engine writes, and of a picture. They are on disks: they
//! never change.
//!
//! `TANDEMMQ_REFRESH_GOLDEN=1` writes the file anew; a reviewer reads the difference.

use tandemmq_engine::{Engine, EngineConfig, PictureReader};
use tandemmq_model::{
    AckKind, AckMode, AckRef, BodyKind, Bytes, Committed, DeliveryId, Destination, Epoch, Now,
    Offset, Record, RecordKind, SubscriptionId,
};

use crate::bench::{Bench, message, through_bytes};

const GOLDEN: &str = include_str!("../../testdata/records.txt");

/// Of the picture after the start and the records of `GOLDEN` before the first commit: a dead
/// letter, and a transaction with a send, an ack and a burial.
const GOLDEN_PICTURE: &str = include_str!("../../testdata/picture.txt");

/// A small life of a broker in which every kind occurs, with every optional field.
fn life() -> Vec<Record> {
    let mut bench = Bench::new();
    bench.connect(1);
    let mut full = message("orders", "body\0bytes");
    full.priority = 9;
    full.timestamp_ms = 0x0102_0304_0506_0708;
    full.expiration_ms = 1_000_500;
    full.correlation_id = Some("c-1".into());
    full.reply_to = Some(Destination::topic("answers"));
    full.jms_type = Some("order".into());
    full.body_kind = BodyKind::Bytes;
    full.properties = vec![("größe".into(), "5".into()), ("empty".into(), "".into())];
    bench.send(1, full);
    let mut plain = message("orders", "");
    plain.properties.clear();
    for _ in 0..5 {
        bench.send(1, plain.clone());
    }
    bench.now.wall_ms += 500;
    bench.subscribe(1, 1, "orders", AckMode::Individual, 10);
    bench.receive(1, 1);
    for delivery in [1, 2, 4] {
        bench.queue_command(1, |request| tandemmq_model::Command::Ack {
            which: AckRef::Delivery(SubscriptionId(1), DeliveryId(delivery)),
            kind: AckKind::Consumed,
            tx: None,
            request,
        });
    }
    bench.run();
    bench.begin(1, "t");
    bench.send_in(1, "t", plain);
    bench.ack_in(1, "t", 1, 3);
    let which = AckRef::Delivery(SubscriptionId(1), DeliveryId(5));
    bench.ack_as(1, which, AckKind::Poison, Some("t"));
    bench.commit_tx(1, "t");
    bench.begin(1, "u");
    bench.send_in(1, "u", message("orders", "never"));
    bench.abort(1, "u");
    // EpochStart is not the engine's.
    bench
        .log
        .into_iter()
        .skip(1)
        .map(|(_, record)| record)
        .collect()
}

fn line(record: &Record) -> String {
    let hex: String = record
        .body
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{:?} flags={:02x} {hex}\n",
        record.known_kind().unwrap(),
        record.flags
    )
}

fn parse(line: &str) -> Record {
    let mut words = line.split(' ');
    let name = words.next().unwrap();
    let kind = RecordKind::ALL
        .into_iter()
        .find(|kind| format!("{kind:?}") == name)
        .unwrap();
    let hex = words.nth(1).unwrap();
    Record::critical(kind, Bytes::from(bytes_of(hex)))
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The golden records before the first commit.
fn before_commit() -> Engine {
    let records = GOLDEN.lines().map(parse);
    let is_commit = |record: &Record| record.known_kind() == Some(RecordKind::TxCommit);
    applied(std::iter::once(start()).chain(records.take_while(|record| !is_commit(record))))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "refreshing a file of the tests")]
fn a_picture_has_the_bytes_that_are_on_disks() {
    let mut writer = before_commit().picture().writer();
    let piece = writer.next_piece().unwrap();
    assert_eq!(writer.next_piece(), None);
    let written: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
    if std::env::var("TANDEMMQ_REFRESH_GOLDEN").is_ok() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/picture.txt");
        std::fs::write(path, written + "\n").unwrap();
        return;
    }
    let golden = GOLDEN_PICTURE.trim_end();
    assert_eq!(written, golden, "a picture on disks reads differently now");
}

#[test]
fn a_golden_picture_means_what_it_meant() {
    let mut reader = PictureReader::new();
    reader.push(&bytes_of(GOLDEN_PICTURE.trim_end())).unwrap();
    let picture = reader.finish().unwrap();
    let mut live = Vec::new();
    picture.live(&mut |offset, length| live.push((offset.0, length)));
    assert_eq!(
        live,
        [(5, 44), (7, 44), (2, 109), (10, 44)],
        "two in orders, one dead, one in the transaction"
    );
    let mut engine = Engine::new(EngineConfig::default());
    engine.restore(through_bytes(picture));
    assert_eq!(engine.state_digest(), before_commit().state_digest());
    let mut depths = engine.destinations().map(|stats| stats.depth);
    assert_eq!(depths.next(), Some(1));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "refreshing a file of the tests")]
fn records_have_the_bytes_that_are_on_disks() {
    let written: String = life().iter().map(line).collect();
    if std::env::var("TANDEMMQ_REFRESH_GOLDEN").is_ok() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/records.txt");
        std::fs::write(path, &written).unwrap();
        return;
    }
    assert_eq!(
        written, GOLDEN,
        "a record that is on disks reads differently now"
    );
}

#[test]
fn every_kind_of_the_engine_has_golden_bytes() {
    for kind in RecordKind::ALL {
        let is_ours = !matches!(kind, RecordKind::EpochStart | RecordKind::Config);
        let name = format!("{kind:?} ");
        assert_eq!(
            GOLDEN.lines().any(|line| line.starts_with(&name)),
            is_ours,
            "{kind:?}"
        );
    }
}

fn applied(records: impl Iterator<Item = Record>) -> Engine {
    let mut engine = Engine::new(EngineConfig::default());
    for (index, record) in records.enumerate() {
        let offset = Offset(index as u64 + 1);
        let committed = Committed::proven_by_quorum(offset);
        engine.apply(Now::default(), committed, offset, Epoch(1), &record);
    }
    engine
}

fn start() -> Record {
    Record::critical(RecordKind::EpochStart, Bytes::new())
}

#[test]
fn golden_bytes_mean_what_they_meant() {
    let engine = applied(std::iter::once(start()).chain(GOLDEN.lines().map(parse)));
    let seen: Vec<_> = engine
        .destinations()
        .map(|stats| {
            (
                stats.name.to_string(),
                stats.depth,
                stats.dequeued,
                stats.dead_lettered,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("ActiveMQ.DLQ".to_owned(), 2, 0, 0),
            ("orders".to_owned(), 1, 4, 2)
        ],
        "six sent, one expired, three acked, one acked and one buried and one sent in a transaction"
    );
}

#[test]
fn what_follows_the_known_fields_is_ignored() {
    let longer = GOLDEN.lines().map(parse).map(|record| {
        let mut body = record.body.to_vec();
        body.extend_from_slice(b"a field of a later version");
        Record {
            body: Bytes::from(body),
            ..record
        }
    });
    let engine = applied(std::iter::once(start()).chain(longer));
    let plain = applied(std::iter::once(start()).chain(GOLDEN.lines().map(parse)));
    let depths = |engine: &Engine| engine.destinations().map(|s| s.depth).collect::<Vec<_>>();
    assert_eq!(depths(&engine), depths(&plain));
}

#[test]
fn a_cut_or_changed_body_never_panics_and_changes_the_same_everywhere() {
    let mut bodies: Vec<Record> = Vec::new();
    for record in GOLDEN.lines().map(parse) {
        for length in 0..record.body.len() {
            bodies.push(Record {
                body: record.body.slice(..length),
                ..record.clone()
            });
        }
        for at in 0..record.body.len() {
            for value in [0x00, 0x7f, 0xff] {
                let mut body = record.body.to_vec();
                body[at] = value;
                bodies.push(Record {
                    body: Bytes::from(body),
                    ..record.clone()
                });
            }
        }
        // The same body under every kind.
        for kind in RecordKind::ALL {
            bodies.push(Record::critical(kind, record.body.clone()));
        }
    }
    let one = applied(bodies.iter().cloned());
    let other = applied(bodies.iter().cloned());
    assert_eq!(one.applied(), Offset(bodies.len() as u64));
    assert_eq!(one.state_digest(), other.state_digest());
}

#[test]
fn a_record_that_cannot_be_read_changes_nothing_but_is_counted() {
    let good = GOLDEN.lines().map(parse).next().unwrap();
    let cut = Record {
        body: good.body.slice(..good.body.len() - 1),
        ..good
    };
    let engine = applied([start(), cut].into_iter());
    assert_eq!(engine.destinations().count(), 0);
    let unknown = Record {
        kind: 200,
        flags: 0,
        body: Bytes::new(),
    };
    let skipped = applied([start(), unknown].into_iter());
    assert_ne!(
        engine.state_digest(),
        skipped.state_digest(),
        "the count is part of the State"
    );
}
