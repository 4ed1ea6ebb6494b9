//! Producers and consumers of a soak: as fast as they go, held around the backlog.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tandemmq_wire::stomp::Frame;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::soak::shared::{Shared, add};
use crate::stomp_client::{ClientError, Connection, Failover, QUEUE_BYTES_MAX, body_of};
use crate::supervisor::local_group::LocalGroup;

const QUEUE: &str = "/queue/SOAK";

/// Carries `<producer>-<number>`.
const ID_HEADER: &str = "soak-id";

/// Sends without a receipt at once, of each producer.
const WINDOW: usize = 64;

/// One ACK answers so many messages: a tenth of the default prefetch.
const ACK_BATCH: u32 = 100;

/// A client that is held looks again after this.
const HELD_PAUSE: Duration = Duration::from_millis(2);

/// The queue is empty when nothing came for so long.
const IDLE: Duration = Duration::from_secs(2);

/// All clients of a soak.
pub(super) struct Clients {
    shared: Rc<Shared>,
    producers: Vec<JoinHandle<Result<(), ClientError>>>,
    consumers: Vec<JoinHandle<Result<(), ClientError>>>,
}

struct Producer {
    shared: Rc<Shared>,
    place: usize,
    body: Bytes,
    next: u64,
    unanswered: VecDeque<(u64, Instant)>,
}

// === impl Clients ===

impl Clients {
    /// Starts them.
    pub(super) fn start(shared: &Rc<Shared>, group: &LocalGroup) -> Self {
        let clients = shared.plan.clients as usize;
        let producers = (0..clients).map(|place| {
            let producer = Producer {
                shared: Rc::clone(shared),
                place,
                body: body_of(shared.plan.bytes),
                next: 0,
                unanswered: VecDeque::new(),
            };
            tokio::task::spawn_local(producer.run(group.failover()))
        });
        let consumers = (0..clients)
            .map(|_| tokio::task::spawn_local(consume(Rc::clone(shared), group.failover())));
        Self {
            shared: Rc::clone(shared),
            producers: producers.collect(),
            consumers: consumers.collect(),
        }
    }

    /// Ends the producers, then the consumers once the queue is empty.
    pub(super) async fn drain(self) -> anyhow::Result<()> {
        self.shared.draining.set(true);
        for client in self.producers.into_iter().chain(self.consumers) {
            client.await??;
        }
        Ok(())
    }
}

// === impl Producer ===

impl Producer {
    async fn run(mut self, mut failover: Failover) -> Result<(), ClientError> {
        loop {
            let mut connection = failover.connect().await?;
            match self.send(&mut connection).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_retryable() => self.lost(),
                Err(error) => return Err(error),
            }
        }
    }

    /// What is unanswered arrived or not; nobody knows.
    fn lost(&mut self) {
        add(&self.shared.lost, 1);
        for (_, written) in self.unanswered.drain(..) {
            self.shared.waited(written.elapsed());
        }
        self.shared.set_oldest(self.place, None);
    }

    async fn send(&mut self, connection: &mut Connection) -> Result<(), ClientError> {
        loop {
            while self.unanswered.len() < WINDOW && self.shared.may_send() {
                let frame = self.frame();
                connection.queue(&frame);
                self.unanswered.push_back((self.next, Instant::now()));
                self.next += 1;
            }
            let oldest = self.unanswered.front().map(|(_, written)| *written);
            self.shared.set_oldest(self.place, oldest);
            if oldest.is_none() {
                if self.shared.draining.get() {
                    return Ok(());
                }
                // Heart-beats are read meanwhile.
                if let Ok(frame) = timeout(HELD_PAUSE, connection.next()).await {
                    self.answer(&frame?, connection)?;
                }
                continue;
            }
            let frame = connection.next().await?;
            self.answer(&frame, connection)?;
            while let Some(frame) = connection.ready()? {
                self.answer(&frame, connection)?;
            }
        }
    }

    fn frame(&self) -> Frame {
        Frame::new("SEND")
            .header("destination", QUEUE)
            .header("persistent", "true")
            .header("receipt", self.next.to_string())
            .header(ID_HEADER, format!("{}-{}", self.place, self.next))
            .body(self.body.clone())
    }

    /// Answers of one connection come in the order of the sends.
    fn answer(&mut self, frame: &Frame, connection: &Connection) -> Result<(), ClientError> {
        let number = frame.get("receipt-id").and_then(|id| id.parse().ok());
        let first = self.unanswered.front().copied();
        match (&*frame.command, first) {
            ("RECEIPT", Some((expected, written))) if number == Some(expected) => {
                self.unanswered.pop_front();
                self.shared
                    .acknowledged(self.place, expected, written.elapsed());
                Ok(())
            }
            ("ERROR", Some((expected, _))) if number == Some(expected) => {
                self.unanswered.pop_front();
                add(&self.shared.refused, 1);
                Ok(())
            }
            _ => Err(connection.refused(frame)),
        }
    }
}

async fn consume(shared: Rc<Shared>, mut failover: Failover) -> Result<(), ClientError> {
    loop {
        let mut connection = failover.connect().await?;
        match take(&shared, &mut connection).await {
            Ok(()) => return connection.disconnect(|_| {}).await,
            Err(error) if error.is_retryable() => add(&shared.lost, 1),
            Err(error) => return Err(error),
        }
    }
}

/// Takes messages until the queue is empty at the end of the run.
async fn take(shared: &Shared, connection: &mut Connection) -> Result<(), ClientError> {
    let subscribe = Frame::new("SUBSCRIBE")
        .header("id", "s")
        .header("destination", QUEUE)
        .header("ack", "client");
    connection.queue(&subscribe);
    let mut since_ack = 0;
    let mut newest = None;
    loop {
        if !shared.may_take() {
            connection.flush().await?;
            sleep(HELD_PAUSE).await;
            continue;
        }
        let Ok(frame) = timeout(IDLE, connection.next()).await else {
            ack(connection, &mut newest);
            match shared.draining.get() {
                true => return Ok(()),
                false => continue,
            }
        };
        let frame = frame?;
        if &*frame.command != "MESSAGE" {
            return Err(connection.refused(&frame));
        }
        note(shared, &frame);
        newest = frame.get("ack").map(str::to_owned);
        since_ack += 1;
        if since_ack >= ACK_BATCH {
            since_ack = 0;
            ack(connection, &mut newest);
        }
        if connection.queued_bytes() > QUEUE_BYTES_MAX {
            connection.flush().await?;
        }
    }
}

fn ack(connection: &mut Connection, newest: &mut Option<String>) {
    if let Some(id) = newest.take() {
        connection.queue(&Frame::new("ACK").header("id", id));
    }
}

fn note(shared: &Shared, frame: &Frame) {
    let id = frame.get(ID_HEADER).and_then(|id| id.split_once('-'));
    let numbers = id.and_then(|(place, number)| Some((place.parse().ok()?, number.parse().ok()?)));
    if let Some((place, number)) = numbers {
        let redelivered = frame.get("redelivered") == Some("true");
        shared.received(place, number, redelivered);
    }
}
