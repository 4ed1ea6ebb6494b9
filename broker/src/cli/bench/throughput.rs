//! Persistent sends: how many a second, how long each, how much CPU and disk.

use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::bench::generator::{self, Sent, Template, Window};
use crate::cli::bench::procfs;
use crate::cli::bench::stats::Summary;
use crate::stomp_client::{Connection, HeartBeat};
use crate::supervisor::local_group::LocalGroup;

/// Bytes of a body.
pub(super) const BODY_BYTES: usize = 1_024;

/// The first part of each measure does not count: connections open, caches warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// A load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) connections: usize,
    pub(super) window: usize,
}

/// Window 1 is a synchronous sender, as JMS has it.
pub(super) const LOADS: [Load; 4] = [
    Load {
        name: "1 producer",
        connections: 1,
        window: 1,
    },
    Load {
        name: "16 producers",
        connections: 16,
        window: 1,
    },
    Load {
        name: "64 producers",
        connections: 64,
        window: 1,
    },
    Load {
        name: "pipelined 256",
        connections: 1,
        window: 256,
    },
];

/// What one measure found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measured {
    /// Receipts a second.
    pub(super) rate: f64,
    /// From write to receipt.
    pub(super) latency: Summary,
    /// CPU of all brokers together for one message, in µs.
    pub(super) cpu_micros: f64,
    /// CPU of the generator for one message, in µs.
    pub(super) generator_micros: f64,
    /// Bytes that each broker wrote to its disk for one byte of the bodies.
    pub(super) written: Vec<f64>,
}

/// Measures one load for so long.
pub(super) async fn run(
    load: Load,
    time: Duration,
    group: &LocalGroup,
) -> anyhow::Result<Measured> {
    let address = group.failover().connect().await?.address().to_owned();
    let name = format!("BENCH.{}.{}", load.connections, load.window);
    let template = Rc::new(Template::new(&name, BODY_BYTES));
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(&address, None, HeartBeat::None).await?);
    }
    let from = Instant::now() + WARM_UP;
    let window = Window {
        from,
        until: from + time,
    };
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn_local(generator::produce(
            connection,
            Rc::clone(&template),
            load.window,
            window,
        ));
    }
    tokio::time::sleep_until(window.from).await;
    let before = Used::now(group).await?;
    tokio::time::sleep_until(window.until).await;
    let after = Used::now(group).await?;
    let mut latencies = Vec::new();
    while let Some(sent) = tasks.join_next().await {
        let Sent { latencies: some } = sent??;
        latencies.extend(some);
    }
    let count = latencies.len().max(1) as f64;
    Ok(Measured {
        rate: latencies.len() as f64 / time.as_secs_f64(),
        latency: Summary::of(&latencies),
        cpu_micros: (after.brokers - before.brokers).as_secs_f64() * 1e6 / count,
        generator_micros: (after.own - before.own).as_secs_f64() * 1e6 / count,
        written: written_for(&before.written, &after.written, latencies.len() as u64),
    })
}

struct Used {
    brokers: Duration,
    own: Duration,
    written: Vec<u64>,
}

impl Used {
    async fn now(group: &LocalGroup) -> anyhow::Result<Self> {
        Ok(Self {
            brokers: procfs::cpu_time(&group.pids())?,
            own: procfs::cpu_time(&[std::process::id()])?,
            written: group.written_bytes().await?,
        })
    }
}

/// Bytes that each broker wrote to its disk for one byte of so many bodies.
pub(super) fn written_for(before: &[u64], after: &[u64], messages: u64) -> Vec<f64> {
    let payload = messages.max(1) as f64 * BODY_BYTES as f64;
    let members = after.iter().zip(before);
    members
        .map(|(after, before)| after.saturating_sub(*before) as f64 / payload)
        .collect()
}
