//! Messages that nobody takes, sent as fast as one connection goes.

use std::time::Duration;

use anyhow::bail;
use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cli::bench::failover::FAILOVER_MAX;
use crate::cli::bench::throughput::BODY_BYTES;
use crate::stomp_client::body_of;
use crate::stomp_client::sender::{self, Source, Unknown};
use crate::supervisor::local_group::LocalGroup;

/// Sends without a receipt at once.
const WINDOW: usize = 512;

/// Where the messages go: one after the other, round and round.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The queues are `<name>.0`, `<name>.1`, …
    pub(super) name: &'static str,
    /// How many queues.
    pub(super) queues: u64,
}

impl Target {
    /// The `destination` of a queue.
    pub(super) fn destination(&self, queue: u64) -> String {
        format!("/queue/BENCH.{}.{queue}", self.name)
    }
}

/// Sends so many; how long it took.
pub(super) async fn fill(
    count: u64,
    target: &Target,
    group: &LocalGroup,
) -> anyhow::Result<Duration> {
    let plan = sender::Plan {
        count: Some(count),
        window: WINDOW,
        pause: Duration::ZERO,
        receipt_timeout: FAILOVER_MAX,
        unknown: Unknown::Leave,
    };
    let mut backlog = Backlog {
        target,
        body: body_of(BODY_BYTES),
        acknowledged: 0,
    };
    let (_stop, mut stopped) = watch::channel(false);
    let begun = Instant::now();
    sender::send_all(&mut group.failover(), &plan, &mut backlog, &mut stopped).await?;
    match backlog.acknowledged == count {
        true => Ok(begun.elapsed()),
        false => bail!(
            "of {count} messages {} have a receipt",
            backlog.acknowledged
        ),
    }
}

struct Backlog<'a> {
    target: &'a Target,
    body: bytes::Bytes,
    acknowledged: u64,
}

impl Source for Backlog<'_> {
    fn frame(&mut self, sequence: u64) -> Frame {
        let queue = (sequence - 1) % self.target.queues;
        Frame::new("SEND")
            .header("destination", self.target.destination(queue))
            .header("persistent", "true")
            .body(self.body.clone())
    }

    fn acknowledged(&mut self, _sequence: u64) {
        self.acknowledged += 1;
    }

    fn refused(&mut self, _sequence: u64, _text: &str) {}
}
