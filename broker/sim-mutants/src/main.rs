//! Proves that the oracle bites: runs the simulator over machines with one guard switched off each.
//!
//! For every mutant of cluster, engine and journal: the scripted schedules, then seeds, until one
//! is violated. A seed that is violated without the mutant too counts for nothing. Prints what
//! caught each mutant and how many seeds it took; exit code 1 when one survives.
//!
//! Outside the workspace's default members: it switches on the feature `mutants`, which must never
//! be built into the broker that ships.

mod mutant;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mutant::Mutant;
use tandemmq_sim::oracle::Violation;
use tandemmq_sim::run::run_seed;
use tandemmq_sim::schedules::SCHEDULES;
use tandemmq_sim::trace::Detail;

const USAGE: &str = "usage: sim-mutants [--seeds-max N] [--threads N] [--only NAME]
                   [--trace-seed N | --trace-schedule NAME]";

/// What the command line says.
struct Options {
    seeds_max: u64,
    threads: usize,
    /// Only mutants whose name contains this.
    only: Option<String>,
    /// Print the trace of this seed under the first of them.
    trace_seed: Option<u64>,
    /// Print the trace of this schedule under the first of them.
    trace_schedule: Option<String>,
}

/// What became of one mutant.
struct Fate {
    /// The first schedule it does not survive.
    schedule: Option<(&'static str, Violation)>,
    /// The first seed it does not survive, and how many were run.
    seed: Option<(u64, Violation)>,
    /// Seeds run.
    seeds: u64,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mutants: Vec<Mutant> = Mutant::all()
        .into_iter()
        .filter(|mutant| {
            options
                .only
                .as_ref()
                .is_none_or(|only| mutant.name().contains(only))
        })
        .collect();
    if let Some(mutant) = mutants.first()
        && let Some(lines) = trace(*mutant, &options)
    {
        lines.iter().for_each(|line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fate = hunt(*mutant, options.seeds_max);
                    print_fate(*mutant, &fate);
                    if fate.schedule.is_none() && fate.seed.is_none() {
                        let mut all = survivors.lock().expect("no thread panics with the lock");
                        all.push(mutant.name());
                    }
                }
            });
        }
    });
    let survivors = survivors
        .into_inner()
        .expect("no thread panics with the lock");
    println!(
        "{} mutants, {} survive: {}",
        mutants.len(),
        survivors.len(),
        survivors.join(", ")
    );
    if survivors.is_empty() && !mutants.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The trace that was asked for.
fn trace(mutant: Mutant, options: &Options) -> Option<Vec<String>> {
    mutant.switch_on();
    if let Some(seed) = options.trace_seed {
        return Some(run_seed(seed, Detail::Text).lines);
    }
    let name = options.trace_schedule.as_ref()?;
    let schedule = SCHEDULES.iter().find(|schedule| schedule.name == name)?;
    Some(schedule.run(Detail::Text).1)
}

fn options() -> Option<Options> {
    let mut options = Options {
        seeds_max: 300,
        threads: 2,
        only: None,
        trace_seed: None,
        trace_schedule: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--seeds-max" => options.seeds_max = value.parse().ok()?,
            "--threads" => options.threads = value.parse().ok().filter(|n| *n > 0)?,
            "--only" => options.only = Some(value),
            "--trace-seed" => options.trace_seed = Some(value.parse().ok()?),
            "--trace-schedule" => options.trace_schedule = Some(value),
            _ => return None,
        }
    }
    Some(options)
}

/// Seeds run for a mutant that a schedule has caught already: enough to print how soon random runs
/// would have, without running them all for a position that only a script reaches.
const SEEDS_AFTER_SCHEDULE: u64 = 60;

/// Schedules first, all of them; then seeds until one is violated by the mutant alone.
fn hunt(mutant: Mutant, seeds_max: u64) -> Fate {
    mutant.switch_on();
    let schedule = SCHEDULES
        .iter()
        .find_map(|schedule| Some((schedule.name, schedule.run(Detail::Hash).0.err()?)));
    let seeds_max = match schedule {
        Some(_) => seeds_max.min(SEEDS_AFTER_SCHEDULE),
        None => seeds_max,
    };
    let mut fate = Fate {
        schedule,
        seed: None,
        seeds: 0,
    };
    for seed in 1..=seeds_max {
        fate.seeds = seed;
        mutant.switch_on();
        let Some(violation) = run_seed(seed, Detail::Hash).violation else {
            continue;
        };
        mutant.switch_off();
        if run_seed(seed, Detail::Hash).violation.is_none() {
            fate.seed = Some((seed, violation));
            break;
        }
    }
    mutant.switch_off();
    fate
}

fn print_fate(mutant: Mutant, fate: &Fate) {
    let by_seed = match &fate.seed {
        Some((seed, violation)) => {
            format!(
                "seed {seed} of {} by {}",
                fate.seeds,
                violation.invariant.as_str()
            )
        }
        None => format!("no seed of {}", fate.seeds),
    };
    let by_schedule = match &fate.schedule {
        Some((name, violation)) => format!("schedule {name} by {}", violation.invariant.as_str()),
        None => "no schedule".to_owned(),
    };
    let word = if fate.seed.is_some() || fate.schedule.is_some() {
        "caught"
    } else {
        "SURVIVES"
    };
    println!("{:<36} {word}: {by_seed}; {by_schedule}", mutant.name());
}
