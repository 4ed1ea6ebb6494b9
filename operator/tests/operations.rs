//! `docs/operations.md` says of every reason what it means and what to do.

use std::collections::BTreeSet;

use tandemmq_operator::api::{Reason, condition};

const PAGE: &str = include_str!("../../docs/operations.md");

/// The names in the first column of the tables of the section about conditions.
fn rows() -> BTreeSet<&'static str> {
    let (_, section) = PAGE
        .split_once("## On Kubernetes: what a BrokerCluster says")
        .expect("the section is there");
    let section = section.split("\n## ").next().expect("it has a text");
    let first = section.lines().filter_map(|l| l.strip_prefix("| `"));
    let cells = first.filter_map(|l| l.split(" |").next());
    cells
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect()
}

#[test]
fn every_reason_has_its_row() {
    let rows = rows();
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .map(|r| r.as_str())
        .filter(|r| !rows.contains(r))
        .collect();
    assert!(
        missing.is_empty(),
        "no row in docs/operations.md: {missing:?}"
    );
}

#[test]
fn every_condition_has_its_row_and_no_row_is_of_the_past() {
    let rows = rows();
    for kind in condition::ALL {
        assert!(rows.contains(kind), "no row for the condition {kind}");
    }
    let known: BTreeSet<&str> = Reason::ALL
        .iter()
        .map(|r| r.as_str())
        .chain(condition::ALL)
        .collect();
    let past: Vec<&&str> = rows.difference(&known).collect();
    assert!(past.is_empty(), "rows of what is no reason: {past:?}");
}
