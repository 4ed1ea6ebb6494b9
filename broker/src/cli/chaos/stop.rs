//! SIGSTOP and SIGCONT of the master. One producer stays on its connection to it, goes on sending
//! into the kernel's buffer, and writes down every receipt that comes after SIGCONT: the checker
//! finds one that is not in the committed log as a lost message.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::SendId;
use crate::cli::chaos::trial::Trial;
use crate::cli::judged::{Proof, Run, send_frame};
use crate::stomp_client::{Connection, HeartBeat};
use crate::supervisor::local_group::describe;

/// The producer that stays on the stopped master.
const STAYER: u32 = 9;

/// Bytes of its bodies.
const BODY_BYTES: usize = 64;

/// What it sends at once, first to a master that answers, then right before that is stopped: so
/// that some are on their way to a commit. Meanwhile it sends one each so often.
const STAYER_BURST: u64 = 50;
const STAYER_PAUSE: Duration = Duration::from_millis(50);

/// After SIGCONT it is listened to for at most so long; a broker that is no master any more closes
/// its connections at once.
const STAYER_END_MAX: Duration = Duration::from_secs(15);

/// Stops the master for so long.
pub(super) async fn master(trial: &mut Trial<'_>, time: Duration) -> anyhow::Result<()> {
    let master = trial.master().await?;
    let stopped = std::slice::from_ref(&master);
    let mut stayer = Stayer::open(trial, &master).await?;
    stayer.burst().await?;
    stayer.listen(STAYER_PAUSE * 4).await;
    if stayer.receipts == 0 {
        bail!("the client on {master} had no receipt before the fault");
    }
    stayer.burst().await?;
    trial.load.run.begin_outage(Proof::NewConnection);
    trial.group.signal(stopped, Signal::STOP).await?;
    let begun = Instant::now();
    while begun.elapsed() < time {
        stayer.send();
        stayer.listen(STAYER_PAUSE).await;
    }
    let taken_over = trial.group.view().await;
    let outage = trial.load.run.outage();
    let receipts_before = stayer.receipts;
    trial.group.signal(stopped, Signal::CONT).await?;
    if taken_over.master.is_none() {
        bail!(
            "nobody took over within {time:?}: {}",
            describe(&taken_over)
        );
    }
    stayer.listen_to_the_end().await;
    trial.wait_until_whole().await?;
    trial.say(&format!(
        "the client that stayed on {master} wrote {} messages and had {} receipts, {} of them after \
         SIGCONT",
        stayer.sequence,
        stayer.receipts,
        stayer.receipts - receipts_before
    ));
    match outage {
        Some(outage) => trial.measured.outages.push(outage),
        None => bail!("no producer had a receipt while the master was stopped for {time:?}"),
    }
    Ok(())
}

/// A producer that never gives its connection up.
struct Stayer {
    run: Run,
    queue: String,
    connection: Option<Connection>,
    sequence: u64,
    receipts: u64,
}

impl Stayer {
    async fn open(trial: &Trial<'_>, master: &str) -> anyhow::Result<Self> {
        let entry = trial.group.entry();
        let broker = entry.brokers.iter().find(|broker| broker.name == master);
        let address = broker
            .context("the master is one of the group")?
            .addresses
            .stomp
            .clone();
        let connection = Connection::open(&address, None, HeartBeat::None).await?;
        Ok(Self {
            run: trial.load.run.clone(),
            queue: trial.load.busy.clone(),
            connection: Some(connection),
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
        self.run.checker.borrow_mut().written(id);
        let frame = send_frame(&self.queue, id, BODY_BYTES);
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
                let mut checker = self.run.checker.borrow_mut();
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
