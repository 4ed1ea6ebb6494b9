//! kill -9 of the master to the next receipt.
//!
//! The client dials all addresses every 10 ms, all at once, and sends one message as soon as one of
//! them takes it: a real client's back-off would else be what is measured.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tandemmq_wire::stomp::Frame;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::stomp_client::{Connection, HeartBeat};
use crate::supervisor::local_group::LocalGroup;
use crate::supervisor::observe::GroupView;

/// Between two rounds of dialling.
const DIAL_PAUSE: Duration = Duration::from_millis(10);

/// A failover that takes longer has failed.
pub(super) const FAILOVER_MAX: Duration = Duration::from_secs(30);

/// Until a killed broker is in step again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// The pause before each kill is drawn up to this.
const PAUSE_MAX_MS: u32 = 200;

const QUEUE: &str = "/queue/BENCH.FAILOVER";

/// One failover, all times from the kill on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failover {
    /// The client's old connection ended: the kernel has torn the process down.
    pub(super) ended: Duration,
    /// A new master answered CONNECT.
    pub(super) connected: Duration,
    /// It acknowledged a persistent message.
    pub(super) receipt: Duration,
}

/// Kills so many masters.
pub(super) async fn run(kills: u32, group: &LocalGroup) -> anyhow::Result<Vec<Failover>> {
    let addresses = group.entry().stomp_addresses();
    let mut failovers = Vec::new();
    for _ in 0..kills {
        let view = group
            .wait_for("all in step", RECOVERY_MAX, GroupView::is_whole)
            .await?;
        let master = view.master.context("the group has a master")?;
        let mut client = dial(&addresses).await?;
        send(&mut client).await?;
        let pause = getrandom::u32().context("no randomness")? % PAUSE_MAX_MS;
        tokio::time::sleep(Duration::from_millis(u64::from(pause))).await;
        let begun = Instant::now();
        group.signal(&[master], Signal::KILL).await?;
        failovers.push(next_receipt(client, &addresses, begun).await?);
    }
    group
        .wait_for("all in step", RECOVERY_MAX, GroupView::is_whole)
        .await?;
    Ok(failovers)
}

async fn next_receipt(
    mut client: Connection,
    addresses: &[String],
    begun: Instant,
) -> anyhow::Result<Failover> {
    let failover = async {
        while client.next().await.is_ok() {}
        let ended = begun.elapsed();
        loop {
            let mut connection = dial(addresses).await?;
            let connected = begun.elapsed();
            if send(&mut connection).await.is_ok() {
                return Ok(Failover {
                    ended,
                    connected,
                    receipt: begun.elapsed(),
                });
            }
        }
    };
    match timeout(FAILOVER_MAX, failover).await {
        Ok(done) => done,
        Err(_) => bail!("no receipt within {FAILOVER_MAX:?} of the kill"),
    }
}

async fn send(connection: &mut Connection) -> anyhow::Result<()> {
    let frame = Frame::new("SEND")
        .header("destination", QUEUE)
        .header("persistent", "true")
        .header("receipt", "r")
        .text("failover");
    connection.queue(&frame);
    let answer = connection.next().await?;
    match &*answer.command {
        "RECEIPT" => Ok(()),
        _ => bail!(connection.refused(&answer)),
    }
}

/// The first of these that takes a client.
pub(super) async fn dial(addresses: &[String]) -> anyhow::Result<Connection> {
    let mut dials: JoinSet<Option<Connection>> = JoinSet::new();
    let mut tick = interval(DIAL_PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(dialled) = dials.join_next(), if !dials.is_empty() => {
                if let Ok(Some(connection)) = dialled {
                    return Ok(connection);
                }
            }
            _ = tick.tick() => {
                for address in addresses {
                    let address = address.clone();
                    dials.spawn(async move {
                        Connection::open(&address, None, HeartBeat::None).await.ok()
                    });
                }
            }
        }
    }
}
