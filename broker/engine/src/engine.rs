//! The machine itself: both halves behind one set of methods.

use std::collections::BTreeMap;

use tandemmq_model::{Command, Committed, ConnId, Destination, Epoch, Now, Offset, Record, Time};

use crate::live::{Context, Live, LiveDestination};
use crate::state::State;
use crate::state::picture::Picture;
use crate::state::queue::Queue;
use crate::{Admission, Backlog, DestinationStats, EngineConfig, EngineEffect};

/// The engine of one member. See the crate's page for its two halves.
///
/// Input: `apply` on every member; on the master `handle_*`. Output: `poll_effect` until it gives
/// nothing, then `poll_timeout`. Feed everything that is there before polling: what arrives
/// together shares records and deliveries.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    state: State,
    /// On the master only.
    live: Option<Box<Live>>,
    admission: Admission,
}

impl Engine {
    /// An engine with an empty State: the log is applied to it from offset 1.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            state: State::default(),
            live: None,
            admission: Admission::Open,
        }
    }

    // === every member ===

    /// A record is committed. Total; called for every record of the log in order, on every member,
    /// never twice. On the master it also answers the request behind the record.
    pub fn apply(
        &mut self,
        now: Now,
        committed: Committed,
        offset: Offset,
        epoch: Epoch,
        record: &Record,
    ) {
        assert!(
            offset <= committed.offset(),
            "only what is committed is applied"
        );
        let applied = self.state.apply(offset, epoch, record);
        self.with_live(now, |live, cx| live.applied(cx, offset, applied));
    }

    /// Digest of the whole State: equal on all members at an equal applied offset. Costs a walk
    /// over the queues, not over their messages.
    pub fn state_digest(&self) -> u64 {
        self.state.digest()
    }

    /// The last offset applied.
    pub fn applied(&self) -> Offset {
        self.state.applied()
    }

    /// The State as it is now, without stopping: see `Picture`. Costs a step per queue.
    pub fn picture(&self) -> Picture {
        Picture::of(&self.state)
    }

    /// Goes on from that picture, whatever was applied before: the next record is the one after
    /// `Picture::applied`. Not on a master, whose clients have seen more than the picture has.
    pub fn restore(&mut self, picture: Picture) {
        assert!(self.live.is_none(), "a master's State is never replaced");
        self.state = picture.into_state();
    }

    /// All destinations, ordered by kind and name. Not for every event.
    pub fn destinations(&self) -> impl Iterator<Item = DestinationStats> {
        let mut all = BTreeMap::new();
        for (_, queue) in self.state.queues() {
            all.insert(
                Destination::queue(queue.name().clone()),
                stats_of_queue(queue),
            );
        }
        for found in self.live.iter().flat_map(|live| live.destinations()) {
            let stats = all
                .entry(found.destination.clone())
                .or_insert_with(|| DestinationStats::empty(&found.destination));
            add_live(stats, found);
        }
        all.into_values()
    }

    /// What it was told at its start.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What the journal has room for.
    pub fn set_admission(&mut self, admission: Admission) {
        self.admission = admission;
        if let Some(live) = &mut self.live {
            live.set_admission(&self.admission);
        }
    }

    // === master ===

    /// This member is master of `epoch`: its EpochStart is applied, and the next record proposed
    /// gets the offset `next`.
    pub fn promote(&mut self, now: Now, epoch: Epoch, next: Offset) {
        assert!(
            self.live.is_none(),
            "a master is demoted before it is promoted again"
        );
        assert_eq!(
            next,
            self.state.applied().next(),
            "all of the log is applied at promotion"
        );
        let Self {
            config,
            state,
            admission,
            ..
        } = self;
        let live = Live::new(
            &Context {
                state,
                config,
                admission,
                now,
            },
            epoch,
            next,
        );
        self.live = Some(Box::new(live));
    }

    /// No longer master: forgets every connection, request and non-persistent message. Effects
    /// that were not polled are gone too.
    pub fn demote(&mut self) {
        self.live = None;
    }

    /// The next offset is taken by a record that is not the engine's (a Config): what is proposed
    /// from now on stands after it. All effects are polled before, because what they propose
    /// stands before it. No effect on a slave.
    pub fn skip_record(&mut self) {
        if let Some(live) = &mut self.live {
            live.skip_record();
        }
    }

    /// A client's session is established.
    pub fn handle_connected(&mut self, _now: Now, conn: ConnId) {
        if let Some(live) = &mut self.live {
            live.handle_connected(conn);
        }
    }

    /// A client asks for something. Ignored for a connection that is not known (any more).
    pub fn handle_command(&mut self, now: Now, conn: ConnId, command: Command) {
        self.with_live(now, |live, cx| live.handle_command(cx, conn, command));
    }

    /// A client's connection has ended.
    pub fn handle_disconnected(&mut self, _now: Now, conn: ConnId) {
        if let Some(live) = &mut self.live {
            live.handle_disconnected(conn);
        }
    }

    /// Answer to `ReadBodies`, whole or in parts, in any order. None: unreadable now, tried again
    /// after a second.
    pub fn handle_bodies(&mut self, now: Now, bodies: Vec<(Offset, Option<Record>)>) {
        if let Some(live) = &mut self.live {
            live.handle_bodies(now, bodies);
        }
    }

    /// The time of `poll_timeout` has come; earlier and later calls are harmless.
    pub fn handle_timeout(&mut self, now: Now) {
        self.with_live(now, |live, cx| live.handle_timeout(cx));
    }

    /// When `handle_timeout` is wanted. None on a slave: it never looks at a clock.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.live.as_ref().map(|live| live.poll_timeout())
    }

    /// The next thing to do outside. Dispatch happens here.
    pub fn poll_effect(&mut self, now: Now) -> Option<EngineEffect> {
        self.with_live(now, |live, cx| live.poll_effect(cx))
            .flatten()
    }

    /// What was proposed and not applied yet.
    pub fn backlog(&self) -> Backlog {
        self.live
            .as_ref()
            .map(|live| live.backlog())
            .unwrap_or_default()
    }

    fn with_live<T>(
        &mut self,
        now: Now,
        step: impl FnOnce(&mut Live, &Context<'_>) -> T,
    ) -> Option<T> {
        let Self {
            config,
            state,
            live,
            admission,
        } = self;
        let cx = Context {
            state,
            config,
            admission,
            now,
        };
        live.as_mut().map(|live| step(live, &cx))
    }
}

fn stats_of_queue(queue: &Queue) -> DestinationStats {
    let counts = queue.counts();
    DestinationStats {
        depth: queue.entries().len() as u64,
        enqueued: counts.enqueued,
        dequeued: counts.dequeued,
        expired: counts.expired,
        dead_lettered: counts.dead_lettered,
        ..DestinationStats::empty(&Destination::queue(queue.name().clone()))
    }
}

fn add_live(stats: &mut DestinationStats, found: &LiveDestination) {
    stats.depth += found.queue.transient.len() as u64;
    stats.consumers = (found.consumers.len() + found.browsers) as u64;
    stats.in_flight = found.in_flight;
    stats.enqueued += found.counts.enqueued;
    stats.dequeued += found.counts.dequeued;
    stats.dispatched += found.counts.dispatched;
    stats.expired += found.counts.expired;
}
