//! A disk that hangs, is full or fails: a slave's, then the master's. The load goes on with the
//! other members, and the member comes back by itself.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::cli::chaos::trial::Trial;
use crate::cli::judged::Proof;
use crate::cli::show;
use crate::storage::faulty::Fault;

/// A master whose disk hangs stands down after `timing.diskStallMs`, 2 s; another one takes over within
/// a second or two on a busy machine.
const STALL_SILENCE_MAX: Duration = Duration::from_secs(4);

/// A master whose disk is full refuses producers, and hands over after 10 s: consumers may make room
/// meanwhile.
const FULL_SILENCE_MAX: Duration = Duration::from_secs(13);

/// A process whose fdatasync failed ends at its next write: milliseconds under load.
const END_MAX: Duration = Duration::from_secs(10);

/// SIGABRT, by which a process ends for safety.
const ABORTED: i32 = 6;

/// What fills the spare segments of a full disk: three times `journal.reserveBytes`.
const BURST_MESSAGES: u64 = 24_000;
const BURST_BYTES: usize = 1_024;

/// The disk hangs for so long.
pub(super) async fn stall(trial: &mut Trial<'_>, time: Duration) -> anyhow::Result<()> {
    for round in 0..2 {
        last(trial, round, Fault::Stall(time), time).await?;
    }
    Ok(())
}

/// The disk is full for so long, while more is sent than the spare segments hold.
pub(super) async fn full(trial: &mut Trial<'_>, time: Duration) -> anyhow::Result<()> {
    for round in 0..2 {
        let burst = trial.load.burst(BURST_MESSAGES, BURST_BYTES, trial.group);
        last(trial, round, Fault::Full(time), time).await?;
        burst.stop(&mut trial.measured.surprises).await?;
    }
    Ok(())
}

/// A fault that lasts: receipts must come before it ends.
async fn last(
    trial: &mut Trial<'_>,
    round: u32,
    fault: Fault,
    time: Duration,
) -> anyhow::Result<()> {
    let silence_max = match fault {
        Fault::Full(_) => FULL_SILENCE_MAX,
        Fault::Stall(_) | Fault::FailSync => STALL_SILENCE_MAX,
    };
    let (broker, role) = trial.member_in_turn(round).await?;
    let begun = Instant::now();
    fault.ask(&trial.data_dir(&broker))?;
    let silence = trial.longest_silence(|| begun.elapsed() > time).await;
    trial.measured.outages.push(silence);
    let master = trial.master().await?;
    if silence > silence_max {
        trial.surprise(format!(
            "the disk of {broker} was in trouble for {time:?}, and for {} nothing was acknowledged; \
             allowed are {silence_max:?}",
            show::duration(silence)
        ));
    }
    let recovered = trial.wait_until_sound(|_| {}).await?;
    trial.note_ends();
    trial.say(&format!(
        "{fault:?} on {broker} ({role}): longest time without a receipt {}; then {master} is master, \
         three voters {} after its end",
        show::duration(silence),
        show::duration(recovered)
    ));
    Ok(())
}

/// The next sync fails: the process must end by itself, and is started again.
pub(super) async fn fail_sync(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    for round in 0..2 {
        let (broker, role) = trial.member_in_turn(round).await?;
        trial.note_ends();
        Fault::FailSync.ask(&trial.data_dir(&broker))?;
        wait_for_abort(trial, &broker).await?;
        trial.load.run.begin_outage(Proof::NewMessage);
        let outage = trial.wait_for_receipt().await?;
        let recovered = trial.wait_until_sound(|_| {}).await?;
        trial.say(&format!(
            "a failed fdatasync on {broker} ({role}): it ended by itself; next receipt after {}, \
             three voters after {}",
            show::duration(outage),
            show::duration(recovered)
        ));
    }
    Ok(())
}

async fn wait_for_abort(trial: &mut Trial<'_>, broker: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < END_MAX {
        match trial.group.ends().first() {
            None => {}
            Some((ended, Some(ABORTED))) if ended == broker => return Ok(()),
            Some((ended, signal)) => {
                bail!("{ended} ended by signal {signal:?}, not {broker} by SIGABRT")
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    bail!("{broker} still runs {END_MAX:?} after an fdatasync was to fail")
}
