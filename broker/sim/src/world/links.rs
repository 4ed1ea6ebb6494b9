//! Connections between brokers, as the processes at their ends live them.

use std::time::Duration;

use tandemmq_cluster::{Event, Frame, InboundId};
use tandemmq_model::Bytes;

use super::World;
use crate::happening::Happening;
use crate::net::Ending;
use crate::peek::{Kind, peek};
use crate::trace::{Step, hash_bytes};

impl World {
    /// A process dials; the answer comes after a round trip.
    pub(super) fn dial(&mut self, from: usize, to: usize, run: u64) {
        if !self.nodes[from].is_run(run) || self.net.outbound(from, to).is_some() {
            return;
        }
        let rng = &mut self.streams.net;
        let trip = self.net.latency(from, to, rng) + self.net.latency(to, from, rng);
        self.agenda
            .after(trip, Happening::Dialled { from, to, run });
    }

    /// A stopped process dials nobody, but a stopped acceptor's kernel accepts.
    pub(super) fn dialled(&mut self, from: usize, to: usize, run: u64) {
        if !self.nodes[from].is_run(run) || self.net.outbound(from, to).is_some() {
            return;
        }
        let cut = self.net.is_cut(from, to) || self.net.is_cut(to, from);
        if cut || !self.nodes[to].is_alive() || self.nodes[from].is_paused() {
            let wait = self.streams.net.millis(10, 120);
            self.agenda.after(wait, Happening::Dial { from, to, run });
            return;
        }
        let conn = self.net.connect(from, to, self.agenda.now());
        self.note(Step::Link, &[1, conn.0, from as u64, to as u64], || {
            format!("link {} {from}->{to} up", conn.0)
        });
        self.give(from, Event::OutboundUp { ordinal: to as u8 });
    }

    pub(super) fn frame_arrives(&mut self, conn: InboundId, frame: Bytes) {
        let Some((from, to)) = self.net.ends(conn).filter(|_| self.net.is_open(conn)) else {
            return;
        };
        self.counts.frames += 1;
        let late = self.net.outbound(from, to) != Some(conn);
        self.counts.late_frames += u64::from(late);
        self.note(Step::Frame, &[2, conn.0, hash_bytes(&frame)], || {
            let word = if late { "late " } else { "" };
            format!(
                "{from}->{to} link {} {word}arrives {}",
                conn.0,
                describe(&frame)
            )
        });
        self.give(
            to,
            Event::PeerFrame {
                inbound: conn,
                frame,
            },
        );
    }

    pub(super) fn outbound_ends(&mut self, conn: InboundId, from: usize, to: usize) {
        self.note(Step::Link, &[2, conn.0], || {
            format!("link {} {from}->{to} down", conn.0)
        });
        if !self.nodes[from].is_alive() {
            return;
        }
        self.give(from, Event::OutboundDown { ordinal: to as u8 });
        self.redial(from, to);
    }

    pub(super) fn inbound_ends(&mut self, conn: InboundId) {
        let Some((from, to)) = self.net.ends(conn) else {
            return;
        };
        if self.net.forget(conn) {
            self.note(Step::Link, &[3, conn.0], || {
                format!("link {} {from}->{to} ends at {to}", conn.0)
            });
            self.give(to, Event::InboundDown { inbound: conn });
        }
    }

    pub(super) fn reset(&mut self, conn: InboundId) {
        if let Some((from, to)) = self.net.reset(conn) {
            self.outbound_ends(conn, from, to);
        }
    }

    /// A connection breaks between two living processes.
    pub(crate) fn break_link(&mut self, from: usize, to: usize, ending: Ending) -> bool {
        self.net
            .end(from, to, ending, &mut self.agenda, &mut self.streams.net)
    }

    pub(super) fn redial(&mut self, from: usize, to: usize) {
        let wait = self.streams.net.millis(5, 60);
        let run = self.nodes[from].run();
        self.agenda.after(wait, Happening::Dial { from, to, run });
    }

    /// A frame leaves a machine.
    pub(super) fn send(&mut self, from: usize, to: usize, frame: &Frame) {
        let bytes = frame.to_bytes();
        self.check_claims(from, &bytes);
        if self.violation.is_some() || self.script_takes(from, to, &bytes) {
            return;
        }
        self.note(
            Step::Frame,
            &[1, from as u64, to as u64, hash_bytes(&bytes)],
            || format!("{from}->{to} sends {}", describe(&bytes)),
        );
        self.net
            .send(from, to, bytes, &mut self.agenda, &mut self.streams.net);
    }

    /// I2 and I13: what a frame says about its sender's disk is true now.
    fn check_claims(&mut self, from: usize, frame: &Bytes) {
        let Some(seen) = peek(frame) else { return };
        let (Some(ballot), Some((_, offset))) = (seen.ballot, seen.tail) else {
            return;
        };
        // A power cut is tried for every promise, and for a share of the acks: it costs a whole
        // recovery of a copy of the disk.
        let costly = match seen.kind {
            Kind::Promised => true,
            Kind::Ack => self.streams.oracle.permille(60),
            Kind::HeartbeatReply => return self.group.told_ack(from, seen.from, ballot, offset),
            _ => return,
        };
        if seen.kind == Kind::Ack {
            self.group.told_match(from, ballot, offset);
            self.group.told_ack(from, seen.from, ballot, offset);
        }
        if let (Kind::Promised, Some(tail)) = (seen.kind, seen.tail) {
            self.group.told_vote(from, seen.from, ballot, tail);
        }
        self.group.told_promise(from, ballot);
        if costly {
            let survives = self.nodes[from].would_survive(&self.plan);
            let judged = self.group.check_claim(from, (ballot, offset), survives);
            self.judge(judged);
        }
    }
}

/// How long a dialler of a client or broker waits for a host that does not answer at all.
pub(super) const SILENT_DIAL: Duration = Duration::from_secs(1);

fn describe(frame: &Bytes) -> String {
    match peek(frame) {
        None => format!("{} bytes of no known kind", frame.len()),
        Some(seen) => {
            let ballot = seen
                .ballot
                .map_or_else(String::new, |ballot| format!(" {ballot}"));
            let tail = seen
                .tail
                .map_or_else(String::new, |(e, o)| format!(" tail {e}/{o}"));
            let prev = seen.prev.map_or_else(String::new, |(e, o)| {
                format!(" after {e}/{o}, {} batches", seen.batches)
            });
            format!("{:?}{ballot}{tail}{prev}", seen.kind)
        }
    }
}
