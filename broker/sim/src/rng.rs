//! Random numbers of the simulator: one stream per consumer, all split from the seed.
//!
//! A stream belongs to one consumer (network, disk, Lease, faults, …), so that a change in how
//! one of them draws leaves the others' numbers as they were: a found seed stays close to itself
//! while its cause is looked for. The generator is xoshiro256++, its state filled by splitmix64.

use std::time::Duration;

/// Who draws. New consumers only at the end: the number is part of the stream's seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Stream {
    /// The mix of the seed: numbers of nodes, rates, workload.
    Mix = 1,
    /// Latencies between brokers.
    Net = 2,
    /// Latencies and crash damage of disks.
    Disk = 3,
    /// Latencies and faults of the Lease store.
    Lease = 4,
    /// When and where faults happen.
    Faults = 5,
    /// What clients do.
    Clients = 6,
    /// Boot nonces, incarnations and the seeds of machines.
    Names = 7,
    /// Which costly checks the oracle makes.
    Oracle = 8,
}

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: [u64; 4],
}

// === impl Rng ===

impl Rng {
    /// The stream of one consumer in the run of one seed.
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        Self::from_seed(seed ^ (stream as u64).wrapping_mul(0xA24B_AED4_963E_E407))
    }

    /// A stream of its own, for a consumer that the run makes (a client).
    pub(crate) fn split(&mut self) -> Self {
        Self::from_seed(self.next_u64())
    }

    fn from_seed(seed: u64) -> Self {
        let mut mix = seed;
        Self {
            state: std::array::from_fn(|_| splitmix64(&mut mix)),
        }
    }

    /// The next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// The next 128 bits.
    pub(crate) fn next_u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw needs something to draw from");
        // The bias of the multiplication is below 2^-32 for every bound used here.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number between both, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an interval has its ends in order");
        low + self.below(high - low + 1)
    }

    /// An index of a slice of that length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// True in so many of a thousand cases.
    pub(crate) fn permille(&mut self, chance: u32) -> bool {
        self.below(1000) < u64::from(chance)
    }

    /// True in half of the cases.
    pub(crate) fn coin(&mut self) -> bool {
        self.next_u64() & 1 == 1
    }

    /// A duration between both, both included.
    pub(crate) fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.between(low.as_nanos() as u64, high.as_nanos() as u64))
    }

    /// A duration between both numbers of milliseconds, in steps of a nanosecond.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.duration(Duration::from_millis(low), Duration::from_millis(high))
    }

    /// A duration between both numbers of microseconds, in steps of a nanosecond.
    pub(crate) fn micros(&mut self, low: u64, high: u64) -> Duration {
        self.duration(Duration::from_micros(low), Duration::from_micros(high))
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_every_time_and_differs_from_the_others() {
        let draw = |seed, stream| -> Vec<u64> {
            let mut rng = Rng::new(seed, stream);
            (0..8).map(|_| rng.next_u64()).collect()
        };
        assert_eq!(draw(7, Stream::Net), draw(7, Stream::Net));
        assert_ne!(draw(7, Stream::Net), draw(7, Stream::Disk));
        assert_ne!(draw(7, Stream::Net), draw(8, Stream::Net));
    }

    #[test]
    fn draws_stay_inside_their_bounds_and_reach_both_ends() {
        let mut rng = Rng::new(1, Stream::Mix);
        let drawn: Vec<u64> = (0..1000).map(|_| rng.between(3, 6)).collect();
        assert!(drawn.iter().all(|n| (3..=6).contains(n)));
        assert!(drawn.contains(&3));
        assert!(drawn.contains(&6));
    }
}
