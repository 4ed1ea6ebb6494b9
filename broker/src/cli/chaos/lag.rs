//! A slave that was away for many messages comes back: what its catch-up costs the producers.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cli::bench::stats::Summary;
use crate::cli::chaos::trial::Trial;
use crate::cli::show;

/// How long the producers are measured before.
const BASELINE: Duration = Duration::from_secs(5);

/// Bytes of what the slave misses.
const BURST_BYTES: usize = 256;

/// Measures.
pub(super) async fn run(trial: &mut Trial<'_>, messages: u64) -> anyhow::Result<()> {
    trial.load.run.begin_latencies();
    sleep(BASELINE).await;
    let baseline = Summary::of(&trial.load.run.take_latencies());
    let slave = trial.some_slave().await?;
    fall_behind(trial, &slave, messages).await?;
    trial.load.run.begin_latencies();
    let time = catch_up(trial, &slave).await?;
    let meanwhile = Summary::of(&trial.load.run.take_latencies());
    trial.say(&line("baseline", &baseline));
    trial.say(&line("catch-up", &meanwhile));
    let ratio = meanwhile.p99.as_secs_f64() / baseline.p99.as_secs_f64().max(1e-9);
    trial.say(&format!(
        "{slave} was {} messages behind and votes again after {}; p99 is {ratio:.1} times the \
         baseline",
        show::thousands(messages),
        show::duration(time)
    ));
    Ok(())
}

/// Keeps the slave down while so many messages are sent to the kept queue.
pub(super) async fn fall_behind(
    trial: &mut Trial<'_>,
    slave: &str,
    messages: u64,
) -> anyhow::Result<()> {
    trial.group.kill_and_hold(&[slave.to_owned()]).await;
    let begun = Instant::now();
    let burst = trial.load.burst(messages, BURST_BYTES, trial.group);
    burst.finish(&mut trial.measured.surprises).await?;
    trial.say(&format!(
        "{slave} is down, {} messages in {}",
        show::thousands(messages),
        show::duration(begun.elapsed())
    ));
    Ok(())
}

/// Starts the slave; until it votes again.
pub(super) async fn catch_up(trial: &mut Trial<'_>, slave: &str) -> anyhow::Result<Duration> {
    trial.group.start(&[slave.to_owned()]).await;
    trial.wait_until_sound(|_| {}).await
}

fn line(name: &str, summary: &Summary) -> String {
    format!(
        "producers, {name}: {} receipts, p50 {}, p99 {}, max {}",
        show::thousands(summary.count as u64),
        show::duration(summary.p50),
        show::duration(summary.p99),
        show::duration(summary.max)
    )
}
