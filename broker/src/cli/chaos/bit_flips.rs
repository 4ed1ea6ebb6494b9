//! Bits turn over in the files of one member, while it runs or while it is stopped. Each batch ends
//! when that member has read everything once, by its own checks: then either it has said that it is
//! damaged and is sound again, or what it holds equals what the others hold.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::cli::chaos::logs::LogMark;
use crate::cli::chaos::trial::Trial;
use crate::cli::chaos::volume;
use crate::cli::show;
use crate::supervisor::observe::GroupView;

/// Flips of one member between two checks, at most: a check takes a second or more, a flip nothing.
/// Drawn anew each time, so that some checks find live bytes damaged and others only dead ones.
const BATCH_MAX: u64 = 16;

/// Messages that are queued before the first flip: as many bytes as the spare segments have, so that
/// about half of the flips meet what is live.
const QUEUED_MESSAGES: u64 = 8_000;
const QUEUED_BYTES: usize = 1_024;

/// Between two flips of a running member, and two looks at it.
const FLIP_PAUSE: Duration = Duration::from_millis(20);

/// The check that ran when the last bit flipped may have passed it; the next one has not.
const WHOLE_CHECKS: u64 = 2;

/// Two checks of some tens of MiB take seconds.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// What a member's log says when it found damage.
const SAYS_DAMAGE: [&str; 4] = ["damage", "checksum", "NeedsRepair", "DataLoss"];

/// Lines of a whole run that say how far it is.
const LINES_MAX: u32 = 20;

/// What came of the batches.
#[derive(Default)]
struct Counts {
    batches: u32,
    reported: u32,
    flips: u32,
    /// Flips by the kind of file.
    kinds: BTreeMap<String, u32>,
}

/// Flips and checks.
pub(super) async fn run(trial: &mut Trial<'_>, flips: u32) -> anyhow::Result<()> {
    let queued = trial.load.burst(QUEUED_MESSAGES, QUEUED_BYTES, trial.group);
    queued.finish(&mut trial.measured.surprises).await?;
    let mut counts = Counts::default();
    let mut next_line = 0;
    while counts.flips < flips {
        let batch = 1 + trial.chance.below(BATCH_MAX) as u32;
        run_batch(trial, batch.min(flips - counts.flips), &mut counts).await?;
        if counts.flips >= next_line || counts.flips == flips {
            trial.say(&counts.line(flips));
            next_line = counts.flips + flips / LINES_MAX;
        }
    }
    let kinds = counts
        .kinds
        .iter()
        .map(|(kind, count)| format!("{count} in {kind}"));
    trial.say(&format!(
        "flips by file: {}",
        kinds.collect::<Vec<_>>().join(", ")
    ));
    Ok(())
}

async fn run_batch(trial: &mut Trial<'_>, batch: u32, counts: &mut Counts) -> anyhow::Result<()> {
    let names = trial.group.names();
    let broker = names[trial.chance.below(names.len() as u64) as usize].clone();
    let log = LogMark::now(&trial.data_dir(&broker));
    // Nobody reads it, and after some rounds most flips would meet nothing else.
    volume::delete_set_aside(&trial.data_dir(&broker))?;
    match counts.batches % 2 {
        0 => flip_while_it_runs(trial, &broker, batch, counts).await?,
        _ => flip_while_it_is_stopped(trial, &broker, batch, counts).await?,
    }
    let damaged = wait_until_read_and_sound(trial, &broker).await?;
    trial.note_ends();
    trial.load.pause(&mut trial.measured.surprises).await?;
    trial.compare_digests().await?;
    trial.load.resume(trial.group);
    counts.batches += 1;
    counts.flips += batch;
    counts.reported += u32::from(damaged || !log.lines_with(&SAYS_DAMAGE).is_empty());
    Ok(())
}

/// It may read what is flipped, or write over it.
async fn flip_while_it_runs(
    trial: &mut Trial<'_>,
    broker: &str,
    batch: u32,
    counts: &mut Counts,
) -> anyhow::Result<()> {
    for _ in 0..batch {
        flip(trial, broker, counts)?;
        sleep(FLIP_PAUSE).await;
    }
    Ok(())
}

/// Its start reads what is behind the checkpoint.
async fn flip_while_it_is_stopped(
    trial: &mut Trial<'_>,
    broker: &str,
    batch: u32,
    counts: &mut Counts,
) -> anyhow::Result<()> {
    let member = [broker.to_owned()];
    trial.group.kill_and_hold(&member).await;
    for _ in 0..batch {
        flip(trial, broker, counts)?;
    }
    trial.group.start(&member).await;
    Ok(())
}

/// Until it votes and has read all that it holds since, without finding damage. A flip that nobody
/// has met yet must not be left when the next member's turn comes: three copies outlive one bad one,
/// not two. True: it said that it is damaged.
async fn wait_until_read_and_sound(trial: &Trial<'_>, broker: &str) -> anyhow::Result<bool> {
    let mut damaged = false;
    loop {
        let waited = trial.wait_until_sound(|view| damaged |= says_damage(view, broker));
        waited.await?;
        if reads_all_and_finds_nothing(trial, broker).await? {
            return Ok(damaged);
        }
        damaged = true;
    }
}

/// False: it found damage, or ended because of damage.
async fn reads_all_and_finds_nothing(trial: &Trial<'_>, broker: &str) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut before = None;
    loop {
        let view = trial.group.view().await;
        let now = checks_of(&view, broker);
        before = before.or(now);
        match now.zip(before).map(|(now, then)| now.checked_sub(then)) {
            _ if says_damage(&view, broker) => return Ok(false),
            // A process that ended counts from 0 again.
            Some(None) => return Ok(false),
            Some(Some(more)) if more >= WHOLE_CHECKS => return Ok(true),
            _ if begun.elapsed() > CHECK_MAX => {
                bail!("{broker} did not check its disk within {CHECK_MAX:?}")
            }
            _ => sleep(FLIP_PAUSE).await,
        }
    }
}

fn flip(trial: &mut Trial<'_>, broker: &str, counts: &mut Counts) -> anyhow::Result<()> {
    let data = trial.data_dir(broker);
    if let Some(flip) = volume::flip_bit(&data, &mut trial.chance)? {
        *counts.kinds.entry(flip.kind().to_owned()).or_default() += 1;
    }
    Ok(())
}

fn checks_of(view: &GroupView, broker: &str) -> Option<u64> {
    let status = view.broker(broker)?.status.as_ref()?;
    Some(status.disk_checks)
}

fn says_damage(view: &GroupView, broker: &str) -> bool {
    let status = view
        .broker(broker)
        .and_then(|broker| broker.status.as_ref());
    status.is_some_and(|status| {
        let clean = status.log_state.is_empty() || status.log_state == "clean";
        !clean || status.reason == "Damaged"
    })
}

impl Counts {
    fn line(&self, flips: u32) -> String {
        format!(
            "{} of {} flips, {} checks: damage reported and repaired in {}, nothing reported and \
             equal states in {}",
            show::thousands(self.flips.into()),
            show::thousands(flips.into()),
            self.batches,
            self.reported,
            self.batches - self.reported
        )
    }
}
