//! A slave that catches up is killed on its way, at points spread over the time that an undisturbed
//! catch-up takes; each time it must go on, and in the end be whole.

use tokio::time::sleep;

use crate::cli::chaos::lag::{catch_up, fall_behind};
use crate::cli::chaos::logs::LogMark;
use crate::cli::chaos::trial::Trial;
use crate::cli::show;

/// So many kills, spread over a transfer of so many messages, meet it in the middle: then some start
/// must go on with what the one before had stored.
const RESUMES_KILLS: u32 = 5;
const RESUMES_MESSAGES: u64 = 500_000;

/// What a member's log says when it begins to install, before the record that it goes on behind.
const INSTALLS: &str = "and the live records behind ";

/// Kills and waits.
pub(super) async fn run(trial: &mut Trial<'_>, times: u32, messages: u64) -> anyhow::Result<()> {
    let slave = trial.some_slave().await?;
    let member = std::slice::from_ref(&slave);
    fall_behind(trial, &slave, messages).await?;
    let whole = catch_up(trial, &slave).await?;
    trial.say(&format!(
        "undisturbed, {slave} votes again after {}",
        show::duration(whole)
    ));
    fall_behind(trial, &slave, messages).await?;
    let (mut behind, mut resumed) = (0, 0);
    for kill in 1..=times {
        let point = whole * kill / (times + 1);
        let log = LogMark::now(&trial.data_dir(&slave));
        trial.group.start(member).await;
        sleep(point).await;
        let lag = lag_of(trial, &slave).await;
        trial.group.kill_and_hold(member).await;
        behind += u32::from(lag != Some(0));
        let lag = lag.map_or_else(|| "not known yet".into(), show::thousands);
        let from = resumes_behind(&log);
        resumed += u32::from(from > Some(0));
        trial.say(&format!(
            "kill {kill} of {times}, {} after the start; lag {lag}, {}",
            show::duration(point),
            match from {
                None => "nothing asked for yet".to_owned(),
                Some(0) => "from the beginning".to_owned(),
                Some(record) => format!("went on behind {}", show::thousands(record)),
            }
        ));
        // Else the later kills meet a slave that has caught up.
        let more = messages / u64::from(times);
        let burst = trial.load.burst(more.max(1), 256, trial.group);
        burst.finish(&mut trial.measured.surprises).await?;
    }
    let time = catch_up(trial, &slave).await?;
    trial.note_ends();
    trial.say(&format!(
        "killed {times} times, {behind} of them before it had caught up; {resumed} starts went on \
         with what was there; votes again {} after the last start",
        show::duration(time)
    ));
    if times >= RESUMES_KILLS && messages >= RESUMES_MESSAGES && resumed == 0 {
        trial.surprise("every start began the transfer anew".to_owned());
    }
    Ok(())
}

/// How far the slave is behind, as the master says; none while it does not.
async fn lag_of(trial: &Trial<'_>, slave: &str) -> Option<u64> {
    let view = trial.group.view().await;
    let master = view.master_view()?.status.as_ref()?;
    master
        .members
        .iter()
        .find(|member| member.name == slave)?
        .lag
}

/// The record that the last installation went on behind; none: none was begun.
fn resumes_behind(log: &LogMark) -> Option<u64> {
    let lines = log.lines_with(&[INSTALLS]);
    let (_, record) = lines.last()?.split_once(INSTALLS)?;
    record.trim().parse().ok()
}
