//! Claims about the bytes of peer messages.

use tandemmq_journal::BatchBuilder;
use tandemmq_model::{Record, RecordKind};

use super::*;
use crate::rng::Rng;

fn member(n: u8) -> MemberId {
    MemberId {
        ordinal: n,
        incarnation: Incarnation(0x100 + u128::from(n)),
    }
}

fn ballot(epoch: u64) -> Ballot {
    Ballot {
        epoch: Epoch(epoch),
        member: member(1),
        boot: BootNonce(77),
    }
}

fn envelope() -> Envelope {
    Envelope {
        group: Some(GroupId(9)),
        from: member(1),
        to: member(2).incarnation,
    }
}

fn batch(base: u64) -> Batch {
    let mut builder = BatchBuilder::new(Epoch(3), Offset(base), 5);
    builder.push(&Record::critical(
        RecordKind::Enqueue,
        Bytes::from_static(b"a body"),
    ));
    builder.finish()
}

fn witness() -> Witness {
    Witness {
        incarnation: member(2).incarnation,
        promise: ballot(4),
        matched: (ballot(3), Offset(12)),
    }
}

/// One of each kind.
fn all() -> Vec<Message> {
    let tail = Tail {
        epoch: Epoch(3),
        offset: Offset(11),
    };
    let epochs = vec![EpochFirst {
        epoch: Epoch(1),
        first: Offset(1),
    }];
    vec![
        Message::Hello {
            version: 1,
            formats: (1, 2),
            link: 2,
            boot: BootNonce(3),
            name: "a-1".into(),
        },
        Message::Remember(witness()),
        Message::AskBlank { round: 4 },
        Message::Blank {
            round: 4,
            blank: true,
        },
        Message::GroupConfirmed,
        Message::PreVote {
            round: 5,
            lease_uid: "uid".to_owned(),
            lease_revision: "7".to_owned(),
            holder: String::new(),
            tail,
        },
        Message::PreVoteReply {
            round: 5,
            yes: true,
            promised: Epoch(2),
        },
        Message::PromiseReq { ballot: ballot(4) },
        Message::Promised {
            ballot: ballot(4),
            tail,
            log_state: LogState::NeedsRepair,
            cut_mark: ballot(2),
            witness: vec![witness()],
        },
        Message::Refused {
            of: ballot(3),
            promise: ballot(4),
        },
        Message::Fetch {
            ballot: ballot(4),
            appended: Offset(10),
            epochs: epochs.clone(),
        },
        Message::Fetched {
            ballot: ballot(4),
            prev: tail,
            end: tail,
            batches: vec![batch(12)],
        },
        Message::Append {
            ballot: ballot(4),
            prev: tail,
            committed: Offset(9),
            batches: vec![batch(12), batch(13)],
        },
        Message::Nack {
            ballot: ballot(4),
            appended: Offset(10),
            epochs,
        },
        Message::Ack {
            ballot: ballot(4),
            matched: Offset(10),
            log_state: LogState::Learner,
        },
        Message::Heartbeat {
            ballot: ballot(4),
            reign: Reign::Resigning(2),
            sent_at: 123,
            committed: Offset(9),
            appended: Offset(12),
            witness: vec![witness(), witness()],
        },
        Message::HeartbeatReply {
            ballot: ballot(4),
            sent_at: 123,
            matched: Offset(10),
            synced: Offset(11),
            applied: Offset(9),
            log_state: LogState::DataLoss,
            terminating: true,
            illness: 2,
        },
    ]
    .into_iter()
    .chain(about_lost_volumes(tail))
    .collect()
}

fn about_lost_volumes(tail: Tail) -> Vec<Message> {
    let (ballot, offset) = (ballot(4), Offset(11));
    let piece = |piece| Message::CheckpointPiece {
        ballot,
        offset,
        position: 5,
        next: 6,
        piece,
    };
    vec![
        Message::Join {
            ballot,
            group: Founding {
                id: GroupId(9),
                members: vec![member(0), member(1)],
            },
        },
        Message::SetAside { ballot },
        Message::Offer {
            ballot,
            checkpoint: tail,
            bytes: 12,
        },
        Message::FetchPiece {
            ballot,
            offset,
            position: 5,
        },
        piece(Piece::Head(CheckpointHead {
            format: 1,
            offset,
            epoch: Epoch(3),
            crc: 7,
            config: Bytes::from_static(b"config"),
            epochs: Vec::new(),
        })),
        piece(Piece::Image(Bytes::from_static(b"image"))),
        piece(Piece::End),
        Message::FetchSurvivors {
            ballot,
            offset,
            runs: vec![(Offset(3), 4)],
        },
        Message::Survivors {
            ballot,
            offset,
            to: Offset(6),
            batches: vec![batch(3)],
        },
    ]
}

#[test]
fn every_message_reads_back_as_sent() {
    for message in all() {
        let frame = encode(&envelope(), &message).to_bytes();
        assert_eq!(decode(frame), Ok((envelope(), message)));
    }
}

#[test]
fn a_frame_cut_anywhere_is_an_error_and_no_message() {
    for message in all() {
        let frame = encode(&envelope(), &message).to_bytes();
        for length in 0..frame.len() {
            assert!(
                decode(frame.slice(..length)).is_err(),
                "{length} bytes of {message:?}"
            );
        }
        let mut longer = frame.to_vec();
        longer.push(0);
        assert_eq!(
            decode(longer.into()),
            Err(DecodeError::TooLong(1)),
            "{message:?}"
        );
    }
}

#[test]
fn any_bytes_are_a_message_or_an_error() {
    let mut rng = Rng::new(1);
    let frames: Vec<Bytes> = all()
        .iter()
        .map(|message| encode(&envelope(), message).to_bytes())
        .collect();
    for round in 0..20_000 {
        let mut bytes = frames[round % frames.len()].to_vec();
        for _ in 0..=rng.next_u64() % 4 {
            let at = rng.next_u64() as usize % bytes.len();
            bytes[at] = rng.next_u64() as u8;
        }
        let _ = decode(bytes.into()); // The claim is that this returns.
    }
}

#[test]
fn a_batch_that_was_changed_on_the_way_is_not_taken() {
    let message = Message::Append {
        ballot: ballot(4),
        prev: Tail::default(),
        committed: Offset(0),
        batches: vec![batch(1)],
    };
    let mut bytes = encode(&envelope(), &message).to_bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(
        decode(bytes.into()),
        Err(DecodeError::Batch(FormatError::Crc))
    );
}

/// Refused before anything of it is looked at: nothing is placed, nothing acknowledged.
#[test]
fn batch_of_a_later_format_is_no_message_and_the_reason_says_so() {
    let append = Message::Append {
        ballot: ballot(4),
        prev: Tail {
            epoch: Epoch(3),
            offset: Offset(11),
        },
        committed: Offset(9),
        batches: vec![batch(12)],
    };
    let mut bytes = encode(&envelope(), &append).to_bytes().to_vec();
    let at = bytes.len() - batch(12).bytes().len();
    let greatest = tandemmq_journal::FORMAT;
    bytes[at + 4..at + 6].copy_from_slice(&(greatest + 1).to_be_bytes());
    let error = decode(bytes.into()).unwrap_err();
    assert_eq!(error, DecodeError::Batch(FormatError::Newer(greatest + 1)));
    let text = format!(
        "has format {}, this version reads up to {greatest}",
        greatest + 1
    );
    assert!(error.to_string().contains(&text), "{error}");
}
