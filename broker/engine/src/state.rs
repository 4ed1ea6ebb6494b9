//! The replicated half: what a committed log means.
//!
//! Changed only by `apply`, which is total: a body that cannot be read changes nothing and is
//! counted, an acknowledgement of an entry that is gone changes nothing, a transaction that is not
//! open is committed without effect. Everything here is the same on every member at an equal
//! applied offset and goes into `digest`.
//!
//! Invariants
//! - `applied` grows by one with each record.
//! - An entry stands in exactly one queue, at its offset, or in one open transaction.
//! - Sends of an open transaction are in no queue; its acknowledgements have removed nothing.
//! - Whatever grows with queues or messages is shared and copied on write: a clone is cheap and
//!   does not change any more (`picture`).
//!
//! Not here: clocks, connections, bodies, deliveries (`live`).

pub(crate) mod chunks;
pub(crate) mod dead_letters;
mod digest;
pub(crate) mod picture;
pub(crate) mod queue;
pub(crate) mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use tandemmq_model::{Epoch, Offset, Record, RecordKind};

use crate::mutants::{self, Mutant};
use crate::records::{self, DecodeError, Range, Reason};

use chunks::Entry;
use dead_letters::{DEAD_LETTER_QUEUE, Origins};
use queue::{Queue, QueueId};
use transactions::{Operation, Transactions};

/// What one record changed, for the master's other half.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Nothing that Live must know, or nothing at all.
    Nothing,
    /// The body could not be read.
    Undecodable,
    /// A new entry.
    Enqueued { queue: QueueId },
    /// An operation of an open transaction was kept aside.
    KeptAside,
    /// Entries are gone.
    Acked,
    /// Entries moved to the dead letter queue.
    DeadLettered(Moved),
    /// A transaction took effect: entries that are visible now, and those it moved.
    Committed {
        entries: Vec<(QueueId, Offset)>,
        moved: Vec<Moved>,
    },
    /// A transaction is forgotten with the sends of it.
    RolledBack { entries: Vec<Offset> },
}

/// Entries that became dead letters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub from: QueueId,
    pub to: QueueId,
    pub offsets: Vec<Offset>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    applied: Offset,
    /// First offset applied of each epoch, ascending in both.
    epochs: Vec<(Epoch, Offset)>,
    /// Where the last EpochStart stands: older entries may have been delivered by an earlier
    /// master.
    last_epoch_start: Offset,
    by_name: Arc<BTreeMap<ByteString, QueueId>>,
    /// Never removed yet, so an id is an index.
    queues: Vec<Arc<Queue>>,
    origins: Arc<Origins>,
    transactions: Transactions,
    undecodable: u64,
}

impl State {
    pub(crate) fn applied(&self) -> Offset {
        self.applied
    }

    /// The epoch of an applied record.
    pub(crate) fn epoch_at(&self, offset: Offset) -> Epoch {
        let after = self.epochs.partition_point(|(_, first)| *first <= offset);
        after
            .checked_sub(1)
            .map_or(Epoch(0), |index| self.epochs[index].0)
    }

    /// True for an entry that an earlier master may have delivered.
    pub(crate) fn is_older(&self, offset: Offset) -> bool {
        offset < self.last_epoch_start && !mutants::on(Mutant::OlderNotRedelivered)
    }

    pub(crate) fn find(&self, name: &str) -> Option<QueueId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn queue(&self, id: QueueId) -> &Queue {
        &self.queues[id.index()]
    }

    /// All queues, ordered by name.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (QueueId, &Queue)> {
        self.by_name.values().map(|id| (*id, self.queue(*id)))
    }

    pub(crate) fn queue_count(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    // === apply ===

    pub(crate) fn apply(&mut self, offset: Offset, epoch: Epoch, record: &Record) -> Applied {
        assert_eq!(
            offset,
            self.applied.next(),
            "records are applied in order, each once"
        );
        self.applied = offset;
        if self.epochs.last().is_none_or(|(last, _)| *last != epoch) {
            self.epochs.push((epoch, offset));
        }
        match self.change(offset, record) {
            Ok(applied) => applied,
            Err(_) => {
                self.undecodable += 1;
                Applied::Undecodable
            }
        }
    }

    fn change(&mut self, offset: Offset, record: &Record) -> Result<Applied, DecodeError> {
        Ok(match record.known_kind() {
            Some(RecordKind::EpochStart) => {
                self.last_epoch_start = offset;
                if !mutants::on(Mutant::RollbackForgotten) {
                    self.transactions.clear();
                }
                Applied::Nothing
            }
            Some(RecordKind::Enqueue) => self.enqueue(offset, &record.body)?,
            Some(RecordKind::Ack) => self.ack(&record.body)?,
            Some(RecordKind::DeadLetter) => self.dead_letter(&record.body)?,
            Some(RecordKind::TxCommit) => self.commit(&record.body)?,
            Some(RecordKind::TxRollback) => self.roll_back(&record.body)?,
            Some(RecordKind::Config) | None => Applied::Nothing,
        })
    }

    fn enqueue(&mut self, offset: Offset, body: &[u8]) -> Result<Applied, DecodeError> {
        let head = records::decode_enqueue_head(body)?;
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let entry = Entry::new(offset, length, head.priority, head.expiration_ms);
        let queue = self.queue_named(head.queue);
        if let Some(tx) = head.tx.filter(|_| !mutants::on(Mutant::TxPartial)) {
            self.transactions
                .push(tx, Operation::Enqueue { queue, entry });
            return Ok(Applied::KeptAside);
        }
        self.queue_mut(queue).insert(entry);
        Ok(Applied::Enqueued { queue })
    }

    fn ack(&mut self, body: &[u8]) -> Result<Applied, DecodeError> {
        let ack = records::decode_ack(body)?;
        let Some(queue) = self.find(ack.queue) else {
            return Ok(Applied::Nothing);
        };
        if let Some(tx) = ack.tx.filter(|_| !mutants::on(Mutant::TxAckPartial)) {
            self.transactions.push(
                tx,
                Operation::Ack {
                    queue,
                    ranges: ack.ranges,
                },
            );
            return Ok(Applied::KeptAside);
        }
        self.remove(queue, &ack.ranges);
        Ok(Applied::Acked)
    }

    fn dead_letter(&mut self, body: &[u8]) -> Result<Applied, DecodeError> {
        let dead = records::decode_dead_letter(body)?;
        let Some(queue) = self.find(dead.queue) else {
            return Ok(Applied::Nothing);
        };
        if let Some(tx) = dead.tx {
            let (reason, cause) = (dead.reason, ByteString::from(dead.cause));
            let operation = Operation::DeadLetter {
                queue,
                reason,
                cause,
                ranges: dead.ranges,
            };
            self.transactions.push(tx, operation);
            return Ok(Applied::KeptAside);
        }
        Ok(
            match self.bury(queue, dead.reason, dead.cause, &dead.ranges) {
                Some(moved) => Applied::DeadLettered(moved),
                None => Applied::Acked,
            },
        )
    }

    fn commit(&mut self, body: &[u8]) -> Result<Applied, DecodeError> {
        let operations = self.transactions.take(records::decode_tx(body)?);
        let (mut entries, mut moved) = (Vec::new(), Vec::new());
        for operation in operations {
            match operation {
                Operation::Enqueue { queue, entry } => {
                    self.queue_mut(queue).insert(entry);
                    entries.push((queue, entry.offset));
                }
                Operation::Ack { queue, ranges } => self.remove(queue, &ranges),
                Operation::DeadLetter {
                    queue,
                    reason,
                    cause,
                    ranges,
                } => {
                    moved.extend(self.bury(queue, reason, &cause, &ranges));
                }
            }
        }
        Ok(Applied::Committed { entries, moved })
    }

    fn roll_back(&mut self, body: &[u8]) -> Result<Applied, DecodeError> {
        let tx = records::decode_tx(body)?;
        if mutants::on(Mutant::RollbackForgotten) {
            return Ok(Applied::RolledBack {
                entries: Vec::new(),
            });
        }
        let operations = self.transactions.take(tx);
        let entries = operations.iter().filter_map(Operation::sent).collect();
        Ok(Applied::RolledBack { entries })
    }

    // === pieces ===

    fn queue_mut(&mut self, id: QueueId) -> &mut Queue {
        Arc::make_mut(&mut self.queues[id.index()])
    }

    fn remove(&mut self, queue: QueueId, ranges: &[Range]) {
        if mutants::on(Mutant::AckForgotten) {
            return;
        }
        let Self {
            queues, origins, ..
        } = self;
        let queue = Arc::make_mut(&mut queues[queue.index()]);
        for range in ranges {
            queue.remove_range(*range, |entry| {
                if let Some(origin) = entry.origin() {
                    Arc::make_mut(origins).release(origin);
                }
            });
        }
    }

    /// Moves entries to the dead letter queue. Those of that queue itself are only removed, as
    /// ActiveMQ does not add a message to the queue it was refused from.
    fn bury(
        &mut self,
        from: QueueId,
        reason: Reason,
        cause: &str,
        ranges: &[Range],
    ) -> Option<Moved> {
        let to = self.queue_named(DEAD_LETTER_QUEUE);
        if from == to {
            self.remove(from, ranges);
            return None;
        }
        let mut gone = Vec::new();
        let source = self.queue_mut(from);
        for range in ranges {
            source.bury_range(*range, reason, |entry| gone.push(entry));
        }
        let name = source.name().clone();
        for entry in &gone {
            let origin = Arc::make_mut(&mut self.origins).add(&name, cause);
            let dead = entry.into_dead_letter(origin, reason);
            if !self.queue_mut(to).insert(dead) {
                Arc::make_mut(&mut self.origins).release(origin);
            }
        }
        Some(Moved {
            from,
            to,
            offsets: gone.iter().map(|entry| entry.offset).collect(),
        })
    }

    fn queue_named(&mut self, name: &str) -> QueueId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = QueueId::of_index(self.queues.len());
        // A copy: the record's buffer must not live as long as the queue.
        let name = ByteString::from(name);
        self.queues.push(Arc::new(Queue::new(name.clone())));
        Arc::make_mut(&mut self.by_name).insert(name, id);
        id
    }
}
