//! Pictures against a replay of the log, and against whoever changes their bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use tandemmq_model::{
    BodyKind, Committed, Destination, Epoch, Message, Now, Offset, Record, RecordKind,
};

use super::*;
use crate::records::{self, Range, Reason, TxKey};
use crate::{Engine, EngineConfig};

/// Seeded; good enough to choose records.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A log at random: not what one master would write, but anything that `apply` must stand.
struct Log {
    dice: Dice,
    last: Offset,
    epoch: Epoch,
    queues: Vec<String>,
}

impl Log {
    fn new(seed: u64) -> Self {
        let mut queues: Vec<String> = (0..5).map(|n| format!("Q{n}")).collect();
        queues.push("x".repeat(300));
        queues.push("ActiveMQ.DLQ".to_owned());
        Self {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            last: Offset::ZERO,
            epoch: Epoch(1),
            queues,
        }
    }

    fn next(&mut self) -> (Offset, Epoch, Record) {
        self.last = self.last.next();
        let (kind, body) = match self.dice.below(100) {
            0..55 => (RecordKind::Enqueue, self.enqueue()),
            55..75 => (RecordKind::Ack, self.ack()),
            75..85 => (RecordKind::DeadLetter, self.dead_letter()),
            85..90 => (RecordKind::TxCommit, records::encode_tx(self.key())),
            90..93 => (RecordKind::TxRollback, records::encode_tx(self.key())),
            93..95 => (RecordKind::Config, Bytes::from_static(b"members")),
            95..98 => (RecordKind::Ack, Bytes::from_static(b"not to be read")),
            _ if self.dice.chance(25) => {
                self.epoch = Epoch(self.epoch.0 + 1 + self.dice.below(3));
                (RecordKind::EpochStart, Bytes::new())
            }
            _ => (RecordKind::Config, Bytes::new()),
        };
        (self.last, self.epoch, Record::critical(kind, body))
    }

    fn key(&mut self) -> TxKey {
        TxKey(1 + self.dice.below(6))
    }

    fn tx(&mut self) -> Option<TxKey> {
        self.dice.chance(25).then(|| self.key())
    }

    fn queue(&mut self) -> String {
        let index = self.dice.below(self.queues.len() as u64);
        self.queues[index as usize].clone()
    }

    fn ranges(&mut self) -> Vec<Range> {
        let mut ranges = Vec::new();
        for _ in 0..=self.dice.below(4) {
            ranges.push(Range {
                first: Offset(self.dice.below(self.last.0 + 3)),
                count: self.dice.below(20) as u32,
            });
        }
        ranges
    }

    fn enqueue(&mut self) -> Bytes {
        let expires = self.dice.chance(30);
        let message = Message {
            destination: Destination::queue(ByteString::from(self.queue())),
            persistent: true,
            priority: self.dice.below(20) as u8,
            timestamp_ms: 1,
            expiration_ms: if expires { self.dice.below(1 << 41) } else { 0 },
            correlation_id: None,
            reply_to: None,
            jms_type: None,
            body_kind: BodyKind::Bytes,
            properties: Vec::new(),
            body: Bytes::from(vec![7; self.dice.below(300) as usize]),
        };
        records::encode_enqueue(self.tx(), &message).unwrap()
    }

    fn ack(&mut self) -> Bytes {
        records::encode_ack(self.tx(), &self.queue(), &self.ranges())
    }

    fn dead_letter(&mut self) -> Bytes {
        let reason = if self.dice.chance(50) {
            Reason::Expired
        } else {
            Reason::Poison
        };
        records::encode_dead_letter(self.tx(), reason, &self.queue(), &self.ranges())
    }
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default())
}

fn apply(engine: &mut Engine, (offset, epoch, record): &(Offset, Epoch, Record)) {
    let committed = Committed::proven_by_quorum(*offset);
    engine.apply(Now::default(), committed, *offset, *epoch, record);
}

/// An engine that applied that many records of a random log.
fn grown(seed: u64, records: usize) -> (Engine, Log) {
    let (mut engine, mut log) = (engine(), Log::new(seed));
    for _ in 0..records {
        apply(&mut engine, &log.next());
    }
    (engine, log)
}

fn pieces(picture: Picture) -> Vec<Bytes> {
    let mut writer = picture.writer();
    std::iter::from_fn(|| writer.next_piece()).collect()
}

fn written(picture: Picture) -> Vec<u8> {
    pieces(picture).concat()
}

fn read(bytes: &[u8]) -> Result<Picture, PictureError> {
    let mut reader = PictureReader::new();
    // An error comes again at the end.
    let _ = reader.push(bytes);
    reader.finish()
}

fn live(picture: &Picture) -> BTreeMap<u64, u32> {
    let mut all = BTreeMap::new();
    picture.live(&mut |offset, length| {
        assert_eq!(all.insert(offset.0, length), None, "each offset once");
    });
    all
}

/// Everything that is in it: what the digest sums up is compared one by one.
fn contents(engine: &Engine) -> String {
    let state = &engine.picture().state;
    let mut all = String::new();
    for (_, queue) in state.queues() {
        let entries: Vec<_> = queue.entries().iter().collect();
        let (counts, expiring) = (queue.counts(), queue.entries().expiring());
        all += &format!("{} {counts:?} {expiring} {entries:?}\n", queue.name());
    }
    all += &format!("{:?} {:?}\n", state.origins, state.transactions);
    all + &format!("{:?} {:?}", state.epochs, state.last_epoch_start)
}

/// What the pictures of a test held: without it they prove nothing.
#[derive(Debug, Default)]
struct Seen {
    operations: [usize; 3],
    dead_letters: usize,
    expiring: usize,
    emptied: usize,
    undecodable: u64,
    epochs: usize,
}

impl Seen {
    fn look(&mut self, picture: &Picture) {
        let state = &picture.state;
        for operation in state.transactions.iter().flat_map(|(_, all)| all) {
            let kind = match operation {
                Operation::Enqueue { .. } => 0,
                Operation::Ack { .. } => 1,
                Operation::DeadLetter { .. } => 2,
            };
            self.operations[kind] += 1;
        }
        for queue in &state.queues {
            let entries = queue.entries();
            self.dead_letters += entries.iter().filter(|e| e.origin().is_some()).count();
            self.expiring += entries.expiring();
            self.emptied += usize::from(entries.len() == 0 && queue.counts().dequeued > 0);
        }
        self.undecodable += state.undecodable;
        self.epochs = self.epochs.max(state.epochs.len());
    }

    fn assert_all(&self) {
        let counts = [self.dead_letters, self.expiring, self.emptied];
        let undecodable = self.undecodable as usize;
        let all = [&self.operations[..], &counts, &[undecodable]].concat();
        assert!(all.iter().all(|count| *count > 20), "{self:?}");
        assert!(self.epochs >= 3, "{self:?}");
    }
}

/// I14: a picture is what the log up to its offset says.
#[test]
fn a_restored_engine_goes_on_as_if_it_had_read_the_log() {
    let mut seen = Seen::default();
    for seed in 1..=40 {
        let (mut replayed, mut log) = grown(seed, 3);
        let mut restored = engine();
        restored.restore(replayed.picture());
        for _ in 0..1_500 {
            if log.dice.chance(2) {
                let picture = replayed.picture();
                seen.look(&picture);
                let copy = read(&written(picture.clone())).unwrap();
                assert_eq!(copy.applied(), replayed.applied());
                assert_eq!(live(&copy), live(&picture));
                restored = engine();
                restored.restore(copy);
                assert_eq!(contents(&restored), contents(&replayed));
            }
            let record = log.next();
            apply(&mut replayed, &record);
            apply(&mut restored, &record);
            assert_eq!(
                restored.state_digest(),
                replayed.state_digest(),
                "{record:?}"
            );
        }
        assert_eq!(contents(&restored), contents(&replayed));
    }
    seen.assert_all();
}

#[test]
fn a_picture_stays_what_it_was_while_the_engine_goes_on() {
    for seed in 1..=20 {
        let (mut engine, mut log) = grown(seed, 700);
        let picture = engine.picture();
        let bytes = written(engine.picture());
        let (digest, needed) = (engine.state_digest(), live(&picture));
        let mut writer = picture.clone().writer();
        for _ in 0..700 {
            apply(&mut engine, &log.next());
        }
        assert_ne!(engine.state_digest(), digest);
        assert_eq!((picture.digest(), live(&picture)), (digest, needed.clone()));
        assert_eq!(writer.next_piece().unwrap(), bytes, "writing began before");
        let mut after = BTreeMap::new();
        writer.live(&mut |offset, length| {
            after.insert(offset.0, length);
        });
        assert_eq!(after, needed, "a writer still tells what is live");
    }
}

#[test]
fn live_names_entries_and_open_sends_and_nothing_else() {
    let (mut engine, mut log) = (engine(), Log::new(1));
    let mut put = |kind: RecordKind, body: Bytes| {
        log.last = log.last.next();
        let record = Record::critical(kind, body.clone());
        apply(&mut engine, &(log.last, Epoch(1), record));
        (log.last.0, body.len() as u32)
    };
    let send = |tx: u64, queue: &'static str, size: usize| {
        let message = Message {
            destination: Destination::queue(queue),
            persistent: true,
            priority: 4,
            timestamp_ms: 1,
            expiration_ms: 0,
            correlation_id: None,
            reply_to: None,
            jms_type: None,
            body_kind: BodyKind::Bytes,
            properties: Vec::new(),
            body: Bytes::from(vec![7; size]),
        };
        records::encode_enqueue(Some(TxKey(tx)).filter(|tx| tx.0 > 0), &message).unwrap()
    };
    let range = |first: u64| {
        [Range {
            first: Offset(first),
            count: 1,
        }]
    };
    let stays = put(RecordKind::Enqueue, send(0, "Q", 10));
    let acked = put(RecordKind::Enqueue, send(0, "Q", 20));
    let buried = put(RecordKind::Enqueue, send(0, "Q", 30));
    let rolled_back = put(RecordKind::Enqueue, send(1, "Q", 40));
    let open = put(RecordKind::Enqueue, send(2, "R", 50));
    let ack = |tx: u64, first: u64| {
        records::encode_ack(Some(TxKey(tx)).filter(|tx| tx.0 > 0), "Q", &range(first))
    };
    put(RecordKind::Ack, ack(0, acked.0));
    put(RecordKind::Ack, ack(2, stays.0));
    let dead = records::encode_dead_letter(None, Reason::Poison, "Q", &range(buried.0));
    put(RecordKind::DeadLetter, dead);
    put(RecordKind::TxRollback, records::encode_tx(TxKey(1)));
    let all: Vec<_> = live(&engine.picture()).into_iter().collect();
    assert_eq!(all, [stays, buried, open], "not {rolled_back:?}");
}

// === bytes ===

/// Many entries in one queue, each unlike the one before.
fn deep(entries: u64) -> Engine {
    let mut engine = engine();
    let mut log = Log::new(7);
    log.queues.truncate(1);
    for offset in 1..=entries {
        log.last = Offset(offset);
        let body = log.enqueue();
        let record = Record::critical(RecordKind::Enqueue, body);
        apply(&mut engine, &(log.last, Epoch(1), record));
    }
    engine
}

#[test]
fn one_deep_queue_is_split_over_pieces_of_bounded_size() {
    let engine = deep(100_000);
    let pieces = pieces(engine.picture());
    let (last, full) = pieces.split_last().unwrap();
    assert!(full.len() >= 2, "{} pieces", pieces.len());
    let is_full = |piece: &Bytes| piece.len() == PICTURE_PIECE_BYTES_MAX;
    assert!(full.iter().all(is_full));
    assert!(!last.is_empty() && last.len() <= PICTURE_PIECE_BYTES_MAX);
    let mut reader = PictureReader::new();
    for piece in &pieces {
        reader.push(piece).unwrap();
    }
    let digest = reader.finish().unwrap().digest();
    assert_eq!(digest, engine.state_digest());
}

#[test]
fn a_writer_keeps_no_more_than_a_chunk_beyond_its_piece() {
    let mut writer = deep(100_000).picture().writer();
    while writer.next_piece().is_some() {
        // 27 bytes are the longest entry.
        assert!(writer.out.len() <= 2_048 * 27, "{}", writer.out.len());
    }
}

#[test]
fn pieces_may_be_cut_anew_anywhere() {
    let (engine, mut log) = grown(3, 400);
    let bytes = written(engine.picture());
    for _ in 0..50 {
        let mut reader = PictureReader::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = rest.len().min(log.dice.below(40) as usize);
            let (piece, left) = rest.split_at(size);
            reader.push(piece).unwrap();
            rest = left;
        }
        assert_eq!(reader.finish().unwrap().digest(), engine.state_digest());
    }
}

#[test]
fn an_engine_without_records_has_a_picture_too() {
    let picture = read(&written(engine().picture())).unwrap();
    assert_eq!(picture.applied(), Offset::ZERO);
    assert_eq!(picture.digest(), engine().state_digest());
}

#[test]
fn debug_output_does_not_grow_with_the_messages() {
    let picture = deep(5_000).picture();
    let writer = picture.clone().writer();
    let text = format!("{picture:?} {writer:?} {:?}", PictureReader::new());
    assert!(text.len() < 500, "{text}");
}

// === wrong bytes ===

#[test]
fn a_cut_picture_is_incomplete_and_a_longer_one_has_a_surplus() {
    let bytes = written(grown(2, 300).0.picture());
    for length in 0..bytes.len() {
        assert_eq!(
            read(&bytes[..length]).unwrap_err(),
            PictureError::Incomplete,
            "{length}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(read(&longer).unwrap_err(), PictureError::Surplus);
}

#[test]
fn another_version_is_not_read() {
    let mut bytes = written(grown(2, 10).0.picture());
    bytes[4] += 1;
    assert_eq!(read(&bytes).unwrap_err(), PictureError::UnknownVersion);
    assert_eq!(read(b"TMQX").unwrap_err(), PictureError::UnknownVersion);
}

#[test]
fn after_an_error_a_reader_gives_nothing_but_that_error() {
    let bytes = written(grown(2, 100).0.picture());
    let mut reader = PictureReader::new();
    assert_eq!(reader.push(b"?"), Err(PictureError::UnknownVersion));
    assert_eq!(reader.push(&bytes), Err(PictureError::UnknownVersion));
    assert_eq!(reader.finish().unwrap_err(), PictureError::UnknownVersion);
}

#[test]
fn every_flipped_bit_is_found() {
    for seed in 1..=3 {
        let (engine, _) = grown(seed, 150);
        let bytes = written(engine.picture());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(picture) = read(&changed) {
                panic!("bit {bit} is not found: {picture:?}");
            }
        }
    }
}

#[test]
fn a_lost_doubled_or_swapped_piece_is_found() {
    let pieces = pieces(deep(100_000).picture());
    let whole: Vec<usize> = (0..pieces.len()).collect();
    for index in 0..pieces.len() {
        let mut lost = whole.clone();
        lost.remove(index);
        let mut doubled = whole.clone();
        doubled.insert(index, index);
        let mut swapped = whole.clone();
        swapped.swap(index, (index + 1) % pieces.len());
        for order in [lost, doubled, swapped] {
            let bytes: Vec<&[u8]> = order.iter().map(|index| &pieces[*index][..]).collect();
            assert!(read(&bytes.concat()).is_err(), "{order:?}");
        }
    }
}

#[test]
fn random_bytes_are_no_picture_and_no_panic() {
    let mut dice = Dice(99);
    for _ in 0..50_000 {
        let size = dice.below(200) as usize;
        let noise: Vec<u8> = (0..size).map(|_| dice.below(256) as u8).collect();
        assert!(read(&noise).is_err());
        // Small numbers get further.
        let small: Vec<u8> = (0..size).map(|_| dice.below(8) as u8).collect();
        assert!(read(&[&layout::START[..], &small].concat()).is_err());
    }
}

#[test]
fn counts_that_lie_reserve_nothing() {
    let mut head = layout::START.to_vec();
    let applied = 1 << 62;
    for number in [applied, 1, 0, applied, applied, applied, 1 << 30, applied] {
        layout::put_number(&mut head, number);
    }
    let mut reader = PictureReader::new();
    reader.push(&head).unwrap();
    assert_eq!(reader.state.epochs.capacity(), 0);
    assert_eq!(reader.state.queues.capacity(), 0);
    assert_eq!(reader.finish().unwrap_err(), PictureError::Incomplete);
}

/// The same bytes with the digest that belongs to them, as somebody would write who means harm.
fn resealed(bytes: &[u8]) -> Option<Picture> {
    let mut reader = PictureReader::new();
    if reader.push(bytes) != Err(PictureError::WrongDigest) {
        return reader.finish().ok();
    }
    let mut sealed = bytes.to_vec();
    let end = sealed.len() - 8;
    sealed[end..].copy_from_slice(&reader.state.digest().to_le_bytes());
    read(&sealed).ok()
}

/// Each origin counts exactly the dead letters that name it.
fn assert_origins_met(picture: &Picture) {
    let mut named = BTreeMap::new();
    let entries = picture.state.queues.iter().flat_map(|q| q.entries().iter());
    for id in entries.filter_map(|entry| entry.origin()) {
        *named.entry(id).or_insert(0) += 1;
    }
    let origins = picture.state.origins.iter();
    let counted: BTreeMap<u64, u64> = origins.map(|(id, origin)| (id, origin.entries)).collect();
    assert_eq!(named, counted);
}

#[test]
fn what_a_forged_picture_says_never_panics_later() {
    let mut restored = 0;
    for seed in 1..=30 {
        let (engine_before, log) = grown(seed, 120);
        let bytes = written(engine_before.picture());
        let mut dice = Dice(seed + 7);
        for _ in 0..1_500 {
            let mut forged = bytes.clone();
            for _ in 0..=dice.below(3) {
                let at = dice.below(forged.len() as u64 - 8) as usize;
                forged[at] = match dice.below(3) {
                    0 => dice.below(256) as u8,
                    1 => forged[at] ^ (1 << dice.below(8)),
                    _ => forged[at].wrapping_add(1),
                };
            }
            let Some(picture) = resealed(&forged) else {
                continue;
            };
            restored += 1;
            assert_origins_met(&picture);
            let mut engine = engine();
            let mut later = Log {
                dice: Dice(dice.0 | 1),
                last: picture.applied(),
                queues: log.queues.clone(),
                epoch: Epoch(1_000_000),
            };
            engine.restore(picture);
            for _ in 0..60 {
                apply(&mut engine, &later.next());
            }
            let again = read(&written(engine.picture())).unwrap();
            assert_eq!(again.digest(), engine.state_digest());
        }
    }
    assert!(restored > 2_000, "{restored} forged pictures were restored");
}
