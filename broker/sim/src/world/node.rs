//! One broker: a volume that stays, a process that comes and goes, and what the shell does around
//! the machine.
//!
//! ```text
//!   Down --start--> Running <--pause, resume--> Paused
//!     ^               │ kill, power cut, abort, exit
//!     └───────────────┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tandemmq_cluster::{
    Event, InboundId, NodeConfig, NodeMachine, PeerConfig, ReadId, Role, Timing,
};
use tandemmq_engine::EngineConfig;
use tandemmq_journal::{Batch, FORMAT, JournalConfig, ReadOp};
use tandemmq_model::{
    Ballot, BootNonce, ByteString, ConnId, Incarnation, MemberId, Now, Offset, SubscriptionId, Time,
};

use super::{WALL_ORIGIN_MS, World};
use crate::disk::{Disk, Started};
use crate::happening::Happening;
use crate::oracle::group::{Log, View};
use crate::oracle::{Invariant, Violation};
use crate::seeds::Plan;
use crate::session::Session;
use crate::trace::Step;

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
pub(super) struct Clock {
    origin: u64,
    permille: u64,
    /// Wall clock against true time, in milliseconds; may jump.
    wall_offset_ms: i64,
}

/// One broker.
#[derive(Debug)]
pub(crate) struct Node {
    config: NodeConfig,
    pub(super) clock: Clock,
    pub(crate) disk: Disk,
    pub(super) process: Option<Process>,
    pub(super) run: u64,
    pub(super) paused: bool,
    /// Connections whose other ends have not heard of a power cut.
    orphans: Vec<InboundId>,
}

pub(super) struct Process {
    pub(super) machine: NodeMachine,
    pub(super) inbox: VecDeque<Event>,
    pub(super) sessions: BTreeMap<ConnId, Session>,
    pub(super) listening: bool,
    /// The turn that is planned.
    pub(super) turn_at: Option<Time>,
    /// Dies after so many more effects.
    pub(super) die_after: Option<u32>,
    pub(super) member: MemberId,
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
    pub(super) fn true_time(&self, boot: Time) -> Time {
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

    /// From its next start on it is a version that understands formats up to this one.
    #[cfg(all(test, feature = "next-format"))]
    pub(crate) fn play_version(&mut self, format_max: u16) {
        self.config.journal.format_max = format_max;
    }

    /// The limits of its journal.
    #[cfg(all(test, feature = "next-format"))]
    pub(crate) fn journal_config(&self) -> JournalConfig {
        self.config.journal.clone()
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

    /// Its journal's limits from the next start on.
    pub(crate) fn set_journal(&mut self, plan: &Plan) {
        self.config.journal = journal_config(plan);
    }

    /// What a power cut of this moment would leave: promise and last synced offset.
    pub(crate) fn would_survive(&self, plan: &Plan) -> (Ballot, Offset) {
        self.disk.would_survive(&journal_config(plan))
    }

    pub(super) fn view(&self) -> Option<View> {
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
            log_start: journal.log_start(),
            checkpoint: journal.newest_checkpoint().map(|(offset, _)| offset),
            founders: journal
                .identity()
                .group
                .as_ref()
                .map_or_else(Vec::new, |group| group.members.clone()),
        })
    }
}

/// A member's log as the oracle reads it.
pub(super) struct OwnLog<'a> {
    pub(super) machine: &'a NodeMachine,
    pub(super) disk: &'a Disk,
}

impl Log for OwnLog<'_> {
    fn batches(&self, from: Offset, to: Offset) -> Vec<Batch> {
        let journal = self.machine.journal();
        // What is before its log came as a checkpoint, and was compared when it was committed.
        let mut next = from.next().max(journal.log_start().next());
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
        let config = self.nodes[node].config.journal.clone();
        let Started { recovered, member } =
            match self.nodes[node]
                .disk
                .start(node as u8, incarnation, &config)
            {
                Ok(started) => started,
                // A full disk has no room for what a start writes either.
                Err(_) if self.nodes[node].disk.has_failed() || self.nodes[node].disk.is_full() => {
                    let wait = self.streams.names.millis(50, 500);
                    return self.agenda.after(wait, Happening::Start { node });
                }
                Err(why) => {
                    let text = format!("member {node} does not start: {why}");
                    return self.violate(Violation::new(Invariant::NoHealthyAccused, text));
                }
            };
        let (promise, log_state) = (recovered.control.promise, recovered.control.log_state);
        let judged = self.group.started(node, member, promise, log_state);
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

    pub(super) fn read_soon(&mut self, node: usize, run: u64, id: ReadId, op: ReadOp) {
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

impl Node {
    pub(super) fn consumes(&self, conn: ConnId, subscription: SubscriptionId) -> bool {
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
        checkpoint_bytes: plan.checkpoint_bytes,
        retain_bytes: plan.retain_bytes,
        format_max: FORMAT,
    }
}

fn node_config(plan: &Plan, ordinal: usize) -> NodeConfig {
    let name = |ordinal: usize| ByteString::from(format!("a-{ordinal}"));
    NodeConfig {
        group: ByteString::from_static("a"),
        name: name(ordinal),
        holder: None,
        volume_id: None,
        confirmation: plan.confirmation,
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
