//! `purge`: takes every message out of a queue.
//!
//! Over STOMP, with the user's own rights: it browses what is there, then consumes with
//! `client-individual` until all of that is gone, and looks again. Messages that another consumer
//! holds cannot be taken from it; they are reported.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;

use crate::cli::browse::browse_all;
use crate::cli::connect_args::ConnectArgs;
use crate::cli::destination::DestinationArg;
use crate::cli::show::say;
use crate::cli::{CliError, CliResult, load};
use crate::stomp_client::Failover;
use crate::stomp_client::receiver::{self, Ack, AckReceipts, Plan, Sink};

/// A message of the queue that has not come after so long is held by another consumer.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// Rounds of look and take. A producer that keeps sending could else keep this going for ever.
const ROUNDS_MAX: u32 = 10;

/// Options of `purge`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq purge --destination queue://TEST\n  tandemmq purge --destination queue://ActiveMQ.DLQ --dir ./cluster\n\nExit code 1: messages are left, because another consumer holds them or a producer goes on."
)]
pub(super) struct Args {
    /// Which queue: queue://NAME
    #[arg(long)]
    destination: DestinationArg,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What one round takes.
struct Taken<'a> {
    expected: &'a mut BTreeSet<String>,
    removed: &'a mut BTreeSet<String>,
    done: &'a watch::Sender<bool>,
}

/// Purges.
pub(super) async fn run(args: Args) -> CliResult {
    let queue = args
        .destination
        .queue()
        .map_err(CliError::Usage)?
        .to_owned();
    let mut failover = args.connect.failover()?;
    let stop = load::stop_on_signal();
    let mut removed = BTreeSet::new();
    let mut left = 0;
    for _ in 0..ROUNDS_MAX {
        let mut expected = look(&mut failover, &queue).await?;
        left = expected.len();
        if left == 0 || *stop.borrow() {
            break;
        }
        let before = removed.len();
        take(&mut failover, &queue, &mut expected, &mut removed).await?;
        if removed.len() == before {
            break;
        }
    }
    say!(
        "{} messages removed from {}",
        removed.len(),
        args.destination
    );
    if left > 0 {
        eprintln!("{left} messages are left: another consumer holds them, or a producer goes on");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn look(failover: &mut Failover, queue: &str) -> Result<BTreeSet<String>, CliError> {
    let connection = failover.connect().await?;
    let mut ids = BTreeSet::new();
    browse_all(connection, queue, |frame| {
        ids.extend(frame.get("message-id").map(str::to_owned));
    })
    .await?;
    Ok(ids)
}

async fn take(
    failover: &mut Failover,
    queue: &str,
    expected: &mut BTreeSet<String>,
    removed: &mut BTreeSet<String>,
) -> Result<(), CliError> {
    let plan = Plan {
        destination: format!("/queue/{queue}"),
        ack: Ack::Individual,
        receipts: AckReceipts::AtTheEnd,
        prefetch: None,
        count: None,
        idle: Some(IDLE_MAX),
        pause: Duration::ZERO,
    };
    let (done, mut stop) = watch::channel(false);
    let mut taken = Taken {
        expected,
        removed,
        done: &done,
    };
    receiver::receive_all(failover, &plan, &mut taken, &mut stop).await?;
    Ok(())
}

impl Sink for Taken<'_> {
    fn received(&mut self, frame: &Frame) {
        let Some(id) = frame.get("message-id") else {
            return;
        };
        self.expected.remove(id);
        self.removed.insert(id.to_owned());
        if self.expected.is_empty() {
            self.done.send_replace(true);
        }
    }
}
