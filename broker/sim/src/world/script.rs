//! What a scripted schedule may do that chance seldom does: hold single frames, deliver them
//! late or twice, wait for a fact.

use std::time::Duration;

use tandemmq_cluster::InboundId;
use tandemmq_journal::LogState;
use tandemmq_model::Bytes;

use super::World;
use crate::client::Program;
use crate::client::producer::Producer;
use crate::happening::Happening;
use crate::peek::{Kind, Peek, peek};
use crate::trace::Step;

/// What becomes of a frame that a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Kept until the script releases or drops it.
    Hold,
    /// Lost, as with a connection that dies.
    Drop,
    /// Delivered, and kept too: the script may deliver it once more.
    Copy,
}

/// Names frames; what is none matches all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Who sends.
    pub from: Option<usize>,
    /// Who is to receive.
    pub to: Option<usize>,
    /// What.
    pub kind: Option<Kind>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// A frame that the script keeps.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Who sent it.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// The connection it was sent on.
    pub conn: Option<InboundId>,
    /// What it says.
    pub peek: Peek,
    bytes: Bytes,
}

/// The script's hold on a world.
#[derive(Debug, Default)]
pub(crate) struct Script {
    rules: Vec<Rule>,
    kept: Vec<Kept>,
}

impl World {
    /// From now on frames that this names are treated so; the newest rule that fits decides.
    pub(crate) fn rule(&mut self, rule: Rule) {
        self.script.rules.push(rule);
    }

    /// No rule holds any more.
    pub(crate) fn clear_rules(&mut self) {
        self.script.rules.clear();
    }

    /// What is kept, oldest first.
    pub(crate) fn kept(&self) -> &[Kept] {
        &self.script.kept
    }

    /// Takes what is kept and fits.
    pub(crate) fn take_kept(&mut self, fits: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let (taken, left) = std::mem::take(&mut self.script.kept)
            .into_iter()
            .partition(fits);
        self.script.kept = left;
        taken
    }

    /// Keeps frames that were taken.
    pub(crate) fn keep_again(&mut self, frames: Vec<Kept>) {
        self.script.kept.extend(frames);
    }

    /// Delivers a kept frame on the receiver's present connection, or on the one it was sent on
    /// while the receiver still reads from that.
    pub(crate) fn deliver_kept(&mut self, kept: &Kept) {
        let old = kept.conn.filter(|conn| self.net.is_open(*conn));
        let Some(conn) = old.or_else(|| self.net.outbound(kept.from, kept.to)) else {
            return;
        };
        self.note(Step::Fault, &[conn.0], || {
            format!(
                "script delivers {:?} {}->{}",
                kept.peek.kind, kept.from, kept.to
            )
        });
        self.net.inject(
            conn,
            kept.bytes.clone(),
            Duration::from_micros(200),
            &mut self.agenda,
        );
    }

    /// Lets time pass until the fact holds, at most so long; false when it never did.
    pub(crate) fn wait_for(&mut self, most: Duration, fact: impl Fn(&Self) -> bool) -> bool {
        let end = self.now() + most;
        while self.violation.is_none() && !fact(self) {
            let Some(happening) = self.agenda.next_until(end) else {
                self.agenda.rest_until(end);
                return fact(self);
            };
            self.happen(happening);
        }
        self.violation.is_none()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        self.run_until(end);
    }

    /// From the next start on journals are small and keep nothing for slaves that lag; all start
    /// again now.
    pub(crate) fn make_journals_small(&mut self) {
        self.plan.segment_bytes = 8 * 1024;
        self.plan.checkpoint_bytes = 4 * 1024;
        self.plan.retain_bytes = 0;
        for node in 0..self.nodes.len() {
            self.nodes[node].set_journal(&self.plan);
            self.crash(node, super::Crash::Kill);
            self.restart_after(node, Duration::from_millis(1));
        }
    }

    /// What a member says of its log; none while it is down.
    pub(crate) fn log_state(&self, node: usize) -> Option<LogState> {
        self.nodes[node]
            .machine()
            .map(|machine| machine.log_state())
    }

    /// The generation of a member's Config; 0 while it is down.
    pub(crate) fn generation(&self, node: usize) -> u64 {
        let machine = self.nodes[node].machine();
        machine.map_or(0, |machine| machine.status().config_generation)
    }

    /// A producer has so many more messages to send, their bodies so many bytes longer.
    pub(crate) fn offer(&mut self, client: usize, messages: u32, bytes: usize) {
        let number = self.clients[client].conn_number();
        self.producer(client).offer(messages, bytes);
        if self.clients[client].is_awake() {
            return;
        }
        self.agenda.after(
            Duration::ZERO,
            Happening::ClientWake {
                client,
                conn: number,
            },
        );
    }

    /// Messages that a producer was ever to send.
    pub(crate) fn offered(&mut self, client: usize) -> u32 {
        self.producer(client).offered()
    }

    /// A client's oldest request without an answer.
    pub(crate) fn oldest_unanswered(&self, client: usize) -> Option<(u32, u64)> {
        self.clients[client].oldest_unanswered()
    }

    /// What a script does to a producer.
    pub(crate) fn producer(&mut self, client: usize) -> &mut Producer {
        match &mut self.clients[client].program {
            Program::Producer(producer) => producer,
            Program::Consumer(_) => panic!("client {client} is a consumer"),
        }
    }

    /// True when the run came to its end: settled, drained, judged.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn script_takes(&mut self, from: usize, to: usize, bytes: &Bytes) -> bool {
        if self.script.rules.is_empty() {
            return false;
        }
        let Some(seen) = peek(bytes) else {
            return false;
        };
        let fits = |rule: &&Rule| {
            rule.from.is_none_or(|f| f == from)
                && rule.to.is_none_or(|t| t == to)
                && rule.kind.is_none_or(|k| k == seen.kind)
        };
        let Some(rule) = self.script.rules.iter().rev().find(fits).copied() else {
            return false;
        };
        if rule.verdict != Verdict::Drop {
            let conn = self.net.outbound(from, to);
            let kept = Kept {
                from,
                to,
                conn,
                peek: seen,
                bytes: bytes.clone(),
            };
            self.script.kept.push(kept);
        }
        rule.verdict != Verdict::Copy
    }
}
