//! What the runner prints: one line when something begins that takes long, one with its time when it ends.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Prints one line.
pub fn line(text: impl AsRef<str>) {
    println!("e2e: {}", text.as_ref());
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
