//! The clients of a phase: two busy producers and consumers, a third producer whose queue is kept
//! until the end, and bursts on top.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::checker::Verdict;
use crate::cli::browse::browse_all;
use crate::cli::judged::{Consume, Produce, Run, id_of};
use crate::stomp_client::ClientError;
use crate::stomp_client::receiver::End;
use crate::supervisor::local_group::LocalGroup;

/// Producers and consumers of the busy queue; one more producer fills the queue that is kept.
const BUSY: u32 = 2;

/// The consumer that drains the kept queue.
const KEEPER: u32 = BUSY + 1;

/// Producers after a pause, and bursts, get numbers from here on: a number is never used twice.
const NEXT_PRODUCER: u32 = 100;

/// Sends without a receipt at once, of each producer: so that every kill finds some unanswered.
const WINDOW: usize = 16;

/// The same of a burst.
const BURST_WINDOW: usize = 512;

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

/// The clients of a phase.
pub(super) struct Load {
    /// What they share.
    pub(super) run: Run,
    /// The busy queue.
    pub(super) busy: String,
    kept: String,
    /// Between two messages of a busy producer.
    pause: Duration,
    next_producer: u32,
    stop_producers: watch::Sender<bool>,
    stop_consumers: watch::Sender<bool>,
    producers: Vec<JoinHandle<Result<(), ClientError>>>,
    consumers: Vec<JoinHandle<Result<End, ClientError>>>,
}

/// Many messages to the kept queue, as fast as they go.
pub(super) struct Burst {
    producer: JoinHandle<Result<(), ClientError>>,
    stop: watch::Sender<bool>,
}

// === impl Load ===

impl Load {
    /// Starts the clients of that phase.
    pub(super) fn start(name: &str, rate: u32, group: &LocalGroup) -> anyhow::Result<Self> {
        let (stop_producers, _) = watch::channel(false);
        let (stop_consumers, stopped_consumers) = watch::channel(false);
        // A folder that was used before may still hold messages of another run.
        let number = getrandom::u32().context("no randomness")?;
        let prefix = format!("CHAOS.{number:08x}.{}", name.replace(' ', "."));
        let mut load = Self {
            run: Run::default(),
            busy: format!("{prefix}.busy"),
            kept: format!("{prefix}.kept"),
            pause: Duration::from_secs(1) / rate,
            next_producer: NEXT_PRODUCER,
            stop_producers,
            stop_consumers,
            producers: Vec::new(),
            consumers: Vec::new(),
        };
        for consumer in 1..=BUSY {
            let plan = Consume {
                consumer,
                queue: load.busy.clone(),
                idle: None,
            };
            let stopped = stopped_consumers.clone();
            load.consumers
                .push(load.run.consume(group.failover(), plan, stopped));
        }
        load.resume(group);
        Ok(load)
    }

    /// Until it runs.
    pub(super) async fn wait_until_running(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let before = self.run.figures.acknowledged.get();
        while self.run.figures.acknowledged.get() < before + RUNNING
            || self.run.figures.received.get() == 0
        {
            if begun.elapsed() > LOAD_MAX {
                bail!("the load does not run: {}", self.describe());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends the producers once each has its answers. The consumers stay.
    pub(super) async fn pause(&mut self, surprises: &mut Vec<String>) -> anyhow::Result<()> {
        self.stop_producers.send_replace(true);
        for producer in std::mem::take(&mut self.producers) {
            note(producer.await?.err(), "a producer", surprises);
        }
        Ok(())
    }

    /// Starts producers with new numbers.
    pub(super) fn resume(&mut self, group: &LocalGroup) {
        self.stop_producers.send_replace(false);
        for _ in 0..BUSY {
            let plan = self.plan(self.busy.clone(), self.pause);
            self.add_producer(plan, group);
        }
        let plan = self.plan(self.kept.clone(), self.pause * KEPT_SHARE);
        self.add_producer(plan, group);
    }

    fn add_producer(&mut self, plan: Produce, group: &LocalGroup) {
        let stopped = self.stop_producers.subscribe();
        self.producers
            .push(self.run.produce(group.failover(), plan, stopped));
    }

    fn plan(&mut self, queue: String, pause: Duration) -> Produce {
        self.next_producer += 1;
        Produce {
            producer: self.next_producer,
            queue,
            count: None,
            window: WINDOW,
            pause,
            bytes: BODY_BYTES,
        }
    }

    /// Sends so many messages of so many bytes to the kept queue.
    pub(super) fn burst(&mut self, count: u64, bytes: usize, group: &LocalGroup) -> Burst {
        let (stop, stopped) = watch::channel(false);
        let plan = Produce {
            count: Some(count),
            window: BURST_WINDOW,
            bytes,
            ..self.plan(self.kept.clone(), Duration::ZERO)
        };
        Burst {
            producer: self.run.produce(group.failover(), plan, stopped),
            stop,
        }
    }

    /// Takes everything out of the kept queue; its producer may go on.
    pub(super) async fn drain(
        &self,
        group: &LocalGroup,
        surprises: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let (_stop, stopped) = watch::channel(false);
        let plan = Consume {
            consumer: KEEPER,
            queue: self.kept.clone(),
            idle: Some(IDLE),
        };
        let drained = self.run.consume(group.failover(), plan, stopped).await?;
        note(drained.err(), "the consumer of the kept queue", surprises);
        Ok(())
    }

    /// Hands every message of the kept queue to `each` and leaves it there; how many there are.
    pub(super) async fn browse_kept(
        &self,
        group: &LocalGroup,
        each: impl FnMut(&Frame),
    ) -> anyhow::Result<u64> {
        let connection = group.failover().connect().await?;
        Ok(browse_all(connection, &self.kept, each).await?)
    }

    /// Its figures, for people.
    pub(super) fn describe(&self) -> String {
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
    pub(super) async fn finish(
        mut self,
        group: &LocalGroup,
        surprises: &mut Vec<String>,
    ) -> anyhow::Result<Verdict> {
        self.pause(surprises).await?;
        wait_for_silence(&self.run).await;
        self.stop_consumers.send_replace(true);
        for consumer in std::mem::take(&mut self.consumers) {
            note(consumer.await?.err(), "a consumer", surprises);
        }
        self.drain(group, surprises).await?;
        for queue in [&self.busy, &self.kept] {
            let connection = group.failover().connect().await?;
            browse_all(connection, queue, |frame| {
                let message_id = frame.get("message-id").unwrap_or("no message-id");
                let id = id_of(frame);
                self.run.checker.borrow_mut().queued(id, message_id);
            })
            .await?;
        }
        let verdict = self.run.checker.borrow().judge();
        Ok(verdict)
    }
}

// === impl Burst ===

impl Burst {
    /// True when all is sent or refused.
    pub(super) fn is_finished(&self) -> bool {
        self.producer.is_finished()
    }

    /// Ends it early; what is unanswered is unknown.
    pub(super) async fn stop(self, surprises: &mut Vec<String>) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.finish(surprises).await
    }

    /// Waits for its end.
    pub(super) async fn finish(self, surprises: &mut Vec<String>) -> anyhow::Result<()> {
        note(self.producer.await?.err(), "a burst", surprises);
        Ok(())
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
