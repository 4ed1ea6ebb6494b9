//! `demo`: three brokers, a killed master, nothing lost, in under a minute.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::Verdict;
use crate::cli::judged::{Consume, Produce, Proof, Run};
use crate::cli::show::say;
use crate::cli::{CliResult, show, whole};
use crate::supervisor::local_group::{Launch, LocalGroup, START_MAX};
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
          value_parser = whole::<u64>(100..=200_000))]
    message_count: u64,
    /// Bytes of each message
    #[arg(long = "messageSize", alias = "message-size", default_value_t = 1_024, value_name = "BYTES",
          value_parser = whole::<u32>(1..=100_000))]
    message_size: u32,
}

/// What the killed master's absence looked like.
struct Failover {
    old: String,
    new: String,
    epoch: u64,
    /// From the kill until the client had its next receipt.
    without_master: Duration,
}

/// Demonstrates.
pub(super) async fn run(args: Args) -> CliResult {
    say!("1. Three brokers start on this machine, each with its own journal.");
    let mut group = LocalGroup::launch(&Launch {
        purpose: "demo",
        restart_delay: RESTART_DELAY,
        ..Launch::default()
    })?;
    let told = tokio::select! {
        told = timeout(DEMO_MAX, tell(&args, &mut group)) => match told {
            Ok(told) => told,
            Err(_) => Err(anyhow::anyhow!("it did not end within {DEMO_MAX:?}")),
        },
        () = crate::cli::interrupted() => bail_interrupted(),
    };
    group.stop().await;
    let (failover, verdict) = told?;
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

async fn tell(args: &Args, group: &mut LocalGroup) -> anyhow::Result<(Failover, Verdict)> {
    group.wait_for_start().await?;
    let view = group.view().await;
    let master = view.master.context("the group has a master")?;
    say!(
        "   {} is master. The other two replicate its journal.",
        master
    );

    say!(
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
    say!(
        "   All messages are sent; {} have a receipt.",
        show::thousands(acknowledged)
    );

    say!("4. A consumer takes everything, with client-individual acknowledgements.");
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
    say!(
        "3. kill -9 {} ({}) after {acknowledged} receipts.",
        old.pid.unwrap_or(0),
        old.name
    );
    let begun = Instant::now();
    run.begin_outage(Proof::NewConnection);
    group
        .signal(std::slice::from_ref(&old.name), Signal::KILL)
        .await?;
    let mut roles = roles_of(&view);
    let mut receipt = None;
    loop {
        if receipt.is_none()
            && let Some(time) = run.outage()
        {
            say!(
                "   +{:>8}  the client has its next receipt",
                show::duration(time)
            );
            receipt = Some(time);
        }
        let view = group.view().await;
        print_changes(&mut roles, &view, begun);
        let master = view.master_view();
        if let (Some(without_master), Some(master)) = (receipt, master)
            && master.entry.name != old.name
        {
            return Ok(Failover {
                old: old.name,
                new: master.entry.name.clone(),
                epoch: master.epoch.unwrap_or_default(),
                without_master,
            });
        }
        if begun.elapsed() > START_MAX {
            bail!("no new master took over");
        }
        sleep(Duration::from_millis(1)).await;
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
        say!(
            "   +{:>8}  {}: {}",
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
    say!();
    show::print_table(&table);
    for line in verdict.lines() {
        say!("{line}");
    }
    say!();
    match verdict.is_good() {
        true => say!("Nothing acknowledged was lost."),
        false => say!("FAILED."),
    }
}
