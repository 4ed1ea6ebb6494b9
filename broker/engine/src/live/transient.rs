//! Messages that live in memory only, and the memory they may take.

use bytes::Bytes;
use tandemmq_model::{Message, Offset};

use super::Live;
use super::destination::{DestKey, Place};
use crate::records;

/// A non-persistent message of a queue, in one buffer of its own: a slice of what a socket
/// delivered would keep much more alive than it shows.
#[derive(Debug)]
pub(crate) struct Transient {
    /// As an Enqueue body.
    pub body: Bytes,
    /// What it takes of the limit.
    pub size: u64,
    /// 0 = never.
    pub expiration_ms: u64,
}

impl Transient {
    /// None when it is too large for a record, which bounds every message.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let body = records::encode_enqueue(None, message)?;
        let size = message.memory_size() as u64;
        Some(Self {
            body,
            size,
            expiration_ms: message.expiration_ms,
        })
    }

    pub(crate) const fn is_expired(&self, wall_ms: u64) -> bool {
        self.expiration_ms != 0 && self.expiration_ms <= wall_ms
    }
}

/// Bytes of non-persistent messages, queued, in flight or in an open transaction.
#[derive(Debug)]
pub(crate) struct Memory {
    used: u64,
    max: u64,
    /// Something was freed since somebody looked.
    pub has_freed: bool,
}

impl Memory {
    pub(crate) const fn new(max: u64) -> Self {
        Self {
            used: 0,
            max,
            has_freed: false,
        }
    }

    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    pub(crate) const fn fits(&self, size: u64) -> bool {
        size <= self.max - self.used
    }

    pub(crate) fn take(&mut self, size: u64) {
        assert!(self.fits(size), "room is checked before it is taken");
        self.used += size;
    }

    pub(crate) fn free(&mut self, size: u64) {
        self.used -= size;
        self.has_freed = true;
    }
}

impl Live {
    /// Puts a message into a queue; it may be taken once the records proposed before it are
    /// applied. Its memory was taken already.
    pub(super) fn put_transient(&mut self, key: DestKey, place: Place, transient: Transient) {
        let Some(found) = self.destinations.get_mut(key) else {
            // A temporary queue that went with its connection.
            self.memory.free(transient.size);
            return;
        };
        found.counts.enqueued += 1;
        found.queue.transient.insert(place, transient);
        if place <= found.queue.cursor {
            found.queue.behind.insert(place);
        }
        // Nearly always at the end: a message of a transaction may have an older place.
        let waiting = &mut self.waiting_for_offset;
        let index = waiting.partition_point(|(offset, _)| *offset <= place.offset);
        waiting.insert(index, (place.offset, key));
    }

    /// The records that these messages wait for are applied.
    pub(super) fn wake_transient(&mut self, applied: Offset) {
        while let Some((_, key)) = self
            .waiting_for_offset
            .pop_front_if(|(offset, _)| *offset <= applied)
        {
            self.list_queue(key);
        }
    }

    /// The message is gone for good.
    pub(super) fn drop_transient(&mut self, key: DestKey, place: Place) -> bool {
        let Some(found) = self.destinations.get_mut(key) else {
            return false;
        };
        let Some(transient) = found.queue.transient.remove(&place) else {
            return false;
        };
        found.queue.behind.remove(&place);
        found.queue.redeliveries.remove(&place);
        self.memory.free(transient.size);
        true
    }

    /// The place of a message that arrives now.
    pub(super) fn next_place(&mut self) -> Place {
        self.last_count += 1;
        Place {
            offset: self.log.last(),
            count: self.last_count,
        }
    }
}
