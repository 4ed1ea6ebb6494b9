//! A journal's life by script: appends, cuts, promises, crashes in the middle of an operation, power
//! cuts, and damage to any file; after each crash a start.
//!
//! Judged after every start: it ends; what it shows is the beginning of a log that there was; while
//! nothing was damaged the member is clean, and what it had told as synced or stored is there; a
//! second start finds the same.
//!
//! Input: `op` `argument` pairs; a damage takes two more bytes for its place.
#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tandemmq_journal::{
    Batch, BatchBuilder, Control, DiskWorker, FORMAT, Identity, Journal, JournalConfig,
    JournalEvent, LogState, MemStorage, ReadDone, Reader, Recovered, Storage, format, recover,
};
use tandemmq_model::{
    Ballot, BootNonce, Epoch, Incarnation, MemberId, Now, Offset, Record, RecordKind, Time,
};

const ME: MemberId = MemberId {
    ordinal: 0,
    incarnation: Incarnation(7),
};

const CONFIG: JournalConfig = JournalConfig {
    segment_bytes: 16 * 1024,
    max_bytes: None,
    reserve_bytes: 4 * 1024,
    tail_bytes_max: 4 * 1024,
    checkpoint_bytes: 64 * 1024,
    retain_bytes: 0,
    format_max: FORMAT,
};

struct World {
    disk: MemStorage,
    journal: Journal,
    worker: DiskWorker<MemStorage>,
    now: Now,
    epoch: u64,
    /// Every batch ever appended, by where it stands and what stands before it.
    known: BTreeSet<(Offset, u32, u32)>,
    synced: Offset,
    stored: u64,
    tickets: Vec<(u64, Epoch)>,
    damaged: bool,
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    let mut rest = data;
    while let [op, argument, more @ ..] = rest {
        rest = more;
        let next = match op % 8 {
            0 | 1 => world.append(*argument),
            2 => world.cut(*argument),
            3 => world.promise(),
            4 => world.settle(),
            5 => world.crash(*argument, None),
            6 => world.crash(*argument, Some(u64::from(*argument))),
            _ => {
                let Some((place, more)) = rest.split_first_chunk() else {
                    return;
                };
                rest = more;
                world.damage(*argument, u16::from_be_bytes(*place))
            }
        };
        if next.is_none() {
            return; // The disk is damaged beyond a start: it was refused with an error.
        }
    }
    world.crash(0, Some(0));
});

impl World {
    fn new() -> Self {
        let disk = MemStorage::new();
        let identity = Identity {
            member: ME,
            volume_id: None,
            group: None,
            former: Vec::new(),
        };
        format(&disk, &identity).expect("a blank disk is formatted");
        let recovered = recover(&disk, &CONFIG).expect("a start").expect("a member");
        let (journal, worker) = parts(&disk, recovered);
        Self {
            disk,
            journal,
            worker,
            now: Now {
                boot: Time::from_millis(1_000),
                wall_ms: 0,
            },
            epoch: 1,
            known: BTreeSet::new(),
            synced: Offset::ZERO,
            stored: 0,
            tickets: Vec::new(),
            damaged: false,
        }
    }

    fn append(&mut self, argument: u8) -> Option<()> {
        let Some(crc) = self.journal.last_crc() else {
            return Some(());
        };
        let mut builder = BatchBuilder::new(Epoch(self.epoch), self.journal.appended().next(), crc);
        let body = vec![argument; usize::from(argument) * 70];
        for _ in 0..=argument % 3 {
            builder.push(&Record::critical(RecordKind::Enqueue, body.clone().into()));
        }
        let batch = builder.finish();
        self.known.insert(key(&batch));
        self.journal.append(batch);
        Some(())
    }

    /// Cuts at the end of a batch in memory.
    fn cut(&mut self, argument: u8) -> Option<()> {
        let from = Offset(
            self.journal
                .appended()
                .0
                .saturating_sub(u64::from(argument % 16)),
        );
        let batches = self.journal.tail_batches(from, usize::MAX)?;
        let to = batches
            .first()
            .filter(|_| from > Offset::ZERO)
            .map(Batch::last);
        let Some(to) = to.filter(|to| *to < self.journal.appended()) else {
            return Some(());
        };
        self.epoch += 1;
        self.promise();
        self.journal.cut(to);
        self.synced = self.synced.min(to);
        Some(())
    }

    fn promise(&mut self) -> Option<()> {
        let promise = Ballot {
            epoch: Epoch(self.epoch),
            member: ME,
            boot: BootNonce(1),
        };
        let log_state = self.journal.control().log_state;
        let control = Control {
            promise,
            log_state,
            cut_mark: Ballot::NONE,
        };
        let ticket = self.journal.store_control(control);
        self.tickets.push((ticket, promise.epoch));
        Some(())
    }

    fn settle(&mut self) -> Option<()> {
        self.now.boot = self.now.boot + Duration::from_millis(400);
        self.journal.handle_timeout(self.now);
        while let Some(op) = self.journal.poll_op(self.now) {
            let done = self.worker.execute(op);
            self.journal.handle_done(self.now, done);
        }
        while let Some(event) = self.journal.poll_event() {
            match event {
                JournalEvent::Synced(to) => self.synced = to,
                JournalEvent::Stored(ticket) => self.stored = ticket,
                JournalEvent::Fatal(_) => {}
                other => panic!("nobody asked for {other:?}"),
            }
        }
        Some(())
    }

    /// Dies after so many calls of what is to be done; with a seed the power goes, too.
    fn crash(&mut self, calls: u8, power: Option<u64>) -> Option<()> {
        self.disk.stop_after(Some(u64::from(calls % 32)));
        self.settle();
        self.disk.stop_after(None);
        if let Some(mut chance) = power {
            self.disk.power_cut(&mut || {
                chance = chance
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                chance >> 33
            });
        }
        let Ok(found) = recover(&self.disk, &CONFIG) else {
            assert!(self.damaged, "a start refused a sound disk");
            return None;
        };
        let recovered = found.expect("an identity was stored, so the volume is not blank");
        self.judge(&recovered);
        (self.journal, self.worker) = parts(&self.disk, recovered);
        self.synced = self.journal.synced();
        self.epoch = self.epoch.max(self.journal.control().promise.epoch.0);
        self.epoch = self.epoch.max(self.journal.last_epoch().0) + 1;
        self.stored = 0;
        self.tickets.clear();
        Some(())
    }

    fn judge(&self, recovered: &Recovered) {
        let mut before = 0;
        for batch in read_all(&self.disk, recovered) {
            assert_eq!(batch.previous_crc(), before, "a gap in the chain");
            assert!(
                self.known.contains(&key(&batch)),
                "nobody ever appended {batch:?}"
            );
            before = batch.crc();
        }
        let copy = self.disk.snapshot();
        let again = recover(&copy, &CONFIG)
            .expect("a second start")
            .expect("a member");
        assert_eq!(
            (again.last(), again.control),
            (recovered.last(), recovered.control)
        );
        if self.damaged {
            return;
        }
        assert_eq!(
            recovered.control.log_state,
            LogState::Clean,
            "nothing was damaged"
        );
        assert!(
            recovered.last() >= self.synced,
            "{} was synced",
            self.synced
        );
        let told = self
            .tickets
            .iter()
            .rfind(|(ticket, _)| *ticket <= self.stored);
        let promise = recovered.control.promise.epoch;
        assert!(
            told.is_none_or(|(_, epoch)| promise >= *epoch),
            "a promise is forgotten"
        );
    }

    fn damage(&mut self, argument: u8, place: u16) -> Option<()> {
        let names = self.disk.list().expect("a list");
        let name = &names[usize::from(argument) % names.len()];
        let length = self.disk.len(name).expect("a length");
        if length > 0 {
            self.damaged = true;
            let at = u64::from(place) % length;
            self.disk.flip_bit(name, at, argument >> 5);
        }
        // The process does not live through it: what it holds in memory is another log.
        self.crash(0, None)
    }
}

fn parts(disk: &MemStorage, recovered: Recovered) -> (Journal, DiskWorker<MemStorage>) {
    let worker = DiskWorker::new(disk.clone(), CONFIG, &recovered);
    (Journal::new(CONFIG, recovered), worker)
}

fn key(batch: &Batch) -> (Offset, u32, u32) {
    (batch.base(), batch.previous_crc(), batch.crc())
}

fn read_all(disk: &MemStorage, recovered: &Recovered) -> Vec<Batch> {
    let reader = Reader::new(disk.clone(), recovered);
    let journal = Journal::new(CONFIG, recovered.clone());
    let mut all: Vec<Batch> = Vec::new();
    while all.last().map_or(Offset::ZERO, Batch::last) < recovered.last() {
        let from = all.last().map_or(Offset(1), |batch| batch.last().next());
        match reader.read(&journal.read_batches(from, 1 << 20)) {
            ReadDone::Batches(batches) if !batches.is_empty() => all.extend(batches),
            other => panic!("the log cannot be read from {from}: {other:?}"),
        }
    }
    all
}
