//! All brokers killed and started again with what they hold: the time to the first delivery.
//!
//! The page cache stays warm, as after a crash of the processes; after a power cut the journals are
//! read from the disk first.

use std::time::Duration;

use anyhow::bail;
use tandemmq_wire::stomp::Frame;
use tokio::time::{Instant, timeout};

use crate::cli::bench::failover::dial;
use crate::supervisor::local_group::LocalGroup;

/// A start that takes longer has failed. A journal of some GiB is read in seconds.
const START_MAX: Duration = Duration::from_secs(120);

/// Kills all, starts all; from the start of the processes to the first message of that destination.
pub(super) async fn run(destination: &str, group: &LocalGroup) -> anyhow::Result<Duration> {
    let names = group.names();
    let addresses = group.entry().stomp_addresses();
    group.kill_and_hold(&names).await;
    let begun = Instant::now();
    group.start(&names).await;
    match timeout(START_MAX, first_delivery(destination, &addresses)).await {
        Ok(delivered) => delivered.map(|()| begun.elapsed()),
        Err(_) => bail!("no delivery within {START_MAX:?} of the start"),
    }
}

async fn first_delivery(destination: &str, addresses: &[String]) -> anyhow::Result<()> {
    loop {
        let mut connection = dial(addresses).await?;
        let subscribe = Frame::new("SUBSCRIBE")
            .header("id", "s")
            .header("destination", destination.to_owned())
            .header("ack", "client")
            .header("activemq.prefetchSize", "1");
        connection.queue(&subscribe);
        match connection.next().await {
            Ok(frame) if &*frame.command == "MESSAGE" => return Ok(()),
            Ok(frame) => bail!(connection.refused(&frame)),
            // A master that lost its quorum again; the next one is dialled.
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error.into()),
        }
    }
}
