//! A member loses its volume: killed, its folder deleted, started again. It must come back as
//! another member, without a human, and vote again.

use crate::cli::chaos::trial::Trial;
use crate::cli::chaos::volume;
use crate::cli::judged::Proof;
use crate::cli::show;
use crate::supervisor::observe::GroupView;

/// Wipes a slave and the master in turn.
pub(super) async fn run(trial: &mut Trial<'_>, times: u32) -> anyhow::Result<()> {
    for round in 0..times {
        let (broker, role) = trial.member_in_turn(round).await?;
        let before = incarnation(&trial.group.view().await, &broker);
        let member = std::slice::from_ref(&broker);
        trial.group.kill_and_hold(member).await;
        trial.load.run.begin_outage(Proof::NewMessage);
        volume::wipe(&trial.data_dir(&broker))?;
        trial.group.start(member).await;
        let outage = trial.wait_for_receipt().await?;
        let time = trial.wait_until_sound(|_| {}).await?;
        trial.note_ends();
        let after = incarnation(&trial.group.view().await, &broker);
        if before == after {
            trial.surprise(format!(
                "{broker} was wiped and is still the member {before:?}"
            ));
        }
        trial.say(&format!(
            "wipe {} of {times}: {broker} ({role}); next receipt after {}, three voters after {}",
            round + 1,
            show::duration(outage),
            show::duration(time)
        ));
        trial.random_pause().await;
    }
    Ok(())
}

/// Who a broker's volume is, as it says itself.
pub(super) fn incarnation(view: &GroupView, broker: &str) -> Option<String> {
    let status = view.broker(broker)?.status.as_ref()?;
    Some(status.member.incarnation.clone())
}
