//! `demo`: three brokers, a killed master, nothing lost, in under a minute.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::Verdict;
use crate::cli::judged::{Consume, Produce, Run};
use crate::cli::{CliResult, show};
use crate::supervisor::local_group::LocalGroup;
use crate::supervisor::observe::GroupView;

/// The queue of the demonstration.
const QUEUE: &str = "DEMO";

/// Sends without a receipt at once: so that the kill finds some unanswered.
const WINDOW: usize = 64;

/// A killed broker comes back after this: long enough to see the group work without it.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// The whole demonstration takes some seconds; this ends one that hangs.
const DEMO_MAX: Duration = Duration::from_secs(55);

/// The queue is empty when nothing came for so long. Deliveries follow each other within
/// milliseconds.
const IDLE: Duration = Duration::from_millis(800);

/// Options of `demo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq demo\n  tandemmq demo --messageCount 50000\n\nExit code 0: nothing was lost."
)]
pub(super) struct Args {
    /// Messages to send
    #[arg(long = "messageCount", alias = "message-count", default_value_t = 20_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(100..=200_000))]
    message_count: u64,
    /// Bytes of each message
    #[arg(long = "messageSize", alias = "message-size", default_value_t = 1_024, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    message_size: u32,
}

/// What the killed master's absence looked like.
struct Failover {
    old: String,
    new: String,
    epoch: u64,
    /// From the kill until a broker said that it serves as master.
    without_master: Duration,
    /// From the kill until a client had its next receipt.
    first_receipt: Duration,
}

/// Demonstrates.
pub(super) async fn run(args: Args) -> CliResult {
    println!("1. Three brokers start on this machine, each with its own journal.");
    let mut end = std::pin::pin!(crate::cli::interrupted());
    let started = tokio::select! {
        started = LocalGroup::start("demo", None, RESTART_DELAY) => started,
        // The brokers' stdin closes with this process; the folder goes with its owner.
        () = &mut end => bail_interrupted(),
    };
    let group = started?;
    let told = tokio::select! {
        told = timeout(DEMO_MAX, tell(&args, &group)) => match told {
            Ok(told) => told,
            Err(_) => Err(anyhow::anyhow!("it did not end within {DEMO_MAX:?}")),
        },
        () = &mut end => bail_interrupted(),
    };
    let logs = told.is_err().then(|| group.log_tails());
    group.stop().await;
    let (failover, verdict) = match told {
        Ok(told) => told,
        Err(error) => {
            eprint!("{}", logs.unwrap_or_default());
            return Err(error.into());
        }
    };
    print_result(&failover, &verdict);
    Ok(if verdict.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn bail_interrupted<T>() -> anyhow::Result<T> {
    bail!("interrupted")
}

async fn tell(args: &Args, group: &LocalGroup) -> anyhow::Result<(Failover, Verdict)> {
    let view = group.view().await;
    let master = view.master.context("the group has a master")?;
    println!(
        "   {} is master. The other two replicate its journal.",
        master
    );

    println!(
        "2. A client sends {} persistent messages of {} bytes to queue://{QUEUE} and waits for receipts.",
        show::thousands(args.message_count),
        show::thousands(u64::from(args.message_size))
    );
    let run = Run::default();
    let (_stop, stop) = watch::channel(false);
    let plan = Produce {
        producer: 1,
        queue: QUEUE.into(),
        count: Some(args.message_count),
        window: WINDOW,
        pause: Duration::ZERO,
        bytes: args.message_size as usize,
    };
    let producer = run.produce(group.failover(), plan, stop.clone());
    while run.figures.acknowledged.get() < args.message_count / 2 {
        if producer.is_finished() {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let failover = kill_master(group, &run).await?;
    producer.await.context("the producer")??;
    let acknowledged = run.checker.borrow().totals().acknowledged;
    println!(
        "   All messages are sent; {} have a receipt.",
        show::thousands(acknowledged)
    );

    println!("4. A consumer takes everything, with client-individual acknowledgements.");
    let plan = Consume {
        consumer: 1,
        queue: QUEUE.into(),
        idle: Some(IDLE),
    };
    run.consume(group.failover(), plan, stop)
        .await
        .context("the consumer")??;
    let verdict = run.checker.borrow().judge();
    Ok((failover, verdict))
}

async fn kill_master(group: &LocalGroup, run: &Run) -> anyhow::Result<Failover> {
    let view = group.view().await;
    let old = view
        .master_view()
        .context("the group has a master")?
        .entry
        .clone();
    let acknowledged = show::thousands(run.figures.acknowledged.get());
    println!(
        "3. kill -9 {} ({}) after {acknowledged} receipts.",
        old.pid.unwrap_or(0),
        old.name
    );
    let begun = Instant::now();
    run.begin_outage();
    group
        .signal(std::slice::from_ref(&old.name), Signal::KILL)
        .await?;
    let mut roles = roles_of(&view);
    let mut without_master = None;
    let mut new = (String::new(), 0);
    loop {
        let view = group.view().await;
        print_changes(&mut roles, &view, begun);
        if without_master.is_none()
            && let Some(master) = view
                .master_view()
                .filter(|master| master.entry.name != old.name)
        {
            without_master = Some(begun.elapsed());
            new = (master.entry.name.clone(), master.epoch.unwrap_or_default());
        }
        if let (Some(without_master), Some(first_receipt)) = (without_master, run.outage()) {
            println!(
                "   +{:>7}  the client has its next receipt",
                show::duration(first_receipt)
            );
            let (new, epoch) = new;
            return Ok(Failover {
                old: old.name,
                new,
                epoch,
                without_master,
                first_receipt,
            });
        }
        if begun.elapsed() > crate::supervisor::local_group::START_MAX {
            bail!("no new master took over");
        }
        sleep(Duration::from_millis(2)).await;
    }
}

type Roles = Vec<(String, String)>;

fn roles_of(view: &GroupView) -> Roles {
    view.brokers
        .iter()
        .map(|broker| {
            let serving = Some(&broker.entry.name) == view.master.as_ref();
            let role = match (&*broker.role, broker.epoch, serving) {
                ("master", Some(epoch), true) => format!("master in epoch {epoch}, serves"),
                ("master", Some(epoch), false) => {
                    format!("master in epoch {epoch}, not serving yet")
                }
                (role, ..) => role.to_owned(),
            };
            (broker.entry.name.clone(), role)
        })
        .collect()
}

fn print_changes(last: &mut Roles, view: &GroupView, begun: Instant) {
    let roles = roles_of(view);
    for now in roles.iter().filter(|now| !last.contains(now)) {
        println!(
            "   +{:>7}  {}: {}",
            show::duration(begun.elapsed()),
            now.0,
            now.1
        );
    }
    *last = roles;
}

fn print_result(failover: &Failover, verdict: &Verdict) {
    let totals = &verdict.totals;
    let mut table = show::table(&["RESULT", ""], &[]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("master before", failover.old.clone());
    row(
        "master after",
        format!("{} in epoch {}", failover.new, failover.epoch),
    );
    row("without a master", show::duration(failover.without_master));
    row(
        "kill to next receipt",
        show::duration(failover.first_receipt),
    );
    row("sent", show::thousands(totals.sent));
    row("acknowledged", show::thousands(totals.acknowledged));
    row(
        "unknown",
        format!(
            "{} (unanswered at the kill: each arrived once or not)",
            totals.unknown
        ),
    );
    row("received", show::thousands(totals.received));
    row("lost", show::thousands(totals.lost));
    row("duplicates", show::thousands(totals.duplicates));
    println!();
    show::print_table(&table);
    for line in verdict.lines() {
        println!("{line}");
    }
    println!();
    match verdict.is_good() {
        true => println!("Nothing acknowledged was lost."),
        false => println!("FAILED."),
    }
}
