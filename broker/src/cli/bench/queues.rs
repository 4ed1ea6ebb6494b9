//! Many queues: the rate of sends to them, their memory, a restart with them.

use std::time::Duration;

use serde::Serialize;

use crate::cli::bench::fill::{self, Target};
use crate::cli::bench::{procfs, restart};
use crate::cli::show::{self, say};
use crate::supervisor::local_group::LocalGroup;

/// Between the last receipt and the reading: slaves apply what is committed meanwhile.
const SETTLE: Duration = Duration::from_secs(2);

/// Messages to each queue after the one that made it.
const MORE: u64 = 4;

/// What many queues cost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queues {
    queues: u64,
    /// Sends a second, each to a queue that is not there yet.
    new_rate: f64,
    /// Sends a second to queues that are there.
    rate: f64,
    /// Resident bytes of each broker before, and with one message in each queue.
    empty: Vec<u64>,
    with_queues: Vec<u64>,
    /// From the start of all processes to the first delivery.
    restart_seconds: f64,
}

/// Makes so many queues and measures.
pub(super) async fn run(queues: u64, group: &LocalGroup) -> anyhow::Result<Queues> {
    let target = Target {
        name: "MANY",
        queues,
    };
    let empty = resident(group).await?;
    let new = fill::fill(queues, &target, group).await?;
    let with_queues = resident(group).await?;
    let again = fill::fill(MORE * queues, &target, group).await?;
    let restart = restart::run(&target.destination(queues - 1), group).await?;
    Ok(Queues {
        queues,
        new_rate: show::rate(queues, new),
        rate: show::rate(MORE * queues, again),
        empty,
        with_queues,
        restart_seconds: restart.as_secs_f64(),
    })
}

async fn resident(group: &LocalGroup) -> anyhow::Result<Vec<u64>> {
    tokio::time::sleep(SETTLE).await;
    procfs::resident_bytes(&group.pids())
}

// === impl Queues ===

impl Queues {
    /// For people.
    pub(super) fn print(&self) {
        let title = format!("{} QUEUES, MESSAGES OF 1 KiB", show::thousands(self.queues));
        let mut table = show::table(&[&title, ""], &[]);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        let rate = |rate: f64| format!("{} msg/s", show::thousands(rate as u64));
        row("sends, each to a new queue", rate(self.new_rate));
        row("sends to queues that are there", rate(self.rate));
        row("memory of each broker before", all(&self.empty));
        row("with one message in each queue", all(&self.with_queues));
        let restart = Duration::from_secs_f64(self.restart_seconds);
        row(
            "all killed, started, first delivery",
            show::duration(restart),
        );
        say!();
        show::print_table(&table);
    }
}

fn all(bytes: &[u64]) -> String {
    let all: Vec<String> = bytes.iter().map(|bytes| show::mebibytes(*bytes)).collect();
    all.join(", ")
}
