//! SIGKILL of the master, or of all brokers at once.

use rustix::process::Signal;

use crate::cli::chaos::trial::Trial;
use crate::cli::judged::Proof;

/// SIGKILL of whoever is master.
pub(super) async fn master(trial: &mut Trial<'_>, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        let master = trial.master().await?;
        kill(trial, &[master]).await?;
    }
    Ok(())
}

/// SIGKILL of all.
pub(super) async fn all(trial: &mut Trial<'_>, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        let names = trial.group.names();
        kill(trial, &names).await?;
    }
    Ok(())
}

async fn kill(trial: &mut Trial<'_>, brokers: &[String]) -> anyhow::Result<()> {
    trial.load.run.begin_outage(Proof::NewConnection);
    trial.group.signal(brokers, Signal::KILL).await?;
    trial.wait_for_receipt().await?;
    trial.note_ends();
    trial.wait_until_whole().await?;
    trial.random_pause().await;
    Ok(())
}
