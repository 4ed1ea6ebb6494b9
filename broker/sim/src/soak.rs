//! A day of virtual time: one calm group, a steady load, a backlog that stays. Disk, State and the
//! slowest send are looked at all the while: what grows by a little in an hour shows in a day.
//!
//! Small segments and checkpoints, so that a hundred messages do to the journal what a hundred
//! thousand do to a real one. Nothing is broken on purpose; the oracle watches as in every run. It
//! remembers every message, so the memory of this process grows; that of the members is measured by
//! the picture of their State in the newest checkpoint, and for real processes by `tandemmq soak`.

use std::time::Duration;

use tandemmq_model::{Destination, Time};

use crate::client::Program;
use crate::client::consumer::{Consumer, ConsumerPlan};
use crate::client::producer::{Producer, ProducerPlan};
use crate::oracle::{Invariant, Violation};
use crate::seeds::Plan;
use crate::trace::Detail;
use crate::world::World;

/// Messages that stay queued.
const BACKLOG: u64 = 200;

/// Between two looks. A send's age is known to this much.
const LOOK: Duration = Duration::from_millis(100);

/// Between two samples.
const SAMPLE: Duration = Duration::from_mins(10);

/// A slower send has hung.
const SEND_MAX: Duration = Duration::from_secs(2);

/// A greatest value of the last third may exceed that of the second by this share: where in its
/// round of checkpoint and cleaning a journal is met is chance.
const GROWTH_PERCENT: u64 = 25;

/// What must be flat.
type Figure = fn(&Sample) -> u64;

/// One look at the group after each ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Virtual time.
    pub at: Duration,
    /// Messages acknowledged so far.
    pub acknowledged: u64,
    /// Messages queued.
    pub queued: u64,
    /// Age of the oldest send without a receipt, the greatest of these ten minutes.
    pub slowest: Duration,
    /// Bytes of a member's journal, the greatest.
    pub journal_bytes: u64,
    /// Files of a member's volume, the greatest.
    pub files: u64,
    /// Bytes of a member's newest checkpoint, the greatest: its State and what belongs to it.
    pub state_bytes: u64,
}

/// Runs that many minutes; `each` sees every sample.
pub fn soak(minutes: u64, mut each: impl FnMut(&Sample)) -> Result<Vec<Sample>, Violation> {
    let mut world = World::new(plan(), Detail::Hash);
    let producer = world.add_client(producer());
    world.add_client(consumer());
    let end = Time::ZERO + Duration::from_mins(minutes);
    let (mut samples, mut sample) = (Vec::new(), Sample::default());
    let (mut oldest, mut next) = ((None, world.now()), Time::ZERO + SAMPLE);
    while world.now() < end {
        refill(&mut world, producer);
        world.pass(LOOK);
        if let Some(violation) = world.violation() {
            return Err(violation.clone());
        }
        let unanswered = world.oldest_unanswered(producer);
        if unanswered != oldest.0 {
            oldest = (unanswered, world.now());
        }
        if unanswered.is_some() {
            sample.slowest = sample.slowest.max(world.now().since(oldest.1) + LOOK);
        }
        look(&world, &mut sample);
        if world.now() >= next {
            each(&sample);
            samples.push(std::mem::take(&mut sample));
            next = next + SAMPLE;
        }
    }
    judge(&samples)?;
    Ok(samples)
}

/// As many as were consumed.
fn refill(world: &mut World, producer: usize) {
    let totals = world.history().totals();
    let queued = totals.acknowledged.saturating_sub(totals.received);
    let offered = world.offered(producer);
    let under_way = u64::from(offered).saturating_sub(totals.acknowledged);
    let missing = BACKLOG.saturating_sub(queued + under_way);
    if missing > 0 {
        world.offer(producer, missing as u32, 100);
    }
}

fn look(world: &World, sample: &mut Sample) {
    sample.at = world.now().since(Time::ZERO);
    let totals = world.history().totals();
    sample.acknowledged = totals.acknowledged;
    sample.queued = totals.acknowledged.saturating_sub(totals.received);
    for node in &world.nodes {
        let Some(machine) = node.machine() else {
            continue;
        };
        let journal = machine.journal();
        sample.journal_bytes = sample.journal_bytes.max(journal.used_bytes());
        sample.files = sample.files.max(node.disk.files().len() as u64);
        let newest = journal.newest_checkpoint();
        let facts = newest.and_then(|(offset, _)| journal.checkpoint_facts(offset));
        let bytes = facts.map_or(0, |(_, bytes)| bytes);
        sample.state_bytes = sample.state_bytes.max(bytes);
    }
}

/// Flat, and nothing hung.
fn judge(samples: &[Sample]) -> Result<(), Violation> {
    let violated = |text: String| Err(Violation::new(Invariant::Liveness, text));
    if let Some(slow) = samples.iter().find(|sample| sample.slowest > SEND_MAX) {
        return violated(format!(
            "a send had no receipt for {:?} before {:?}",
            slow.slowest, slow.at
        ));
    }
    let third = samples.len() / 3;
    let (second, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let figures: [(&str, Figure); 3] = [
        ("bytes of a journal", |sample| sample.journal_bytes),
        ("files of a volume", |sample| sample.files),
        ("bytes of a State", |sample| sample.state_bytes),
    ];
    for (name, figure) in figures {
        let most = |part: &[Sample]| part.iter().map(figure).max().unwrap_or(0);
        let (before, after) = (most(second), most(last));
        if before == 0 || after > before + before * GROWTH_PERCENT / 100 {
            return violated(format!("{name} grew from {before} to {after}"));
        }
    }
    let idle = |pair: &[Sample]| pair[0].acknowledged == pair[1].acknowledged;
    if let Some(pair) = samples.windows(2).find(|pair| idle(pair)) {
        return violated(format!("nothing was acknowledged after {:?}", pair[0].at));
    }
    Ok(())
}

fn plan() -> Plan {
    Plan {
        segment_bytes: 16 * 1024,
        checkpoint_bytes: 8 * 1024,
        retain_bytes: 16 * 1024,
        deaf_permille: 0,
        ..Plan::calm(3)
    }
}

fn queue() -> Destination {
    Destination::queue("SOAK")
}

fn producer() -> Program {
    Program::Producer(Producer::new(ProducerPlan {
        window: 16,
        pause: (Duration::ZERO, Duration::from_millis(20)),
        tx_permille: 50,
        tx_messages_max: 5,
        ..ProducerPlan::plain(queue())
    }))
}

fn consumer() -> Program {
    Program::Consumer(Consumer::new(ConsumerPlan {
        think: (Duration::from_millis(20), Duration::from_millis(100)),
        ..ConsumerPlan::plain(queue())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_flat() {
        let samples = soak(60, |_| {}).unwrap_or_else(|violation| panic!("{violation}"));
        assert_eq!(samples.len(), 6);
        let last = samples.last().expect("six of them");
        assert!(last.acknowledged > 10_000, "{last:?}");
        assert!(last.queued > BACKLOG / 2, "the backlog stays: {last:?}");
    }

    fn sample(at: u64, journal_bytes: u64, slowest: Duration) -> Sample {
        Sample {
            at: Duration::from_mins(at),
            acknowledged: at,
            queued: 1,
            slowest,
            journal_bytes,
            files: 9,
            state_bytes: 9,
        }
    }

    #[test]
    fn what_grows_and_what_hangs_is_noticed() {
        let fast = Duration::from_millis(100);
        let flat: Vec<Sample> = (0..9).map(|at| sample(at, 100, fast)).collect();
        assert_eq!(judge(&flat), Ok(()));
        let grows: Vec<Sample> = (0..9).map(|at| sample(at, 100 + 20 * at, fast)).collect();
        assert!(judge(&grows).is_err_and(|found| found.text.contains("grew")));
        let mut hangs = flat.clone();
        hangs[1].slowest = SEND_MAX + LOOK;
        assert!(judge(&hangs).is_err_and(|found| found.text.contains("no receipt")));
        let mut idle = flat;
        idle[5].acknowledged = idle[4].acknowledged;
        assert!(judge(&idle).is_err_and(|found| found.text.contains("nothing")));
    }
}
