//! Percentiles of durations, medians of rounds.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Some percentiles of a set of durations; zero for an empty set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Summary {
    /// How many there were.
    pub(crate) count: usize,
    /// The least.
    #[serde(serialize_with = "as_millis")]
    pub(crate) min: Duration,
    /// Half are not above it.
    #[serde(serialize_with = "as_millis")]
    pub(crate) p50: Duration,
    /// 99 of 100 are not above it.
    #[serde(serialize_with = "as_millis")]
    pub(crate) p99: Duration,
    /// The greatest.
    #[serde(serialize_with = "as_millis")]
    pub(crate) max: Duration,
}

/// The median of some rounds, with the least and the greatest of them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Spread {
    /// The median; of an even count the lower middle.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Summary {
    /// Of these durations, in any order.
    pub(crate) fn of(durations: &[Duration]) -> Self {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let Some(&max) = sorted.last() else {
            return Self::default();
        };
        Self {
            count: sorted.len(),
            min: sorted[0],
            p50: nearest_rank(&sorted, 50),
            p99: nearest_rank(&sorted, 99),
            max,
        }
    }
}

impl Spread {
    /// Of these figures, in any order; none of them is a NaN.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        match (sorted.first(), sorted.last()) {
            (Some(&min), Some(&max)) => Self {
                median: sorted[(sorted.len() - 1) / 2],
                min,
                max,
            },
            _ => Self::default(),
        }
    }
}

/// The smallest value that `percent` of all are not above (nearest rank).
fn nearest_rank(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

fn as_millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_values_of_the_set() {
        let summary = Summary::of(&millis((1..=200).rev()));
        assert_eq!(summary.count, 200);
        assert_eq!(
            [summary.min, summary.p50, summary.p99, summary.max],
            millis([1, 100, 198, 200])[..]
        );
        let few = Summary::of(&millis([3, 1, 2]));
        assert_eq!([few.p50, few.p99], millis([2, 3])[..]);
        assert_eq!(Summary::of(&millis([7])).p50, Duration::from_millis(7));
        assert_eq!(Summary::of(&[]), Summary::default());
    }

    #[test]
    fn a_spread_is_median_least_and_greatest() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(
            spread,
            Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            }
        );
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.0);
        assert_eq!(Spread::of([]), Spread::default());
    }
}
