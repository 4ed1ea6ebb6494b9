//! What `chaos` prints at the end.

use serde::Serialize;

use crate::checker::Totals;
use crate::cli::bench::stats::Summary;
use crate::cli::chaos::phase::PhaseResult;
use crate::cli::show::{self, say};

/// A table, one row a phase.
pub(super) fn print_table(results: &[PhaseResult]) {
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
        table.add_row(cells(result));
    }
    say!();
    show::print_table(&table);
}

fn cells(result: &PhaseResult) -> Vec<String> {
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
    cells
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhaseJson<'a> {
    phase: &'a str,
    faults: u32,
    good: bool,
    totals: Totals,
    outage_ms: Summary,
    violations: Vec<String>,
}

/// The same for scripts.
pub(super) fn print_json(results: &[PhaseResult]) {
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
