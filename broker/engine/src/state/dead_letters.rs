//! Where dead letters come from.
//!
//! An entry of the dead letter queue carries a number instead of an expiration: the number of its
//! origin here. Origins are shared by all entries of one queue and cause, and counted, so they are
//! as few as there are queues, however many entries there are.

use std::collections::BTreeMap;

use bytestring::ByteString;

/// ActiveMQ's shared dead letter queue (`sharedDeadLetterStrategy`).
pub(crate) const DEAD_LETTER_QUEUE: &str = "ActiveMQ.DLQ";

#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub queue: ByteString,
    pub cause: ByteString,
    /// Entries that name it.
    pub entries: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    by_id: BTreeMap<u64, Origin>,
    ids: BTreeMap<(ByteString, ByteString), u64>,
    /// The highest number ever given: one that is free again is never given twice.
    last_id: u64,
}

impl Origins {
    pub(crate) fn get(&self, id: u64) -> Option<&Origin> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Origin)> {
        self.by_id.iter().map(|(id, origin)| (*id, origin))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) const fn last_id(&self) -> u64 {
        self.last_id
    }

    /// The first origin with that number or a higher one.
    pub(super) fn first_from(&self, id: u64) -> Option<(u64, &Origin)> {
        let (id, origin) = self.by_id.range(id..).next()?;
        Some((*id, origin))
    }

    /// No origin yet, and that number was the last one given.
    pub(super) fn restored(last_id: u64) -> Self {
        Self {
            last_id,
            ..Self::default()
        }
    }

    /// As it was in a picture. False when its queue and cause have a number already.
    pub(super) fn restore(&mut self, id: u64, origin: Origin) -> bool {
        let key = (origin.queue.clone(), origin.cause.clone());
        let is_new = self.ids.insert(key, id).is_none();
        self.by_id.insert(id, origin);
        is_new
    }

    /// The number for one more entry of that origin.
    pub(super) fn add(&mut self, queue: &ByteString, cause: &str) -> u64 {
        let key = (queue.clone(), ByteString::from(cause));
        if let Some(id) = self.ids.get(&key) {
            self.by_id
                .get_mut(id)
                .expect("both maps hold the same ids")
                .entries += 1;
            return *id;
        }
        self.last_id += 1;
        let (queue, cause) = key.clone();
        self.by_id.insert(
            self.last_id,
            Origin {
                queue,
                cause,
                entries: 1,
            },
        );
        self.ids.insert(key, self.last_id);
        self.last_id
    }

    /// One entry of that origin is gone.
    pub(super) fn release(&mut self, id: u64) {
        let origin = self
            .by_id
            .get_mut(&id)
            .expect("an entry names an origin that is here");
        origin.entries -= 1;
        if origin.entries == 0 {
            let origin = self.by_id.remove(&id).expect("it was found just now");
            self.ids.remove(&(origin.queue, origin.cause));
        }
    }
}
