//! `sim`: runs seeds over all cores, replays one, lists the schedules.
//!
//! Exit code 0: no violation. 1: at least one, each printed as one line. 2: bad options.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use tandemmq_sim::run::{Report, Sums, run_seed, run_seed_twice};
use tandemmq_sim::schedules::SCHEDULES;
use tandemmq_sim::soak::soak;
use tandemmq_sim::trace::Detail;

/// Seeds at the start of a run that are run twice to compare their traces.
const TWICE: u64 = 10;

/// Violations printed before the run gives up: more of the same tell nothing new.
const VIOLATIONS_MAX: u64 = 20;

#[derive(Parser)]
#[command(
    name = "sim",
    about = "Simulates groups of TandemMQ brokers, faults and all."
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds and every schedule.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        start: u64,
        /// Threads, each running seeds of its own.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Run one seed or schedule and print its whole trace.
    Replay {
        /// Which seed.
        #[arg(long, conflicts_with = "schedule")]
        seed: Option<u64>,
        /// Which schedule.
        #[arg(long)]
        schedule: Option<String>,
    },
    /// Run one calm group under a steady load for hours of virtual time: it must stay flat.
    Soak {
        /// How many hours.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        hours: u64,
    },
    /// List the scripted schedules.
    Schedules,
}

fn main() -> ExitCode {
    match Options::parse().command {
        Command::Run {
            seeds,
            start,
            threads,
        } => run(seeds, start, threads.max(1)),
        Command::Replay {
            seed: Some(seed), ..
        } => replay_seed(seed),
        Command::Replay {
            schedule: Some(name),
            ..
        } => replay_schedule(&name),
        Command::Replay { .. } => {
            eprintln!("sim: replay needs --seed N or --schedule NAME");
            ExitCode::from(2)
        }
        Command::Soak { hours } => run_soak(hours),
        Command::Schedules => {
            for schedule in SCHEDULES {
                println!("{:<72} {}", schedule.name, schedule.claim);
            }
            ExitCode::SUCCESS
        }
    }
}

/// A line an hour.
#[allow(clippy::disallowed_methods)] // The binary measures its own speed; no machine sees it.
fn run_soak(hours: u64) -> ExitCode {
    let begin = Instant::now();
    println!("  HOURS  ACKNOWLEDGED  QUEUED  SLOWEST SEND  JOURNAL KiB  FILES  STATE BYTES");
    let soaked = soak(hours * 60, |sample| {
        if sample.at.as_secs().is_multiple_of(3_600) {
            println!(
                "{:>7}  {:>12}  {:>6}  {:>9} ms  {:>11}  {:>5}  {:>11}",
                sample.at.as_secs() / 3_600,
                sample.acknowledged,
                sample.queued,
                sample.slowest.as_millis(),
                sample.journal_bytes / 1024,
                sample.files,
                sample.state_bytes,
            );
        }
    });
    let elapsed = begin.elapsed().as_secs_f64();
    match soaked {
        Ok(_) => {
            println!("{hours} hours of virtual time in {elapsed:.1} s: flat, no violation");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("soak: {violation}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Shared {
    sums: Mutex<Sums>,
    next: AtomicU64,
    violations: AtomicU64,
}

#[allow(clippy::disallowed_methods)] // The binary measures its own speed; no machine sees it.
fn run(seeds: u64, start: u64, threads: usize) -> ExitCode {
    let begin = Instant::now();
    let shared = Shared::default();
    let mut failed = run_schedules();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&shared, seeds, start, begin));
        }
    });
    let elapsed = begin.elapsed();
    let sums = shared
        .sums
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    print_sums(&sums, elapsed);
    failed += shared.violations.load(Ordering::Relaxed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_schedules() -> u64 {
    let mut failed = 0;
    for schedule in SCHEDULES {
        if let Err(violation) = schedule.run(Detail::Hash).0 {
            failed += 1;
            let name = schedule.name;
            println!("schedule {name}: {violation}; replay: sim replay --schedule {name}");
        }
    }
    println!("{} schedules, {failed} violated", SCHEDULES.len());
    failed
}

fn work(shared: &Shared, seeds: u64, start: u64, begin: Instant) {
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= seeds || shared.violations.load(Ordering::Relaxed) >= VIOLATIONS_MAX {
            return;
        }
        let seed = start + number;
        let report = if number < TWICE {
            run_seed_twice(seed)
        } else {
            run_seed(seed, Detail::Hash)
        };
        if let Some(violation) = &report.violation {
            shared.violations.fetch_add(1, Ordering::Relaxed);
            println!("seed {seed}: {violation}; replay: sim replay --seed {seed}");
        }
        let mut sums = shared
            .sums
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        sums.add(&report);
        if sums.runs.is_multiple_of(100) {
            let rate = sums.runs as f64 / begin.elapsed().as_secs_f64();
            println!("{} of {seeds} seeds, {rate:.1} a second", sums.runs);
        }
    }
}

fn print_sums(sums: &Sums, elapsed: Duration) {
    let rate = sums.runs as f64 / elapsed.as_secs_f64();
    println!(
        "{} seeds in {:.1} s ({rate:.1} a second), {} s of virtual time",
        sums.runs,
        elapsed.as_secs_f64(),
        sums.time.as_secs()
    );
    println!(
        "elections {}, receipts {} (durable messages {}, transactions {}), received {} \
         (redelivered {})",
        sums.elections,
        sums.receipts,
        sums.acknowledged,
        sums.committed,
        sums.received,
        sums.redelivered
    );
    println!(
        "processes started {}, aborted {}, logs cut {}, frames {} (late or doubled {}), deliveries \
         handed back {}",
        sums.starts, sums.aborts, sums.cuts, sums.frames, sums.late_frames, sums.handed_back
    );
    println!(
        "checkpoints {}, installs {}, joins {}, config records {}, set aside {}, repaired {}",
        sums.checkpoints, sums.installs, sums.joins, sums.configs, sums.set_asides, sums.repairs
    );
    println!(
        "compared: records {}, state digests {}, restored states {}, claims about disks {}, votes {}",
        sums.records, sums.digests, sums.restored, sums.claims, sums.votes
    );
    let faults: Vec<String> = sums
        .faults
        .iter()
        .map(|(kind, count)| format!("{} {count}", kind.as_str()))
        .collect();
    println!("faults: {}", faults.join(", "));
}

fn replay_seed(seed: u64) -> ExitCode {
    let report = run_seed(seed, Detail::Text);
    print_trace(&report.lines);
    println!("{:#?}", tandemmq_sim::seeds::Plan::draw(seed));
    println!(
        "trace hash {:016x}, {} steps",
        report.trace_hash, report.steps
    );
    verdict(seed, &report)
}

fn verdict(seed: u64, report: &Report) -> ExitCode {
    match &report.violation {
        None => {
            println!("seed {seed}: no violation");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: {violation}; replay: sim replay --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

fn replay_schedule(name: &str) -> ExitCode {
    let Some(schedule) = SCHEDULES.iter().find(|schedule| schedule.name == name) else {
        eprintln!("sim: no schedule is named {name}; `sim schedules` lists them");
        return ExitCode::from(2);
    };
    let (judged, lines) = schedule.run(Detail::Text);
    print_trace(&lines);
    match judged {
        Ok(()) => {
            println!("schedule {name}: holds");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("schedule {name}: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// A closed pipe (`| head`) ends the listing, not the program.
fn print_trace(lines: &[String]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}
