//! A member gets an older state of its volume back, as from a snapshot or a backup: it must never
//! count as the member that it was, and come back as another one.

use std::time::Duration;

use tokio::time::sleep;

use crate::cli::chaos::trial::{Trial, WHOLE_MAX};
use crate::cli::chaos::volume;
use crate::cli::chaos::wipe::incarnation;
use crate::cli::judged::Proof;
use crate::cli::show;
use crate::supervisor::observe::GroupView;

/// Receipts between the copy and the kill: what the old state has forgotten.
const FORGOTTEN: u64 = 300;

/// Rolls a slave and the master back in turn; the copy is taken while it runs or while it is
/// stopped, in turn.
pub(super) async fn run(trial: &mut Trial<'_>, times: u32, age: Duration) -> anyhow::Result<()> {
    for round in 0..times {
        let stopped = round / 2 % 2 == 1;
        let (broker, role) = trial.member_in_turn(round).await?;
        let member = std::slice::from_ref(&broker);
        let data = trial.data_dir(&broker);
        let copy = data.with_extension("copy");
        if stopped {
            trial.group.kill_and_hold(member).await;
        }
        volume::copy(&data, &copy)?;
        if stopped {
            trial.group.start(member).await;
            trial.wait_until_whole().await?;
        }
        sleep(age).await;
        trial.wait_for_receipts(FORGOTTEN).await?;
        let before = incarnation(&trial.group.view().await, &broker);
        trial.group.kill_and_hold(member).await;
        forget(trial, &broker).await?;
        trial.load.run.begin_outage(Proof::NewMessage);
        volume::restore(&data, &copy)?;
        trial.group.start(member).await;
        let outage = trial.wait_for_receipt().await?;
        let mut counted = None;
        let waited = trial.wait_until_sound(|view| {
            counted = counted
                .take()
                .or_else(|| counts_as(view, &broker, before.as_deref()));
        });
        let time = waited.await?;
        trial.note_ends();
        if let Some(how) = counted {
            trial.surprise(format!("{broker} was rolled back and {how}"));
        }
        let copied = if stopped { "stopped" } else { "running" };
        trial.say(&format!(
            "roll-back {} of {times}: {broker} ({role}, copied while {copied}); next receipt after \
             {}, three voters after {}",
            round + 1,
            show::duration(outage),
            show::duration(time)
        ));
        trial.random_pause().await;
    }
    Ok(())
}

/// Until a master's picture was made without it: an older one says nothing about its return.
async fn forget(trial: &Trial<'_>, broker: &str) -> anyhow::Result<()> {
    let forgotten = |view: &GroupView| {
        let status = view.master_view().and_then(|master| master.status.as_ref());
        status.is_some_and(|status| {
            let mut members = status.members.iter();
            members.any(|member| member.name == broker && !member.in_sync)
        })
    };
    let what = format!("a master without {broker}");
    let waited = trial.group.wait_for(&what, WHOLE_MAX, forgotten).await;
    waited.map(|_| ())
}

/// How the member that it was still counts, if it does.
fn counts_as(view: &GroupView, broker: &str, before: Option<&str>) -> Option<String> {
    let before = before?;
    if incarnation(view, broker).as_deref() == Some(before) {
        let status = view.broker(broker)?.status.as_ref()?;
        if status.role == "master" {
            return Some("became master as the member that it was".into());
        }
    }
    let master = view.master_view()?.status.as_ref()?;
    let seen = master.members.iter().find(|member| member.name == broker)?;
    let is_old = seen
        .member
        .as_ref()
        .is_some_and(|member| member.incarnation == before);
    (is_old && seen.in_sync).then(|| "counts as in step as the member that it was".into())
}
