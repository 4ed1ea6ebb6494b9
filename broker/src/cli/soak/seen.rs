//! Which of a producer's messages something happened to: one bit each, so that a day's run fits.

/// A growing set of numbers from 0.
#[derive(Debug, Default)]
pub(super) struct Seen {
    words: Vec<u64>,
    count: u64,
}

impl Seen {
    /// Adds a number; false when it was there.
    pub(super) fn add(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }

    /// How many numbers it has.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// How many of its numbers the other one does not have.
    pub(super) fn missing_in(&self, other: &Self) -> u64 {
        let words = self.words.iter().enumerate();
        let missing = words.map(|(place, word)| {
            let there = other.words.get(place).copied().unwrap_or(0);
            u64::from((word & !there).count_ones())
        });
        missing.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added_once_and_missed_where_they_are_not() {
        let (mut a, mut b) = (Seen::default(), Seen::default());
        for number in [0, 63, 64, 1_000] {
            assert!(a.add(number));
            assert!(!a.add(number));
        }
        b.add(64);
        b.add(5_000);
        assert_eq!((a.count(), a.missing_in(&b), b.missing_in(&a)), (4, 3, 1));
    }
}
