//! A member on a simulated disk, small segments, a clock that only the test moves, and golden files.

use std::path::Path;
use std::time::Duration;

use tandemmq_model::{
    Ballot, BootNonce, Bytes, Epoch, GroupId, Incarnation, MemberId, Now, Offset, Record,
    RecordKind, Time,
};

use crate::{
    Batch, BatchBuilder, Control, DiskOp, DiskWorker, FORMAT, Founding, Identity, Journal,
    JournalConfig, JournalEvent, LogState, MemStorage, ReadDone, Reader, Recovered, format,
    recover,
};

/// A small generator of numbers: the same seed, the same run.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(crate) const fn member(ordinal: u8) -> MemberId {
    MemberId {
        ordinal,
        incarnation: Incarnation(0x1000 + ordinal as u128),
    }
}

pub(crate) const fn ballot(epoch: u64) -> Ballot {
    Ballot {
        epoch: Epoch(epoch),
        member: member(1),
        boot: BootNonce(7),
    }
}

pub(crate) const fn promised(epoch: u64) -> Control {
    Control {
        promise: ballot(epoch),
        log_state: LogState::Clean,
        cut_mark: Ballot::NONE,
    }
}

pub(crate) fn identity() -> Identity {
    let members = (0..3).map(member).collect();
    Identity {
        member: member(0),
        volume_id: Some("vol-17".to_owned()),
        former: Vec::new(),
        group: Some(Founding {
            id: GroupId(0xabcd),
            members,
        }),
    }
}

pub(crate) fn enqueue(body: impl Into<Bytes>) -> Record {
    Record::critical(RecordKind::Enqueue, body.into())
}

pub(crate) fn batch(epoch: u64, base: Offset, previous_crc: u32, bodies: &[&[u8]]) -> Batch {
    let mut builder = BatchBuilder::new(Epoch(epoch), base, previous_crc);
    for body in bodies {
        builder.push(&enqueue(Bytes::copy_from_slice(body)));
    }
    builder.finish()
}

/// Segments of that many bytes, a reserve of as many, no limit.
pub(crate) const fn config(segment_bytes: u32) -> JournalConfig {
    JournalConfig {
        segment_bytes,
        max_bytes: None,
        reserve_bytes: segment_bytes as u64,
        tail_bytes_max: 64 * 1024,
        checkpoint_bytes: segment_bytes as u64,
        retain_bytes: 4 * segment_bytes as u64,
        format_max: FORMAT,
    }
}

/// One member, running.
pub(crate) struct Member {
    pub(crate) disk: MemStorage,
    pub(crate) config: JournalConfig,
    pub(crate) journal: Journal,
    pub(crate) worker: DiskWorker<MemStorage>,
    pub(crate) reader: Reader<MemStorage>,
    pub(crate) now: Now,
    pub(crate) events: Vec<JournalEvent>,
}

impl Member {
    /// On a blank disk.
    pub(crate) fn new(config: JournalConfig) -> Self {
        let disk = MemStorage::new();
        format(&disk, &identity()).unwrap();
        Self::start(disk, config)
    }

    /// On what the disk holds.
    pub(crate) fn start(disk: MemStorage, config: JournalConfig) -> Self {
        let recovered = recover(&disk, &config)
            .unwrap()
            .expect("a formatted volume");
        Self::go_on(disk, config, recovered)
    }

    pub(crate) fn go_on(disk: MemStorage, config: JournalConfig, recovered: Recovered) -> Self {
        let worker = DiskWorker::new(disk.clone(), config.clone(), &recovered);
        let reader = Reader::new(disk.clone(), &recovered);
        let journal = Journal::new(config.clone(), recovered);
        let now = Now {
            boot: Time::from_millis(5_000),
            wall_ms: 0,
        };
        Self {
            disk,
            config,
            journal,
            worker,
            reader,
            now,
            events: Vec::new(),
        }
    }

    /// The process is killed, the machine goes on: the page cache stays.
    pub(crate) fn killed(self) -> Self {
        let config = self.config.clone();
        Self::start(self.die(), config)
    }

    /// The power is cut: all that chance does not keep is lost.
    pub(crate) fn power_cut(self, chance: &mut dyn FnMut() -> u64) -> Self {
        let config = self.config.clone();
        let disk = self.die();
        disk.power_cut(chance);
        Self::start(disk, config)
    }

    pub(crate) fn die(self) -> MemStorage {
        self.disk
    }

    pub(crate) fn extend(&mut self, epoch: u64, bodies: &[&[u8]]) -> Batch {
        let next = self.journal.appended().next();
        let crc = self.journal.last_crc().expect("the journal knows its end");
        let batch = batch(epoch, next, crc, bodies);
        self.journal.append(batch.clone());
        batch
    }

    pub(crate) fn poll(&mut self) -> Option<DiskOp> {
        self.journal.poll_op(self.now)
    }

    pub(crate) fn finish(&mut self, op: DiskOp) {
        let done = self.worker.execute(op);
        self.journal.handle_done(self.now, done);
        while let Some(event) = self.journal.poll_event() {
            self.events.push(event);
        }
    }

    /// Until nothing is left to do without time passing.
    pub(crate) fn settle(&mut self) {
        while let Some(op) = self.poll() {
            self.finish(op);
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.boot = self.now.boot + time;
        self.journal.handle_timeout(self.now);
        self.settle();
    }

    /// Every batch from the disk, by the reader.
    pub(crate) fn log(&self) -> Vec<Batch> {
        let mut all: Vec<Batch> = Vec::new();
        while all.last().map_or(Offset::ZERO, Batch::last) < self.journal.synced() {
            let from = all.last().map_or(Offset(1), |batch| batch.last().next());
            match self.reader.read(&self.journal.read_batches(from, 1 << 20)) {
                ReadDone::Batches(batches) => all.extend(batches),
                other => panic!("reading from {from}: {other:?}"),
            }
        }
        all
    }
}

/// Compares with a golden file of hex; `TANDEMMQ_GOLDEN=write` writes it instead.
pub(crate) fn golden(name: &str, lines: &[(String, Vec<u8>)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let text: String = lines
        .iter()
        .map(|(what, bytes)| format!("{what}: {}\n", hex(bytes)))
        .collect();
    #[expect(clippy::disallowed_methods, reason = "golden files belong to tests")]
    if std::env::var("TANDEMMQ_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text, stored,
        "{name} differs: bytes on disk must never change their meaning"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
