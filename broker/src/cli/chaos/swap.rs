//! Two members get each other's volume: both are strangers, nobody serves, and they say which to
//! swap back. Swapped back, everything goes on.

use std::time::Duration;

use crate::cli::chaos::logs::LogMark;
use crate::cli::chaos::trial::Trial;
use crate::cli::chaos::volume;
use crate::cli::judged::Proof;
use crate::cli::show;

/// Nobody must serve for so long: several elections.
const NOBODY: Duration = Duration::from_secs(5);

/// Swaps and swaps back.
pub(super) async fn run(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut pair = trial.group.names();
    trial.chance.shuffle(&mut pair);
    pair.truncate(2);
    let folders = [trial.data_dir(&pair[0]), trial.data_dir(&pair[1])];
    let logs = [LogMark::now(&folders[0]), LogMark::now(&folders[1])];
    trial.group.kill_and_hold(&pair).await;
    volume::swap(&folders[0], &folders[1])?;
    trial.group.start(&pair).await;
    trial.say(&format!(
        "{} and {} have each other's volume",
        pair[0], pair[1]
    ));
    trial.watch_that_nobody_serves(NOBODY).await?;
    for (member, other, log) in [(0, 1, &logs[0]), (1, 0, &logs[1])] {
        check_that_it_says(trial, &pair[member], &pair[other], log).await;
    }
    // A broker may refuse to start with another's volume.
    trial.group.unexpected_ends();
    trial.group.kill_and_hold(&pair).await;
    volume::swap(&folders[0], &folders[1])?;
    trial.load.run.begin_outage(Proof::NewMessage);
    trial.group.start(&pair).await;
    let outage = trial.wait_for_receipt().await?;
    let time = trial.wait_until_sound(|_| {}).await?;
    trial.say(&format!(
        "swapped back: next receipt after {}, three voters after {}",
        show::duration(outage),
        show::duration(time)
    ));
    Ok(())
}

/// A member with another's volume must name that other one, in its status or in its log.
async fn check_that_it_says(trial: &mut Trial<'_>, broker: &str, other: &str, log: &LogMark) {
    let view = trial.group.view().await;
    let status = view.broker(broker).and_then(|view| view.status.as_ref());
    let told = status.map(|status| format!("{} {}", status.reason, status.message));
    let mut told: Vec<String> = told.into_iter().collect();
    told.extend(log.lines_with(&[other]));
    match told.iter().find(|line| line.contains(other)) {
        Some(line) => trial.say(&format!("{broker} says: {}", line.trim())),
        None => trial.surprise(format!(
            "{broker} has the volume of {other} and names it neither in its status ({told:?}) nor in \
             its log"
        )),
    }
}
