//! The one task that owns the machine.
//!
//! A turn: wait for anything; hand in all that is there, up to a bound, so that what arrives
//! together shares a batch; run the timers that are due; do the effects in their order. No rule
//! lives here.
//!
//! Clients are only listened to while the machine accepts commands; while the ports are closed what
//! they sent before is taken and dropped.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tandemmq_cluster::{Effect, Event, InboundId, NodeMachine};
use tandemmq_model::{Command, Now, Time};
use tandemmq_wire::SessionEvent;
use tokio::sync::{mpsc, oneshot};

use super::clock::{self, Alarm};
use super::disk_thread::DiskThread;
use super::events::{ClientEvent, NodeEvent, NodeSender};
use super::peer_link::LinkSender;
use super::ports::Ports;
use super::publish::Publisher;
use super::reader::Readers;
use crate::election::LeaseTask;
use crate::metrics::Metrics;

/// Events of each channel handed in before effects are done. Some hundred share one batch; more
/// would make the first of them wait.
const TURN_EVENTS_MAX: usize = 256;

/// The loop turns at least this often, so that `/healthz` can tell a stuck one.
const TURN_MAX: Duration = Duration::from_millis(500);

/// A wait longer than this, though it should have ended after `TURN_MAX`, means that the process
/// did not run.
const PAUSED: Duration = Duration::from_millis(900);

/// Time for the other tasks to read what waits in the sockets after a pause.
const CATCH_UP: Duration = Duration::from_millis(5);

/// The task's parts.
pub(crate) struct NodeTask {
    pub(crate) machine: NodeMachine,
    /// Everything but clients.
    pub(crate) events: mpsc::UnboundedReceiver<NodeEvent>,
    /// Clients.
    pub(crate) client_events: mpsc::Receiver<ClientEvent>,
    /// For the answers of Lease calls.
    pub(crate) sender: NodeSender,
    pub(crate) disk: DiskThread,
    pub(crate) readers: Readers,
    pub(crate) lease: LeaseTask,
    pub(crate) ports: Ports,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Arc<Metrics>,
    /// Our own connections that are up, by ordinal.
    pub(crate) links: HashMap<u8, LinkSender>,
    /// Connections of peers; dropping one closes it.
    pub(crate) inbound: HashMap<InboundId, oneshot::Sender<()>>,
}

/// Whether the loop goes on.
enum Flow {
    Go,
    /// `Effect::Exit`.
    Exit,
}

// === impl NodeTask ===

impl NodeTask {
    /// Runs until `Effect::Exit`; hands the disk back, so that what was asked of it can be waited
    /// for.
    pub(crate) async fn run(mut self) -> DiskThread {
        let mut events = Vec::with_capacity(TURN_EVENTS_MAX);
        let mut alarm = Alarm::new(TURN_MAX);
        loop {
            let waiting_since = clock::boot();
            let client = self.wait(&mut alarm, &mut events).await;
            if clock::boot().since(waiting_since) > PAUSED {
                self.catch_up(&mut events).await;
            }
            let now = clock::now();
            for event in events.drain(..) {
                self.handle_event(now, event);
            }
            if let Some(event) = client {
                self.handle_client(now, event);
                self.take_clients(now);
            }
            self.handle_timeouts(now);
            if matches!(self.perform_effects(now), Flow::Exit) {
                return self.disk;
            }
            self.publisher.turn(now.boot, &self.machine, &self.ports);
        }
    }

    /// Waits for anything; what came is in `events` or in the answer.
    async fn wait(
        &mut self,
        alarm: &mut Alarm,
        events: &mut Vec<NodeEvent>,
    ) -> Option<ClientEvent> {
        let deadline = self.deadline();
        let takes_clients = self.takes_clients();
        tokio::select! {
            biased;
            count = self.events.recv_many(events, TURN_EVENTS_MAX) => {
                assert!(count > 0, "the task holds a sender itself");
                if takes_clients { self.client_events.try_recv().ok() } else { None }
            }
            client = self.client_events.recv(), if takes_clients => client,
            () = alarm.wait(Some(deadline)) => None,
        }
    }

    /// The process was stopped or the machine suspended: what arrived meanwhile waits in the
    /// sockets. It goes in before any timer, or a slave would suspect a master that lives.
    async fn catch_up(&mut self, events: &mut Vec<NodeEvent>) {
        tokio::time::sleep(CATCH_UP).await;
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
    }

    fn deadline(&self) -> Time {
        let own = clock::boot() + TURN_MAX;
        let timers = [self.machine.poll_timeout(), self.ports.poll_timeout()];
        timers
            .into_iter()
            .flatten()
            .fold(own, Time::min)
            .min(self.publisher.deadline())
    }

    fn takes_clients(&self) -> bool {
        !self.ports.is_open() || self.machine.accepts_commands()
    }

    fn handle_event(&mut self, now: Now, event: NodeEvent) {
        match event {
            NodeEvent::Machine(event) => self.handle_machine_event(now, event),
            NodeEvent::PeerFrame {
                inbound,
                frame,
                permit,
            } => {
                self.machine
                    .handle_event(now, Event::PeerFrame { inbound, frame });
                drop(permit);
            }
            NodeEvent::OutboundUp { ordinal, link } => {
                self.links.insert(ordinal, link);
                self.machine
                    .handle_event(now, Event::OutboundUp { ordinal });
            }
            NodeEvent::InboundUp { inbound, closer } => {
                self.inbound.insert(inbound, closer);
            }
            NodeEvent::Shutdown { why } => {
                tracing::info!(why, "shutting down");
                self.machine.handle_event(now, Event::Shutdown);
            }
        }
    }

    fn handle_machine_event(&mut self, now: Now, event: Event) {
        match &event {
            Event::OutboundDown { ordinal } => {
                self.links.remove(ordinal);
            }
            Event::InboundDown { inbound } => {
                self.inbound.remove(inbound);
            }
            _ => {}
        }
        self.machine.handle_event(now, event);
    }

    fn take_clients(&mut self, now: Now) {
        for _ in 1..TURN_EVENTS_MAX {
            if !self.takes_clients() {
                return;
            }
            let Ok(event) = self.client_events.try_recv() else {
                return;
            };
            self.handle_client(now, event);
        }
    }

    fn handle_client(&mut self, now: Now, event: ClientEvent) {
        let Some((event, permit)) = self.ports.translate(event) else {
            return;
        };
        if let Event::Commands(_, commands) = &event {
            let sends = commands
                .iter()
                .filter(|command| matches!(command, Command::Send { .. }));
            self.metrics.messages_received.inc_by(sends.count() as u64);
        }
        self.machine.handle_event(now, event);
        drop(permit);
    }

    fn handle_timeouts(&mut self, now: Now) {
        if self.machine.poll_timeout().is_some_and(|at| at <= now.boot) {
            self.machine.handle_timeout(now);
        }
        self.ports.handle_timeout(now.boot);
    }

    fn perform_effects(&mut self, now: Now) -> Flow {
        while let Some(effect) = self.machine.poll_effect(now) {
            if matches!(self.perform(effect), Flow::Exit) {
                return Flow::Exit;
            }
        }
        Flow::Go
    }

    fn perform(&mut self, effect: Effect) -> Flow {
        match effect {
            Effect::Send { ordinal, frame } => {
                let full = self
                    .links
                    .get(&ordinal)
                    .is_some_and(|link| link.send(frame).is_err());
                if full {
                    tracing::warn!(peer = ordinal, "a link is closed: its queue is full");
                    self.links.remove(&ordinal);
                }
            }
            Effect::CloseInbound { inbound, reason } => {
                tracing::warn!(inbound = inbound.0, reason, "a peer's connection is closed");
                self.inbound.remove(&inbound);
            }
            Effect::Disk(op) => self.disk.send(op),
            Effect::Read(id, op) => self.readers.send(id, op),
            Effect::Lease(id, request) => {
                let (lease, sender) = (self.lease.clone(), self.sender.clone());
                tokio::spawn(async move {
                    let answer = lease.call(request).await;
                    // The node task may have ended meanwhile.
                    let _ = sender.send(NodeEvent::Machine(Event::Lease(id, answer)));
                });
            }
            Effect::Deliver {
                conn,
                deliveries,
                valid_until,
            } => {
                self.metrics.messages_sent.inc_by(deliveries.len() as u64);
                self.ports.send(
                    conn,
                    SessionEvent::Deliver {
                        deliveries,
                        valid_until,
                    },
                );
            }
            Effect::Reply {
                conn,
                request,
                outcome,
            } => {
                self.ports
                    .send(conn, SessionEvent::Reply { request, outcome });
            }
            Effect::OpenPorts => self.ports.open(),
            Effect::ClosePorts => self.ports.close(),
            Effect::RoleChanged {
                role,
                epoch,
                reason,
            } => {
                let (role, epoch) = (role.as_str(), epoch.0);
                tracing::info!(role, epoch, reason, "role changed");
            }
            Effect::Notice { text } => tracing::warn!("{text}"),
            Effect::Abort { reason } => abort(&reason),
            Effect::Restart { reason } => restart(&reason),
            Effect::Exit => return Flow::Exit,
        }
        Flow::Go
    }
}

/// Ends the process without any clean-up: what safety demands after a failed `fdatasync`.
fn abort(reason: &str) -> ! {
    tracing::error!(reason, "the process must end now");
    process::abort();
}

/// Starts this program anew in the same process, with the same arguments: the volume is read again
/// from the beginning. Connections close with their sockets; a supervisor notices nothing.
fn restart(reason: &str) -> ! {
    tracing::warn!(reason, "the broker starts again");
    let Ok(program) = std::env::current_exe() else {
        abort("the program's own file cannot be found");
    };
    let error = process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .exec();
    abort(&format!("the program cannot be started again: {error}"))
}
