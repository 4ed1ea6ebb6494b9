//! `cluster-list`: groups, masters, slaves and how far they are.

use std::process::ExitCode;

use comfy_table::Table;

use crate::cli::show::say;
use crate::cli::status_args::StatusArgs;
use crate::cli::{CliResult, show};
use crate::supervisor::observe::{BrokerView, ClusterView};

/// Some group has no master.
const EXIT_NO_MASTER: u8 = 3;

/// Options of `cluster-list`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq cluster-list --dir ./cluster\n  tandemmq cluster-list --dir ./cluster --json\n  tandemmq cluster-list --url 127.0.0.1:9404\n\nExit code 0: every group has a master; 3: not every group has one."
)]
pub(super) struct Args {
    /// Print as JSON: cluster.json with role, epoch, offsets, lag and reason of each broker
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    status: StatusArgs,
}

/// Lists.
pub(super) async fn run(args: Args) -> CliResult {
    let view = args.status.observe().await?;
    match args.json {
        true => {
            say!(
                "{}",
                serde_json::to_string_pretty(&view).expect("names have a JSON form")
            );
        }
        false => print(&view),
    }
    Ok(match view.is_complete() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_NO_MASTER),
    })
}

fn print(view: &ClusterView) {
    show::print_table(&table_of(view));
    for group in view.groups.iter().filter(|group| group.master.is_none()) {
        say!("group {} has no master now", group.name);
    }
}

/// The brokers of a cluster, one a row.
pub(super) fn table_of(view: &ClusterView) -> Table {
    let headings = [
        "GROUP",
        "BROKER",
        "ROLE",
        "EPOCH",
        "APPENDED",
        "SYNCED",
        "COMMITTED",
        "APPLIED",
        "LAG",
        "PID",
        "STOMP",
        "METRICS",
        "REASON",
    ];
    let mut table = show::table(&headings, &[3, 4, 5, 6, 7, 8, 9]);
    for group in &view.groups {
        for broker in &group.brokers {
            table.add_row(cells(&group.name, broker));
        }
    }
    table
}

fn cells(group: &str, broker: &BrokerView) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let offsets = broker.offsets;
    vec![
        group.to_owned(),
        broker.entry.name.clone(),
        broker.role.clone(),
        number(broker.epoch),
        number(offsets.map(|offsets| offsets.appended)),
        number(offsets.map(|offsets| offsets.synced)),
        number(offsets.map(|offsets| offsets.committed)),
        number(offsets.map(|offsets| offsets.applied)),
        number(broker.lag),
        number(broker.entry.pid.map(u64::from)),
        broker.entry.addresses.stomp.clone(),
        broker.entry.addresses.metrics.clone(),
        broker.reason.clone(),
    ]
}
