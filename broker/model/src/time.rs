//! Time as an argument.
//!
//! `Time` is the boot clock (goes on through a suspend, never set back); every timer and every
//! `valid_until` uses it. The wall clock travels beside it in `Now` for the two things a client
//! can see: a message's timestamp and its expiration. No rule of safety reads either.

use std::fmt;
use std::time::Duration;

/// A moment on the boot clock, in nanoseconds since an origin of the process's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than every real moment: "no timer".
    pub const NEVER: Self = Self(u64::MAX);

    /// A moment this many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A moment this many milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time passed since `earlier`, zero when `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1_000
        )
    }
}

/// Both clocks at one moment, read once by the shell before it hands an event in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Boot clock.
    pub boot: Time,
    /// Wall clock, milliseconds since 1970; may jump.
    pub wall_ms: u64,
}
