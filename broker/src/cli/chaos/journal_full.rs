//! All journals reach `journal.maxBytes`: producers are refused, consumers go on; once the queue is
//! drained its room is free again and producers are taken.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::cli::chaos::trial::Trial;
use crate::cli::show;

/// More than `journal.maxBytes` of the phase holds.
const BURST_MESSAGES: u64 = 100_000;
const BURST_BYTES: usize = 4_096;

/// Until the limit is reached, and until its room is free again: a few seconds each.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Fills, drains, goes on.
pub(super) async fn run(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let burst = trial.load.burst(BURST_MESSAGES, BURST_BYTES, trial.group);
    while trial.load.run.figures.refusal.borrow().is_none() {
        if begun.elapsed() > WAIT_MAX || burst.is_finished() {
            bail!("no producer was refused: {}", trial.load.describe());
        }
        sleep(Duration::from_millis(10)).await;
    }
    burst.stop(&mut trial.measured.surprises).await?;
    trial.say(&format!(
        "producers are refused after {}: {}",
        show::duration(begun.elapsed()),
        trial.load.run.figures.refusal.take().unwrap_or_default()
    ));
    trial.load.pause(&mut trial.measured.surprises).await?;
    let received = trial.load.run.figures.received.get();
    trial
        .load
        .drain(trial.group, &mut trial.measured.surprises)
        .await?;
    let drained = trial.load.run.figures.received.get() - received;
    trial.say(&format!(
        "consumers took {} messages meanwhile",
        show::thousands(drained)
    ));
    let time = accept_again(trial).await?;
    trial.say(&format!(
        "producers are taken again after {}",
        show::duration(time)
    ));
    trial.wait_until_sound(|_| {}).await.map(|_| ())
}

async fn accept_again(trial: &mut Trial<'_>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let receipts = trial.load.run.figures.acknowledged.get();
    trial.load.resume(trial.group);
    while trial.load.run.figures.acknowledged.get() == receipts {
        if begun.elapsed() > WAIT_MAX {
            bail!(
                "consuming freed nothing for {WAIT_MAX:?}: {}",
                trial.load.describe()
            );
        }
        sleep(Duration::from_millis(10)).await;
    }
    trial.load.wait_until_running().await?;
    Ok(begun.elapsed())
}
