//! `bench`: rates, latencies, CPU, disk, memory, failover and restart of one group of three on this
//! machine.
//!
//! Rounds are interleaved (probe, 1, 16, 64 producers, pipelined, probe, …), so that a disk or a
//! neighbour that gets slower shows in all of them; each figure is the median of the rounds with
//! the least and the greatest. The disk probe stands beside it: what this disk does in the best
//! case. Nothing is asserted.
//!
//! The generator shares the cores with the brokers, so it must cost little: its own CPU is printed.

mod backlog;
mod failover;
mod fill;
mod generator;
mod machine;
mod probe;
pub(super) mod procfs;
mod queues;
mod report;
mod restart;
pub(super) mod stats;
mod throughput;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;

use crate::cli::show::say;
use crate::cli::{CliResult, parse_duration, whole};
use crate::supervisor::local_group::{Launch, LocalGroup};
use report::Report;

/// A killed broker comes back after this.
const RESTART_DELAY: Duration = Duration::from_millis(200);

/// After the start, before the memory of an idle broker is read.
const IDLE_WAIT: Duration = Duration::from_secs(3);

/// Options of `bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq bench\n  tandemmq bench --quick\n  tandemmq bench --only failover --kills 50 --json\n  tandemmq bench --only memory --messages 100000\n\nRun it on a machine that does nothing else. The journals are on the disk of the folder for\ntemporary files (TMPDIR)."
)]
pub(super) struct Args {
    /// Short rounds, few kills: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Measure only this
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    /// Interleaved rounds [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=100))]
    rounds: Option<u32>,
    /// Time of each throughput measure [default: 5s, with --quick 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Times to kill the master [default: 50, with --quick 5]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=10_000))]
    kills: Option<u32>,
    /// Messages of 1 KiB in a queue while the master is killed
    #[arg(long, default_value_t = 0, value_name = "N",
          value_parser = whole::<u64>(0..=10_000_000))]
    backlog: u64,
    /// Messages of 1 KiB in a queue for memory and restart [default: 1000000, which
    /// takes 4 GiB of disk; with --quick 10000]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1_000..=10_000_000))]
    messages: Option<u64>,
    /// Queues for the part of that name [default: 10000, with --quick 500]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=100_000))]
    queues: Option<u64>,
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
    /// Memory of a queued message, and a restart of all brokers with a long queue
    Memory,
    /// Sends to many queues
    Queues,
}

/// The options with their defaults.
struct Plan {
    only: Option<Part>,
    rounds: u32,
    time: Duration,
    kills: u32,
    backlog: u64,
    messages: u64,
    queues: u64,
    probe: probe::Plan,
    /// Progress lines on stderr.
    verbose: bool,
}

/// Measures.
pub(super) async fn run(args: Args) -> CliResult {
    let plan = args.plan();
    let mut report = Report::new();
    if [Part::Idle, Part::Probe, Part::Throughput]
        .iter()
        .any(|part| plan.wants(*part))
    {
        on_fresh_group(async |group| measure_rates(&plan, group, &mut report).await).await?;
    }
    if plan.wants(Part::Failover) {
        // What the rates left behind would be measured too.
        on_fresh_group(async |group| measure_failover(&plan, group, &mut report).await).await?;
    }
    if plan.wants(Part::Memory) {
        on_fresh_group(async |group| {
            plan.say(&format!("a queue of {} messages", plan.messages));
            report.queued = Some(backlog::run(plan.messages, group).await?);
            Ok(())
        })
        .await?;
    }
    if plan.wants(Part::Queues) {
        on_fresh_group(async |group| {
            plan.say(&format!("{} queues", plan.queues));
            report.queues = Some(queues::run(plan.queues, group).await?);
            Ok(())
        })
        .await?;
    }
    match args.json {
        true => say!(
            "{}",
            serde_json::to_string_pretty(&report).expect("numbers have JSON")
        ),
        false => report.print(),
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a group, works with it, stops it, whatever happens.
async fn on_fresh_group(
    work: impl AsyncFnOnce(&mut LocalGroup) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut group = LocalGroup::launch(&Launch {
        purpose: "bench",
        restart_delay: RESTART_DELAY,
        ..Launch::default()
    })?;
    let worked = tokio::select! {
        worked = async {
            group.wait_for_start().await?;
            work(&mut group).await
        } => worked,
        () = crate::cli::interrupted() => bail_interrupted(),
    };
    let ends = group.unexpected_ends();
    group.stop().await;
    worked?;
    match ends.is_empty() {
        true => Ok(()),
        false => bail!("{}", ends.join("; ")),
    }
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
            backlog: self.backlog,
            messages: self
                .messages
                .unwrap_or(if quick { 10_000 } else { 1_000_000 }),
            queues: self.queues.unwrap_or(if quick { 500 } else { 10_000 }),
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

async fn measure_rates(
    plan: &Plan,
    group: &mut LocalGroup,
    report: &mut Report,
) -> anyhow::Result<()> {
    if plan.wants(Part::Idle) {
        tokio::time::sleep(IDLE_WAIT).await;
        report.idle = procfs::resident_bytes(&group.pids())?;
    }
    if !plan.wants(Part::Probe) && !plan.wants(Part::Throughput) {
        return Ok(());
    }
    for round in 1..=plan.rounds {
        plan.say(&format!("round {round} of {}", plan.rounds));
        report.add_probe(probe::run(&plan.probe, group.folder()).await?);
        for load in throughput::LOADS
            .iter()
            .filter(|_| plan.wants(Part::Throughput))
        {
            let measured = throughput::run(*load, plan.time, group).await?;
            plan.say(&format!("  {}: {:.0} msg/s", load.name, measured.rate));
            report.add_throughput(*load, measured);
        }
    }
    report.add_probe(probe::run(&plan.probe, group.folder()).await?);
    Ok(())
}

async fn measure_failover(
    plan: &Plan,
    group: &mut LocalGroup,
    report: &mut Report,
) -> anyhow::Result<()> {
    if plan.backlog > 0 {
        plan.say(&format!("{} messages stay queued", plan.backlog));
        let target = fill::Target {
            name: "BACKLOG",
            queues: 1,
        };
        fill::fill(plan.backlog, &target, group).await?;
    }
    plan.say(&format!("{} kills of the master", plan.kills));
    report.failover = failover::run(plan.kills, group).await?;
    report.backlog = plan.backlog;
    Ok(())
}
