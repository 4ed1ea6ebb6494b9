//! The machine of one broker: group, journal and engine joined by events.
//!
//! ```text
//!   commands --> engine --Propose--> open batch --disk idle--> journal + slaves
//!                  ^                                               |
//!                  +---- apply, in log order <---- committed ------+
//! ```
//!
//! Invariants
//! - The engine sees every committed record once, in log order, on every member.
//! - Records are proposed only between `promote` and `demote`, and only after the EpochStart is
//!   applied, so the engine knows the offset of each.
//! - Nothing reaches a client without a `Committed` that the quorum module made.
//!
//! Self-clocked group commit: a batch is sealed when the disk is idle; what arrives while it works
//! shares the next one. No timer.

use std::collections::{BTreeMap, VecDeque};

use tandemmq_engine::{Admission, Engine, EngineEffect, Picture, PictureReader};
use tandemmq_journal::{
    Batch, BatchBuilder, Checkpoint, Journal, LogState, ReadDone, Recovered, Space,
};
use tandemmq_model::{
    Ballot, BootNonce, Command, Committed, ConnId, Epoch, Now, Offset, Record, Time,
};

use crate::group::{Group, Notice, quorum};
use crate::image::EngineImage;
use crate::{Effect, Event, NodeConfig, ReadId, Status};

/// A batch is sealed at this size though the disk is busy: larger ones only add latency, the disk
/// writes 1 MiB in less than a millisecond.
const SEAL_BYTES: usize = 1024 * 1024;

/// Records proposed and not yet applied beyond which clients wait. At 20,000 records a second this
/// is 2 s of work, more than any healthy fdatasync takes.
const BACKLOG_RECORDS_MAX: usize = 40_000;

/// The same in bytes.
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of log applied in one go, so that a long catch-up does not starve the heartbeats.
const APPLY_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serving {
    No,
    /// Master, EpochStart committed; the engine is not there yet.
    Applying {
        epoch: Epoch,
        start: Offset,
    },
    Yes,
}

/// Election, replication, journal and engine of one broker.
///
/// Drive it like this: feed all events that are there (`handle_event`), call `handle_timeout` when
/// `poll_timeout` has passed, drain `poll_effect`. Time never goes back.
pub struct NodeMachine {
    group: Group,
    engine: Engine,
    serving: Serving,
    open: Option<BatchBuilder>,
    committed: Option<Committed>,
    /// The end of the last batch applied, and its CRC.
    applied_at: (Offset, u32),
    /// A read of committed batches is out.
    applying: Option<ReadId>,
    bodies: BTreeMap<ReadId, Vec<Offset>>,
    admission: Space,
    effects: VecDeque<Effect>,
    now: Now,
}

impl NodeMachine {
    /// A node that starts with what `recover` found. `boot` names this run of the process; `seed`
    /// feeds jitter and the id of a group it may found.
    pub fn new(
        config: NodeConfig,
        boot: BootNonce,
        seed: u64,
        recovered: Recovered,
        now: Now,
    ) -> Self {
        let mut engine = Engine::new(config.engine.clone());
        let kept = recovered.checkpoint.as_ref();
        let at = kept.map_or((Offset::ZERO, 0), |kept| (kept.head.offset, kept.head.crc));
        let picture = kept.map(picture_of);
        let mut group = Group::new(&config, boot, seed, recovered, now);
        match picture {
            None => {}
            Some(Ok(picture)) => engine.restore(picture),
            // Its checksums are right, so it was written so: not a disk's fault, nor to be mended
            // by taking the log for empty.
            Some(Err(why)) => group.abort(format!("the checkpoint cannot be read: {why}")),
        }
        Self {
            group,
            engine,
            serving: Serving::No,
            open: None,
            committed: (at.0 > Offset::ZERO).then(|| quorum::committed_by_checkpoint(at.0)),
            applied_at: at,
            applying: None,
            bodies: BTreeMap::new(),
            admission: Space::Open,
            effects: VecDeque::new(),
            now,
        }
    }

    /// Something happened. Feed all that is there before polling effects: what arrives together
    /// shares one batch.
    pub fn handle_event(&mut self, now: Now, event: Event) {
        self.now = now;
        match event {
            Event::OutboundUp { ordinal } => self.group.handle_outbound_up(now, ordinal),
            Event::OutboundDown { ordinal } => self.group.handle_outbound_down(ordinal),
            Event::PeerFrame { inbound, frame } => self.group.handle_frame(now, inbound, frame),
            Event::InboundDown { inbound } => self.group.handle_inbound_down(now, inbound),
            Event::Disk(done) => self.group.handle_disk(now, done),
            Event::Read(id, done) => self.handle_read(now, id, done),
            Event::Lease(id, answer) => self.group.handle_lease(now, id, answer),
            Event::Connected(conn) if self.serving == Serving::Yes => {
                self.engine.handle_connected(now, conn);
            }
            Event::Commands(conn, commands) if self.serving == Serving::Yes => {
                self.handle_commands(now, conn, commands);
            }
            Event::Disconnected(conn) if self.serving == Serving::Yes => {
                self.engine.handle_disconnected(now, conn);
            }
            // Of a client that was closed when this broker stopped being master.
            Event::Connected(_) | Event::Commands(..) | Event::Disconnected(_) => {}
            Event::Shutdown => self.group.handle_shutdown(now),
        }
        self.settle(now);
    }

    /// The time of `poll_timeout` has come (or any later moment, or earlier: harmless).
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.group.handle_timeout(now);
        if self.serving == Serving::Yes {
            self.engine.handle_timeout(now);
        }
        self.settle(now);
    }

    /// The next thing to do outside.
    pub fn poll_effect(&mut self, now: Now) -> Option<Effect> {
        self.now = now;
        loop {
            self.settle(now);
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            if let Some(effect) = self.group.poll_effect() {
                return Some(effect);
            }
            if self.poll_engine(now) || self.seal_if_idle(now) || self.append_config(now) {
                continue;
            }
            self.consider_checkpoint(now);
            if let Some(op) = self.group.journal_mut().poll_op(now) {
                return Some(Effect::Disk(op));
            }
            if !self.apply_some(now) {
                return None;
            }
        }
    }

    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Time> {
        let group = self.group.poll_timeout();
        let engine = match self.serving {
            Serving::Yes => self.engine.poll_timeout(),
            Serving::No | Serving::Applying { .. } => None,
        };
        group.into_iter().chain(engine).min()
    }

    /// False: keep clients' commands in their bounded buffers for now (no quorum answers, or
    /// enough is waiting for the disk already).
    pub fn accepts_commands(&self) -> bool {
        let backlog = self.engine.backlog();
        self.serving == Serving::Yes
            && self.group.may_serve(self.now)
            && backlog.records < BACKLOG_RECORDS_MAX
            && backlog.bytes < BACKLOG_BYTES_MAX
    }

    /// Everything about itself. Walks the destinations: not for every event.
    pub fn status(&self) -> Status {
        Status {
            state_digest: self.engine.state_digest(),
            destinations: self.engine.destinations().collect(),
            ..self.group.status(self.now)
        }
    }

    /// The role and offsets alone: cheap.
    pub fn offsets(&self) -> crate::Offsets {
        self.group.offsets()
    }

    // === for the simulator's oracle: facts, read only ===

    /// Its role.
    pub fn role(&self) -> crate::Role {
        self.group.role()
    }

    /// Its promise as it is effective now, durable or not.
    pub fn promise(&self) -> Ballot {
        self.group.promise()
    }

    /// The state of its log.
    pub fn log_state(&self) -> LogState {
        self.group.log_state()
    }

    /// It votes, by the Config of its log.
    pub fn is_voter(&self) -> bool {
        self.group.is_voter()
    }

    /// Its journal.
    pub fn journal(&self) -> &Journal {
        self.group.journal()
    }

    /// Digest of its engine's State at `offsets().applied`.
    pub fn state_digest(&self) -> u64 {
        self.engine.state_digest()
    }

    // === between the parts ===

    fn handle_commands(&mut self, now: Now, conn: ConnId, commands: Vec<Command>) {
        for command in commands {
            self.engine.handle_command(now, conn, command);
        }
    }

    /// What the group has to tell.
    fn settle(&mut self, now: Now) {
        while let Some(notice) = self.group.poll_notice() {
            match notice {
                Notice::Committed(committed) => {
                    self.committed = self.committed.max(Some(committed))
                }
                Notice::Serving { epoch, start } => {
                    self.serving = Serving::Applying { epoch, start };
                }
                Notice::Stopped => self.stop_serving(),
                Notice::Restored(picture) => self.restore(picture),
            }
        }
        self.serve_once_applied(now);
        self.tell_space();
    }

    /// The log begins with a checkpoint from the master now (row 12).
    fn restore(&mut self, picture: Picture) {
        let crc = self.group.journal().last_crc().expect("a switch tells it");
        self.applied_at = (picture.applied(), crc);
        self.committed = Some(quorum::committed_by_checkpoint(picture.applied()));
        self.applying = None;
        self.engine.restore(picture);
    }

    /// Makes a checkpoint in the background when one is due. It stands at the end of a batch.
    fn consider_checkpoint(&mut self, now: Now) {
        let applied = self.engine.applied();
        let due = self.group.journal().wants_checkpoint(applied);
        if !due || self.applied_at.0 != applied {
            return;
        }
        let image = EngineImage::boxed(self.engine.picture());
        if let Some(order) = self.group.checkpoint_order(now, self.applied_at, image) {
            self.group.journal_mut().checkpoint(now, order);
        }
    }

    /// Row 11: the EpochStart is applied.
    fn serve_once_applied(&mut self, now: Now) {
        let Serving::Applying { epoch, start } = self.serving else {
            return;
        };
        // A master that comes back from a pause may find its EpochStart committed by old acks and
        // another master reigning: it opens nothing unless a quorum answers it now.
        if self.engine.applied() < start || !self.group.may_serve(now) {
            return;
        }
        let next = self.group.journal().appended().next();
        self.engine.promote(now, epoch, next);
        self.serving = Serving::Yes;
        self.effects.push_back(Effect::OpenPorts);
    }

    fn stop_serving(&mut self) {
        if self.serving == Serving::Yes {
            self.engine.demote();
            self.bodies.clear();
            self.effects.push_back(Effect::ClosePorts);
        }
        self.open = None;
        self.serving = Serving::No;
    }

    fn tell_space(&mut self) {
        let space = self.group.journal().space();
        if space == self.admission || self.serving != Serving::Yes {
            return;
        }
        self.admission = space;
        self.engine.set_admission(match space {
            Space::Open => Admission::Open,
            Space::RefuseProducers => Admission::RefuseProducers {
                reason:
                    "the journal has reached its limit: raise journal.maxBytes or free the disk"
                        .into(),
            },
            Space::OnlyElection => Admission::PauseDispatch,
        });
    }

    /// One effect of the engine; false when it has none or may not be asked.
    fn poll_engine(&mut self, now: Now) -> bool {
        if self.serving != Serving::Yes || !self.group.may_serve(now) || self.open_is_full() {
            return false;
        }
        let Some(effect) = self.engine.poll_effect(now) else {
            return false;
        };
        match effect {
            EngineEffect::Propose { record } => self.propose(now, &record),
            EngineEffect::Deliver { conn, deliveries } => {
                let valid_until = self.group.valid_until(now);
                self.effects.push_back(Effect::Deliver {
                    conn,
                    deliveries,
                    valid_until,
                });
            }
            EngineEffect::Reply {
                conn,
                request,
                outcome,
            } => {
                self.effects.push_back(Effect::Reply {
                    conn,
                    request,
                    outcome,
                });
            }
            EngineEffect::ReadBodies { offsets } => {
                let op = self.group.journal().read_records(offsets.clone());
                let id = self.group.take_read_id();
                self.bodies.insert(id, offsets);
                self.effects.push_back(Effect::Read(id, op));
            }
        }
        true
    }

    // === the open batch ===

    fn propose(&mut self, now: Now, record: &Record) {
        let builder = match &mut self.open {
            Some(builder) => builder,
            None => self.open.insert(next_builder(&self.group)),
        };
        builder.push(record);
        if builder.len_bytes() >= SEAL_BYTES {
            self.seal(now);
        }
    }

    /// Sealing was not possible and there is enough in it: no more until there is room.
    fn open_is_full(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.len_bytes() >= SEAL_BYTES)
    }

    fn seal_if_idle(&mut self, now: Now) -> bool {
        self.open.is_some() && self.group.journal().is_idle() && self.seal(now)
    }

    fn seal(&mut self, now: Now) -> bool {
        let Some(builder) = self.open.take() else {
            return false;
        };
        if !self.group.journal().has_room(builder.len_bytes()) {
            self.open = Some(builder);
            return false;
        }
        self.group.append_own(now, builder.finish());
        true
    }

    /// A change of the voters that is due, as a batch of its own behind all that was proposed. The
    /// engine has nothing more to propose: it was asked right before.
    fn append_config(&mut self, now: Now) -> bool {
        let serves = self.serving == Serving::Yes && self.group.may_serve(now);
        let Some(record) = self.group.next_config(now).filter(|_| serves) else {
            return false;
        };
        if self.open_is_full() || self.open.is_some() && !self.seal(now) {
            return false;
        }
        let mut builder = next_builder(&self.group);
        builder.push(&record);
        if !self.group.journal().has_room(builder.len_bytes()) {
            return false;
        }
        self.group.append_own(now, builder.finish());
        self.engine.skip_record();
        true
    }

    // === applying ===

    /// Applies some of what is committed; false when there is nothing to apply from memory now.
    fn apply_some(&mut self, now: Now) -> bool {
        let Some(committed) = self.committed else {
            return false;
        };
        let applied = self.engine.applied();
        let switching = self.group.journal().is_switching();
        if applied >= committed.offset() || self.applying.is_some() || switching {
            return false;
        }
        match self
            .group
            .journal()
            .tail_batches(applied.next(), APPLY_BYTES)
        {
            Some(batches) => self.apply(now, committed, &batches),
            None => {
                let op = self
                    .group
                    .journal()
                    .read_batches(applied.next(), APPLY_BYTES);
                let id = self.group.take_read_id();
                self.applying = Some(id);
                self.effects.push_back(Effect::Read(id, op));
                true
            }
        }
    }

    fn apply(&mut self, now: Now, committed: Committed, batches: &[Batch]) -> bool {
        let before = self.engine.applied();
        for batch in batches {
            for (offset, record) in batch.records() {
                if offset <= self.engine.applied() || offset > committed.offset() {
                    continue;
                }
                if record.must_stop() {
                    let reason = format!(
                        "record {offset} is of kind {}, unknown to this version",
                        record.kind
                    );
                    self.effects.push_back(Effect::Abort { reason });
                    return false;
                }
                self.engine
                    .apply(now, committed, offset, batch.epoch(), &record);
            }
            if batch.last() == self.engine.applied() {
                self.applied_at = (batch.last(), batch.crc());
            }
        }
        let applied = self.engine.applied();
        self.group.set_applied(applied);
        applied > before
    }

    fn handle_read(&mut self, now: Now, id: ReadId, done: ReadDone) {
        let Err(done) = self.group.handle_read(now, id, done) else {
            return;
        };
        if let ReadDone::Damaged(text) = &done {
            self.group.handle_damage(now, text);
        }
        if self.applying == Some(id) {
            self.applying = None;
            self.handle_committed_read(now, &done);
        } else if let Some(offsets) = self.bodies.remove(&id) {
            let bodies = match done {
                ReadDone::Records(bodies) => bodies,
                _ => offsets.into_iter().map(|offset| (offset, None)).collect(),
            };
            self.engine.handle_bodies(now, bodies);
        }
    }

    /// Committed records that cannot be read end the process: going on would skip them.
    fn handle_committed_read(&mut self, now: Now, done: &ReadDone) {
        match (done, self.committed) {
            (ReadDone::Batches(batches), Some(committed)) if !batches.is_empty() => {
                self.apply(now, committed, batches);
            }
            // It is told, and the process starts again without this log.
            (ReadDone::Damaged(_), _) => {}
            // The log is about to begin with a checkpoint that has this record in it.
            _ if self.group.journal().is_switching() => {}
            _ => {
                let at = self.engine.applied().next();
                let reason = format!("cannot read the committed record {at} back: {done:?}");
                self.effects.push_back(Effect::Abort { reason });
            }
        }
    }
}

/// The engine's State in a checkpoint.
fn picture_of(checkpoint: &Checkpoint) -> Result<Picture, String> {
    let mut reader = PictureReader::new();
    for piece in &checkpoint.image {
        reader.push(piece).map_err(|error| error.to_string())?;
    }
    let picture = reader.finish().map_err(|error| error.to_string())?;
    if picture.applied() != checkpoint.head.offset {
        return Err(format!("it is of offset {}", picture.applied()));
    }
    Ok(picture)
}

fn next_builder(group: &Group) -> BatchBuilder {
    let journal = group.journal();
    let crc = journal
        .last_crc()
        .expect("a master's log ends with its own batch");
    let next = journal.appended().next();
    BatchBuilder::of_format(group.format_to_write(), journal.last_epoch(), next, crc)
}
