//! Where and when a measure was taken.

use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

/// A measure without these is worth nothing.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// Date and time, UTC.
    pub(super) date: String,
    /// The commit of the working directory, `+` when it has changes, or `unknown`.
    pub(super) commit: String,
    /// The version of the program.
    pub(super) version: &'static str,
    /// Whether the program was built with optimisations.
    pub(super) profile: &'static str,
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// The processor's name.
    pub(super) processor: String,
    /// The kernel's version.
    pub(super) kernel: String,
}

impl Machine {
    /// Here and now.
    pub(super) fn here() -> Self {
        Self {
            date: date_of(seconds_since_1970()),
            commit: commit(),
            version: env!("CARGO_PKG_VERSION"),
            profile: if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            },
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor(),
            kernel: first_line("/proc/sys/kernel/osrelease"),
        }
    }
}

fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".into();
    };
    match git(&["status", "--porcelain"]) {
        Some(changes) if !changes.is_empty() => format!("{commit}+"),
        _ => commit,
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim());
    name.unwrap_or("unknown").to_owned()
}

fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// `2026-01-31 12:34 UTC`. Counts whole years, then whole months, of the Gregorian calendar.
fn date_of(seconds: u64) -> String {
    let mut days = seconds / 86_400;
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!(
        "{year}-{month:02}-{:02} {hour:02}:{minute:02} UTC",
        days + 1
    )
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(date_of(0), "1970-01-01 00:00 UTC");
        assert_eq!(date_of(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date_of(1_709_251_199), "2024-02-29 23:59 UTC");
        assert_eq!(date_of(1_735_689_600), "2025-01-01 00:00 UTC");
    }
}
