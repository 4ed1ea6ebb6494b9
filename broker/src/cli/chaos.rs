//! `chaos`: breaks local groups on purpose, under load, and judges what their clients saw.
//!
//! One file a phase in `chaos/`; each phase has queues and a checker of its own, and the load never
//! pauses unless the phase says so. Phases that need other disks or journals than a group has by
//! default get a fresh group each.
//!
//! Figures are printed, never judged; only the checker's rules are, and what a phase calls a
//! surprise: a process that ended by itself, a member that counts though it must not. A phase that
//! acknowledged or received nothing fails.

mod args;
mod bit_flips;
mod catch_up;
mod disk_trouble;
mod join_large;
mod journal_full;
mod kill;
mod lag;
mod load;
mod logs;
mod phase;
mod power_cuts;
mod report;
mod roll_back;
mod stop;
mod swap;
mod trial;
pub(super) mod volume;
mod wipe;
mod wipe_majority;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::chance::Chance;
use crate::cli::show::say;
use crate::cli::{CliError, CliResult};
use crate::supervisor::local_group::{Launch, LocalGroup};
pub(super) use args::Args;
use phase::{How, Phase, PhaseResult};

/// A broker that was killed comes back after this.
const RESTART_DELAY: Duration = Duration::from_millis(200);

/// Breaks and judges.
pub(super) async fn run(args: Args) -> CliResult {
    let phases = args.phases();
    if phases.is_empty() {
        return Err(CliError::Usage("nothing to do: every phase is 0".into()));
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("no randomness")?,
    };
    if !args.json {
        say!("choices: --seed {seed}");
    }
    let mut results = Vec::new();
    let mut run = Run {
        args: &args,
        chance: Chance::new(seed),
        results: &mut results,
    };
    let ran = run.all(&phases).await;
    match args.json {
        true => report::print_json(&results),
        false => report::print_table(&results),
    }
    ran?;
    let good = results.iter().all(PhaseResult::is_good);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The command at work.
struct Run<'a> {
    args: &'a Args,
    chance: Chance,
    results: &'a mut Vec<PhaseResult>,
}

/// Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

// === impl Run ===

impl Run<'_> {
    /// Phases with the default disks share one group; every other one has its own.
    async fn all(&mut self, phases: &[Phase]) -> anyhow::Result<()> {
        let (own, shared): (Vec<_>, Vec<_>) = phases
            .iter()
            .copied()
            .partition(|phase| phase.settings().is_some());
        if !shared.is_empty() {
            self.on_a_group(&shared, self.args.dir.clone()).await?;
        }
        for phase in own {
            let dir = self.args.dir.as_ref();
            let dir = dir.map(|dir| dir.join(phase.name().replace(' ', "-")));
            self.on_a_group(&[phase], dir).await?;
        }
        Ok(())
    }

    /// Starts a group, runs phases on it, stops it; keeps its folder when a rule was broken.
    async fn on_a_group(&mut self, phases: &[Phase], dir: Option<PathBuf>) -> anyhow::Result<()> {
        let mut group = LocalGroup::launch(&Launch {
            purpose: "chaos",
            folder: dir.as_deref(),
            restart_delay: RESTART_DELAY,
            settings: phases[0].settings().unwrap_or_default(),
        })?;
        let first = self.results.len();
        let ran = tokio::select! {
            ran = self.run_phases(phases, &mut group) => ran,
            () = crate::cli::interrupted() => bail_interrupted(),
        };
        let interrupted = matches!(&ran, Err(error) if error.is::<Interrupted>());
        let good = ran.is_ok() && self.results[first..].iter().all(PhaseResult::is_good);
        match good || interrupted {
            true => group.stop().await,
            false => {
                let folder = group.stop_and_keep().await;
                eprintln!("the brokers' logs and journals are in {}", folder.display());
            }
        }
        ran
    }

    async fn run_phases(&mut self, phases: &[Phase], group: &mut LocalGroup) -> anyhow::Result<()> {
        group.wait_for_start().await?;
        let folder = group.folder().to_owned();
        for phase in phases {
            if !self.args.json {
                say!("{}", phase.title());
            }
            let how = How {
                rate: self.args.rate,
                chance: Chance::new(self.chance.next()),
                verbose: !self.args.json,
                folder: &folder,
            };
            let result = phase::run(*phase, how, group).await?;
            for line in result.verdict.lines().iter().chain(&result.surprises) {
                eprintln!("  {line}");
            }
            self.results.push(result);
        }
        Ok(())
    }
}

fn bail_interrupted<T>() -> anyhow::Result<T> {
    bail!(Interrupted)
}
