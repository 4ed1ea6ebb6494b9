//! Claims about checkpoints and cleaning up: what is live stays readable, what is dead gives its
//! disk back, and a start after any crash finds one or the other.

use std::collections::BTreeMap;
use std::time::Duration;

use tandemmq_model::{Bytes, Epoch, Offset, Record};

use super::testing::{Member, Rng, config};
use crate::{
    CheckpointHead, CheckpointOrder, Image, JournalConfig, JournalEvent, LogState, MemStorage,
    ReadDone, ScrubAt, Space, Storage, recover,
};

const SEGMENT: u32 = 1 << 16;

/// What a log means: these records are live.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) records: BTreeMap<Offset, u32>,
    told: bool,
}

impl Image for Live {
    fn next_piece(&mut self) -> Option<Bytes> {
        let piece: Vec<u8> = self
            .records
            .iter()
            .flat_map(|(offset, length)| [offset.0, u64::from(*length)])
            .flat_map(u64::to_be_bytes)
            .collect();
        (!std::mem::replace(&mut self.told, true)).then(|| piece.into())
    }

    fn live(&self, each: &mut dyn FnMut(Offset, u32)) {
        self.records
            .iter()
            .for_each(|(offset, length)| each(*offset, *length));
    }
}

impl Live {
    pub(super) fn of(records: &BTreeMap<Offset, Vec<u8>>, up_to: Offset) -> Self {
        let live = records
            .range(..=up_to)
            .map(|(at, body)| (*at, body.len() as u32));
        Self {
            records: live.collect(),
            told: false,
        }
    }
}

/// A member, and what is live in its log by the book.
pub(crate) struct Book {
    pub(crate) member: Member,
    pub(crate) live: BTreeMap<Offset, Vec<u8>>,
    pub(super) rng: Rng,
}

pub(super) fn small() -> JournalConfig {
    JournalConfig {
        checkpoint_bytes: 2 * u64::from(SEGMENT),
        retain_bytes: 0,
        ..config(SEGMENT)
    }
}

impl Book {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            member: Member::new(small()),
            live: BTreeMap::new(),
            rng: Rng::new(seed),
        }
    }

    /// One batch more; each body is of its offset.
    pub(crate) fn append(&mut self, records: u64, length: usize) {
        let next = self.member.journal.appended().0 + 1;
        let bodies: Vec<Vec<u8>> = (next..next + records)
            .map(|at| {
                at.to_be_bytes()
                    .iter()
                    .copied()
                    .cycle()
                    .take(length.max(8))
                    .collect()
            })
            .collect();
        let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        self.member.extend(1, &slices);
        for (at, body) in (next..).zip(bodies) {
            self.live.insert(Offset(at), body);
        }
    }

    /// All but one of so many die.
    pub(crate) fn kill_all_but_one_of(&mut self, of: u64) {
        self.live.retain(|at, _| at.0.is_multiple_of(of));
    }

    pub(super) fn head(&self) -> CheckpointHead {
        CheckpointHead {
            format: 1,
            offset: self.member.journal.synced(),
            epoch: Epoch(1),
            crc: self.member.journal.last_crc().expect("settled"),
            config: Bytes::from_static(b"voters"),
            epochs: self.member.journal.epochs().to_vec(),
        }
    }

    pub(super) fn order(&self) -> CheckpointOrder {
        CheckpointOrder {
            head: self.head(),
            image: Box::new(Live::of(&self.live, self.member.journal.synced())),
            retain: Offset(u64::MAX),
            retain_bytes: 0,
            pin: None,
            install: false,
        }
    }

    pub(crate) fn checkpoint(&mut self) {
        self.member.settle();
        let order = self.order();
        self.member.journal.checkpoint(self.member.now, order);
        self.member.settle();
    }

    /// Everything live is there and is what was written.
    pub(super) fn check_live(&self) {
        let offsets: Vec<Offset> = self.live.keys().copied().collect();
        let op = self.member.journal.read_records(offsets);
        let ReadDone::Records(read) = self.member.reader.read(&op) else {
            panic!("what is live cannot be read");
        };
        for (at, record) in read {
            let body = record.map(|record: Record| record.body.to_vec());
            assert_eq!(body.as_ref(), self.live.get(&at), "record {at}");
        }
    }

    pub(super) fn killed(self) -> Self {
        Self {
            member: self.member.killed(),
            ..self
        }
    }

    fn live_bytes(&self) -> u64 {
        self.live.values().map(|body| body.len() as u64).sum()
    }
}

fn rounds(book: &mut Book, rounds: u64, survivors: u64) {
    for _ in 0..rounds {
        for _ in 0..12 {
            book.append(20, 700);
            book.member.settle();
        }
        book.kill_all_but_one_of(survivors);
        book.checkpoint();
    }
}

#[test]
fn what_is_live_stays_readable_and_the_rest_gives_its_disk_back() {
    let mut book = Book::new(1);
    rounds(&mut book, 30, 50);
    book.check_live();
    let (used, live) = (book.member.journal.used_bytes(), book.live_bytes());
    let fixed = 12 * u64::from(SEGMENT);
    assert!(
        used <= 2 * live + fixed,
        "{used} bytes for {live} live ones"
    );
    let book = book.killed();
    book.check_live();
    assert_eq!(book.member.journal.appended(), Offset(30 * 12 * 20));
}

#[test]
fn one_old_message_does_not_pin_its_segment() {
    let mut book = Book::new(2);
    rounds(&mut book, 10, 1_000_000);
    book.live.insert(Offset(7), book_body(7, 700));
    // It was live all the time, by another book.
    let mut book = Book::new(2);
    for round in 0..10 {
        for _ in 0..12 {
            book.append(20, 700);
            book.member.settle();
        }
        book.live.retain(|at, _| at.0 == 7);
        book.checkpoint();
        assert!(
            book.member.journal.used_bytes() < 10 * u64::from(SEGMENT),
            "round {round}"
        );
    }
    book.check_live();
}

fn book_body(at: u64, length: usize) -> Vec<u8> {
    at.to_be_bytes()
        .iter()
        .copied()
        .cycle()
        .take(length)
        .collect()
}

#[test]
fn a_start_walks_from_the_newest_checkpoint_only() {
    let mut book = Book::new(3);
    rounds(&mut book, 6, 10);
    book.append(5, 100);
    book.member.settle();
    let disk = book.member.die();
    let recovered = recover(&disk, &small()).unwrap().unwrap();
    assert!(recovered.report.batches < 40, "{:?}", recovered.report);
    let checkpoint = recovered.checkpoint.expect("there is one");
    assert_eq!(checkpoint.head.config, &b"voters"[..]);
    assert_eq!(checkpoint.head.offset, Offset(6 * 240));
}

#[test]
fn a_damaged_newest_checkpoint_costs_a_longer_walk_and_nothing_else() {
    let mut book = Book::new(4);
    rounds(&mut book, 6, 10);
    let newest = book.member.journal.newest_checkpoint().unwrap();
    let disk = book.member.die();
    disk.flip_bit(&format!("checkpoint-{:016}", newest.1), 60, 3);
    let recovered = recover(&disk, &small()).unwrap().unwrap();
    assert!(recovered.report.checkpoint_lost);
    assert_eq!(recovered.control.log_state, LogState::Clean);
    assert_eq!(recovered.checkpoint_offset(), Offset(5 * 240));
    assert_eq!(
        recovered.last(),
        Offset(6 * 240),
        "the log goes on behind it"
    );
    let names = disk.list().unwrap();
    assert!(
        names.iter().any(|name| name.starts_with("damaged-")),
        "it is kept: {names:?}"
    );
}

#[test]
fn without_any_sound_checkpoint_the_log_is_set_aside_never_taken_for_empty() {
    let mut book = Book::new(5);
    rounds(&mut book, 6, 10);
    let disk = book.member.die();
    for name in disk.list().unwrap() {
        if name.starts_with("checkpoint-") {
            disk.flip_bit(&name, 60, 3);
        }
    }
    let recovered = recover(&disk, &small()).unwrap().unwrap();
    assert_eq!(recovered.control.log_state, LogState::NeedsRepair);
    assert!(recovered.report.set_aside);
    assert_eq!(recovered.last(), Offset::ZERO);
}

#[test]
fn a_slave_that_lags_keeps_the_log_up_to_the_cap() {
    let mut book = Book::new(6);
    let config = JournalConfig {
        retain_bytes: 8 * u64::from(SEGMENT),
        ..small()
    };
    book.member = Member::new(config);
    for _ in 0..6 {
        for _ in 0..12 {
            book.append(20, 700);
            book.member.settle();
        }
        book.live.clear();
        let order = CheckpointOrder {
            retain: Offset(100),
            ..book.order()
        };
        book.member.journal.checkpoint(book.member.now, order);
        book.member.settle();
    }
    let start = book.member.journal.log_start();
    assert!(start > Offset(100), "the cap holds: {start}");
    let kept = book.member.journal.appended().0 - start.0;
    assert!(
        kept * 700 > 5 * u64::from(SEGMENT),
        "and is used: {kept} records"
    );
    let op = book.member.journal.read_batches(start.next(), 1 << 20);
    assert!(matches!(book.member.reader.read(&op), ReadDone::Batches(_)));
}

#[test]
fn a_checkpoint_over_a_damaged_log_is_made_and_tells_of_the_damage() {
    let flips: [fn(u64, u64) -> u64; 2] = [|_, end| end - 1, |begin, _| begin];
    for (round, flip) in flips.into_iter().enumerate() {
        let mut book = Book::new(9);
        rounds(&mut book, 1, 10);
        for _ in 0..12 {
            book.append(20, 700);
            book.member.settle();
        }
        // After a start the ends of segments are looked for in the files.
        let mut book = book.killed();
        let names = book.member.disk.list().unwrap();
        let mut segments = names.iter().filter(|name| name.starts_with("journal-"));
        let name = segments.nth(round).expect("several segments").clone();
        let (begin, end) = batches_of(&book.member.disk, &name);
        book.member.disk.flip_bit(&name, flip(begin, end), 3);
        book.checkpoint();
        let told = book.member.events.iter();
        let told: Vec<_> = told
            .filter(|event| matches!(event, JournalEvent::Damaged(_) | JournalEvent::Fatal(_)))
            .collect();
        assert!(
            matches!(told[..], [JournalEvent::Damaged(_)]),
            "{name}: {told:?}"
        );
        let newest = book.member.journal.newest_checkpoint();
        assert_eq!(newest.map(|(at, _)| at), Some(Offset(2 * 240)));
    }
}

#[test]
fn a_flip_behind_the_end_of_a_segment_is_no_damage() {
    let mut book = Book::new(9);
    for _ in 0..12 {
        book.append(20, 700);
        book.member.settle();
    }
    let names = book.member.disk.list().unwrap();
    let mut segments = names.iter().filter(|name| name.starts_with("journal-"));
    let name = segments.next().expect("several segments");
    let (_, end) = batches_of(&book.member.disk, name);
    book.member.disk.flip_bit(name, end + 9, 3);
    assert_eq!(scrub(&book.member), None);
    let book = book.killed();
    assert_eq!(book.member.journal.control().log_state, LogState::Clean);
    book.check_live();
}

/// Where the batches of a segment begin and end.
fn batches_of(disk: &MemStorage, name: &str) -> (u64, u64) {
    let at = crate::segment::DATA_AT;
    let mut cursor = crate::segment::Cursor::over(disk, name.to_owned(), at, 1 << 16);
    while let Ok(crate::segment::Found::Batch(_)) = cursor.next() {}
    (at, cursor.position())
}

#[test]
fn a_crash_at_any_call_of_checkpoint_and_cleaning_loses_nothing_live() {
    let mut rng = Rng::new(7);
    let mut calls = 0;
    loop {
        let mut book = Book::new(8);
        rounds(&mut book, 3, 40);
        for _ in 0..12 {
            book.append(20, 700);
            book.member.settle();
        }
        book.kill_all_but_one_of(40);
        let order = book.order();
        book.member.journal.checkpoint(book.member.now, order);
        book.member.disk.stop_after(Some(calls));
        let done = settle_until_fatal(&mut book.member);
        book.member.disk.stop_after(None);
        let disk = book.member.die();
        disk.power_cut(&mut || rng.next());
        let recovered = recover(&disk, &small()).unwrap().unwrap();
        assert_eq!(
            recovered.control.log_state,
            LogState::Clean,
            "after {calls} calls"
        );
        let at = recovered.checkpoint_offset();
        assert!(
            [Offset(3 * 240), Offset(4 * 240)].contains(&at),
            "{at} after {calls} calls"
        );
        let member = Member::go_on(disk, small(), recovered);
        Book { member, ..book }.check_live();
        if done {
            assert!(calls > 30, "the whole of it was tried: {calls} calls");
            return;
        }
        calls += 1;
    }
}

/// True when everything was done.
pub(super) fn settle_until_fatal(member: &mut Member) -> bool {
    while let Some(op) = member.poll() {
        member.finish(op);
        if member
            .events
            .iter()
            .any(|event| matches!(event, JournalEvent::Fatal(_)))
        {
            return false;
        }
    }
    true
}

#[test]
fn random_lives_with_crashes_keep_what_is_live() {
    for seed in 0..40 {
        let mut book = Book::new(seed);
        for _ in 0..120 {
            match book.rng.below(12) {
                0 => {
                    let of = 2 + book.rng.below(30);
                    book.kill_all_but_one_of(of);
                }
                1 | 2 => {
                    if book
                        .member
                        .journal
                        .wants_checkpoint(book.member.journal.synced())
                    {
                        let order = book.order();
                        book.member.journal.checkpoint(book.member.now, order);
                    }
                }
                3 => book.member.pass(Duration::from_secs(2)),
                4 if book.rng.below(3) == 0 => {
                    book.member.settle();
                    book = book.killed();
                }
                _ => {
                    let (records, length) = (1 + book.rng.below(8), 8 + book.rng.below(3_000));
                    book.append(records, length as usize);
                    book.member.settle();
                }
            }
        }
        book.member.settle();
        book.check_live();
        book.killed().check_live();
    }
}

#[test]
fn a_full_disk_still_makes_the_checkpoint_that_frees_it() {
    let mut book = Book::new(9);
    rounds(&mut book, 2, 10);
    let disk = book.member.disk.clone();
    let used: u64 = disk
        .list()
        .unwrap()
        .iter()
        .map(|name| disk.len(name).unwrap())
        .sum();
    disk.set_capacity(Some(used));
    for _ in 0..40 {
        if book.member.journal.has_room(20 * 720) {
            book.append(20, 700);
        }
        book.member.settle();
    }
    book.live.clear();
    assert_ne!(book.member.journal.space(), Space::Open);
    for _ in 0..3 {
        book.member.pass(Duration::from_secs(2));
        let order = book.order();
        book.member.journal.checkpoint(book.member.now, order);
        book.member.settle();
        book.append(1, 10);
        book.member.settle();
    }
    book.member.pass(Duration::from_secs(2));
    assert_eq!(
        book.member.journal.space(),
        Space::Open,
        "there is room again"
    );
    assert!(book.member.journal.newest_checkpoint().unwrap().0 > Offset(480));
}

#[test]
fn a_journal_at_its_limit_gives_room_back_though_nothing_is_appended_any_more() {
    let mut book = Book::new(12);
    let limited = JournalConfig {
        max_bytes: Some(8 * u64::from(SEGMENT)),
        ..small()
    };
    book.member = Member::new(limited);
    for _ in 0..200 {
        if book.member.journal.space() == Space::Open {
            book.append(4, 700);
        }
        book.member.settle();
    }
    assert_ne!(book.member.journal.space(), Space::Open);
    book.live.clear();
    for _ in 0..5 {
        book.member.pass(Duration::from_secs(2));
        let applied = book.member.journal.synced();
        if book.member.journal.wants_checkpoint(applied) {
            let order = book.order();
            book.member.journal.checkpoint(book.member.now, order);
        }
        book.member.settle();
    }
    assert_eq!(book.member.journal.space(), Space::Open);
    let applied = book.member.journal.synced();
    assert!(
        !book.member.journal.wants_checkpoint(applied),
        "and it is quiet"
    );
    book.killed().check_live();
}

// === the check of what nobody reads ===

/// A whole pass; the damage that it finds.
pub(super) fn scrub(member: &Member) -> Option<String> {
    let mut at = ScrubAt::Start;
    loop {
        match member.reader.read(&member.journal.read_scrub(at)) {
            ReadDone::Scrubbed(ScrubAt::Start) => return None,
            ReadDone::Scrubbed(next) => at = next,
            ReadDone::Damaged(text) => return Some(text),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_sound_disk_passes_every_check() {
    let mut book = Book::new(10);
    for _ in 0..10 {
        rounds(&mut book, 1, 7);
        assert_eq!(scrub(&book.member), None);
    }
    assert_eq!(scrub(&book.killed().member), None);
}

#[test]
fn every_flipped_bit_is_found_or_is_in_nothing_that_counts() {
    let mut book = Book::new(11);
    rounds(&mut book, 5, 9);
    book.append(20, 700);
    book.member.settle();
    // The durable mark moves up: from here on what is wrong is damage, not a torn tail.
    book.member.pass(Duration::from_secs(1));
    let sound = book.member.disk.snapshot();
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..600 {
        let disk = sound.snapshot();
        let names = disk.list().unwrap();
        let name = &names[book.rng.below(names.len() as u64) as usize];
        let byte = book.rng.below(disk.len(name).unwrap());
        disk.flip_bit(name, byte, book.rng.below(8) as u8);
        if judge(&book, disk, &format!("{name} at {byte}")) {
            found += 1;
        } else {
            harmless += 1;
        }
    }
    assert!(
        found > 100 && harmless > 50,
        "{found} found, {harmless} harmless"
    );
}

/// A start, then a check: true when either finds damage; else everything must be as it was.
fn judge(book: &Book, disk: MemStorage, what: &str) -> bool {
    let recovered = recover(&disk, &small()).unwrap().unwrap();
    if recovered.control.log_state != LogState::Clean || recovered.report.checkpoint_lost {
        return true;
    }
    assert_eq!(recovered.last(), book.member.journal.appended(), "{what}");
    let member = Member::go_on(disk, small(), recovered);
    if scrub(&member).is_some() {
        return true;
    }
    let again = Book {
        member,
        live: book.live.clone(),
        rng: book.rng.clone(),
    };
    again.check_live();
    false
}
