//! What the runner prints: one line when something begins that takes long, one with its time when it ends.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::Result;

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time counts from here.
pub fn begin() {
    LazyLock::force(&BEGUN);
}

/// Prints one line, after the seconds since [`begin`].
pub fn line(text: impl AsRef<str>) {
    println!(
        "e2e {:6.1}: {}",
        BEGUN.elapsed().as_secs_f64(),
        text.as_ref()
    );
}

/// Seconds with one digit, as all times are printed.
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Runs `step`, announcing it before and printing its time after it.
pub fn timed<T>(what: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    line(format!("{what} …"));
    let start = Instant::now();
    let result = step();
    let how = if result.is_ok() { "" } else { "FAILED after " };
    line(format!("{what}: {how}{}", seconds(start.elapsed())));
    result
}
