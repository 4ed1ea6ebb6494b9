//! One run from a seed to a verdict, and totals over many.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use tandemmq_model::Time;

use crate::faults::FaultKind;
use crate::oracle::group::Compared;
use crate::oracle::history::Totals;
use crate::oracle::{Invariant, Violation};
use crate::seeds::Plan;
use crate::trace::Detail;
use crate::world::{Counts, World};

/// No run takes longer in virtual time: calm, storm and the bound of liveness are far below.
const RUN_MAX: Duration = Duration::from_secs(120);

thread_local! {
    /// What the panic hook saw last on this thread.
    static LAST_PANIC: Cell<String> = const { Cell::new(String::new()) };
}

/// What one run was.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// The first violation.
    pub violation: Option<Violation>,
    /// Hash of its trace.
    pub trace_hash: u64,
    /// Steps of its trace.
    pub steps: u64,
    /// Virtual time it took.
    pub time: Duration,
    /// What the simulator counted.
    pub counts: Counts,
    /// What clients did.
    pub totals: Totals,
    /// What the oracle compared.
    pub compared: Compared,
    /// The trace, when it was wanted.
    pub lines: Vec<String>,
}

/// Sums over many runs.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    /// Runs.
    pub runs: u64,
    /// Virtual time of all of them.
    pub time: Duration,
    /// Elections that were won.
    pub elections: u64,
    /// Durable messages acknowledged.
    pub acknowledged: u64,
    /// Receipts of any kind.
    pub receipts: u64,
    /// Messages received.
    pub received: u64,
    /// Of those redelivered.
    pub redelivered: u64,
    /// Transactions committed.
    pub committed: u64,
    /// Frames between brokers.
    pub frames: u64,
    /// Of those late or doubled, on a connection given up.
    pub late_frames: u64,
    /// Processes started.
    pub starts: u64,
    /// Logs that were cut.
    pub cuts: u64,
    /// Deliveries handed back because their time was over.
    pub handed_back: u64,
    /// Processes that ended themselves after a failed fdatasync.
    pub aborts: u64,
    /// Records compared with the committed log.
    pub records: u64,
    /// Digests compared.
    pub digests: u64,
    /// Claims about disks tried by a power cut.
    pub claims: u64,
    /// States restored from checkpoints that were compared.
    pub restored: u64,
    /// Votes looked at.
    pub votes: u64,
    /// Config records committed.
    pub configs: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Checkpoints installed.
    pub installs: u64,
    /// Learners.
    pub joins: u64,
    /// Logs and volumes set aside.
    pub set_asides: u64,
    /// Damaged members made good.
    pub repairs: u64,
    /// Faults by kind.
    pub faults: BTreeMap<FaultKind, u64>,
}

/// Runs one seed.
pub fn run_seed(seed: u64, detail: Detail) -> Report {
    run_plan(Plan::draw(seed), detail)
}

/// Runs one plan until it settles or is violated.
pub fn run_plan(plan: Plan, detail: Detail) -> Report {
    let seed = plan.seed;
    let mut world = World::new(plan, detail);
    // The world is looked at after a panic only to be reported; it is not run any further.
    let panicked = panics(|| world.run_until(Time::ZERO + RUN_MAX)).err();
    report(seed, &world, panicked)
}

/// Runs something that may run into a panic of a machine: that is a violation, with its place.
pub fn panics<T>(work: impl FnOnce() -> T) -> Result<T, Violation> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| LAST_PANIC.set(info.to_string())));
    });
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| Violation::new(Invariant::Panic, LAST_PANIC.take().replace('\n', " ")))
}

fn report(seed: u64, world: &World, panicked: Option<Violation>) -> Report {
    let (totals, compared) = (world.history().totals(), world.group().compared());
    let nothing = || {
        let idle = compared.elections == 0 || totals.acknowledged == 0 || totals.received == 0;
        idle.then(|| {
            let text = format!(
                "{} elections, {} acknowledged, {} received",
                compared.elections, totals.acknowledged, totals.received
            );
            Violation::new(Invariant::DidNothing, text)
        })
    };
    let violation = panicked
        .or_else(|| world.violation().cloned())
        .or_else(nothing);
    Report {
        seed,
        violation,
        trace_hash: world.trace().hash(),
        steps: world.trace().steps(),
        time: world.now().since(Time::ZERO),
        counts: world.counts().clone(),
        totals,
        compared,
        lines: world.trace().lines().to_vec(),
    }
}

/// Runs one seed twice: the traces must be equal.
pub fn run_seed_twice(seed: u64) -> Report {
    let mut first = run_seed(seed, Detail::Hash);
    let second = run_seed(seed, Detail::Hash);
    if first.violation.is_none() && first.trace_hash != second.trace_hash {
        let text = format!(
            "trace hashes {:016x} and {:016x} of {} and {} steps",
            first.trace_hash, second.trace_hash, first.steps, second.steps
        );
        first.violation = Some(Violation::new(Invariant::Deterministic, text));
    }
    first
}

// === impl Sums ===

impl Sums {
    /// One more run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.time += report.time;
        self.elections += report.compared.elections;
        self.acknowledged += report.totals.acknowledged;
        self.receipts += report.counts.receipts;
        self.received += report.totals.received;
        self.redelivered += report.totals.redelivered;
        self.committed += report.totals.committed;
        self.frames += report.counts.frames;
        self.late_frames += report.counts.late_frames;
        self.starts += report.counts.starts;
        self.cuts += report.counts.cuts;
        self.handed_back += report.counts.handed_back;
        self.aborts += report.counts.aborts;
        self.records += report.compared.records;
        self.digests += report.compared.digests;
        self.claims += report.compared.claims;
        self.restored += report.compared.restored;
        self.votes += report.compared.votes;
        self.configs += report.compared.configs;
        self.checkpoints += report.counts.checkpoints;
        self.installs += report.counts.installs;
        self.joins += report.counts.joins;
        self.set_asides += report.counts.set_asides;
        self.repairs += report.counts.repairs;
        for (kind, count) in &report.counts.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the seed found is a schedule's or a unit test's claim where one can be put into that
    /// position; these were found by the way the events fell.
    fn stays_clean(seed: u64) {
        let violation = run_seed(seed, Detail::Hash).violation;
        assert_eq!(violation, None, "replay: sim replay --seed {seed}");
    }

    #[test]
    fn seed_172_an_ack_came_before_the_word_that_its_owner_is_damaged() {
        stays_clean(172);
    }

    #[test]
    fn seed_2759_a_master_whose_damaged_checkpoint_was_gone_never_handed_over() {
        stays_clean(2759);
    }

    #[test]
    fn seed_4522_a_read_for_the_state_met_the_switch_to_a_checkpoint() {
        stays_clean(4522);
    }

    #[test]
    fn seed_16296_survivors_found_no_room_and_nobody_was_told() {
        stays_clean(16296);
    }

    #[test]
    fn seed_18473_survivors_were_trusted_after_a_failed_fdatasync() {
        stays_clean(18473);
    }
}
