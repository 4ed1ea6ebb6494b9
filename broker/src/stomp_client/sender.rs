//! Sending a number of messages through failovers, each with a receipt, a window of them at once.
//!
//! A SEND whose RECEIPT did not come before the connection broke is unknown: it arrived once or not
//! at all. It is reported as such and sent again only when the user asked for it, because STOMP has
//! no producer sequence: another SEND is another message.

use std::collections::VecDeque;
use std::time::Duration;

use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::stomp_client::{ClientError, Connection, Failover, QUEUE_BYTES_MAX, error_text};

/// A window's limit. Beyond this a connection is busy enough on any disk.
pub(crate) const WINDOW_MAX: usize = 65_536;

/// What to do with unknown sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Count them.
    Leave,
    /// Send them again, once more for each loss: the queue may hold duplicates then.
    Resend,
}

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Messages; none = until told to stop.
    pub(crate) count: Option<u64>,
    /// Sends without an answer at once, at least 1.
    pub(crate) window: usize,
    /// Pause after each message.
    pub(crate) pause: Duration,
    /// A connection on which the oldest send waits longer than this is given up.
    pub(crate) receipt_timeout: Duration,
    /// What to do with unknown sends.
    pub(crate) unknown: Unknown,
}

/// Makes the messages and hears of their fates. Sequences count from 1.
pub(crate) trait Source {
    /// The SEND of that sequence, without `receipt`.
    fn frame(&mut self, sequence: u64) -> Frame;
    /// It is about to be written.
    fn written(&mut self, _sequence: u64) {}
    /// Its RECEIPT came.
    fn acknowledged(&mut self, sequence: u64);
    /// It was refused and had no effect.
    fn refused(&mut self, sequence: u64, text: &str);
    /// The connection ended before its answer.
    fn unknown(&mut self, _sequence: u64) {}
    /// A connection is up.
    fn connected(&mut self, _address: &str) {}
    /// A connection was lost, or not answered for too long.
    fn lost(&mut self, _error: &ClientError) {}
}

/// One producer at work.
struct Sender<'a, S> {
    plan: &'a Plan,
    source: &'a mut S,
    next: u64,
    again: VecDeque<u64>,
    unanswered: VecDeque<(u64, Instant)>,
    /// The next send is due then.
    due: Instant,
}

enum End {
    /// Everything sent has its answer.
    Done,
    /// Told to stop.
    Stopped,
}

/// Sends what the plan says, over as many connections as it takes. Returns early, with everything
/// answered or reported unknown, when `stop` turns true.
pub(crate) async fn send_all<S: Source>(
    failover: &mut Failover,
    plan: &Plan,
    source: &mut S,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), ClientError> {
    assert!(
        (1..=WINDOW_MAX).contains(&plan.window),
        "the command line checks the window"
    );
    let mut sender = Sender {
        plan,
        source,
        next: 1,
        again: VecDeque::new(),
        unanswered: VecDeque::new(),
        due: Instant::now(),
    };
    loop {
        let connected = tokio::select! {
            connected = failover.connect() => connected,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let mut connection = connected?;
        sender.source.connected(connection.address());
        match sender.run(&mut connection, stop).await {
            Ok(End::Done | End::Stopped) => return sender.finish(connection).await,
            Err(error) if error.is_retryable() => sender.handle_loss(&error),
            Err(error) => {
                sender.handle_loss(&error);
                return Err(error);
            }
        }
        if *stop.borrow() || sender.is_done() {
            return Ok(());
        }
    }
}

// === impl Sender ===

impl<S: Source> Sender<'_, S> {
    async fn run(
        &mut self,
        connection: &mut Connection,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<End, ClientError> {
        loop {
            let stopping = *stop.borrow();
            if !stopping {
                self.fill(connection);
            }
            if self.unanswered.is_empty() {
                if stopping {
                    return Ok(End::Stopped);
                }
                if self.is_done() {
                    return Ok(End::Done);
                }
            }
            let wake = self.wake(stopping);
            tokio::select! {
                frame = connection.next() => self.handle_frame(&frame?, connection)?,
                () = sleep_until(wake) => self.check_answers(connection)?,
                _ = stop.changed(), if !stopping => {}
            }
            while let Some(frame) = connection.ready()? {
                self.handle_frame(&frame, connection)?;
            }
        }
    }

    fn fill(&mut self, connection: &mut Connection) {
        while self.unanswered.len() < self.plan.window
            && connection.queued_bytes() < QUEUE_BYTES_MAX
            && Instant::now() >= self.due
        {
            let Some(sequence) = self.take() else { break };
            let receipt = sequence.to_string();
            let frame = self.source.frame(sequence).header("receipt", receipt);
            self.source.written(sequence);
            connection.queue(&frame);
            self.unanswered.push_back((sequence, Instant::now()));
            if !self.plan.pause.is_zero() {
                self.due = Instant::now() + self.plan.pause;
            }
        }
    }

    fn take(&mut self) -> Option<u64> {
        if let Some(sequence) = self.again.pop_front() {
            return Some(sequence);
        }
        if self.plan.count.is_some_and(|count| self.next > count) {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    fn is_done(&self) -> bool {
        self.again.is_empty()
            && self.unanswered.is_empty()
            && self.plan.count.is_some_and(|count| self.next > count)
    }

    /// When something is to be done without a frame: a paused send, or an answer that is overdue.
    fn wake(&self, stopping: bool) -> Instant {
        let limit = Instant::now() + self.plan.receipt_timeout;
        let overdue = self
            .unanswered
            .front()
            .map_or(limit, |(_, at)| *at + self.plan.receipt_timeout);
        let has_room = self.unanswered.len() < self.plan.window && !stopping;
        match has_room && self.due > Instant::now() {
            true => overdue.min(self.due),
            false => overdue,
        }
    }

    fn check_answers(&self, connection: &Connection) -> Result<(), ClientError> {
        match self.unanswered.front() {
            Some((_, at)) if at.elapsed() >= self.plan.receipt_timeout => {
                Err(ClientError::Timeout(connection.address().to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn handle_frame(&mut self, frame: &Frame, connection: &Connection) -> Result<(), ClientError> {
        let receipt = frame.get("receipt-id").and_then(|id| id.parse().ok());
        match (&*frame.command, receipt) {
            ("RECEIPT", Some(sequence)) => {
                if self.answered(sequence) {
                    self.source.acknowledged(sequence);
                }
                Ok(())
            }
            ("ERROR", Some(sequence)) => {
                if self.answered(sequence) {
                    self.source.refused(sequence, &error_text(frame));
                }
                Ok(())
            }
            ("ERROR", None) => Err(connection.refused(frame)),
            _ => Ok(()),
        }
    }

    fn answered(&mut self, sequence: u64) -> bool {
        let place = self
            .unanswered
            .iter()
            .position(|(waiting, _)| *waiting == sequence);
        place
            .and_then(|place| self.unanswered.remove(place))
            .is_some()
    }

    fn handle_loss(&mut self, error: &ClientError) {
        self.source.lost(error);
        for (sequence, _) in std::mem::take(&mut self.unanswered) {
            match self.plan.unknown {
                Unknown::Leave => self.source.unknown(sequence),
                Unknown::Resend => self.again.push_back(sequence),
            }
        }
    }

    async fn finish(self, connection: Connection) -> Result<(), ClientError> {
        // Every send has its answer, so a lost good-bye changes nothing.
        match connection.disconnect(|_| {}).await {
            Err(error) if !error.is_retryable() => Err(error),
            _ => Ok(()),
        }
    }
}
