//! Two of three lose their volumes: the group must not form anew, the third says that it has the
//! data, and `tandemmq recover` brings it back.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cli::chaos::trial::Trial;
use crate::cli::chaos::volume;
use crate::cli::judged::Proof;
use crate::cli::show;

/// Nobody must serve for so long: several elections.
const NOBODY: Duration = Duration::from_secs(5);

/// What the survivor's status must name.
const WAY_OUT: &str = "tandemmq recover";

/// Exit code of a command that did not do its work; 2 would be a wrong option.
const REFUSED: i32 = 1;

/// Wipes two, recovers from the third.
pub(super) async fn run(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut others = trial.group.names();
    trial.chance.shuffle(&mut others);
    let survivor = others.pop().context("there are three")?;
    refuse_while_all_is_well(trial, &survivor).await?;
    // What is acknowledged must be on the survivor, or it is rightly lost.
    trial.load.pause(&mut trial.measured.surprises).await?;
    trial.compare_digests().await?;
    trial.group.kill_and_hold(&others).await;
    for broker in &others {
        volume::wipe(&trial.data_dir(broker))?;
    }
    trial.group.start(&others).await;
    trial.say(&format!(
        "{} are wiped, {survivor} has everything",
        others.join(" and ")
    ));
    trial.watch_that_nobody_serves(NOBODY).await?;
    check_that_it_says(trial, &survivor).await;
    trial
        .group
        .kill_and_hold(std::slice::from_ref(&survivor))
        .await;
    let (code, text) = recover(trial, &survivor).await?;
    trial.say(&format!("tandemmq recover says: {text}"));
    if code != Some(0) {
        bail!("tandemmq recover failed with exit code {code:?}: {text}");
    }
    trial.load.resume(trial.group);
    trial.load.run.begin_outage(Proof::NewMessage);
    trial.group.start(std::slice::from_ref(&survivor)).await;
    let outage = trial.wait_for_receipt().await?;
    let time = trial.wait_until_sound(|_| {}).await?;
    trial.say(&format!(
        "recovered: next receipt after {}, three voters after {}",
        show::duration(outage),
        show::duration(time)
    ));
    trial.load.wait_until_running().await
}

/// With the survivor stopped and the others up a majority answers.
async fn refuse_while_all_is_well(trial: &mut Trial<'_>, survivor: &str) -> anyhow::Result<()> {
    let member = [survivor.to_owned()];
    trial.group.kill_and_hold(&member).await;
    match recover(trial, survivor).await? {
        (Some(REFUSED), text) => trial.say(&format!("with the others up it refuses: {text}")),
        (code, text) => trial.surprise(format!(
            "recover did not refuse while a majority runs: exit code {code:?}: {text}"
        )),
    }
    trial.group.start(&member).await;
    trial.wait_until_whole().await
}

async fn check_that_it_says(trial: &mut Trial<'_>, survivor: &str) {
    let view = trial.group.view().await;
    let status = view.broker(survivor).and_then(|view| view.status.as_ref());
    let told = status.map(|status| format!("{}: {}", status.reason, status.message));
    let told = told.unwrap_or_default();
    trial.say(&format!("{survivor} says: {told}"));
    if !told.contains(WAY_OUT) {
        trial.surprise(format!(
            "the status of {survivor} does not name {WAY_OUT:?}: {told:?}"
        ));
    }
}

async fn recover(trial: &Trial<'_>, survivor: &str) -> anyhow::Result<(Option<i32>, String)> {
    let args = ["recover", "--survivor", survivor, "--accept-data-loss"];
    trial.tool(&args).await
}
