//! One simulated group with everything around it: brokers, disks, network, Lease store, clients.
//!
//! ```text
//!            ┌────────── Agenda: (moment, order) ──────────┐
//!            v                                             │
//!   Happening ──> node inbox ──Turn──> NodeMachine ──> Effect ──> disk, net, lease, sessions
//!            └──> clients, faults                          └────> oracle
//! ```
//!
//! The machines are the real ones; a [`Node`] does what the shell does around them and nothing
//! more. Everything random comes from the streams of the plan's seed, so a run is a function of
//! its plan (and of the script that drives it).
//!
//! Invariants
//! - One thing happens at a time; at one moment things happen in the order they were planned.
//! - Nothing that was planned for one run of a process reaches another run of it.
//! - The oracle sees a member after every turn and before every answer that leaves it.
//!
//! Each part has a file: `node` (volume and process), `turn` (what a process does), `links`,
//! `leases`, `clients`, `storm` (faults), `settle` (liveness), `script` (what schedules may do).

mod clients;
mod leases;
mod links;
mod node;
mod script;
mod settle;
mod storm;
mod turn;

use std::collections::BTreeMap;
use std::time::Duration;

use tandemmq_model::{ConnId, Time};

use crate::agenda::Agenda;
use crate::client::Client;
use crate::faults::FaultKind;
use crate::happening::Happening;
use crate::lease::SimLease;
use crate::net::Net;
use crate::oracle::Violation;
use crate::oracle::group::Group;
use crate::oracle::history::History;
use crate::rng::{Rng, Stream};
use crate::seeds::Plan;
use crate::trace::{Detail, Step, Trace};

pub(crate) use node::{Crash, Node};
pub(crate) use script::{Kept, Rule, Verdict};

use self::clients::ClientConn;
use self::leases::LeaseFaults;
use self::script::Script;
use self::storm::Storm;

/// Between two slow looks of the oracle.
const INSPECT: Duration = Duration::from_millis(50);

/// Wall clock of the origin of virtual time: some day in 2025, in milliseconds since 1970.
const WALL_ORIGIN_MS: u64 = 1_750_000_000_000;

/// The streams of one run, one per consumer.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) net: Rng,
    pub(crate) disk: Rng,
    pub(crate) lease: Rng,
    pub(crate) faults: Rng,
    pub(crate) clients: Rng,
    pub(crate) names: Rng,
    pub(crate) oracle: Rng,
}

/// What was counted in a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Faults that struck, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Processes that started.
    pub starts: u64,
    /// Processes that ended themselves because safety demanded it.
    pub aborts: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Frames delivered on a connection whose dialler had given it up.
    pub late_frames: u64,
    /// Disk operations done.
    pub disk_ops: u64,
    /// Deliveries handed back because their time was over.
    pub handed_back: u64,
    /// Deliveries written.
    pub deliveries: u64,
    /// Receipts given.
    pub receipts: u64,
    /// Refusals given.
    pub refusals: u64,
    /// Cuts of logs.
    pub cuts: u64,
    /// Ports opened.
    pub reigns: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Checkpoints installed from a master.
    pub installs: u64,
    /// Blank volumes that joined as learners.
    pub joins: u64,
    /// Logs and volumes that were set aside.
    pub set_asides: u64,
    /// Damaged members that are clean again.
    pub repairs: u64,
}

/// The whole simulation of one run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) agenda: Agenda<Happening>,
    pub(crate) plan: Plan,
    pub(crate) streams: Streams,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Net,
    pub(crate) lease: SimLease,
    pub(crate) lease_faults: LeaseFaults,
    pub(crate) clients: Vec<Client>,
    pub(crate) conns: BTreeMap<ConnId, ClientConn>,
    pub(crate) next_conn: u64,
    pub(crate) storm: Storm,
    pub(crate) script: Script,
    pub(crate) history: History,
    pub(crate) group: Group,
    pub(crate) trace: Trace,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
    pub(crate) settled_at: Option<Time>,
    pub(crate) finished: bool,
}

// === impl World ===

impl World {
    /// A world of this plan in which nothing has happened yet; all processes start at once.
    pub(crate) fn new(plan: Plan, detail: Detail) -> Self {
        let stream = |stream| Rng::new(plan.seed, stream);
        let streams = Streams {
            net: stream(Stream::Net),
            disk: stream(Stream::Disk),
            lease: stream(Stream::Lease),
            faults: stream(Stream::Faults),
            clients: stream(Stream::Clients),
            names: stream(Stream::Names),
            oracle: stream(Stream::Oracle),
        };
        let mut world = Self {
            agenda: Agenda::new(),
            net: Net::new(plan.nodes, plan.net),
            nodes: Vec::new(),
            lease: SimLease::new(),
            lease_faults: LeaseFaults::default(),
            clients: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            storm: Storm::default(),
            script: Script::default(),
            history: History::default(),
            group: Group::new(plan.nodes),
            trace: Trace::new(detail),
            counts: Counts::default(),
            violation: None,
            settled_at: None,
            finished: false,
            streams,
            plan,
        };
        world.make_nodes();
        world.make_clients();
        world.plan_storm();
        world.agenda.after(INSPECT, Happening::Inspect);
        world
    }

    /// Lets time pass until `end`, a violation, or the end of the run.
    pub(crate) fn run_until(&mut self, end: Time) {
        while self.violation.is_none() && !self.finished {
            let Some(happening) = self.agenda.next_until(end) else {
                self.agenda.rest_until(end);
                return;
            };
            self.happen(happening);
        }
    }

    /// The moment reached.
    pub(crate) fn now(&self) -> Time {
        self.agenda.now()
    }

    /// The first violation.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The trace so far.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What clients did and saw.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// What the oracle knows of the group.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Start { node } => self.start(node),
            Happening::Turn { node, run } => self.turn(node, run),
            Happening::Dial { from, to, run } => self.dial(from, to, run),
            Happening::Dialled { from, to, run } => self.dialled(from, to, run),
            Happening::Arrive { conn, frame } => self.frame_arrives(conn, frame),
            Happening::OutboundEnds { conn, from, to } => self.outbound_ends(conn, from, to),
            Happening::InboundEnds { conn } => self.inbound_ends(conn),
            Happening::Reset { conn } => self.reset(conn),
            Happening::DiskDone { node, run, op } => self.disk_done(node, run, op),
            Happening::ReadDone { node, run, id, op } => self.read_done(node, run, id, &op),
            Happening::LeaseCall {
                node,
                run,
                id,
                request,
                answer,
            } => {
                self.lease_called(node, run, id, request, answer);
            }
            Happening::LeaseAnswer {
                node,
                run,
                id,
                answer,
            } => {
                self.lease_answered(node, run, id, answer);
            }
            Happening::ClientWake { client, conn } => self.client_wakes(client, conn),
            Happening::ClientPatience { client, conn } => self.client_patience(client, conn),
            Happening::ClientDial { client, node } => self.client_dials(client, node),
            Happening::ClientConnected { client, conn } => self.client_connected(client, conn),
            Happening::ClientLost { client, conn } => self.client_lost(client, conn),
            Happening::CommandArrives { conn, command } => self.command_arrives(conn, command),
            Happening::SessionWrites { conn } => self.session_writes(conn),
            Happening::SessionEnds { conn } => self.session_ends(conn),
            Happening::DeliveryArrives { conn, delivery } => self.delivery_arrives(conn, &delivery),
            Happening::ReplyArrives {
                conn,
                request,
                outcome,
                epoch,
            } => {
                self.reply_arrives(conn, request, &outcome, epoch);
            }
            Happening::Fault(fault) => self.fault(fault),
            Happening::Inspect => self.inspect(),
        }
    }

    /// Keeps the first violation; the run ends with it.
    pub(crate) fn judge(&mut self, judged: Result<(), Violation>) {
        if let Err(violation) = judged {
            self.violate(violation);
        }
    }

    pub(crate) fn violate(&mut self, violation: Violation) {
        let text = violation.to_string();
        self.note(Step::Role, &[0xDEAD], || format!("VIOLATION {text}"));
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn judge_history(&mut self) {
        if let Some(violation) = self.history.violation() {
            self.violate(violation);
        }
    }

    pub(crate) fn note(&mut self, step: Step, numbers: &[u64], text: impl FnOnce() -> String) {
        self.trace.note(self.agenda.now(), step, numbers, text);
    }
}
