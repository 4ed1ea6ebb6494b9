//! What a soak proves: flat memory, flat disk, no send that hung, nothing lost.

use std::time::Duration;

use crate::cli::show::{self, say};
use crate::cli::soak::shared::{Shared, Totals};

/// A slower send has hung: a fail-over takes less.
const SEND_MAX: Duration = Duration::from_secs(2);

/// Mean memory of a broker in the last third may exceed that of the second by this share, and by
/// this much whatever the share is: an allocator returns what is freed when it likes.
const MEMORY_GROWTH_PERCENT: u64 = 10;
const MEMORY_GROWTH_BYTES: u64 = 16 << 20;

/// The same of the greatest disk usage: segments of 64 MiB come and go, a checkpoint is written
/// beside the last one.
const DISK_GROWTH_PERCENT: u64 = 10;
const DISK_GROWTH_BYTES: u64 = 192 << 20;

/// One line of the run.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) rate: f64,
    pub(super) slowest: Duration,
    pub(super) depth: u64,
    /// Of each broker.
    pub(super) memory: Vec<u64>,
    pub(super) disk: Vec<u64>,
}

/// Growth of one figure of one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Growth {
    second: u64,
    last: u64,
    is_flat: bool,
}

/// The judgement.
pub(super) struct Judged {
    memory: Vec<Growth>,
    disk: Vec<Growth>,
    slowest: Duration,
    rate: f64,
    totals: Totals,
    refused: u64,
    repeated: u64,
    connections_lost: u64,
}

/// Judges a run; what comes without samples is not good.
pub(super) fn judge(samples: &[Sample], shared: &Shared) -> Judged {
    let third = samples.len() / 3;
    let (second, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let brokers = samples.first().map_or(0, |sample| sample.memory.len());
    let memory = |broker: usize| {
        let mean = |part: &[Sample]| {
            let sum: u64 = part.iter().map(|sample| sample.memory[broker]).sum();
            sum / (part.len().max(1) as u64)
        };
        Growth::new(
            mean(second),
            mean(last),
            MEMORY_GROWTH_PERCENT,
            MEMORY_GROWTH_BYTES,
        )
    };
    let disk = |broker: usize| {
        let max = |part: &[Sample]| part.iter().map(|sample| sample.disk[broker]).max();
        let (second, last) = (max(second).unwrap_or(0), max(last).unwrap_or(0));
        Growth::new(second, last, DISK_GROWTH_PERCENT, DISK_GROWTH_BYTES)
    };
    let rates = samples.iter().map(|sample| sample.rate).sum::<f64>();
    Judged {
        memory: (0..brokers).map(memory).collect(),
        disk: (0..brokers).map(disk).collect(),
        slowest: samples
            .iter()
            .map(|sample| sample.slowest)
            .max()
            .unwrap_or(Duration::MAX),
        rate: rates / samples.len().max(1) as f64,
        totals: shared.totals(),
        refused: shared.refused.get(),
        repeated: shared.repeated.get(),
        connections_lost: shared.lost.get(),
    }
}

// === impl Growth ===

impl Growth {
    const fn new(second: u64, last: u64, percent: u64, bytes: u64) -> Self {
        let more = last.saturating_sub(second);
        Self {
            second,
            last,
            is_flat: more <= bytes || more * 100 <= second * percent,
        }
    }

    fn text(self) -> String {
        format!(
            "{} → {}",
            show::mebibytes(self.second),
            show::mebibytes(self.last)
        )
    }
}

// === impl Judged ===

impl Judged {
    /// Nothing happened that must not.
    pub(super) fn is_good(&self) -> bool {
        self.rows().iter().all(|(_, _, good)| *good)
    }

    /// What is judged: name, figures, good.
    fn rows(&self) -> [(&'static str, String, bool); 5] {
        let growth = |all: &[Growth]| {
            let text: Vec<String> = all.iter().map(|growth| growth.text()).collect();
            (text.join(", "), all.iter().all(|growth| growth.is_flat))
        };
        let (memory, memory_flat) = growth(&self.memory);
        let (disk, disk_flat) = growth(&self.disk);
        let Totals {
            acknowledged,
            received,
            lost,
        } = self.totals;
        let messages = format!(
            "{} acknowledged, {} received, {} lost, {} repeated",
            show::thousands(acknowledged),
            show::thousands(received),
            show::thousands(lost),
            show::thousands(self.repeated)
        );
        let nothing_lost = lost == 0 && self.repeated == 0 && acknowledged > 0;
        [
            ("memory, second third → last", memory, memory_flat),
            ("disk, second third → last", disk, disk_flat),
            (
                "slowest send",
                show::duration(self.slowest),
                self.slowest < SEND_MAX,
            ),
            ("messages", messages, nothing_lost),
            (
                "refused sends",
                show::thousands(self.refused),
                self.refused == 0,
            ),
        ]
    }

    /// The figures and the verdicts.
    pub(super) fn print(&self) {
        let mut table = show::table(&["SOAK", "", ""], &[]);
        for (name, figures, good) in self.rows() {
            let verdict = if good { "good" } else { "BROKEN" };
            table.add_row([name.to_owned(), figures, verdict.to_owned()]);
        }
        say!();
        show::print_table(&table);
        say!(
            "{} msg/s on average, {} connections lost.",
            show::thousands(self.rate as u64),
            self.connections_lost
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::soak::shared::Plan;

    fn samples(memory: [u64; 9], disk: [u64; 9], slowest: Duration) -> Vec<Sample> {
        let both = memory.into_iter().zip(disk);
        both.map(|(memory, disk)| Sample {
            rate: 1.0,
            slowest,
            depth: 0,
            memory: vec![memory << 20],
            disk: vec![disk << 20],
        })
        .collect()
    }

    fn shared() -> Shared {
        let shared = Shared::new(Plan {
            clients: 1,
            backlog: 1,
            bytes: 1,
        });
        shared.acknowledged(0, 0, Duration::ZERO);
        shared.received(0, 0, false);
        shared
    }

    #[test]
    fn what_grows_after_the_first_third_is_found() {
        let fast = Duration::from_millis(5);
        let flat = [10, 50, 90, 100, 100, 100, 100, 105, 100];
        let grows = [10, 50, 90, 100, 120, 140, 160, 180, 200];
        let runs = [10, 50, 90, 400, 400, 400, 400, 900, 400];
        assert!(judge(&samples(flat, flat, fast), &shared()).is_good());
        assert!(!judge(&samples(grows, flat, fast), &shared()).is_good());
        assert!(!judge(&samples(flat, runs, fast), &shared()).is_good());
    }

    #[test]
    fn a_send_that_hung_and_a_lost_message_are_found() {
        let flat = [100; 9];
        assert!(!judge(&samples(flat, flat, SEND_MAX), &shared()).is_good());
        let lossy = shared();
        lossy.acknowledged(0, 1, Duration::ZERO);
        assert!(!judge(&samples(flat, flat, Duration::ZERO), &lossy).is_good());
        assert!(!judge(&[], &shared()).is_good());
    }
}
