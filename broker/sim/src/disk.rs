//! One volume and the one thread that writes to it, in virtual time.
//!
//! Operations wait in order; one is at work. Its effect on the volume happens when it begins or
//! when it ends, by lot, so that a crash finds it done or not done while nobody was told. The
//! [`Volume`] knows what a power cut leaves.
//!
//! ```text
//!  queue ──begin──> at work ──complete──> DiskDone to the machine
//!                     │ hang: completes when the disk moves again
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use tandemmq_journal::{
    Batch, DiskDone, DiskOp, DiskWorker, Identity, JournalConfig, LogState, ReadDone, ReadOp,
    Reader, Recovered, Witness, format, recover,
};
use tandemmq_model::{Ballot, Incarnation, MemberId, Offset};

use crate::rng::Rng;
use crate::volume::Volume;

/// Latencies of one run's disks.
#[derive(Debug, Clone, Copy)]
pub struct DiskTiming {
    /// An operation that does not wait for the medium, least and most.
    pub write: (Duration, Duration),
    /// An fdatasync, least and most.
    pub sync: (Duration, Duration),
    /// Operations of a thousand that take up to `tail_max` instead.
    pub tail_permille: u32,
    /// Most of those.
    pub tail_max: Duration,
}

/// What a start found.
pub(crate) struct Started {
    /// For the machine.
    pub recovered: Recovered,
    /// Who the volume says it is.
    pub member: MemberId,
}

#[derive(Debug)]
enum Work {
    /// Its effect comes when it ends.
    ToDo(DiskOp),
    /// Its effect came when it began.
    Done(DiskDone),
}

#[derive(Debug)]
struct AtWork {
    number: u64,
    work: Work,
    /// Its time is over, but the disk hangs.
    overdue: bool,
}

/// A volume, and its thread while a process runs.
#[derive(Debug)]
pub(crate) struct Disk {
    timing: DiskTiming,
    volume: Volume,
    worker: Option<DiskWorker<Volume>>,
    reader: Option<Reader<Volume>>,
    queue: VecDeque<DiskOp>,
    at_work: Option<AtWork>,
    begun: u64,
    through: Through,
    slow: u32,
    failures_before: u64,
    set_aside: bool,
}

/// How many operations complete from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    All,
    Some(u32),
    Nothing,
}

// === impl Disk ===

impl Disk {
    /// A blank volume.
    pub(crate) fn new(timing: DiskTiming) -> Self {
        Self {
            timing,
            volume: Volume::new(),
            worker: None,
            reader: None,
            queue: VecDeque::new(),
            at_work: None,
            begun: 0,
            through: Through::All,
            slow: 1,
            failures_before: 0,
            set_aside: false,
        }
    }

    /// A process starts over this volume; a blank one is formatted for this member.
    pub(crate) fn start(
        &mut self,
        ordinal: u8,
        incarnation: Incarnation,
        config: &JournalConfig,
    ) -> Result<Started, String> {
        self.failures_before = self.volume.failures();
        self.volume.next_process();
        let found = recover(&self.volume, config).map_err(|error| error.to_string())?;
        let recovered = match found {
            Some(recovered) => recovered,
            None => {
                let member = MemberId {
                    ordinal,
                    incarnation,
                };
                let identity = Identity {
                    member,
                    volume_id: None,
                    group: None,
                    former: Vec::new(),
                };
                format(&self.volume, &identity).map_err(|error| error.to_string())?;
                recover(&self.volume, config)
                    .map_err(|error| error.to_string())?
                    .ok_or("the volume is blank after it was formatted")?
            }
        };
        self.worker = Some(DiskWorker::new(
            self.volume.clone(),
            config.clone(),
            &recovered,
        ));
        self.reader = Some(Reader::new(self.volume.clone(), &recovered));
        let member = recovered.identity.member;
        Ok(Started { recovered, member })
    }

    /// One more operation.
    pub(crate) fn push(&mut self, op: DiskOp) {
        self.queue.push_back(op);
    }

    /// Begins the next operation: how long it takes, and its number.
    pub(crate) fn begin(&mut self, rng: &mut Rng) -> Option<(Duration, u64)> {
        if self.at_work.is_some() || self.through == Through::Nothing {
            return None;
        }
        let op = self.queue.pop_front()?;
        let wait = self.latency(&op, rng);
        let work = if rng.coin() {
            Work::ToDo(op)
        } else {
            Work::Done(self.execute(op))
        };
        self.begun += 1;
        self.at_work = Some(AtWork {
            number: self.begun,
            work,
            overdue: false,
        });
        Some((wait, self.begun))
    }

    /// Its time is over: what became of it. None while the disk hangs, or for an operation of
    /// another time.
    pub(crate) fn complete(&mut self, number: u64) -> Option<DiskDone> {
        let at_work = self.at_work.as_mut().filter(|work| work.number == number)?;
        match &mut self.through {
            Through::Nothing => {
                at_work.overdue = true;
                return None;
            }
            Through::Some(left) => {
                *left -= 1;
                if *left == 0 {
                    self.through = Through::Nothing;
                }
            }
            Through::All => {}
        }
        match self.at_work.take()?.work {
            Work::ToDo(op) => Some(self.execute(op)),
            Work::Done(done) => Some(done),
        }
    }

    /// Reads beside the thread.
    pub(crate) fn read(&self, op: &ReadOp) -> ReadDone {
        self.reader
            .as_ref()
            .expect("only a running process reads")
            .read(op)
    }

    /// Reads whole batches for the oracle; none when that fails.
    pub(crate) fn read_batches(&self, op: &ReadOp) -> Vec<Batch> {
        match self.read(op) {
            ReadDone::Batches(batches) => batches,
            _ => Vec::new(),
        }
    }

    /// The process is gone: what waited is lost, what was at work is done or not.
    pub(crate) fn process_gone(&mut self, rng: &mut Rng) {
        self.queue.clear();
        if let Some(AtWork {
            work: Work::ToDo(op),
            ..
        }) = self.at_work.take()
        {
            // It dies somewhere inside: an operation is a dozen calls or fewer.
            self.volume.die_after(rng.below(14) as u32);
            self.execute(op);
        }
        self.worker = None;
        self.reader = None;
    }

    /// What was not synced is lost or torn.
    pub(crate) fn power_cut(&mut self, rng: &mut Rng) {
        self.volume.power_cut(&mut || rng.next_u64());
    }

    /// The next fdatasync fails.
    pub(crate) fn fail_next_sync(&mut self) {
        self.volume.fail_next_sync();
    }

    /// True when it failed since the process started: the process may end itself.
    pub(crate) fn has_failed(&self) -> bool {
        self.volume.failures() > self.failures_before
    }

    /// A failure that was put in and did not happen yet does not happen any more.
    pub(crate) fn forgive(&mut self) {
        self.volume.forgive();
    }

    /// Operations take so many times as long.
    pub(crate) fn set_slow(&mut self, factor: u32) {
        self.slow = factor;
    }

    /// Nothing completes until `unhang`.
    pub(crate) fn hang(&mut self) {
        self.through = Through::Nothing;
    }

    /// Completes so many more operations, then hangs again. The one whose time is over already,
    /// if there is one.
    pub(crate) fn let_through(&mut self, operations: u32) -> Option<u64> {
        self.through = Through::Some(operations);
        self.take_overdue()
    }

    /// The disk moves again. The operation whose time is over already, if there is one.
    pub(crate) fn unhang(&mut self) -> Option<u64> {
        self.through = Through::All;
        self.take_overdue()
    }

    fn take_overdue(&mut self) -> Option<u64> {
        let at_work = self.at_work.as_mut()?;
        std::mem::take(&mut at_work.overdue).then_some(at_work.number)
    }

    /// Where the journal's last file ends.
    pub(crate) fn log_end(&self) -> (String, u64) {
        self.volume.log_end()
    }

    /// A copy of the volume as it is now.
    pub(crate) fn snapshot(&self) -> Volume {
        self.volume.snapshot()
    }

    /// The volume goes back to a snapshot.
    pub(crate) fn restore(&mut self, snapshot: &Volume) {
        self.volume.restore(snapshot);
    }

    /// The volume takes so many bytes more, or any number.
    pub(crate) fn set_room(&mut self, room: Option<u64>) {
        self.volume.set_room(room);
    }

    /// True while its room is limited.
    pub(crate) fn is_full(&self) -> bool {
        self.volume.is_full()
    }

    /// Files of the volume and their lengths.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        self.volume.files()
    }

    /// One bit of a file turns.
    pub(crate) fn flip(&mut self, name: &str, byte: u64, bit: u8) {
        self.volume.flip(name, byte, bit);
    }

    /// What a start of this moment would find: the state of the log and its end.
    pub(crate) fn would_find(&self, config: &JournalConfig) -> Option<(LogState, Offset)> {
        let found = recover(&self.volume.snapshot(), config).ok()??;
        Some((found.control.log_state, found.last()))
    }

    /// The last batch of the journal is damaged.
    pub(crate) fn damage_end(&mut self) {
        self.volume.damage_end();
    }

    /// The batch behind that place is damaged.
    pub(crate) fn damage_behind(&mut self, end: &(String, u64)) {
        self.volume.damage_behind(end);
    }

    /// The first file of that kind is damaged.
    pub(crate) fn damage_first(&mut self, kind: &str) {
        self.volume.damage_first(kind);
    }

    /// The volume is blank again.
    pub(crate) fn wipe(&mut self) {
        self.volume.wipe();
    }

    /// The volume is in other hands: nobody may start over it.
    pub(crate) fn set_aside(&mut self) {
        self.set_aside = true;
    }

    /// True while the volume is in other hands.
    pub(crate) fn is_set_aside(&self) -> bool {
        self.set_aside
    }

    /// The volume is back.
    pub(crate) fn take_back(&mut self) {
        self.set_aside = false;
    }

    /// What a power cut of this moment would leave at the least: promise and last offset.
    pub(crate) fn would_survive(&self, config: &JournalConfig) -> (Ballot, Offset) {
        match self.recovered_after_cut(config) {
            None => (Ballot::NONE, Offset::ZERO),
            Some(recovered) => (recovered.control.promise, recovered.last()),
        }
    }

    /// What of the peers' memory would survive a power cut of this moment.
    pub(crate) fn surviving_witness(&self, config: &JournalConfig) -> Vec<Witness> {
        self.recovered_after_cut(config)
            .map_or_else(Vec::new, |recovered| recovered.witness)
    }

    /// Every unsynced sector is lost.
    fn recovered_after_cut(&self, config: &JournalConfig) -> Option<Recovered> {
        let copy = self.volume.snapshot();
        copy.power_cut(&mut || 1);
        recover(&copy, config).ok()?
    }

    fn execute(&mut self, op: DiskOp) -> DiskDone {
        self.worker
            .as_mut()
            .expect("only a running process has a disk thread")
            .execute(op)
    }

    fn latency(&self, op: &DiskOp, rng: &mut Rng) -> Duration {
        let (least, most) = if op.is_background() {
            self.timing.write
        } else {
            self.timing.sync
        };
        let usual = if rng.permille(self.timing.tail_permille) {
            rng.duration(most, self.timing.tail_max.max(most))
        } else {
            rng.duration(least, most)
        };
        usual * self.slow
    }
}
