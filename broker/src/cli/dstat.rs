//! `dstat`: what is in each destination, and what comes in and goes out (ActiveMQ's command).

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::show::say;
use crate::cli::show::{self, LiveBlock};
use crate::cli::status_args::StatusArgs;
use crate::cli::{CliResult, parse_duration};
use crate::supervisor::observe::ClusterView;
use crate::supervisor::status_client::DestinationStatus;

/// Options of `dstat`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq dstat --dir ./cluster\n  tandemmq dstat --dir ./cluster --watch\n  tandemmq dstat --url 127.0.0.1:9404 --json ORDERS"
)]
pub(super) struct Args {
    /// Only destinations whose name contains this
    filter: Option<String>,
    /// Repeat until Ctrl-C, with rates
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// With --watch: time between two looks
    #[arg(long, default_value = "1s", value_parser = parse_duration, requires = "watch")]
    interval: Duration,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    status: StatusArgs,
}

/// One destination of one group.
#[derive(Debug, Clone, Serialize)]
struct Row {
    group: String,
    #[serde(flatten)]
    figures: DestinationStatus,
}

/// What the last look saw, for rates.
type Counts = BTreeMap<(String, String, String), (u64, u64)>;

/// Shows.
pub(super) async fn run(args: Args) -> CliResult {
    let view = args.status.observe().await?;
    if !args.watch {
        print_once(&args, &view);
        return Ok(if view.is_complete() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(3)
        });
    }
    watch(&args, view).await
}

async fn watch(args: &Args, first: ClusterView) -> CliResult {
    let mut block = LiveBlock::default();
    let live = LiveBlock::is_possible();
    let mut before: Option<(Instant, Counts)> = None;
    let mut view = first;
    let mut end = std::pin::pin!(crate::cli::interrupted());
    loop {
        let rows = rows_of(&view, args.filter.as_deref());
        let now = Instant::now();
        let lines = rated_lines(
            &rows,
            before.as_ref().map(|(at, counts)| (now - *at, counts)),
        );
        let lines = with_absences(lines, &view);
        let is_read = match live {
            true => block.draw(&lines),
            false => show::line(&lines.join("\n")),
        };
        if !is_read {
            return Ok(ExitCode::SUCCESS);
        }
        before = Some((now, counts_of(&rows)));
        tokio::select! {
            () = tokio::time::sleep(args.interval) => {}
            () = &mut end => return Ok(ExitCode::SUCCESS),
        }
        view = args.status.observe().await?;
    }
}

fn print_once(args: &Args, view: &ClusterView) {
    let rows = rows_of(view, args.filter.as_deref());
    if args.json {
        say!(
            "{}",
            serde_json::to_string_pretty(&rows).expect("numbers have a JSON form")
        );
        return;
    }
    for line in with_absences(plain_lines(&rows), view) {
        say!("{line}");
    }
}

/// The destinations as each group's master counts them, or a slave while there is none.
fn rows_of(view: &ClusterView, filter: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in &view.groups {
        let status = group.best_status();
        let destinations = status
            .map(|status| status.destinations.as_slice())
            .unwrap_or_default();
        let wanted = destinations
            .iter()
            .filter(|figures| filter.is_none_or(|filter| figures.name.contains(filter)));
        rows.extend(wanted.map(|figures| Row {
            group: group.name.clone(),
            figures: figures.clone(),
        }));
    }
    rows.sort_by_key(key_of);
    rows
}

fn key_of(row: &Row) -> (String, String, String) {
    (
        row.group.clone(),
        row.figures.kind.clone(),
        row.figures.name.clone(),
    )
}

fn counts_of(rows: &[Row]) -> Counts {
    rows.iter()
        .map(|row| (key_of(row), (row.figures.enqueued, row.figures.dequeued)))
        .collect()
}

const HEADINGS: [&str; 9] = [
    "GROUP",
    "DESTINATION",
    "DEPTH",
    "CONSUMERS",
    "IN FLIGHT",
    "IN",
    "OUT",
    "EXPIRED",
    "TO DLQ",
];

fn cells(row: &Row) -> Vec<String> {
    let figures = &row.figures;
    let name = format!("{}://{}", figures.kind, figures.name);
    let mut cells = vec![row.group.clone(), name];
    let numbers = [
        figures.depth,
        figures.consumers,
        figures.in_flight,
        figures.enqueued,
        figures.dequeued,
        figures.expired,
        figures.dead_lettered,
    ];
    cells.extend(numbers.map(show::thousands));
    cells
}

fn plain_lines(rows: &[Row]) -> Vec<String> {
    let mut table = show::table(&HEADINGS, &[2, 3, 4, 5, 6, 7, 8]);
    for row in rows {
        table.add_row(cells(row));
    }
    show::lines_of(&table)
}

fn rated_lines(rows: &[Row], before: Option<(Duration, &Counts)>) -> Vec<String> {
    let headings = [&HEADINGS[..], &["IN/s", "OUT/s"]].concat();
    let mut table = show::table(&headings, &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for row in rows {
        let mut cells = cells(row);
        let last = before.and_then(|(time, counts)| Some((time, counts.get(&key_of(row))?)));
        match last {
            Some((time, (enqueued, dequeued))) => {
                // Counts start again with the process: a new master may have counted less.
                let came = row.figures.enqueued.saturating_sub(*enqueued);
                let went = row.figures.dequeued.saturating_sub(*dequeued);
                cells.push(show::thousands(show::rate(came, time) as u64));
                cells.push(show::thousands(show::rate(went, time) as u64));
            }
            None => cells.extend(["-".to_owned(), "-".to_owned()]),
        }
        table.add_row(cells);
    }
    show::lines_of(&table)
}

fn with_absences(mut lines: Vec<String>, view: &ClusterView) -> Vec<String> {
    for group in view.groups.iter().filter(|group| group.master.is_none()) {
        lines.push(format!("group {} has no master now", group.name));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(enqueued: u64) -> Row {
        let figures = DestinationStatus {
            name: "Q".into(),
            kind: "queue".into(),
            depth: 1_234,
            enqueued,
            ..DestinationStatus::default()
        };
        Row {
            group: "a".into(),
            figures,
        }
    }

    #[test]
    fn rates_count_since_the_last_look_and_survive_a_new_count() {
        let before = counts_of(&[row(100)]);
        let time = Duration::from_secs(2);
        let faster = rated_lines(&[row(300)], Some((time, &before))).join("\n");
        assert!(
            faster.contains("queue://Q") && faster.contains("1,234"),
            "{faster}"
        );
        let columns: Vec<&str> = faster.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(columns[9], "100", "200 more in 2 s");
        let restarted = rated_lines(&[row(5)], Some((time, &before))).join("\n");
        let columns: Vec<&str> = restarted
            .lines()
            .last()
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(columns[9], "0");
    }
}
