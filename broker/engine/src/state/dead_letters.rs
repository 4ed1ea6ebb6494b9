//! Where dead letters come from.
//!
//! An entry of the dead letter queue carries a number instead of an expiration: the number of its
//! origin here. Origins are shared by all entries of one queue and cause, and counted, so they are
//! as few as there are queues, however many entries there are.

use std::collections::BTreeMap;

use bytestring::ByteString;

/// ActiveMQ's shared dead letter queue (`sharedDeadLetterStrategy`).
pub(crate) const DEAD_LETTER_QUEUE: &str = "ActiveMQ.DLQ";

#[derive(Debug)]
pub(crate) struct Origin {
    pub queue: ByteString,
    pub cause: ByteString,
    /// Entries that name it.
    pub entries: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Origins {
    by_id: BTreeMap<u64, Origin>,
    ids: BTreeMap<(ByteString, ByteString), u64>,
    last_id: u64,
}

impl Origins {
    pub(crate) fn get(&self, id: u64) -> Option<&Origin> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Origin)> {
        self.by_id.iter().map(|(id, origin)| (*id, origin))
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
