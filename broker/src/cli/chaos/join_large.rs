//! A volume is replaced while messages as large as a frame may be are queued and more arrive: the
//! newcomer must get every byte of them. It is made master and read; what it hands out must hash to
//! what the old master handed out.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::bail;
use tandemmq_model::limits::FRAME_BYTES_MAX;

use crate::cli::chaos::trial::Trial;
use crate::cli::chaos::volume;
use crate::cli::chaos::wipe::incarnation;
use crate::cli::show;

/// A frame of the greatest size, but for its headers.
const LARGE_BYTES: usize = FRAME_BYTES_MAX - 4 * 1024;

/// Large messages that are queued before, and as many that arrive while the newcomer learns: more
/// than any buffer on the way holds.
const LARGE_MESSAGES: u64 = 8;

/// Replaces slaves.
pub(super) async fn run(trial: &mut Trial<'_>, times: u32) -> anyhow::Result<()> {
    for round in 1..=times {
        let slave = trial.some_slave().await?;
        let member = std::slice::from_ref(&slave);
        let before = incarnation(&trial.group.view().await, &slave);
        trial.group.kill_and_hold(member).await;
        volume::wipe(&trial.data_dir(&slave))?;
        send_large(trial).await?;
        let burst = trial.load.burst(LARGE_MESSAGES, LARGE_BYTES, trial.group);
        trial.group.start(member).await;
        let time = trial.wait_until_sound(|_| {}).await?;
        burst.finish(&mut trial.measured.surprises).await?;
        trial.note_ends();
        let after = incarnation(&trial.group.view().await, &slave);
        if before == after {
            trial.surprise(format!("{slave} was wiped and is still {before:?}"));
        }
        let (messages, bytes) = compare(trial, &slave).await?;
        trial.say(&format!(
            "join {round} of {times}: {slave} votes again after {}; as master it hands out what \
             the old one did: {messages} messages, {} MiB",
            show::duration(time),
            bytes >> 20
        ));
        trial
            .load
            .drain(trial.group, &mut trial.measured.surprises)
            .await?;
        trial.load.resume(trial.group);
    }
    Ok(())
}

async fn send_large(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let burst = trial.load.burst(LARGE_MESSAGES, LARGE_BYTES, trial.group);
    burst.finish(&mut trial.measured.surprises).await
}

/// The kept queue as the old master and as the newcomer hand it out; messages and bytes in it.
async fn compare(trial: &mut Trial<'_>, newcomer: &str) -> anyhow::Result<(u64, u64)> {
    trial.load.pause(&mut trial.measured.surprises).await?;
    trial.compare_digests().await?;
    let old = content(trial).await?;
    promote(trial, newcomer).await?;
    let new = content(trial).await?;
    if old != new {
        trial.surprise(format!(
            "{newcomer} hands out {new:?}, the old master {old:?}: messages, bytes, hash"
        ));
    }
    Ok((new.0, new.1))
}

/// Messages, bytes and hash of the kept queue, left where they are.
async fn content(trial: &Trial<'_>) -> anyhow::Result<(u64, u64, u64)> {
    let mut hasher = DefaultHasher::new();
    let mut bytes = 0;
    let messages = trial
        .load
        .browse_kept(trial.group, |frame| {
            bytes += frame.body.len() as u64;
            frame.get("message-id").hash(&mut hasher);
            frame.body.hash(&mut hasher);
        })
        .await?;
    Ok((messages, bytes, hasher.finish()))
}

async fn promote(trial: &Trial<'_>, broker: &str) -> anyhow::Result<()> {
    match trial.tool(&["promote", "--broker", broker]).await? {
        (Some(0), _) => Ok(()),
        (code, said) => bail!("tandemmq promote failed with exit code {code:?}: {said}"),
    }
}
