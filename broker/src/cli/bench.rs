//! `bench`: rates, latencies, CPU, memory and failover of one group of three on this machine.
//!
//! Rounds are interleaved (probe, 1, 16, 64 producers, pipelined, probe, …), so that a disk or a
//! neighbour that gets slower shows in all of them; each figure is the median of the rounds with
//! the least and the greatest. The disk probe stands beside it: what this disk does in the best
//! case. Nothing is asserted.
//!
//! The generator shares the cores with the brokers, so it must cost little: its own CPU is printed.

mod failover;
mod generator;
mod machine;
mod probe;
mod procfs;
mod report;
pub(super) mod stats;
mod throughput;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;

use crate::cli::show::say;
use crate::cli::{CliResult, parse_duration};
use crate::supervisor::local_group::LocalGroup;
use report::Report;

/// A killed broker comes back after this.
const RESTART_DELAY: Duration = Duration::from_millis(200);

/// After the start, before the memory of an idle broker is read.
const IDLE_WAIT: Duration = Duration::from_secs(3);

/// Options of `bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq bench\n  tandemmq bench --quick\n  tandemmq bench --only failover --kills 50 --json\n\nRun it on a machine that does nothing else. The journals are on the disk of the folder for\ntemporary files (TMPDIR)."
)]
pub(super) struct Args {
    /// Short rounds, few kills: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Measure only this
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    /// Interleaved rounds [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Time of each throughput measure [default: 5s, with --quick 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Times to kill the master [default: 50, with --quick 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: Option<u32>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// kill -9 of the master to the next receipt
    Failover,
    /// Send rates and latencies
    Throughput,
    /// Memory of an idle broker
    Idle,
    /// The disk alone
    Probe,
}

/// The options with their defaults.
struct Plan {
    only: Option<Part>,
    rounds: u32,
    time: Duration,
    kills: u32,
    probe: probe::Plan,
    /// Progress lines on stderr.
    verbose: bool,
}

/// Measures.
pub(super) async fn run(args: Args) -> CliResult {
    let plan = args.plan();
    let mut group = LocalGroup::launch("bench", None, RESTART_DELAY)?;
    let measured = tokio::select! {
        measured = measure(&plan, &mut group) => measured,
        () = crate::cli::interrupted() => bail_interrupted(),
    };
    group.stop().await;
    let report = measured?;
    match args.json {
        true => say!(
            "{}",
            serde_json::to_string_pretty(&report).expect("numbers have JSON")
        ),
        false => report.print(),
    }
    Ok(ExitCode::SUCCESS)
}

fn bail_interrupted<T>() -> anyhow::Result<T> {
    bail!("interrupted")
}

impl Args {
    fn plan(&self) -> Plan {
        let quick = self.quick;
        Plan {
            only: self.only,
            rounds: self.rounds.unwrap_or(if quick { 1 } else { 3 }),
            time: self
                .time
                .unwrap_or_else(|| Duration::from_secs(if quick { 1 } else { 5 })),
            kills: self.kills.unwrap_or(if quick { 5 } else { 50 }),
            probe: probe::Plan {
                time: Duration::from_millis(if quick { 300 } else { 1_500 }),
            },
            verbose: !self.json,
        }
    }
}

impl Plan {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    fn say(&self, text: &str) {
        if self.verbose {
            eprintln!("{text}");
        }
    }
}

async fn measure(plan: &Plan, group: &mut LocalGroup) -> anyhow::Result<Report> {
    group.wait_for_start().await?;
    let mut report = Report::new(group.names().len());
    if plan.wants(Part::Idle) {
        tokio::time::sleep(IDLE_WAIT).await;
        report.idle = procfs::resident_bytes(&group.pids())?;
    }
    for round in 1..=plan.rounds {
        plan.say(&format!("round {round} of {}", plan.rounds));
        if plan.wants(Part::Probe) || plan.wants(Part::Throughput) {
            report.add_probe(probe::run(&plan.probe, group.folder()).await?);
        }
        if plan.wants(Part::Throughput) {
            for load in throughput::LOADS {
                let measured = throughput::run(load, plan.time, group).await?;
                plan.say(&format!("  {}: {:.0} msg/s", load.name, measured.rate));
                report.add_throughput(load, measured);
            }
        }
    }
    if plan.wants(Part::Throughput) {
        report.add_probe(probe::run(&plan.probe, group.folder()).await?);
    }
    if plan.wants(Part::Failover) {
        plan.say(&format!("{} kills of the master", plan.kills));
        report.failover = failover::run(plan.kills, group).await?;
    }
    let ends = group.unexpected_ends();
    if !ends.is_empty() {
        bail!("{}", ends.join("; "));
    }
    Ok(report)
}
