//! `chaos`: breaks a local group on purpose, under load, and judges what its clients saw.
//!
//! Three phases, each with queues and a checker of its own, the load never pausing:
//! - kills: SIGKILL of the master, N times;
//! - stop: SIGSTOP of the master for a while, then SIGCONT, with a client that stays on it;
//! - power cut: SIGKILL of all brokers at once, N times.
//!
//! Figures are printed, never judged; only the checker's rules are. A phase that acknowledged or
//! received nothing fails.

mod faults;
mod phase;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use crate::cli::bench::stats::Summary;
use crate::cli::show::say;
use crate::cli::{CliResult, parse_duration, show, whole};
use crate::supervisor::local_group::{Launch, LocalGroup};
use phase::{Fault, PhaseResult};

/// A broker that was killed comes back after this.
const RESTART_DELAY: Duration = Duration::from_millis(200);

/// Options of `chaos`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq chaos\n  tandemmq chaos --kills 100 --stop-master 20s --power-cut-all 20\n  tandemmq chaos --kills 0 --stop-master 0 --power-cut-all 5 --dir ./kept\n\nExit code 0: no rule was broken. 1: some rule was broken; the folder is kept and named."
)]
pub(super) struct Args {
    /// Times to kill the master with SIGKILL
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = whole::<u32>(0..=10_000))]
    kills: u32,
    /// Stop the master with SIGSTOP for so long, then let it go on; 0: not at all
    #[arg(long, default_value = "20s", value_parser = parse_duration, value_name = "TIME")]
    stop_master: Duration,
    /// Times to kill all brokers at once
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = whole::<u32>(0..=10_000))]
    power_cut_all: u32,
    /// Use this folder and leave it behind [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Messages a second of each of the two busy producers
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = whole::<u32>(1..=10_000))]
    rate: u32,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Breaks and judges.
pub(super) async fn run(args: Args) -> CliResult {
    let faults = args.faults();
    if faults.is_empty() {
        let text = "nothing to do: one of --kills, --stop-master, --power-cut-all must not be 0";
        return Err(crate::cli::CliError::Usage(text.into()));
    }
    let mut group = LocalGroup::launch(&Launch {
        purpose: "chaos",
        folder: args.dir.as_deref(),
        restart_delay: RESTART_DELAY,
        ..Launch::default()
    })?;
    let judged = tokio::select! {
        judged = run_phases(&args, &faults, &mut group) => judged,
        () = crate::cli::interrupted() => bail_interrupted(),
    };
    let interrupted = matches!(&judged, Err(error) if error.is::<Interrupted>());
    let good = judged
        .as_ref()
        .is_ok_and(|results| results.iter().all(PhaseResult::is_good));
    match good || interrupted {
        true => group.stop().await,
        false => {
            let folder = group.stop_and_keep().await;
            eprintln!("the brokers' logs and journals are in {}", folder.display());
        }
    }
    let results = judged?;
    match args.json {
        true => print_json(&results),
        false => print_table(&results),
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

fn bail_interrupted<T>() -> anyhow::Result<T> {
    bail!(Interrupted)
}

impl Args {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.kills > 0 {
            faults.push(Fault::Kill { times: self.kills });
        }
        if !self.stop_master.is_zero() {
            faults.push(Fault::Stop {
                time: self.stop_master,
            });
        }
        if self.power_cut_all > 0 {
            faults.push(Fault::PowerCut {
                times: self.power_cut_all,
            });
        }
        faults
    }
}

async fn run_phases(
    args: &Args,
    faults: &[Fault],
    group: &mut LocalGroup,
) -> anyhow::Result<Vec<PhaseResult>> {
    group.wait_for_start().await?;
    let mut results = Vec::new();
    for fault in faults {
        if !args.json {
            say!("{}", fault.title());
        }
        let result = phase::run(*fault, args.rate, group).await?;
        for line in result.verdict.lines().iter().chain(&result.surprises) {
            eprintln!("  {line}");
        }
        for line in result.remarks.iter().filter(|_| !args.json) {
            say!("  {line}");
        }
        results.push(result);
    }
    Ok(results)
}

fn print_table(results: &[PhaseResult]) {
    let headings = [
        "PHASE",
        "FAULTS",
        "SENT",
        "ACKED",
        "UNKNOWN",
        "RECEIVED",
        "LOST",
        "DUPLICATES",
        "ENQUEUED TWICE",
        "OUTAGE p50",
        "p99",
        "max",
        "VERDICT",
    ];
    let mut table = show::table(&headings, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    for result in results {
        let totals = &result.verdict.totals;
        let outage = Summary::of(&result.outages);
        let counts = [
            u64::from(result.faults),
            totals.sent,
            totals.acknowledged,
            totals.unknown,
            totals.received,
            totals.lost,
            totals.duplicates,
            totals.enqueued_twice,
        ];
        let mut cells = vec![result.name.to_owned()];
        cells.extend(counts.map(show::thousands));
        cells.extend([outage.p50, outage.p99, outage.max].map(show::duration));
        cells.push(if result.is_good() {
            "good".into()
        } else {
            "BROKEN".into()
        });
        table.add_row(cells);
    }
    say!();
    show::print_table(&table);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhaseJson<'a> {
    phase: &'a str,
    faults: u32,
    good: bool,
    totals: crate::checker::Totals,
    outage_ms: Summary,
    violations: Vec<String>,
}

fn print_json(results: &[PhaseResult]) {
    let phases: Vec<PhaseJson<'_>> = results
        .iter()
        .map(|result| PhaseJson {
            phase: result.name,
            faults: result.faults,
            good: result.is_good(),
            totals: result.verdict.totals,
            outage_ms: Summary::of(&result.outages),
            violations: [result.verdict.lines(), result.surprises.clone()].concat(),
        })
        .collect();
    say!(
        "{}",
        serde_json::to_string_pretty(&phases).expect("numbers have a JSON form")
    );
}
