//! The faults, each with its measure: how long the load had no receipts.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::SendId;
use crate::cli::chaos::phase::{Load, Measured};
use crate::cli::judged::send_frame;
use crate::stomp_client::{Connection, HeartBeat, body_of};
use crate::supervisor::local_group::{LocalGroup, describe};
use crate::supervisor::observe::GroupView;

/// From a fault until receipts flow again, and until every broker is in step again: seconds where
/// it was measured, so this only ends a run that hangs.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// The greatest pause between two faults. It is drawn anew each time, so that kills meet every
/// moment of a commit.
const PAUSE_MAX_MS: u32 = 300;

/// The producer that stays on the stopped master.
const STAYER: u32 = 9;

/// What it sends at once, first to a master that answers, then right before that is stopped: so
/// that some are on their way to a commit. Meanwhile it sends one each so often.
const STAYER_BURST: u64 = 50;
const STAYER_PAUSE: Duration = Duration::from_millis(50);

/// After SIGCONT it is listened to for at most so long; a broker that is no master any more closes
/// its connections at once.
const STAYER_END_MAX: Duration = Duration::from_secs(15);

/// SIGKILL of whoever is master.
pub(super) async fn kill_master(
    group: &mut LocalGroup,
    load: &Load,
    times: u32,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..times {
        let master = master_of(group).await?;
        load.run.begin_outage();
        group.signal(&[master], Signal::KILL).await?;
        measured.outages.push(wait_for_receipt(group, load).await?);
        measured.surprises.extend(group.unexpected_ends());
        group
            .wait_for(
                "all brokers in step again",
                RECOVERY_MAX,
                GroupView::is_whole,
            )
            .await?;
        random_pause().await?;
    }
    Ok(measured)
}

/// SIGKILL of all.
pub(super) async fn kill_all(
    group: &mut LocalGroup,
    load: &Load,
    times: u32,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..times {
        load.run.begin_outage();
        group.signal(&group.names(), Signal::KILL).await?;
        measured.outages.push(wait_for_receipt(group, load).await?);
        measured.surprises.extend(group.unexpected_ends());
        group
            .wait_for(
                "all brokers in step again",
                RECOVERY_MAX,
                GroupView::is_whole,
            )
            .await?;
        random_pause().await?;
    }
    Ok(measured)
}

/// SIGSTOP and SIGCONT of the master. One producer stays on its connection to it, goes on sending
/// into the kernel's buffer, and writes down every receipt that comes after SIGCONT: the checker
/// finds one that is not in the committed log as a lost message.
pub(super) async fn stop_master(
    group: &LocalGroup,
    load: &Load,
    time: Duration,
) -> anyhow::Result<Measured> {
    let master = master_of(group).await?;
    let mut stayer = Stayer::open(group, load, &master).await?;
    stayer.burst().await?;
    stayer.listen(STAYER_PAUSE * 4).await;
    if stayer.receipts == 0 {
        bail!("the client on {master} had no receipt before the fault");
    }
    stayer.burst().await?;
    load.run.begin_outage();
    group
        .signal(std::slice::from_ref(&master), Signal::STOP)
        .await?;
    let stopped = Instant::now();
    while stopped.elapsed() < time {
        stayer.send();
        stayer.listen(STAYER_PAUSE).await;
    }
    let taken_over = group.view().await;
    let outage = load.run.outage();
    let receipts_before = stayer.receipts;
    group
        .signal(std::slice::from_ref(&master), Signal::CONT)
        .await?;
    if taken_over.master.is_none() {
        bail!(
            "nobody took over within {time:?}: {}",
            describe(&taken_over)
        );
    }
    stayer.listen_to_the_end().await;
    group
        .wait_for(
            "all brokers in step again",
            RECOVERY_MAX,
            GroupView::is_whole,
        )
        .await?;
    let remark = format!(
        "the client that stayed on {master} wrote {} messages and had {} receipts, {} of them after \
         SIGCONT",
        stayer.sequence,
        stayer.receipts,
        stayer.receipts - receipts_before
    );
    match outage {
        Some(outage) => Ok(Measured {
            outages: vec![outage],
            remarks: vec![remark],
            ..Measured::default()
        }),
        None => bail!("no producer had a receipt while the master was stopped for {time:?}"),
    }
}

async fn master_of(group: &LocalGroup) -> anyhow::Result<String> {
    let view = group.view().await;
    view.master
        .clone()
        .with_context(|| format!("there is no master: {}", describe(&view)))
}

async fn wait_for_receipt(group: &LocalGroup, load: &Load) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        if let Some(outage) = load.run.outage() {
            return Ok(outage);
        }
        if begun.elapsed() > RECOVERY_MAX {
            let view = group.view().await;
            bail!(
                "no receipt for {RECOVERY_MAX:?}; the group is: {}",
                describe(&view)
            );
        }
        sleep(Duration::from_millis(1)).await;
    }
}

async fn random_pause() -> anyhow::Result<()> {
    let millis = getrandom::u32().context("no randomness")? % PAUSE_MAX_MS;
    sleep(Duration::from_millis(u64::from(millis))).await;
    Ok(())
}

/// A producer that never gives its connection up.
struct Stayer<'a> {
    load: &'a Load,
    connection: Option<Connection>,
    body: bytes::Bytes,
    sequence: u64,
    receipts: u64,
}

impl<'a> Stayer<'a> {
    async fn open(group: &LocalGroup, load: &'a Load, master: &str) -> anyhow::Result<Self> {
        let entry = group.entry();
        let broker = entry.brokers.iter().find(|broker| broker.name == master);
        let address = broker
            .context("the master is one of the group")?
            .addresses
            .stomp
            .clone();
        let connection = Connection::open(&address, None, HeartBeat::None).await?;
        Ok(Self {
            load,
            connection: Some(connection),
            body: body_of(64),
            sequence: 0,
            receipts: 0,
        })
    }

    fn send(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        self.sequence += 1;
        let id = SendId {
            producer: STAYER,
            sequence: self.sequence,
        };
        self.load.run.checker.borrow_mut().written(id);
        let frame = send_frame(&self.load.busy, id, &self.body);
        connection.queue(&frame.header("receipt", self.sequence.to_string()));
    }

    /// Many at once, all of them handed to the kernel.
    async fn burst(&mut self) -> anyhow::Result<()> {
        for _ in 0..STAYER_BURST {
            self.send();
        }
        if let Some(connection) = &mut self.connection {
            connection.flush().await?;
        }
        Ok(())
    }

    /// Writes and reads for so long.
    async fn listen(&mut self, time: Duration) {
        let Some(connection) = &mut self.connection else {
            return sleep(time).await;
        };
        let until = Instant::now() + time;
        while let Ok(next) = tokio::time::timeout_at(until, connection.next()).await {
            let Ok(frame) = next else {
                self.connection = None;
                return;
            };
            let sequence = frame.get("receipt-id").and_then(|id| id.parse().ok());
            if let Some(sequence) = sequence {
                let id = SendId {
                    producer: STAYER,
                    sequence,
                };
                let mut checker = self.load.run.checker.borrow_mut();
                match &*frame.command {
                    "RECEIPT" => {
                        self.receipts += 1;
                        checker.acknowledged(id);
                    }
                    "ERROR" => checker.refused(id),
                    _ => {}
                }
            }
        }
    }

    async fn listen_to_the_end(&mut self) {
        let to_the_end = async {
            while self.connection.is_some() {
                self.listen(Duration::from_millis(100)).await;
            }
        };
        // A broker that became master again keeps the connection; then there is nothing to wait
        // for either.
        let _ = timeout(STAYER_END_MAX, to_the_end).await;
    }
}
