//! The network between brokers: one-way connections like TCP's, and everything that breaks them.
//!
//! ```text
//!  dialled ──accepted──> up ──break──> late: the dialler knows that it is over, the acceptor does
//!                         │            not yet; frames still out (and copies of the last ones)
//!                         │            arrive on the old connection, beside a new one
//!                         └──end─────> gone: both know
//! ```
//!
//! Invariants
//! - On one connection frames arrive in the order they were sent, each after a latency.
//! - A cut direction loses nothing by itself: frames wait, as TCP repeats them, until the cut
//!   heals or the connection breaks. So loss, doubling and disorder exist only between an old and
//!   a new connection, as with real sockets.
//!
//! What the ends are told, and when, is planned here as [`Happening`]s; the world delivers them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tandemmq_cluster::InboundId;
use tandemmq_model::{Bytes, Time};

use crate::agenda::Agenda;
use crate::happening::Happening;
use crate::rng::Rng;

/// Frames of a connection that are remembered to be delivered once more on the old connection.
/// A few are enough: what matters is that an old Append or Ack meets a new state.
const COPIES_MAX: usize = 6;

/// Latencies of one run.
#[derive(Debug, Clone, Copy)]
pub struct NetTiming {
    /// Least one-way latency.
    pub latency_min: Duration,
    /// Greatest ordinary one-way latency.
    pub latency_max: Duration,
    /// Frames of a thousand that take up to `tail_max` instead.
    pub tail_permille: u32,
    /// Greatest latency of those.
    pub tail_max: Duration,
}

/// What ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both ends learn of it, each after a latency (FIN, RST).
    Closed,
    /// The dialler learns at once, the acceptor late: until then it hears what was on its way, and
    /// up to so many of the last frames a second time.
    Lingers {
        /// When the acceptor learns.
        linger: Duration,
        /// Frames heard twice at most.
        copies: usize,
    },
}

/// One connection.
#[derive(Debug)]
struct Conn {
    from: usize,
    to: usize,
    /// The dialler believes it is up.
    up: bool,
    /// The acceptor believes it is open.
    open: bool,
    /// Last planned arrival: the next one is not earlier.
    arrival: Time,
    /// Waiting for a cut to heal.
    stuck: VecDeque<Bytes>,
    recent: VecDeque<Bytes>,
}

/// Connections, cuts and latencies.
#[derive(Debug)]
pub(crate) struct Net {
    size: usize,
    timing: NetTiming,
    /// How many faults cut the direction `from * size + to`.
    cuts: Vec<u32>,
    /// Added latency of a direction.
    slow: Vec<Duration>,
    conns: BTreeMap<InboundId, Conn>,
    /// The connection a member sends on.
    outbound: BTreeMap<(usize, usize), InboundId>,
    dialled: u64,
}

// === impl Net ===

impl Net {
    /// A network of that many brokers, all reachable.
    pub(crate) fn new(size: usize, timing: NetTiming) -> Self {
        Self {
            size,
            timing,
            cuts: vec![0; size * size],
            slow: vec![Duration::ZERO; size * size],
            conns: BTreeMap::new(),
            outbound: BTreeMap::new(),
            dialled: 0,
        }
    }

    /// One more fault cuts this direction.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts[from * self.size + to] += 1;
    }

    /// One fault less cuts this direction; frames that waited go on when it was the last.
    pub(crate) fn heal(
        &mut self,
        from: usize,
        to: usize,
        agenda: &mut Agenda<Happening>,
        rng: &mut Rng,
    ) {
        let cuts = &mut self.cuts[from * self.size + to];
        *cuts = cuts.saturating_sub(1);
        if *cuts > 0 {
            return;
        }
        let ids: Vec<InboundId> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.from == from && conn.to == to)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let waiting = std::mem::take(&mut self.conn(id).stuck);
            for frame in waiting {
                self.plan(id, frame, agenda, rng);
            }
        }
    }

    /// True when nothing passes from the one to the other now.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.size + to] > 0
    }

    /// Every cut and delay ends.
    pub(crate) fn heal_all(&mut self, agenda: &mut Agenda<Happening>, rng: &mut Rng) {
        for from in 0..self.size {
            for to in 0..self.size {
                self.slow[from * self.size + to] = Duration::ZERO;
                while self.is_cut(from, to) {
                    self.heal(from, to, agenda, rng);
                }
            }
        }
    }

    /// Frames of this direction take so much longer from now on.
    pub(crate) fn delay(&mut self, from: usize, to: usize, by: Duration) {
        self.slow[from * self.size + to] = by;
    }

    /// A one-way latency now.
    pub(crate) fn latency(&self, from: usize, to: usize, rng: &mut Rng) -> Duration {
        let timing = &self.timing;
        let usual = if rng.permille(timing.tail_permille) {
            rng.duration(timing.latency_max, timing.tail_max)
        } else {
            rng.duration(timing.latency_min, timing.latency_max)
        };
        usual + self.slow[from * self.size + to]
    }

    /// The dial succeeded: a connection exists from now on. Any older one of this direction must
    /// have ended before.
    pub(crate) fn connect(&mut self, from: usize, to: usize, now: Time) -> InboundId {
        assert!(
            !self.outbound.contains_key(&(from, to)),
            "a member dials one link at a time"
        );
        self.dialled += 1;
        let id = InboundId(self.dialled);
        let conn = Conn {
            from,
            to,
            up: true,
            open: true,
            arrival: now,
            stuck: VecDeque::new(),
            recent: VecDeque::new(),
        };
        self.conns.insert(id, conn);
        self.outbound.insert((from, to), id);
        id
    }

    /// The connection that this member sends on, if it is up.
    pub(crate) fn outbound(&self, from: usize, to: usize) -> Option<InboundId> {
        self.outbound.get(&(from, to)).copied()
    }

    /// Who dialled and who accepted a connection that is not gone.
    pub(crate) fn ends(&self, id: InboundId) -> Option<(usize, usize)> {
        self.conns.get(&id).map(|conn| (conn.from, conn.to))
    }

    /// True while the acceptor reads from it.
    pub(crate) fn is_open(&self, id: InboundId) -> bool {
        self.conns.get(&id).is_some_and(|conn| conn.open)
    }

    /// Sends a frame; dropped when there is no connection.
    pub(crate) fn send(
        &mut self,
        from: usize,
        to: usize,
        frame: Bytes,
        agenda: &mut Agenda<Happening>,
        rng: &mut Rng,
    ) {
        let Some(id) = self.outbound(from, to) else {
            return;
        };
        if self.is_cut(from, to) {
            self.conn(id).stuck.push_back(frame);
        } else {
            self.plan(id, frame, agenda, rng);
        }
    }

    /// Delivers a frame on a connection in a while, out of any order; for schedules.
    pub(crate) fn inject(
        &self,
        id: InboundId,
        frame: Bytes,
        after: Duration,
        agenda: &mut Agenda<Happening>,
    ) {
        agenda.after(after, Happening::Arrive { conn: id, frame });
    }

    /// Ends the connection of this direction, if there is one. True when there was.
    pub(crate) fn end(
        &mut self,
        from: usize,
        to: usize,
        ending: Ending,
        agenda: &mut Agenda<Happening>,
        rng: &mut Rng,
    ) -> bool {
        let Some(id) = self.outbound.remove(&(from, to)) else {
            return false;
        };
        let latency = self.latency(from, to, rng);
        let now = agenda.now();
        let lost = self.is_cut(from, to);
        let conn = self.conn(id);
        conn.up = false;
        agenda.at(now, Happening::OutboundEnds { conn: id, from, to });
        let told = match ending {
            Ending::Closed => now + latency,
            Ending::Lingers { linger, copies } => {
                let copies = copies.min(conn.recent.len());
                let again: Vec<Bytes> = conn.recent.iter().rev().take(copies).cloned().collect();
                for frame in again.into_iter().rev() {
                    let at = now + rng.duration(Duration::ZERO, linger);
                    agenda.at(at, Happening::Arrive { conn: id, frame });
                }
                now + linger
            }
        };
        // What waits behind a cut dies with the connection.
        let conn = self.conn(id);
        conn.stuck.clear();
        let told = if lost { told } else { told.max(conn.arrival) };
        agenda.at(told, Happening::InboundEnds { conn: id });
        true
    }

    /// The acceptor knows: nothing of this connection arrives any more. True when it did not
    /// know before.
    pub(crate) fn forget(&mut self, id: InboundId) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else {
            return false;
        };
        let was_open = std::mem::replace(&mut conn.open, false);
        if !conn.up {
            self.conns.remove(&id);
        }
        was_open
    }

    /// The acceptor itself closes the connection; the dialler learns after a latency.
    pub(crate) fn refuse(&mut self, id: InboundId, agenda: &mut Agenda<Happening>, rng: &mut Rng) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.open = false;
        let (from, to) = (conn.from, conn.to);
        if !conn.up {
            self.conns.remove(&id);
            return;
        }
        let after = self.latency(to, from, rng);
        agenda.after(after, Happening::Reset { conn: id });
    }

    /// The dialler hears that its connection was reset. True when it still believed in it.
    pub(crate) fn reset(&mut self, id: InboundId) -> Option<(usize, usize)> {
        let conn = self.conns.get_mut(&id)?;
        if !conn.up {
            return None;
        }
        conn.up = false;
        let ends = (conn.from, conn.to);
        self.outbound.remove(&ends);
        if !conn.open {
            self.conns.remove(&id);
        }
        Some(ends)
    }

    /// A member's process is gone, its sockets with it. `Silent` (power cut): the peers are not
    /// told until the member is back; their connections stay up and lead nowhere.
    pub(crate) fn process_gone(
        &mut self,
        who: usize,
        agenda: &mut Agenda<Happening>,
        rng: &mut Rng,
    ) {
        let ids: Vec<InboundId> = self.conns.keys().copied().collect();
        for id in ids {
            let conn = &self.conns[&id];
            if conn.from == who {
                self.outbound.remove(&(conn.from, conn.to));
                let (latency, arrival) = (self.latency(who, conn.to, rng), conn.arrival);
                self.conn(id).up = false;
                self.conn(id).stuck.clear();
                let told = arrival.max(agenda.now() + latency);
                agenda.at(told, Happening::InboundEnds { conn: id });
            } else if conn.to == who {
                self.refuse(id, agenda, rng);
            }
        }
    }

    /// A host lost its power: nobody is told. Its own knowledge is gone; the others' connections
    /// end when the host is back (`host_back`) or never answer.
    pub(crate) fn host_gone(&mut self, who: usize) -> Vec<InboundId> {
        let ids: Vec<InboundId> = self.conns.keys().copied().collect();
        let mut orphans = Vec::new();
        for id in ids {
            let conn = self.conn(id);
            if conn.from == who {
                conn.up = false;
                conn.stuck.clear();
                let to = conn.to;
                self.outbound.remove(&(who, to));
                orphans.push(id);
            } else if conn.to == who {
                conn.open = false;
                orphans.push(id);
            }
        }
        orphans
    }

    fn plan(&mut self, id: InboundId, frame: Bytes, agenda: &mut Agenda<Happening>, rng: &mut Rng) {
        let (from, to) = (self.conns[&id].from, self.conns[&id].to);
        let at = agenda.now() + self.latency(from, to, rng);
        let conn = self.conn(id);
        conn.arrival = conn.arrival.max(at);
        if conn.recent.len() == COPIES_MAX {
            conn.recent.pop_front();
        }
        conn.recent.push_back(frame.clone());
        agenda.at(conn.arrival, Happening::Arrive { conn: id, frame });
    }

    fn conn(&mut self, id: InboundId) -> &mut Conn {
        self.conns
            .get_mut(&id)
            .expect("callers look the connection up first")
    }
}

#[cfg(test)]
mod tests;
