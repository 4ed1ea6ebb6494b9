//! What a benchmark found, for people and for scripts.

use std::time::Duration;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::cli::bench::backlog::Backlog;
use crate::cli::bench::failover::Failover;
use crate::cli::bench::machine::Machine;
use crate::cli::bench::probe::Probe;
use crate::cli::bench::queues::Queues;
use crate::cli::bench::stats::{Spread, Summary};
use crate::cli::bench::throughput::{BODY_BYTES, Load, Measured};
use crate::cli::show;
use crate::cli::show::say;
use crate::supervisor::local_group::REPLICAS;

/// Everything, in the order of a run. A part that was not measured is empty.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    machine: Machine,
    replicas: u8,
    body_bytes: usize,
    /// One thread: p50 of 4 KiB write + fdatasync, each round.
    probe_alone: Vec<Summary>,
    /// Three threads at once.
    probe_three: Vec<Summary>,
    throughput: Vec<Row>,
    /// Resident bytes of each broker some seconds after the start.
    pub(super) idle: Vec<u64>,
    /// From each kill of the master on.
    #[serde(serialize_with = "as_summaries")]
    pub(super) failover: Vec<Failover>,
    /// Messages that were queued meanwhile.
    pub(super) backlog: u64,
    /// A long queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queued: Option<Backlog>,
    /// Many queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queues: Option<Queues>,
}

#[derive(Debug, Serialize)]
struct Row {
    load: &'static str,
    rounds: Vec<Measured>,
}

// === impl Report ===

impl Report {
    /// Nothing measured yet.
    pub(super) fn new() -> Self {
        Self {
            machine: Machine::here(),
            replicas: REPLICAS,
            body_bytes: BODY_BYTES,
            probe_alone: Vec::new(),
            probe_three: Vec::new(),
            throughput: Vec::new(),
            idle: Vec::new(),
            failover: Vec::new(),
            backlog: 0,
            queued: None,
            queues: None,
        }
    }

    /// One more probe of the disk.
    pub(super) fn add_probe(&mut self, probe: Probe) {
        self.probe_alone.push(probe.alone);
        self.probe_three.push(probe.three);
    }

    /// One more round of a load.
    pub(super) fn add_throughput(&mut self, load: Load, measured: Measured) {
        match self.throughput.iter_mut().find(|row| row.load == load.name) {
            Some(row) => row.rounds.push(measured),
            None => self.throughput.push(Row {
                load: load.name,
                rounds: vec![measured],
            }),
        }
    }

    /// For people.
    pub(super) fn print(&self) {
        let machine = &self.machine;
        say!(
            "{}, commit {}, tandemmq {} ({}), {} cores, {}, Linux {}",
            machine.date,
            machine.commit,
            machine.version,
            machine.profile,
            machine.cores,
            machine.processor,
            machine.kernel,
        );
        if !self.probe_alone.is_empty() {
            self.print_probe();
        }
        if !self.throughput.is_empty() {
            self.print_throughput();
        }
        if !self.idle.is_empty() {
            let all: Vec<String> = self
                .idle
                .iter()
                .map(|bytes| show::mebibytes(*bytes))
                .collect();
            say!(
                "\nIdle memory of each broker (resident): {}",
                all.join(", ")
            );
        }
        if !self.failover.is_empty() {
            self.print_failover();
        }
        if let Some(queued) = &self.queued {
            queued.print();
        }
        if let Some(queues) = &self.queues {
            queues.print();
        }
    }

    fn print_probe(&self) {
        let mut table = show::table(&["DISK: 4 KiB write + fdatasync", "p50", "p99"], &[1, 2]);
        for (name, rounds) in [
            ("alone", &self.probe_alone),
            ("three at once", &self.probe_three),
        ] {
            let p50 = spread_of(rounds.iter().map(|summary| summary.p50));
            let p99 = spread_of(rounds.iter().map(|summary| summary.p99));
            table.add_row([name.to_owned(), p50, p99]);
        }
        say!();
        show::print_table(&table);
    }

    fn print_throughput(&self) {
        let title = format!(
            "PERSISTENT SENDS, {} B, {} REPLICAS",
            self.body_bytes, self.replicas
        );
        let headings = [
            title.as_str(),
            "msg/s",
            "p50",
            "p99",
            "CPU µs/msg",
            "GENERATOR µs/msg",
            "WRITTEN B/B",
        ];
        let mut table = show::table(&headings, &[1, 2, 3, 4, 5, 6]);
        for row in &self.throughput {
            let of = |figure: fn(&Measured) -> f64| Spread::of(row.rounds.iter().map(figure));
            let times =
                |figure: fn(&Measured) -> Duration| spread_of(row.rounds.iter().map(figure));
            table.add_row([
                row.load.to_owned(),
                whole(of(|measured| measured.rate)),
                times(|measured| measured.latency.p50),
                times(|measured| measured.latency.p99),
                tenths(of(|measured| measured.cpu_micros)),
                tenths(of(|measured| measured.generator_micros)),
                written(&row.rounds),
            ]);
        }
        say!();
        show::print_table(&table);
        say!(
            "Median of {} rounds (least – greatest).",
            self.throughput[0].rounds.len()
        );
        say!(
            "WRITTEN B/B: bytes that each broker wrote to its disk for one byte of the bodies, \
             zero-filling ahead included."
        );
    }

    fn print_failover(&self) {
        let title = format!(
            "kill -9 OF THE MASTER, {} TIMES, {} MESSAGES QUEUED",
            self.failover.len(),
            show::thousands(self.backlog)
        );
        let mut table = show::table(&[title.as_str(), "p50", "p99", "max"], &[1, 2, 3]);
        for (name, summary) in summaries_of(&self.failover) {
            let times = [summary.p50, summary.p99, summary.max].map(show::duration);
            let mut cells = vec![name.to_owned()];
            cells.extend(times);
            table.add_row(cells);
        }
        say!();
        show::print_table(&table);
    }
}

fn summaries_of(failovers: &[Failover]) -> [(&'static str, Summary); 3] {
    let of = |time: fn(&Failover) -> Duration| {
        let times: Vec<Duration> = failovers.iter().map(time).collect();
        Summary::of(&times)
    };
    [
        (
            "to the end of the old connection",
            of(|failover| failover.ended),
        ),
        (
            "to CONNECTED of the new master",
            of(|failover| failover.connected),
        ),
        ("to the next receipt", of(|failover| failover.receipt)),
    ]
}

fn spread_of(times: impl Iterator<Item = Duration>) -> String {
    let spread = Spread::of(times.map(|time| time.as_secs_f64()));
    let [median, min, max] = [spread.median, spread.min, spread.max]
        .map(|seconds| show::duration(Duration::from_secs_f64(seconds)));
    format!("{median} ({min} – {max})")
}

fn whole(spread: Spread) -> String {
    let [median, min, max] =
        [spread.median, spread.min, spread.max].map(|figure| show::thousands(figure as u64));
    format!("{median} ({min} – {max})")
}

/// Each broker's median.
fn written(rounds: &[Measured]) -> String {
    let members = rounds.first().map_or(0, |round| round.written.len());
    let median = |member: usize| {
        let of = rounds.iter().filter_map(|round| round.written.get(member));
        format!("{:.1}", Spread::of(of.copied()).median)
    };
    (0..members).map(median).collect::<Vec<_>>().join(" ")
}

fn tenths(spread: Spread) -> String {
    format!(
        "{:.1} ({:.1} – {:.1})",
        spread.median, spread.min, spread.max
    )
}

fn as_summaries<S: Serializer>(failovers: &[Failover], serializer: S) -> Result<S::Ok, S::Error> {
    let [ended, connected, receipt] = summaries_of(failovers).map(|(_, summary)| summary);
    let mut map = serializer.serialize_map(Some(3))?;
    map.serialize_entry("ended", &ended)?;
    map.serialize_entry("connected", &connected)?;
    map.serialize_entry("receipt", &receipt)?;
    map.end()
}
