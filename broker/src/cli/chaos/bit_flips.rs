//! Bits turn over in the files of one member, while it runs or while it is stopped. Each batch ends
//! with a start of that member, which reads everything: then either it has said that it is damaged
//! and is sound again, or what it holds equals what the others hold.

use std::collections::BTreeMap;

use crate::cli::chaos::logs::LogMark;
use crate::cli::chaos::trial::Trial;
use crate::cli::chaos::volume;
use crate::cli::show;
use crate::supervisor::observe::GroupView;

/// Flips of one member between two checks: a check takes a second or more, a flip nothing.
const BATCH: u32 = 20;

/// Messages that are queued before the first flip: as many bytes as the spare segments have, so that
/// about half of the flips meet what is live.
const QUEUED_MESSAGES: u64 = 8_000;
const QUEUED_BYTES: usize = 1_024;

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
    let batches = flips.div_ceil(BATCH);
    while counts.flips < flips {
        let batch = BATCH.min(flips - counts.flips);
        run_batch(trial, batch, &mut counts).await?;
        if counts.batches.is_multiple_of(batches.div_ceil(LINES_MAX)) || counts.flips == flips {
            trial.say(&counts.line(flips));
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
    let member = std::slice::from_ref(&broker);
    let data = trial.data_dir(&broker);
    let log = LogMark::now(&data);
    let stopped = counts.batches % 2 == 1;
    if stopped {
        trial.group.kill_and_hold(member).await;
    }
    for _ in 0..batch {
        if let Some(flip) = volume::flip_bit(&data, &mut trial.chance)? {
            *counts.kinds.entry(flip.kind().to_owned()).or_default() += 1;
        }
        if !stopped {
            // It may read what was flipped, or write over it.
            trial.random_pause().await;
        }
    }
    if !stopped {
        trial.group.kill_and_hold(member).await;
    }
    trial.group.start(member).await;
    let mut damaged = false;
    let waited = trial.wait_until_sound(|view| damaged |= says_damage(view, &broker));
    waited.await?;
    trial.note_ends();
    trial.load.pause(&mut trial.measured.surprises).await?;
    trial.compare_digests().await?;
    trial.load.resume(trial.group);
    counts.batches += 1;
    counts.flips += batch;
    counts.reported += u32::from(damaged || !log.lines_with(&SAYS_DAMAGE).is_empty());
    Ok(())
}

fn says_damage(view: &GroupView, broker: &str) -> bool {
    let status = view
        .broker(broker)
        .and_then(|broker| broker.status.as_ref());
    status.is_some_and(|status| !status.log_state.is_empty() && status.log_state != "clean")
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
