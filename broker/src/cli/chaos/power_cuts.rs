//! Power cuts: any set of brokers is killed at once on disks that lose what was not synced, and
//! comes back in any order, the load never pausing.

use std::time::Duration;

use tokio::time::sleep;

use crate::cli::chaos::trial::Trial;
use crate::cli::judged::Proof;

/// Between two starts of one round.
const START_PAUSE_MAX_MS: u64 = 200;

/// Lines of a whole run.
const LINES_MAX: u32 = 20;

/// Cuts and judges.
pub(super) async fn run(trial: &mut Trial<'_>, times: u32) -> anyhow::Result<()> {
    let mut cut = [0_u32; 3];
    for round in 1..=times {
        let mut brokers = trial.group.names();
        trial.chance.shuffle(&mut brokers);
        let count = 1 + trial.chance.below(brokers.len() as u64) as usize;
        brokers.truncate(count);
        trial.group.kill_and_hold(&brokers).await;
        trial.load.run.begin_outage(Proof::NewMessage);
        trial.chance.shuffle(&mut brokers);
        for broker in &brokers {
            let pause = trial.chance.below(START_PAUSE_MAX_MS);
            sleep(Duration::from_millis(pause)).await;
            trial.group.start(std::slice::from_ref(broker)).await;
        }
        trial.wait_for_receipt().await?;
        trial.note_ends();
        cut[count - 1] += 1;
        // The next cut may also meet members that are still on their way back.
        if trial.chance.one_in(2) {
            trial.wait_until_whole().await?;
        }
        trial.random_pause().await;
        if round.is_multiple_of(times.div_ceil(LINES_MAX)) || round == times {
            let [one, two, all] = cut;
            trial.say(&format!(
                "{round} of {times} power cuts: {one} of one broker, {two} of two, {all} of all"
            ));
        }
    }
    trial.wait_until_sound(|_| {}).await.map(|_| ())
}
