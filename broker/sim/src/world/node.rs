//! One broker: a volume that stays, a process that comes and goes, and what the shell does around
//! the machine.
//!
//! ```text
//!   Down --start--> Running <--pause, resume--> Paused
//!     ^               │ kill, power cut, abort, exit
//!     └───────────────┘
//! ```
//!
//! A turn of the process: due timers first, then everything that arrived, then clients' commands
//! while the machine accepts them, then all effects. What arrived together shares a turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tandemmq_cluster::lease::LeaseRequest;
use tandemmq_cluster::{
    Effect, Event, InboundId, LeaseRequestId, NodeConfig, NodeMachine, Offsets, PeerConfig, ReadId,
    Role, Timing,
};
use tandemmq_engine::EngineConfig;
use tandemmq_journal::{Batch, JournalConfig, ReadOp};
use tandemmq_model::{
    Ballot, BootNonce, ByteString, ConnId, Delivery, Destination, Incarnation, MemberId, MessageId,
    Now, Offset, Outcome, Time,
};

use super::{WALL_ORIGIN_MS, World};
use crate::disk::{Disk, Started};
use crate::happening::Happening;
use crate::oracle::group::{Log, View};
use crate::oracle::{Invariant, Violation};
use crate::payload::Attempt;
use crate::seeds::Plan;
use crate::session::{Out, Session};
use crate::trace::Step;

/// Commands handed to a machine in one event. The shell takes what its channel holds; a small
/// number makes more turns meet a full session.
const COMMANDS_PER_EVENT: usize = 16;

/// Bytes the oracle reads at once.
const READ_BYTES: usize = 1024 * 1024;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// kill -9, or an abort: what was written stays in the page cache.
    Kill,
    /// The host loses its power: what was not synced is lost or torn, and nobody is told.
    PowerCut,
}

/// A clock that starts anywhere and may run fast or slow.
#[derive(Debug, Clone, Copy)]
struct Clock {
    origin: u64,
    permille: u64,
    /// Wall clock against true time, in milliseconds; may jump.
    wall_offset_ms: i64,
}

/// One broker.
#[derive(Debug)]
pub(crate) struct Node {
    config: NodeConfig,
    clock: Clock,
    pub(crate) disk: Disk,
    process: Option<Process>,
    run: u64,
    paused: bool,
    /// Connections whose other ends have not heard of a power cut.
    orphans: Vec<InboundId>,
}

struct Process {
    machine: NodeMachine,
    inbox: VecDeque<Event>,
    sessions: BTreeMap<ConnId, Session>,
    listening: bool,
    /// The turn that is planned.
    turn_at: Option<Time>,
    /// Dies after so many more effects.
    die_after: Option<u32>,
    member: MemberId,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

// === impl Clock ===

impl Clock {
    fn boot(&self, now: Time) -> Time {
        let run = u128::from(now.as_nanos()) * u128::from(self.permille) / 1_000;
        Time::from_nanos(self.origin + run as u64)
    }

    /// The first true moment at which this clock shows `boot` or more.
    fn true_time(&self, boot: Time) -> Time {
        let run = u128::from(boot.as_nanos().saturating_sub(self.origin));
        Time::from_nanos((run * 1_000).div_ceil(u128::from(self.permille)) as u64)
    }
}

// === impl Node ===

impl Node {
    /// True while a process exists, paused or not.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    /// True while its process stands still.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// True when that run of its process is the present one.
    pub(crate) fn is_run(&self, run: u64) -> bool {
        self.process.is_some() && self.run == run
    }

    /// The number of its present or last run.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// True when clients may connect.
    pub(crate) fn listens(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.listening)
    }

    /// Its role, slave while it is down.
    pub(crate) fn role(&self) -> Role {
        self.machine().map_or(Role::Slave, NodeMachine::role)
    }

    /// Its machine while it runs.
    pub(crate) fn machine(&self) -> Option<&NodeMachine> {
        self.process.as_ref().map(|process| &process.machine)
    }

    /// Both its clocks at a true moment.
    pub(crate) fn clock(&self, now: Time) -> Now {
        let true_ms = (WALL_ORIGIN_MS + now.as_nanos() / 1_000_000) as i64;
        let wall_ms = (true_ms + self.clock.wall_offset_ms) as u64;
        Now {
            boot: self.clock.boot(now),
            wall_ms,
        }
    }

    pub(crate) fn jump_wall(&mut self, by_ms: i64) {
        self.clock.wall_offset_ms += by_ms;
    }

    pub(crate) fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.process.as_mut()?.sessions.get_mut(&conn)
    }

    pub(crate) fn add_session(&mut self, conn: ConnId) {
        if let Some(process) = &mut self.process {
            process.sessions.insert(conn, Session::default());
        }
    }

    pub(crate) fn die_after(&mut self, effects: u32) {
        if let Some(process) = &mut self.process {
            process.die_after = Some(effects);
        }
    }

    /// What a power cut of this moment would leave: promise and last synced offset.
    pub(crate) fn would_survive(&self, plan: &Plan) -> (Ballot, Offset) {
        self.disk.would_survive(&journal_config(plan))
    }

    fn view(&self) -> Option<View> {
        let process = self.process.as_ref()?;
        let machine = &process.machine;
        let journal = machine.journal();
        Some(View {
            member: process.member,
            role: machine.role(),
            promise: machine.promise(),
            log_state: machine.log_state(),
            offsets: machine.offsets(),
            last_crc: journal.last_crc(),
            epochs: journal
                .epochs()
                .iter()
                .map(|row| (row.epoch, row.first))
                .collect(),
        })
    }
}

/// A member's log as the oracle reads it.
struct OwnLog<'a> {
    machine: &'a NodeMachine,
    disk: &'a Disk,
}

impl Log for OwnLog<'_> {
    fn batches(&self, from: Offset, to: Offset) -> Vec<Batch> {
        let journal = self.machine.journal();
        let mut next = from.next();
        let mut found = Vec::new();
        while next <= to {
            let batches = journal.tail_batches(next, READ_BYTES).unwrap_or_else(|| {
                self.disk
                    .read_batches(&journal.read_batches(next, READ_BYTES))
            });
            let Some(last) = batches.last() else {
                return found;
            };
            next = last.last().next();
            found.extend(batches);
        }
        found
    }
}

impl World {
    pub(super) fn make_nodes(&mut self) {
        for ordinal in 0..self.plan.nodes {
            let rng = &mut self.streams.names;
            let clock = Clock {
                origin: rng.between(1, 1 << 50),
                permille: self.plan.clock_permille[ordinal],
                wall_offset_ms: 0,
            };
            self.nodes.push(Node {
                config: node_config(&self.plan, ordinal),
                clock,
                disk: Disk::new(self.plan.disk),
                process: None,
                run: 0,
                paused: false,
                orphans: Vec::new(),
            });
            let wait = self.streams.names.millis(0, 100);
            self.agenda.after(wait, Happening::Start { node: ordinal });
        }
    }

    pub(super) fn wall_ms(&self) -> u64 {
        WALL_ORIGIN_MS + self.agenda.now().as_nanos() / 1_000_000
    }

    /// A process starts over its volume; a blank volume is formatted first.
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].is_alive() || self.nodes[node].disk.is_set_aside() {
            return;
        }
        let incarnation = Incarnation(self.streams.names.next_u128());
        let boot = BootNonce(self.streams.names.next_u64());
        let seed = self.streams.names.next_u64();
        let config = journal_config(&self.plan);
        let Started { recovered, member } =
            match self.nodes[node]
                .disk
                .start(node as u8, incarnation, &config)
            {
                Ok(started) => started,
                Err(_) if self.nodes[node].disk.has_failed() => {
                    let wait = self.streams.names.millis(50, 500);
                    return self.agenda.after(wait, Happening::Start { node });
                }
                Err(why) => {
                    let text = format!("member {node} does not start: {why}");
                    return self.violate(Violation::new(Invariant::NoHealthyAccused, text));
                }
            };
        let (promise, log_state) = (recovered.control.promise, recovered.control.log_state);
        let judged = self.group.started(node, promise, log_state);
        self.judge(judged);
        self.counts.starts += 1;
        let now = self.agenda.now();
        let this = &mut self.nodes[node];
        this.run += 1;
        this.paused = false;
        let machine = NodeMachine::new(this.config.clone(), boot, seed, recovered, this.clock(now));
        this.process = Some(Process {
            machine,
            inbox: VecDeque::new(),
            sessions: BTreeMap::new(),
            listening: false,
            turn_at: None,
            die_after: None,
            member,
        });
        let run = this.run;
        let orphans = std::mem::take(&mut this.orphans);
        self.note(Step::Process, &[1, node as u64, boot.0], || {
            format!("{node} starts as {member}, boot {boot:?}, promise {promise}")
        });
        self.tell_orphans(node, &orphans);
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            let wait = self.streams.net.micros(100, 3_000);
            self.agenda.after(
                wait,
                Happening::Dial {
                    from: node,
                    to,
                    run,
                },
            );
        }
        self.wake(node);
    }

    /// The host is back: its kernel resets what it does not know.
    fn tell_orphans(&mut self, node: usize, orphans: &[InboundId]) {
        for conn in orphans {
            let Some((from, to)) = self.net.ends(*conn) else {
                continue;
            };
            let wait = self.net.latency(from, to, &mut self.streams.net);
            let ends = if to == node {
                Happening::Reset { conn: *conn }
            } else {
                Happening::InboundEnds { conn: *conn }
            };
            self.agenda.after(wait, ends);
        }
    }

    /// A process ends, against its will.
    pub(crate) fn crash(&mut self, node: usize, how: Crash) {
        if !self.nodes[node].is_alive() {
            return;
        }
        self.note(Step::Process, &[2, node as u64, how as u64], || {
            format!("{node}: {how:?}")
        });
        let process = self.nodes[node].process.take().expect("looked above");
        self.nodes[node].paused = false;
        self.nodes[node].disk.process_gone(&mut self.streams.disk);
        let sessions: Vec<ConnId> = process.sessions.keys().copied().collect();
        let told = match how {
            Crash::Kill => {
                self.net
                    .process_gone(node, &mut self.agenda, &mut self.streams.net);
                Duration::from_micros(300)
            }
            Crash::PowerCut => {
                self.nodes[node].disk.power_cut(&mut self.streams.disk);
                self.nodes[node].orphans = self.net.host_gone(node);
                self.streams.clients.millis(500, 4_000)
            }
        };
        self.drop_sessions(node, sessions, told);
    }

    /// Plans the start of a process that is down.
    pub(crate) fn restart_after(&mut self, node: usize, wait: Duration) {
        if !self.nodes[node].is_alive() {
            self.agenda.after(wait, Happening::Start { node });
        }
    }

    /// SIGSTOP: nothing of the process moves; what the kernel does for it goes on.
    pub(crate) fn pause(&mut self, node: usize) {
        if self.nodes[node].is_alive() {
            self.nodes[node].paused = true;
            self.note(Step::Process, &[3, node as u64], || {
                format!("{node} stands still")
            });
        }
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].paused, false) {
            return;
        }
        self.note(Step::Process, &[4, node as u64], || {
            format!("{node} goes on")
        });
        self.wake(node);
        self.start_disk(node);
        let conns: Vec<ConnId> = match &self.nodes[node].process {
            Some(process) => process.sessions.keys().copied().collect(),
            None => Vec::new(),
        };
        for conn in conns {
            self.plan_write(node, conn);
        }
    }

    /// Something arrived for a process.
    pub(super) fn give(&mut self, node: usize, event: Event) {
        if let Some(process) = &mut self.nodes[node].process {
            process.inbox.push_back(event);
            self.wake(node);
        }
    }

    /// Plans a turn soon; what arrives until then shares it.
    pub(super) fn wake(&mut self, node: usize) {
        let wait = self.streams.net.micros(1, 30);
        self.turn_by(node, self.agenda.now() + wait);
    }

    fn turn_by(&mut self, node: usize, at: Time) {
        let run = self.nodes[node].run;
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        if process.turn_at.is_some_and(|planned| planned <= at) {
            return;
        }
        process.turn_at = Some(at);
        self.agenda.at(at, Happening::Turn { node, run });
    }

    pub(super) fn turn(&mut self, node: usize, run: u64) {
        if !self.nodes[node].is_run(run) || self.nodes[node].paused {
            if let Some(process) = &mut self.nodes[node].process {
                process.turn_at = None;
            }
            return;
        }
        let now = self.nodes[node].clock(self.agenda.now());
        let process = self.nodes[node].process.as_mut().expect("is_run says so");
        process.turn_at = None;
        if process
            .machine
            .poll_timeout()
            .is_some_and(|due| due <= now.boot)
        {
            process.machine.handle_timeout(now);
            self.observe(node);
        }
        while let Some(event) = self.next_event(node) {
            self.with_machine(node, |machine| machine.handle_event(now, event));
            // What a master counts in one event and loses by the next was still counted by it.
            self.observe(node);
        }
        if let Some(process) = &mut self.nodes[node].process {
            process.feed_commands(now);
        }
        self.observe(node);
        self.do_effects(node, now);
        self.plan_timeout(node);
    }

    fn next_event(&mut self, node: usize) -> Option<Event> {
        self.nodes[node].process.as_mut()?.inbox.pop_front()
    }

    fn with_machine(&mut self, node: usize, act: impl FnOnce(&mut NodeMachine)) {
        if let Some(process) = &mut self.nodes[node].process {
            act(&mut process.machine);
        }
    }

    fn plan_timeout(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else {
            return;
        };
        let more = process.has_commands() && process.machine.accepts_commands();
        if more {
            return self.wake(node);
        }
        let Some(due) = process
            .machine
            .poll_timeout()
            .filter(|due| *due != Time::NEVER)
        else {
            return;
        };
        let at = self.nodes[node].clock.true_time(due);
        // A timer that is due again at once would spin: real loops have a cost too.
        let at = at.max(self.agenda.now() + Duration::from_micros(10));
        self.turn_by(node, at);
    }

    /// The oracle looks at a member, if anything it judges has changed.
    pub(super) fn observe(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else {
            return;
        };
        let machine = &process.machine;
        let unchanged = self.group.last_view(node).is_some_and(|last| {
            last.offsets == machine.offsets()
                && last.role == machine.role()
                && last.promise == machine.promise()
                && last.log_state == machine.log_state()
                && last.member == process.member
                && last.last_crc == machine.journal().last_crc()
        });
        if unchanged {
            return;
        }
        let view = self.nodes[node].view().expect("alive");
        let applied_before = self.group.last_view(node).map(|last| last.offsets.applied);
        let offsets = view.offsets;
        let shorter = |last: &View| {
            last.member == view.member && last.offsets.appended > view.offsets.appended
        };
        self.counts.cuts += u64::from(self.group.last_view(node).is_some_and(shorter));
        self.note_offsets(node, offsets);
        let this = &self.nodes[node];
        let machine = this.machine().expect("alive");
        let log = OwnLog {
            machine,
            disk: &this.disk,
        };
        let mut judged = self.group.observe(node, view, &log);
        if judged.is_ok() && applied_before != Some(offsets.applied) {
            judged = self
                .group
                .check_digest(node, offsets.applied, machine.state_digest());
        }
        self.judge(judged);
    }

    fn note_offsets(&mut self, node: usize, at: Offsets) {
        let Offsets {
            appended,
            synced,
            committed,
            applied,
        } = at;
        let numbers = [node as u64, appended.0, synced.0, committed.0, applied.0];
        self.note(Step::Offsets, &numbers, || {
            format!(
                "{node} appended {appended} synced {synced} committed {committed} applied {applied}"
            )
        });
    }

    fn do_effects(&mut self, node: usize, now: Now) {
        let run = self.nodes[node].run;
        while self.violation.is_none() && self.nodes[node].is_run(run) {
            let process = self.nodes[node].process.as_mut().expect("is_run says so");
            let Some(effect) = process.machine.poll_effect(now) else {
                return;
            };
            self.do_effect(node, run, effect);
            self.die_midway(node);
        }
    }

    fn die_midway(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        let Some(left) = &mut process.die_after else {
            return;
        };
        if *left > 0 {
            *left -= 1;
            return;
        }
        let wait = self.streams.faults.millis(20, 2_000);
        self.crash(node, Crash::Kill);
        self.restart_after(node, wait);
    }

    fn do_effect(&mut self, node: usize, run: u64, effect: Effect) {
        match effect {
            Effect::Send { ordinal, frame } => self.send(node, usize::from(ordinal), &frame),
            Effect::CloseInbound { inbound, reason } => {
                self.note(Step::Link, &[4, inbound.0], || {
                    format!("{node} closes link {}: {reason}", inbound.0)
                });
                self.net
                    .refuse(inbound, &mut self.agenda, &mut self.streams.net);
            }
            Effect::Disk(op) => {
                self.nodes[node].disk.push(op);
                self.start_disk(node);
            }
            Effect::Read(id, op) => self.read_soon(node, run, id, op),
            Effect::Lease(id, request) => self.lease_effect(node, run, id, request),
            Effect::Deliver {
                conn,
                deliveries,
                valid_until,
            } => {
                self.observe(node);
                self.deliver(node, conn, deliveries, valid_until);
            }
            Effect::Reply {
                conn,
                request,
                outcome,
            } => {
                self.observe(node);
                self.reply(node, conn, request, outcome);
            }
            Effect::OpenPorts => self.open_ports(node),
            Effect::ClosePorts => self.close_ports(node),
            Effect::RoleChanged {
                role,
                epoch,
                reason,
            } => {
                self.note(Step::Role, &[1, node as u64, role as u64, epoch.0], || {
                    format!("{node} is {} in epoch {epoch}: {reason}", role.as_str())
                });
            }
            Effect::Notice { text } => {
                self.note(Step::Role, &[2, node as u64], || format!("{node}: {text}"));
            }
            Effect::Abort { reason } => self.abort(node, &reason),
            Effect::Exit => self.exit(node),
        }
    }

    fn lease_effect(&mut self, node: usize, run: u64, id: LeaseRequestId, request: LeaseRequest) {
        self.call_lease(node, run, id, request);
    }

    fn open_ports(&mut self, node: usize) {
        self.observe(node);
        self.counts.reigns += 1;
        self.note(Step::Role, &[3, node as u64], || {
            format!("{node} opens its client ports")
        });
        let judged = self.group.opened(node);
        self.judge(judged);
        if let Some(process) = &mut self.nodes[node].process {
            process.listening = true;
        }
    }

    fn close_ports(&mut self, node: usize) {
        self.note(Step::Role, &[4, node as u64], || {
            format!("{node} closes its client ports")
        });
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        process.listening = false;
        let sessions: Vec<ConnId> = std::mem::take(&mut process.sessions).into_keys().collect();
        self.drop_sessions(node, sessions, Duration::from_micros(300));
    }

    fn deliver(&mut self, node: usize, conn: ConnId, deliveries: Vec<Delivery>, until: Time) {
        let epoch = self.nodes[node]
            .machine()
            .map(|machine| machine.promise().epoch);
        for delivery in deliveries {
            if let Delivery::Message {
                message_id,
                destination,
                message,
                ..
            } = &delivery
            {
                if let MessageId::Persistent(of, offset) = *message_id {
                    let attempt = Attempt::find(&message.body);
                    let judged = self.group.check_dispatch(node, of, offset, attempt);
                    self.judge(judged);
                }
                if let Some(epoch) = epoch {
                    self.check_came_back(conn, &delivery, epoch, destination, *message_id);
                }
            }
            if let Some(session) = self.nodes[node].session(conn) {
                session.push(Out::Delivery(delivery, until));
            }
        }
        self.judge_history();
        self.plan_write(node, conn);
    }

    /// A browser may look at a message whose ack is not committed yet; a consumer must not get it.
    fn check_came_back(
        &mut self,
        conn: ConnId,
        delivery: &Delivery,
        epoch: tandemmq_model::Epoch,
        destination: &Destination,
        message_id: MessageId,
    ) {
        let Delivery::Message { subscription, .. } = delivery else {
            return;
        };
        let consumes = self
            .conns
            .get(&conn)
            .is_some_and(|open| self.nodes[open.node].consumes(conn, *subscription));
        if consumes {
            self.history.dispatched(epoch, destination, message_id);
        }
    }

    fn reply(&mut self, node: usize, conn: ConnId, request: u64, outcome: Outcome) {
        let epoch = self.nodes[node]
            .machine()
            .map_or_else(Default::default, |m| m.promise().epoch);
        self.check_reply(conn, request, &outcome, epoch);
        if let Some(session) = self.nodes[node].session(conn) {
            session.push(Out::Reply {
                request,
                outcome,
                epoch,
            });
        }
        self.plan_write(node, conn);
    }

    /// A process that ends itself must have a reason that was put in.
    fn abort(&mut self, node: usize, reason: &str) {
        self.counts.aborts += 1;
        self.note(Step::Process, &[5, node as u64], || {
            format!("{node} aborts: {reason}")
        });
        if !self.nodes[node].disk.has_failed() && !self.group.is_excused(node) {
            let text = format!("member {node} aborts without a failed disk: {reason}");
            self.violate(Violation::new(Invariant::Abort, text));
        }
        self.crash(node, Crash::Kill);
        let wait = self.streams.faults.millis(50, 1_000);
        self.restart_after(node, wait);
    }

    fn exit(&mut self, node: usize) {
        self.note(Step::Process, &[6, node as u64], || format!("{node} exits"));
        self.crash(node, Crash::Kill);
        let wait = self.streams.faults.millis(50, 2_000);
        self.restart_after(node, wait);
    }

    // === disk ===

    /// Begins the next operation, if the disk is idle and does anything at all.
    pub(crate) fn start_disk(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if this.process.is_none() || this.paused {
            return;
        }
        let run = this.run;
        if let Some((wait, op)) = this.disk.begin(&mut self.streams.disk) {
            self.agenda
                .after(wait, Happening::DiskDone { node, run, op });
        }
    }

    pub(super) fn disk_done(&mut self, node: usize, run: u64, op: u64) {
        if !self.nodes[node].is_run(run) {
            return;
        }
        let Some(done) = self.nodes[node].disk.complete(op) else {
            return;
        };
        self.counts.disk_ops += 1;
        self.note(Step::Disk, &[node as u64, op], || {
            format!("{node} disk: {done:?}")
        });
        self.give(node, Event::Disk(done));
        self.start_disk(node);
    }

    fn read_soon(&mut self, node: usize, run: u64, id: ReadId, op: ReadOp) {
        let wait = self.streams.disk.micros(20, 2_000);
        self.agenda
            .after(wait, Happening::ReadDone { node, run, id, op });
    }

    pub(super) fn read_done(&mut self, node: usize, run: u64, id: ReadId, op: &ReadOp) {
        if !self.nodes[node].is_run(run) {
            return;
        }
        let done = self.nodes[node].disk.read(op);
        self.note(Step::Disk, &[node as u64, id.0, 1], || {
            format!("{node} read {}", id.0)
        });
        self.give(node, Event::Read(id, done));
    }
}

// === impl Process ===

impl Process {
    fn has_commands(&self) -> bool {
        self.sessions
            .values()
            .any(|s| !s.announced || s.has_commands() || s.ended)
    }

    /// Consumers that are at one queue together compete from then on.
    fn note_competitors(&mut self) {
        let mut at: BTreeMap<Destination, Vec<ConnId>> = BTreeMap::new();
        for (conn, session) in &self.sessions {
            if let Some(queue) = &session.queue {
                at.entry(queue.clone()).or_default().push(*conn);
            }
        }
        for conn in at.into_values().filter(|conns| conns.len() > 1).flatten() {
            self.sessions.get_mut(&conn).expect("it is a key").competes = true;
        }
    }

    /// Takes from the clients' channel, connection by connection, while the machine accepts.
    fn feed_commands(&mut self, now: Now) {
        let conns: Vec<ConnId> = self.sessions.keys().copied().collect();
        for conn in conns {
            if !self.machine.accepts_commands() {
                return;
            }
            let session = self.sessions.get_mut(&conn).expect("keys were just read");
            if !std::mem::replace(&mut session.announced, true) {
                self.machine.handle_event(now, Event::Connected(conn));
            }
            let commands = session.take_commands(COMMANDS_PER_EVENT);
            let last = session.ended && !session.has_commands();
            self.note_competitors();
            if !commands.is_empty() {
                self.machine
                    .handle_event(now, Event::Commands(conn, commands));
            }
            if last {
                self.sessions.remove(&conn);
                self.machine.handle_event(now, Event::Disconnected(conn));
            }
        }
    }
}

impl Node {
    fn consumes(&self, conn: ConnId, subscription: tandemmq_model::SubscriptionId) -> bool {
        self.process
            .as_ref()
            .and_then(|process| process.sessions.get(&conn))
            .is_some_and(|session| session.consumes(subscription))
    }
}

/// Small numbers, so that a run meets its limits.
pub(crate) fn journal_config(plan: &Plan) -> JournalConfig {
    JournalConfig {
        segment_bytes: plan.segment_bytes,
        max_bytes: None,
        reserve_bytes: u64::from(plan.segment_bytes),
        tail_bytes_max: 64 * 1024,
    }
}

fn node_config(plan: &Plan, ordinal: usize) -> NodeConfig {
    let name = |ordinal: usize| ByteString::from(format!("a-{ordinal}"));
    NodeConfig {
        group: ByteString::from_static("a"),
        name: name(ordinal),
        ordinal: ordinal as u8,
        members: (0..plan.nodes)
            .map(|ordinal| PeerConfig {
                ordinal: ordinal as u8,
                name: name(ordinal),
            })
            .collect(),
        client_address: ByteString::from(format!("10.0.0.{ordinal}:61613")),
        timing: Timing::default(),
        journal: journal_config(plan),
        engine: EngineConfig {
            body_cache_bytes_max: 16 * 1024,
            ..EngineConfig::default()
        },
    }
}
