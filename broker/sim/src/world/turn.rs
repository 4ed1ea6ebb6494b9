//! A turn of a process: due timers first, then everything that arrived, then clients' commands
//! while the machine accepts them, then all effects.
//!
//! The oracle looks at the member after every event, and again before every answer or delivery
//! that leaves it.

use std::collections::BTreeMap;
use std::time::Duration;

use tandemmq_cluster::{Effect, Event, NodeMachine, Offsets};
use tandemmq_journal::LogState;
use tandemmq_model::{ConnId, Delivery, Destination, Epoch, MessageId, Now, Outcome, Time};

use super::World;
use super::node::{Crash, OwnLog, Process};
use crate::happening::Happening;
use crate::oracle::group::View;
use crate::oracle::{Invariant, Violation};
use crate::payload::Attempt;
use crate::session::Out;
use crate::trace::Step;

/// Commands handed to a machine in one event. The shell takes what its channel holds; a small
/// number makes more turns meet a full session.
const COMMANDS_PER_EVENT: usize = 16;

impl World {
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
        let at = at.max(self.agenda.now());
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
        if !self.nodes[node].is_run(run) {
            return;
        }
        if self.nodes[node].paused {
            if let Some(process) = &mut self.nodes[node].process {
                process.turn_at = None;
            }
            return;
        }
        let now = self.nodes[node].clock(self.agenda.now());
        let process = self.nodes[node].process.as_mut().expect("is_run says so");
        if process.turn_at != Some(self.agenda.now()) {
            return; // An earlier one came in its place, and planned the next.
        }
        process.turn_at = None;
        if process
            .machine
            .poll_timeout()
            .is_some_and(|due| due <= now.boot)
        {
            process.machine.handle_timeout(now);
            self.observe(node);
        }
        while self.violation.is_none()
            && let Some(event) = self.next_event(node)
        {
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
                && last.checkpoint == machine.journal().newest_checkpoint().map(|(at, _)| at)
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
        let installed = self.count_changes(node, &view);
        self.note_offsets(node, offsets);
        let this = &self.nodes[node];
        let machine = this.machine().expect("alive");
        let log = OwnLog {
            machine,
            disk: &this.disk,
        };
        let mut judged = self.group.observe(node, view, &log);
        if judged.is_ok() && (applied_before != Some(offsets.applied) || installed) {
            let digest = machine.state_digest();
            judged = self
                .group
                .check_digest(node, offsets.applied, digest, installed);
        }
        self.judge(judged);
    }

    /// Counts what was reached since the last look; true when a checkpoint was installed.
    fn count_changes(&mut self, node: usize, view: &View) -> bool {
        let Some(last) = self.group.last_view(node) else {
            return false;
        };
        let same = last.member == view.member;
        let installed = same
            && view.log_start > last.log_start
            && view.log_start > last.offsets.applied
            && view.offsets.applied == view.log_start;
        let counts = &mut self.counts;
        counts.installs += u64::from(installed);
        counts.checkpoints += u64::from(same && view.checkpoint > last.checkpoint);
        counts.joins += u64::from(
            view.log_state == LogState::Learner && (last.log_state != view.log_state || !same),
        );
        let well = view.log_state == LogState::Clean;
        counts.repairs += u64::from(same && well && last.log_state == LogState::NeedsRepair);
        installed
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
            Effect::Lease(id, request) => self.call_lease(node, run, id, request),
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
            Effect::Restart { reason } => {
                self.counts.set_asides += 1;
                self.note(Step::Process, &[7, node as u64], || {
                    format!("{node} starts again: {reason}")
                });
                self.exit(node);
            }
            Effect::Exit => self.exit(node),
        }
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
        epoch: Epoch,
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
        let disk = &self.nodes[node].disk;
        // A full disk may leave no room for a switch or a mark; the next start tries again.
        let has_cause = disk.has_failed() || disk.is_full() || self.group.is_excused(node);
        if !has_cause {
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
            if std::mem::take(&mut session.joined) {
                self.note_competitors();
            }
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
