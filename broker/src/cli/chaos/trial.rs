//! What a phase works with: group, load, choices; and the waits that phases share.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::cli::chaos::load::Load;
use crate::cli::chaos::phase::{How, Measured};
use crate::cli::show::{self, say};
use crate::supervisor::local_group::{LocalGroup, describe};
use crate::supervisor::observe::{BrokerView, GroupView};

/// From a fault until receipts flow again: seconds where it was measured, so this only ends a run
/// that hangs.
const RECEIPT_MAX: Duration = Duration::from_secs(60);

/// Until every broker is in step again after a restart.
pub(super) const WHOLE_MAX: Duration = Duration::from_secs(60);

/// Until every member votes again after it lost its volume or was damaged: a transfer of what the
/// group holds on a machine that is busy otherwise.
const SOUND_MAX: Duration = Duration::from_secs(120);

/// Between two looks at the group while it is waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Between two lines that say how far the group is.
const PROGRESS_PAUSE: Duration = Duration::from_secs(5);

/// The greatest pause between two faults. It is drawn anew each time, so that faults meet every
/// moment of a commit.
const PAUSE_MAX_MS: u64 = 300;

/// A phase at work.
pub(super) struct Trial<'a> {
    /// What is broken.
    pub(super) group: &'a mut LocalGroup,
    /// Who notices.
    pub(super) load: Load,
    /// Choices.
    pub(super) chance: Chance,
    /// What is found.
    pub(super) measured: Measured,
    folder: PathBuf,
    verbose: bool,
}

// === impl Trial ===

impl<'a> Trial<'a> {
    /// Nothing broken yet.
    pub(super) fn new(how: How<'_>, group: &'a mut LocalGroup, load: Load) -> Self {
        Self {
            group,
            load,
            chance: how.chance,
            measured: Measured::default(),
            folder: how.folder.to_owned(),
            verbose: how.verbose,
        }
    }

    /// The load goes on to its end; what was found.
    pub(super) fn end(self) -> (Load, Measured) {
        (self.load, self.measured)
    }

    /// One step, for people.
    pub(super) fn say(&self, text: &str) {
        if self.verbose {
            say!("  {text}");
        }
    }

    /// Something that must not happen. The phase goes on and fails.
    pub(super) fn surprise(&mut self, text: String) {
        self.measured.surprises.push(text);
    }

    /// Calls one of the tools as a person does: its exit code, and what it said on one line.
    pub(super) async fn tool(&self, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let output = Command::new(std::env::current_exe()?)
            .args(args)
            .arg("--dir")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .output()
            .await
            .with_context(|| format!("cannot run tandemmq {}", args.join(" ")))?;
        let said = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&said).trim().replace('\n', " | ");
        Ok((output.status.code(), text))
    }

    /// Where a broker's volume is.
    pub(super) fn data_dir(&self, broker: &str) -> PathBuf {
        let entry = self.group.entry();
        let found = entry.brokers.into_iter().find(|entry| entry.name == broker);
        found.expect("the names come from this group").data_dir
    }

    /// Who is master, once somebody is.
    pub(super) async fn master(&self) -> anyhow::Result<String> {
        let has_one = |view: &GroupView| view.master.is_some();
        let view = self.group.wait_for("a master", WHOLE_MAX, has_one).await?;
        view.master.context("just looked for")
    }

    /// One of the slaves.
    pub(super) async fn some_slave(&mut self) -> anyhow::Result<String> {
        let master = self.master().await?;
        let mut names = self.group.names();
        names.retain(|name| *name != master);
        Ok(names.swap_remove(self.chance.below(names.len() as u64) as usize))
    }

    /// A slave in the rounds 0, 2, 4, …, the master in the others.
    pub(super) async fn member_in_turn(
        &mut self,
        round: u32,
    ) -> anyhow::Result<(String, &'static str)> {
        match round % 2 {
            0 => Ok((self.some_slave().await?, "slave")),
            _ => Ok((self.master().await?, "master")),
        }
    }

    /// Waits for the end of the outage that was begun, and writes it down.
    pub(super) async fn wait_for_receipt(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            if let Some(outage) = self.load.run.outage() {
                self.measured.outages.push(outage);
                return Ok(outage);
            }
            if begun.elapsed() > RECEIPT_MAX {
                let group = describe(&self.group.view().await);
                bail!("no receipt for {RECEIPT_MAX:?}; the group is: {group}");
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Until every broker is in step again after a restart.
    pub(super) async fn wait_until_whole(&self) -> anyhow::Result<()> {
        let what = "all brokers in step again";
        let waited = self
            .group
            .wait_for(what, WHOLE_MAX, GroupView::is_whole)
            .await;
        waited.map(|_| ())
    }

    /// Until every broker votes and is in step; says how far they are. `each` sees every look.
    pub(super) async fn wait_until_sound(
        &self,
        mut each: impl FnMut(&GroupView),
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut told = begun;
        loop {
            let view = self.group.view().await;
            each(&view);
            if view.is_sound() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > SOUND_MAX {
                bail!(
                    "after {SOUND_MAX:?} not all are voters in step: {}",
                    progress(&view)
                );
            }
            if told.elapsed() > PROGRESS_PAUSE {
                told = Instant::now();
                self.say(&format!("  … {}", progress(&view)));
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Until the engines of all brokers are at the same offset, nothing under way; then their
    /// digests must be equal. The load must be paused.
    pub(super) async fn compare_digests(&mut self) -> anyhow::Result<()> {
        let view = self
            .group
            .wait_for("all brokers at one offset", WHOLE_MAX, at_one_offset)
            .await?;
        let digests = view
            .brokers
            .iter()
            .filter_map(|broker| broker.status.as_ref());
        let digests: Vec<&str> = digests.map(|status| &*status.state_digest).collect();
        if digests.iter().any(|digest| *digest != digests[0]) {
            self.surprise(format!("the brokers hold different states: {digests:?}"));
        }
        Ok(())
    }

    /// Looks for so long that nobody serves; who does is a surprise.
    pub(super) async fn watch_that_nobody_serves(&mut self, time: Duration) -> anyhow::Result<()> {
        let nobody = |view: &GroupView| view.master.is_none();
        self.group.wait_for("no master", WHOLE_MAX, nobody).await?;
        let begun = Instant::now();
        let receipts = self.load.run.figures.acknowledged.get();
        while begun.elapsed() < time {
            let view = self.group.view().await;
            if let Some(master) = &view.master {
                self.surprise(format!("{master} serves: {}", describe(&view)));
                return Ok(());
            }
            sleep(LOOK_PAUSE).await;
        }
        let more = self.load.run.figures.acknowledged.get() - receipts;
        if more > 0 {
            self.surprise(format!("{more} receipts came though nobody serves"));
        }
        Ok(())
    }

    /// Lets some time pass, so that the next fault comes at any moment.
    pub(super) async fn random_pause(&mut self) {
        sleep(Duration::from_millis(self.chance.below(PAUSE_MAX_MS))).await;
    }

    /// Until the load has so many more receipts.
    pub(super) async fn wait_for_receipts(&self, more: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        let until = self.load.run.figures.acknowledged.get() + more;
        while self.load.run.figures.acknowledged.get() < until {
            if begun.elapsed() > RECEIPT_MAX {
                bail!("the load stands still: {}", self.load.describe());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Ends of processes that nobody asked for fail the phase.
    pub(super) fn note_ends(&mut self) {
        let ends = self.group.unexpected_ends();
        self.measured.surprises.extend(ends);
    }

    /// The longest time without a receipt, looked for until `until` says that it is enough.
    pub(super) async fn longest_silence(&self, mut until: impl FnMut() -> bool) -> Duration {
        let acknowledged = &self.load.run.figures.acknowledged;
        let (mut last, mut since) = (acknowledged.get(), Instant::now());
        let mut longest = Duration::ZERO;
        while !until() {
            sleep(Duration::from_millis(2)).await;
            if acknowledged.get() != last {
                (last, since) = (acknowledged.get(), Instant::now());
            }
            longest = longest.max(since.elapsed());
        }
        longest
    }
}

fn at_one_offset(view: &GroupView) -> bool {
    let offsets = view.brokers.iter().map(|broker| broker.offsets);
    let offsets: Option<Vec<_>> = offsets.collect();
    offsets.is_some_and(|offsets| {
        let end = offsets[0].appended;
        offsets
            .iter()
            .all(|offsets| (offsets.appended, offsets.applied) == (end, end))
    })
}

/// How far each broker is that does not vote in step.
fn progress(view: &GroupView) -> String {
    let brokers = view.brokers.iter().filter(|broker| !view.votes(broker));
    let texts: Vec<String> = brokers.map(broker_progress).collect();
    match (texts.is_empty(), &view.master) {
        (_, None) => format!("no master; {}", texts.join("; ")),
        (true, Some(_)) => "the master does not count all as in step yet".into(),
        (false, Some(_)) => texts.join("; "),
    }
}

fn broker_progress(broker: &BrokerView) -> String {
    let status = broker.status.as_ref();
    let state = status.map_or("", |status| &*status.log_state);
    let message = status.map_or("", |status| &*status.message);
    let lag = broker
        .lag
        .map(|lag| format!("lag {}", show::thousands(lag)));
    let parts = [
        &*broker.entry.name,
        &*broker.role,
        if state == "clean" { "" } else { state },
        &*broker.reason,
        message,
        lag.as_deref().unwrap_or(""),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}
