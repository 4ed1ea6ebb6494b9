//! What happened in a run, as a hash always and as text on demand.
//!
//! The hash is over numbers, not over the text: the text is only made when somebody reads it.
//! Two runs of one seed must have equal hashes; that they do is itself checked.

use tandemmq_model::Time;

/// What kind of step a line of the trace is. The number is part of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// A process started, died, was paused or resumed.
    Process = 1,
    /// A connection between brokers went up or down.
    Link = 2,
    /// A frame was sent or arrived.
    Frame = 3,
    /// A disk operation was begun or done.
    Disk = 4,
    /// A Lease call or answer.
    Lease = 5,
    /// A role changed, ports opened or closed, a notice.
    Role = 6,
    /// A client did or saw something.
    Client = 7,
    /// A fault was put in or taken away.
    Fault = 8,
    /// The offsets of a node moved.
    Offsets = 9,
}

/// Whether the text is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Hash only.
    Hash,
    /// Hash and lines.
    Text,
}

/// Lines kept at most. A run of the longest seed stays below it; a run that does not is one that
/// spins, and its first lines show how that began.
const LINES_MAX: usize = 4_000_000;

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    steps: u64,
    detail: Detail,
    lines: Vec<String>,
}

// === impl Trace ===

impl Trace {
    /// An empty trace.
    pub fn new(detail: Detail) -> Self {
        Self {
            hash: 0xCBF2_9CE4_8422_2325,
            steps: 0,
            detail,
            lines: Vec::new(),
        }
    }

    /// One step: `numbers` go into the hash, `text` is called only when lines are kept.
    pub fn note(&mut self, at: Time, step: Step, numbers: &[u64], text: impl FnOnce() -> String) {
        self.steps += 1;
        self.mix(at.as_nanos());
        self.mix(step as u64);
        for number in numbers {
            self.mix(*number);
        }
        if self.detail == Detail::Text && self.lines.len() < LINES_MAX {
            self.lines
                .push(format!("{at} {:<8} {}", format!("{step:?}"), text()));
        }
    }

    /// The hash over everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether lines are kept.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// The lines, when they were wanted.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x9FB2_1C65_1E98_DF25)
            .rotate_left(29);
    }
}

/// A hash of bytes for the trace and the oracle; not for anything that meets an adversary.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0x51_7C_C1_B7_27_22_0A_95_u64 ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks_exact gives 8 bytes"));
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9FB2_1C65_1E98_DF25);
    }
    for byte in chunks.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x9FB2_1C65_1E98_DF25);
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_order_and_numbers_but_not_on_detail() {
        let run = |detail, numbers: [u64; 2]| {
            let mut trace = Trace::new(detail);
            for number in numbers {
                trace.note(Time::ZERO, Step::Frame, &[number], || "a frame".to_owned());
            }
            trace.hash()
        };
        assert_eq!(run(Detail::Hash, [1, 2]), run(Detail::Text, [1, 2]));
        assert_ne!(run(Detail::Hash, [1, 2]), run(Detail::Hash, [2, 1]));
    }
}
