//! One phase: load, faults, the end of the load, and the judgement.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::checker::Verdict;
use crate::cli::browse::browse_all;
use crate::cli::chaos::faults;
use crate::cli::judged::{Consume, Produce, Run, id_of};
use crate::stomp_client::ClientError;
use crate::stomp_client::receiver::End;
use crate::supervisor::local_group::LocalGroup;

/// Producers and consumers of the busy queue; one more producer fills the queue that is kept.
const BUSY: u32 = 2;

/// The producer of the kept queue, and the consumer that drains it at the end.
const KEEPER: u32 = BUSY + 1;

/// Sends without a receipt at once, of each producer: so that every kill finds some unanswered.
const WINDOW: usize = 16;

/// Bytes of a body.
const BODY_BYTES: usize = 256;

/// The kept queue gets a fifth of what a busy producer sends.
const KEPT_SHARE: u32 = 5;

/// A queue is empty when nothing came for so long.
const IDLE: Duration = Duration::from_secs(2);

/// Receipts that show that a load runs.
const RUNNING: u64 = 100;

/// Until it does, and until it ends.
const LOAD_MAX: Duration = Duration::from_secs(60);

/// What to do to the group.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// SIGKILL of the master.
    Kill { times: u32 },
    /// SIGSTOP of the master, SIGCONT after this time.
    Stop { time: Duration },
    /// SIGKILL of all brokers.
    PowerCut { times: u32 },
}

/// What came of it.
pub(super) struct PhaseResult {
    pub(super) name: &'static str,
    pub(super) faults: u32,
    pub(super) verdict: Verdict,
    /// From each fault to the next receipt.
    pub(super) outages: Vec<Duration>,
    /// Processes that ended by themselves, clients that gave up: each fails the phase.
    pub(super) surprises: Vec<String>,
    /// What else is worth a line.
    pub(super) remarks: Vec<String>,
}

/// What a fault measured.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) outages: Vec<Duration>,
    pub(super) surprises: Vec<String>,
    pub(super) remarks: Vec<String>,
}

/// The clients of a phase.
pub(super) struct Load {
    /// What they share.
    pub(super) run: Run,
    /// The busy queue.
    pub(super) busy: String,
    kept: String,
    stop_producers: watch::Sender<bool>,
    stop_consumers: watch::Sender<bool>,
    producers: Vec<JoinHandle<Result<(), ClientError>>>,
    consumers: Vec<JoinHandle<Result<End, ClientError>>>,
}

// === impl Fault ===

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill master",
            Self::Stop { .. } => "stop master",
            Self::PowerCut { .. } => "kill all",
        }
    }

    const fn count(self) -> u32 {
        match self {
            Self::Kill { times } | Self::PowerCut { times } => times,
            Self::Stop { .. } => 1,
        }
    }

    /// What is about to happen.
    pub(super) fn title(self) -> String {
        match self {
            Self::Kill { times } => format!("SIGKILL of the master, {times} times, under load"),
            Self::Stop { time } => format!("SIGSTOP of the master for {time:?}, then SIGCONT"),
            Self::PowerCut { times } => format!("SIGKILL of all brokers at once, {times} times"),
        }
    }
}

impl PhaseResult {
    /// No rule broken, nothing unexpected.
    pub(super) fn is_good(&self) -> bool {
        self.verdict.is_good() && self.surprises.is_empty()
    }
}

/// Runs one phase.
pub(super) async fn run(
    fault: Fault,
    rate: u32,
    group: &mut LocalGroup,
) -> anyhow::Result<PhaseResult> {
    let load = Load::start(fault, rate, group)?;
    load.wait_until_running().await?;
    let measured = match fault {
        Fault::Kill { times } => faults::kill_master(group, &load, times).await,
        Fault::Stop { time } => faults::stop_master(group, &load, time).await,
        Fault::PowerCut { times } => faults::kill_all(group, &load, times).await,
    };
    let mut measured = measured
        .with_context(|| format!("phase {:?}; the load: {}", fault.name(), load.describe()))?;
    let verdict = load.finish(group, &mut measured.surprises).await?;
    measured.surprises.extend(group.unexpected_ends());
    Ok(PhaseResult {
        name: fault.name(),
        faults: fault.count(),
        verdict,
        outages: measured.outages,
        surprises: measured.surprises,
        remarks: measured.remarks,
    })
}

// === impl Load ===

impl Load {
    fn start(fault: Fault, rate: u32, group: &LocalGroup) -> anyhow::Result<Self> {
        let run = Run::default();
        let (stop_producers, stopped_producers) = watch::channel(false);
        let (stop_consumers, stopped_consumers) = watch::channel(false);
        // A folder that was used before may still hold messages of another run.
        let number = getrandom::u32().context("no randomness")?;
        let prefix = format!("CHAOS.{number:08x}.{}", fault.name().replace(' ', "."));
        let busy = format!("{prefix}.busy");
        let kept = format!("{prefix}.kept");
        let pause = Duration::from_secs(1) / rate;
        let mut producers = Vec::new();
        let mut consumers = Vec::new();
        for number in 1..=BUSY {
            let plan = produce(number, &busy, pause);
            producers.push(run.produce(group.failover(), plan, stopped_producers.clone()));
            let plan = Consume {
                consumer: number,
                queue: busy.clone(),
                idle: None,
            };
            consumers.push(run.consume(group.failover(), plan, stopped_consumers.clone()));
        }
        let plan = produce(KEEPER, &kept, pause * KEPT_SHARE);
        producers.push(run.produce(group.failover(), plan, stopped_producers));
        Ok(Self {
            run,
            busy,
            kept,
            stop_producers,
            stop_consumers,
            producers,
            consumers,
        })
    }

    async fn wait_until_running(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.run.figures.acknowledged.get() < RUNNING || self.run.figures.received.get() == 0
        {
            if begun.elapsed() > LOAD_MAX {
                bail!("the load does not run: {}", self.describe());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let figures = &self.run.figures;
        format!(
            "{} receipts, {} messages read, {} connections lost, last refusal: {:?}",
            figures.acknowledged.get(),
            figures.received.get(),
            figures.lost.get(),
            figures.refusal.borrow()
        )
    }

    /// Ends the load: producers first, then consumers once nothing comes any more; drains the kept
    /// queue with one consumer; looks for what is still queued; judges.
    async fn finish(
        self,
        group: &LocalGroup,
        surprises: &mut Vec<String>,
    ) -> anyhow::Result<Verdict> {
        self.stop_producers.send_replace(true);
        for producer in self.producers {
            note(producer.await?.err(), "a producer", surprises);
        }
        wait_for_silence(&self.run).await;
        self.stop_consumers.send_replace(true);
        for consumer in self.consumers {
            note(consumer.await?.err(), "a consumer", surprises);
        }
        let (_stop, stopped) = watch::channel(false);
        let plan = Consume {
            consumer: KEEPER,
            queue: self.kept.clone(),
            idle: Some(IDLE),
        };
        let drained = self.run.consume(group.failover(), plan, stopped).await?;
        note(drained.err(), "the last consumer", surprises);
        for queue in [&self.busy, &self.kept] {
            let connection = group.failover().connect().await?;
            browse_all(connection, queue, |frame| {
                let message_id = frame.get("message-id").unwrap_or("no message-id");
                self.run
                    .checker
                    .borrow_mut()
                    .queued(id_of(frame), message_id);
            })
            .await?;
        }
        let verdict = self.run.checker.borrow().judge();
        Ok(verdict)
    }
}

fn produce(number: u32, queue: &str, pause: Duration) -> Produce {
    Produce {
        producer: number,
        queue: queue.to_owned(),
        count: None,
        window: WINDOW,
        pause,
        bytes: BODY_BYTES,
    }
}

fn note(error: Option<ClientError>, who: &str, surprises: &mut Vec<String>) {
    if let Some(error) = error {
        surprises.push(format!("{who} gave up: {error}"));
    }
}

/// Until no consumer got anything for a while.
async fn wait_for_silence(run: &Run) {
    let begun = Instant::now();
    let mut last = (run.figures.received.get(), begun);
    while last.1.elapsed() < IDLE && begun.elapsed() < LOAD_MAX {
        sleep(Duration::from_millis(50)).await;
        let received = run.figures.received.get();
        if received != last.0 {
            last = (received, Instant::now());
        }
    }
}
