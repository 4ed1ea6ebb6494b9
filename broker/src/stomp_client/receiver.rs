//! Receiving messages through failovers, with acknowledgements.
//!
//! A message counts as done when its ACK was written; a RECEIPT of the ACK, where asked for, says
//! that it never comes back. After a loss the broker delivers again what it does not know as
//! acknowledged, with `redelivered:true`.

use std::time::Duration;

use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::stomp_client::{ClientError, Connection, Failover, QUEUE_BYTES_MAX};

/// The subscription's id: there is one a connection.
const SUBSCRIPTION: &str = "s";

/// In mode `client`, one ACK answers so many messages: a tenth of a queue's default prefetch, so
/// the broker always has room to send more.
const CLIENT_ACK_BATCH: u64 = 100;

/// How messages are acknowledged, with STOMP's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// `auto`: the broker forgets a message when it has handed it to the socket.
    Auto,
    /// `client`: an ACK answers all messages before it.
    Client,
    /// `client-individual`: an ACK answers one message.
    Individual,
}

impl Ack {
    /// The header's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Client => "client",
            Self::Individual => "client-individual",
        }
    }
}

/// Whether ACKs ask for receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckReceipts {
    /// Only the last of all, with DISCONNECT.
    AtTheEnd,
    /// Each one.
    Each,
}

/// What to receive.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The `destination` header.
    pub(crate) destination: String,
    /// How to acknowledge.
    pub(crate) ack: Ack,
    /// Receipts of ACKs.
    pub(crate) receipts: AckReceipts,
    /// `activemq.prefetchSize`; none: the broker's default.
    pub(crate) prefetch: Option<u32>,
    /// Messages; none = until told to stop.
    pub(crate) count: Option<u64>,
    /// Ends when no message came for so long; none = never.
    pub(crate) idle: Option<Duration>,
    /// Pause after each message.
    pub(crate) pause: Duration,
}

/// Hears of messages.
pub(crate) trait Sink {
    /// A connection is up.
    fn connected(&mut self, _address: &str) {}
    /// A MESSAGE came.
    fn received(&mut self, frame: &Frame);
    /// The ACK of that message id was answered with a RECEIPT.
    fn consumed(&mut self, _message_id: &str) {}
    /// A connection was lost.
    fn lost(&mut self, _error: &ClientError) {}
    /// The broker refused something (an ACK of a message that went elsewhere meanwhile).
    fn refused(&mut self, _text: &str) {}
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As many as asked for.
    Count,
    /// None came for too long.
    Idle,
    /// Told to stop.
    Stopped,
}

struct Receiver<'a, S> {
    plan: &'a Plan,
    sink: &'a mut S,
    left: Option<u64>,
    last_message: Instant,
    /// Mode `client`: messages since the last ACK, and the `ack` of the newest.
    since_ack: u64,
    newest: Option<String>,
}

/// Receives what the plan says, over as many connections as it takes.
pub(crate) async fn receive_all<S: Sink>(
    failover: &mut Failover,
    plan: &Plan,
    sink: &mut S,
    stop: &mut watch::Receiver<bool>,
) -> Result<End, ClientError> {
    let mut receiver = Receiver {
        plan,
        sink,
        left: plan.count,
        last_message: Instant::now(),
        since_ack: 0,
        newest: None,
    };
    loop {
        let connected = tokio::select! {
            connected = failover.connect() => connected,
            _ = stop.wait_for(|stop| *stop) => return Ok(End::Stopped),
        };
        let mut connection = connected?;
        receiver.sink.connected(connection.address());
        // Time without a broker is no time without messages.
        receiver.last_message = Instant::now();
        match receiver.run(&mut connection, stop).await {
            Ok(end) => match receiver.finish(connection).await {
                Err(error) if error.is_retryable() => receiver.sink.lost(&error),
                Err(error) => return Err(error),
                Ok(()) => return Ok(end),
            },
            Err(error) if error.is_retryable() => receiver.handle_loss(&error),
            Err(error) => return Err(error),
        }
        if receiver.left == Some(0) {
            return Ok(End::Count);
        }
    }
}

// === impl Receiver ===

impl<S: Sink> Receiver<'_, S> {
    async fn run(
        &mut self,
        connection: &mut Connection,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<End, ClientError> {
        self.subscribe(connection);
        loop {
            while let Some(frame) = connection.ready()? {
                self.handle_frame(&frame, connection).await?;
                if self.left == Some(0) {
                    return Ok(End::Count);
                }
                if connection.queued_bytes() > QUEUE_BYTES_MAX {
                    connection.flush().await?;
                }
            }
            let idle_end = self.plan.idle.map(|idle| self.last_message + idle);
            if *stop.borrow() {
                return Ok(End::Stopped);
            }
            tokio::select! {
                frame = connection.next() => self.handle_frame(&frame?, connection).await?,
                () = sleep_until(idle_end.unwrap_or_else(far_away)), if idle_end.is_some() => {
                    return Ok(End::Idle);
                }
                _ = stop.changed() => {}
            }
            if self.left == Some(0) {
                return Ok(End::Count);
            }
        }
    }

    fn subscribe(&self, connection: &mut Connection) {
        let mut frame = Frame::new("SUBSCRIBE")
            .header("id", SUBSCRIPTION)
            .header("destination", self.plan.destination.clone())
            .header("ack", self.plan.ack.as_str());
        if let Some(prefetch) = self.plan.prefetch {
            frame = frame.header("activemq.prefetchSize", prefetch.to_string());
        }
        connection.queue(&frame);
    }

    async fn handle_frame(
        &mut self,
        frame: &Frame,
        connection: &mut Connection,
    ) -> Result<(), ClientError> {
        match &*frame.command {
            "MESSAGE" => self.handle_message(frame, connection).await,
            "RECEIPT" => {
                if let Some(message_id) = frame.get("receipt-id") {
                    self.sink.consumed(message_id);
                }
                Ok(())
            }
            "ERROR" if frame.get("receipt-id").is_some() => {
                self.sink.refused(&crate::stomp_client::error_text(frame));
                Ok(())
            }
            "ERROR" => Err(connection.refused(frame)),
            _ => Ok(()),
        }
    }

    async fn handle_message(
        &mut self,
        frame: &Frame,
        connection: &mut Connection,
    ) -> Result<(), ClientError> {
        self.last_message = Instant::now();
        self.sink.received(frame);
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.since_ack += 1;
        self.newest = frame.get("ack").map(str::to_owned);
        match self.plan.ack {
            Ack::Auto => {}
            Ack::Individual => self.ack(connection, frame.get("message-id")),
            Ack::Client if self.since_ack >= CLIENT_ACK_BATCH => {
                self.ack(connection, frame.get("message-id"));
            }
            Ack::Client => {}
        }
        if !self.plan.pause.is_zero() {
            connection.flush().await?;
            tokio::time::sleep(self.plan.pause).await;
        }
        Ok(())
    }

    /// Acknowledges the newest message.
    fn ack(&mut self, connection: &mut Connection, message_id: Option<&str>) {
        let Some(ack) = self.newest.take() else {
            return;
        };
        let mut frame = Frame::new("ACK").header("id", ack);
        if let (AckReceipts::Each, Some(message_id)) = (self.plan.receipts, message_id) {
            frame = frame.header("receipt", message_id.to_owned());
        }
        connection.queue(&frame);
        self.since_ack = 0;
    }

    fn handle_loss(&mut self, error: &ClientError) {
        self.since_ack = 0;
        self.newest = None;
        self.sink.lost(error);
    }

    /// Acknowledges the rest and waits until everything is answered for.
    async fn finish(&mut self, mut connection: Connection) -> Result<(), ClientError> {
        if self.plan.ack == Ack::Client {
            self.ack(&mut connection, None);
        }
        let sink = &mut *self.sink;
        // The receipts of the last ACKs come before the one of DISCONNECT.
        connection
            .disconnect(|frame| {
                if let ("RECEIPT", Some(message_id)) = (&*frame.command, frame.get("receipt-id")) {
                    sink.consumed(message_id);
                }
            })
            .await
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}
