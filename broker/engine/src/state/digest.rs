//! One number for the whole State.
//!
//! Not cryptographic: it finds members that drifted apart by a fault, not by an adversary. Entries
//! are summed as they come and go, so a digest costs one step per queue, not per message.

use super::State;
use super::transactions::Operation;

/// Mixes a number into a hash; every bit of both reaches every bit of the result.
pub(crate) const fn mix(hash: u64, value: u64) -> u64 {
    let mut x = hash.rotate_left(23) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x = (x ^ (x >> 29)).wrapping_mul(0xa076_1d64_78bd_642f);
    x ^ (x >> 32)
}

struct Digest(u64);

impl Digest {
    fn number(&mut self, value: u64) -> &mut Self {
        self.0 = mix(self.0, value);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64);
        for part in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.number(u64::from_le_bytes(word));
        }
        self
    }
}

impl State {
    /// Equal on all members at an equal applied offset.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = Digest(0x7461_6e64_656d_6d71);
        digest
            .number(self.applied.0)
            .number(self.last_epoch_start.0)
            .number(self.undecodable);
        for (epoch, first) in &self.epochs {
            digest.number(epoch.0).number(first.0);
        }
        digest.number(self.queues.len() as u64);
        for queue in &self.queues {
            let counts = queue.counts();
            digest
                .text(queue.name())
                .number(queue.entries().len() as u64);
            digest.number(queue.entries().sum());
            digest.number(counts.enqueued).number(counts.dequeued);
            digest.number(counts.expired).number(counts.dead_lettered);
        }
        digest.number(self.origins.last_id());
        for (id, origin) in self.origins.iter() {
            digest
                .number(id)
                .number(origin.entries)
                .text(&origin.queue)
                .text(&origin.cause);
        }
        for (tx, operations) in self.transactions.iter() {
            digest.number(tx.0).number(operations.len() as u64);
            for operation in operations {
                operation.digest(&mut digest);
            }
        }
        digest.0
    }
}

impl Operation {
    fn digest(&self, digest: &mut Digest) {
        let ranges = match self {
            Self::Enqueue { queue, entry } => {
                digest
                    .number(1)
                    .number(queue.index() as u64)
                    .number(entry.hash());
                return;
            }
            Self::Ack { queue, ranges } => {
                digest.number(2).number(queue.index() as u64);
                ranges
            }
            Self::DeadLetter {
                queue,
                reason,
                cause,
                ranges,
            } => {
                digest
                    .number(3)
                    .number(queue.index() as u64)
                    .number(*reason as u64)
                    .text(cause);
                ranges
            }
        };
        for range in ranges {
            digest.number(range.first.0).number(u64::from(range.count));
        }
    }
}
