//! What is written reads back, and lengths that lie are found out.

use bytes::Bytes;
use tandemmq_model::{BodyKind, Destination, Message, Offset};

use super::*;

fn message() -> Message {
    Message {
        destination: Destination::queue("orders"),
        persistent: true,
        priority: 7,
        timestamp_ms: 1,
        expiration_ms: 2,
        correlation_id: Some("c".into()),
        reply_to: Some(Destination::topic("t")),
        jms_type: None,
        body_kind: BodyKind::Bytes,
        properties: vec![("a".into(), "1".into()), ("".into(), "".into())],
        body: Bytes::from_static(b"\0body"),
    }
}

#[test]
fn a_message_reads_back_as_slices_of_its_record() {
    let body = encode_enqueue(Some(TxKey(5)), &message()).unwrap();
    let read = decode_message(&body).unwrap();
    assert_eq!(read, message());
    let inside = body.as_ptr_range();
    assert!(inside.contains(&read.body.as_ptr()), "no copy of the body");
    assert!(inside.contains(&read.destination.name.as_bytes().as_ptr()));
    let head = decode_enqueue_head(&body).unwrap();
    let wanted = EnqueueHead {
        tx: Some(TxKey(5)),
        queue: "orders",
        expiration_ms: 2,
        priority: 7,
    };
    assert_eq!(head, wanted);
}

#[test]
fn the_state_takes_only_persistent_messages_of_queues() {
    let topic = Message {
        destination: Destination::topic("t"),
        ..message()
    };
    let transient = Message {
        persistent: false,
        ..message()
    };
    for other in [topic, transient] {
        let body = encode_enqueue(None, &other).unwrap();
        assert_eq!(decode_enqueue_head(&body), Err(DecodeError::UnknownValue));
        assert_eq!(decode_message(&body).unwrap(), other);
    }
}

#[test]
fn a_count_that_lies_is_found_before_anything_is_reserved() {
    let mut body = encode_enqueue(None, &message()).unwrap().to_vec();
    let count_at = 8 + 20 + 4;
    body[count_at..count_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_enqueue_head(&body), Err(DecodeError::Truncated));
    assert_eq!(
        decode_message(&Bytes::from(body)),
        Err(DecodeError::Truncated)
    );
    let mut ack = encode_ack(None, "Q", &[]).to_vec();
    let end = ack.len();
    ack[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_ack(&ack), Err(DecodeError::Truncated));
}

#[test]
fn ranges_join_neighbours_only() {
    let offsets: Vec<Offset> = [5, 6, 7, 9, 3, 4].map(Offset).into();
    let ranges: Vec<(u64, u32)> = ranges_of(&offsets)
        .iter()
        .map(|range| (range.first.0, range.count))
        .collect();
    assert_eq!(ranges, [(5, 3), (9, 1), (3, 2)]);
}

#[test]
fn acks_and_burials_read_back() {
    let ranges = ranges_of(&[Offset(5), Offset(6), Offset(9)]);
    let ack = encode_ack(Some(TxKey(1)), "Q", &ranges);
    let wanted = Ack {
        tx: Some(TxKey(1)),
        queue: "Q",
        ranges: ranges.clone(),
    };
    assert_eq!(decode_ack(&ack), Ok(wanted));
    let dead = encode_dead_letter(None, Reason::Poison, "Q", &ranges);
    let cause = Reason::Poison.cause();
    let wanted = DeadLetter {
        tx: None,
        reason: Reason::Poison,
        queue: "Q",
        cause,
        ranges,
    };
    assert_eq!(decode_dead_letter(&dead), Ok(wanted));
    assert_eq!(decode_tx(&encode_tx(TxKey(7))), Ok(TxKey(7)));
    assert_eq!(
        decode_tx(&[0; 8]),
        Err(DecodeError::UnknownValue),
        "0 is no transaction"
    );
}
