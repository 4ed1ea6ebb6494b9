//! A long queue: memory of each message in it, and a restart of all brokers with it.
//!
//! A broker keeps some recent bodies and batches in memory, up to fixed limits. So memory is read
//! three times: with nothing queued, with enough for those limits (`WARM`), and with everything; a
//! message's share is taken between the second and the third.

use std::time::Duration;

use serde::Serialize;

use crate::cli::bench::fill::{self, Target};
use crate::cli::bench::throughput::written_for;
use crate::cli::bench::{procfs, restart};
use crate::cli::show::{self, say};
use crate::supervisor::local_group::LocalGroup;
use crate::supervisor::observe::GroupView;

/// 80 MiB of messages: more than a broker's fixed caches hold.
const WARM: u64 = 80_000;

/// Between the last receipt and the reading: slaves apply what is committed meanwhile.
const SETTLE: Duration = Duration::from_secs(2);

/// Until all brokers are in step before and after.
const RECOVERY_MAX: Duration = Duration::from_secs(120);

const TARGET: Target = Target {
    name: "BACKLOG",
    queues: 1,
};

/// What a long queue costs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backlog {
    messages: u64,
    /// Messages of the second reading; fewer than `WARM` in a short run.
    warm: u64,
    /// Sends a second while it was filled.
    fill_rate: f64,
    members: Vec<Member>,
    /// From the start of all processes to the first delivery.
    restart_seconds: f64,
}

/// Resident bytes of one broker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    name: String,
    master: bool,
    empty: u64,
    warm: u64,
    full: u64,
    /// Bytes written to the disk for one byte of the bodies, between the second reading and the third.
    written: f64,
}

/// Fills a queue and measures.
pub(super) async fn run(messages: u64, group: &LocalGroup) -> anyhow::Result<Backlog> {
    let warm = WARM.min(messages / 2);
    let empty = resident(group).await?;
    let mut time = fill::fill(warm, &TARGET, group).await?;
    let caches = resident(group).await?;
    let written = group.written_bytes().await?;
    time += fill::fill(messages - warm, &TARGET, group).await?;
    let full = resident(group).await?;
    let written = written_for(&written, &group.written_bytes().await?, messages - warm);
    let view = group.view().await;
    let names = group.names().into_iter();
    let members = names.zip(empty).zip(caches).zip(full).zip(written);
    let members = members.map(|((((name, empty), warm), full), written)| Member {
        master: view.master.as_ref() == Some(&name),
        name,
        empty,
        warm,
        full,
        written,
    });
    let members = members.collect();
    let restart = restart::run(&TARGET.destination(0), group).await?;
    group
        .wait_for("all in step", RECOVERY_MAX, GroupView::is_whole)
        .await?;
    Ok(Backlog {
        messages,
        warm,
        fill_rate: show::rate(messages, time),
        members,
        restart_seconds: restart.as_secs_f64(),
    })
}

async fn resident(group: &LocalGroup) -> anyhow::Result<Vec<u64>> {
    tokio::time::sleep(SETTLE).await;
    procfs::resident_bytes(&group.pids())
}

// === impl Backlog ===

impl Backlog {
    /// For people.
    pub(super) fn print(&self) {
        let title = format!(
            "MEMORY OF {} QUEUED MESSAGES OF 1 KiB",
            show::thousands(self.messages)
        );
        let warm = format!("with {}", show::thousands(self.warm));
        let headings = [
            &title,
            "empty",
            &warm,
            "with all",
            "B/message above the caches",
            "WRITTEN B/B",
        ];
        let mut table = show::table(&headings, &[1, 2, 3, 4, 5]);
        for member in &self.members {
            let role = if member.master { "master" } else { "slave" };
            let mut cells = vec![format!("{} {role}", member.name)];
            cells.extend([member.empty, member.warm, member.full].map(show::mebibytes));
            cells.push(format!("{:.1}", member.share(self.messages - self.warm)));
            cells.push(format!("{:.2}", member.written));
            table.add_row(cells);
        }
        say!();
        show::print_table(&table);
        say!(
            "Filled with {} msg/s. All brokers killed and started with it: {} to the first delivery.",
            show::thousands(self.fill_rate as u64),
            show::duration(Duration::from_secs_f64(self.restart_seconds))
        );
    }
}

impl Member {
    /// Bytes of each of so many messages.
    fn share(&self, messages: u64) -> f64 {
        (self.full as f64 - self.warm as f64) / messages.max(1) as f64
    }
}
