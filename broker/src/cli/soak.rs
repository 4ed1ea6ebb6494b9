//! `soak`: one group of three under full load with a constant backlog, for minutes or hours.
//!
//! Every few seconds a line: rate, slowest send, memory and disk of each broker. At the end what must
//! not happen to a group that runs for years: memory or disk that grows, a send that hangs, a lost
//! message. The first third of the run does not count for growth: caches fill, segments are made.

mod clients;
mod seen;
mod shared;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use crate::cli::bench::procfs;
use crate::cli::chaos::volume;
use crate::cli::show::{self, say};
use crate::cli::{CliError, CliResult, parse_duration, whole};
use crate::supervisor::local_group::{Launch, LocalGroup};
use clients::Clients;
use shared::{Plan, Shared};
use verdict::Sample;

/// A broker that ends by itself comes back after this; that it ended fails the run.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// A folder that takes more ends the run early, before it fills the machine's disk.
const DISK_STOP_BYTES: u64 = 16 << 30;

/// Fewer samples cannot be cut into thirds.
const SAMPLES_MIN: u32 = 6;

/// Options of `soak`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq soak --duration 20m\n  tandemmq soak --duration 1m --every 2s --backlog 20000\n\nExit code 0: memory and disk flat, no send slower than 2 s, nothing lost. The brokers' journals\nare on the disk of the folder for temporary files (TMPDIR), or in --dir."
)]
pub(super) struct Args {
    /// How long
    #[arg(long, default_value = "20m", value_parser = parse_duration, value_name = "TIME")]
    duration: Duration,
    /// Between two lines
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    every: Duration,
    /// Messages that stay queued all the time
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = whole::<u64>(1_000..=10_000_000))]
    backlog: u64,
    /// Producers, each with 64 sends unanswered at once, and as many consumers
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = whole::<u32>(1..=100))]
    clients: u32,
    /// Bytes of each message
    #[arg(long = "messageSize", alias = "message-size", default_value_t = 1_024, value_name = "BYTES",
          value_parser = whole::<u32>(1..=100_000))]
    message_size: u32,
    /// Use this folder and leave it behind [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Soaks.
pub(super) async fn run(args: Args) -> CliResult {
    if args.every.is_zero() || args.duration < args.every * SAMPLES_MIN {
        let text = format!("--duration must be {SAMPLES_MIN} times --every or more");
        return Err(CliError::Usage(text));
    }
    let mut group = LocalGroup::launch(&Launch {
        purpose: "soak",
        folder: args.dir.as_deref(),
        restart_delay: RESTART_DELAY,
        ..Launch::default()
    })?;
    let soaked = tokio::select! {
        soaked = soak(&args, &mut group) => soaked,
        () = crate::cli::interrupted() => bail_interrupted(),
    };
    group.stop().await;
    let good = soaked?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn bail_interrupted<T>() -> anyhow::Result<T> {
    bail!("interrupted")
}

/// True when nothing happened that must not.
async fn soak(args: &Args, group: &mut LocalGroup) -> anyhow::Result<bool> {
    group.wait_for_start().await?;
    let shared = Rc::new(Shared::new(Plan {
        clients: args.clients,
        backlog: args.backlog,
        bytes: args.message_size as usize,
    }));
    let clients = Clients::start(&shared, group);
    say!("{}", head(group));
    let mut samples = Vec::new();
    let begun = Instant::now();
    let mut next = begun + args.every;
    while next <= begun + args.duration {
        tokio::time::sleep_until(next).await;
        let sample = sample(&shared, group, args.every)?;
        say!("{}", line(begun.elapsed(), &sample));
        let largest = sample.disk.iter().copied().max().unwrap_or(0);
        samples.push(sample);
        if largest > DISK_STOP_BYTES {
            say!(
                "a folder has {}: the run ends early",
                show::mebibytes(largest)
            );
            break;
        }
        next += args.every;
    }
    clients.drain().await?;
    let ends = group.unexpected_ends();
    for end in &ends {
        say!("{end}");
    }
    let judged = verdict::judge(&samples, &shared);
    judged.print();
    Ok(judged.is_good() && ends.is_empty())
}

fn sample(shared: &Shared, group: &LocalGroup, time: Duration) -> anyhow::Result<Sample> {
    let interval = shared.take_interval();
    let mut disk = Vec::new();
    for broker in group.entry().brokers {
        disk.push(disk_bytes(&broker.data_dir)?);
    }
    Ok(Sample {
        rate: show::rate(interval.acknowledged, time),
        slowest: interval.slowest,
        depth: shared.depth(),
        memory: procfs::resident_bytes(&group.pids())?,
        disk,
    })
}

fn disk_bytes(folder: &Path) -> std::io::Result<u64> {
    let files = volume::files(folder)?;
    Ok(files.iter().map(|(_, bytes)| bytes).sum())
}

fn head(group: &LocalGroup) -> String {
    let names = group.names().join(" / ");
    format!("    TIME     msg/s  SLOWEST SEND    QUEUED  MEMORY {names} MiB  DISK {names} MiB")
}

fn line(time: Duration, sample: &Sample) -> String {
    let seconds = time.as_secs();
    let all = |bytes: &[u64]| {
        let all = bytes
            .iter()
            .map(|bytes| format!("{:.0}", *bytes as f64 / f64::from(1 << 20)));
        all.collect::<Vec<_>>().join(" / ")
    };
    format!(
        "{:>5}:{:02}  {:>8}  {:>12}  {:>8}  {}  {}",
        seconds / 60,
        seconds % 60,
        show::thousands(sample.rate as u64),
        show::duration(sample.slowest),
        show::thousands(sample.depth),
        all(&sample.memory),
        all(&sample.disk),
    )
}
