//! What Linux tells about processes: CPU time and resident memory.

use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// Ticks a second in `/proc/<pid>/stat` (USER_HZ), the same on every Linux that tokio runs on.
const TICKS_PER_SECOND: u32 = 100;

/// CPU time of these processes so far, user and system.
pub(super) fn cpu_time(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let text = read(*pid, "stat")?;
        ticks += ticks_of(&text).ok_or_else(|| anyhow!("/proc/{pid}/stat: {text:?}"))?;
    }
    Ok(Duration::from_secs(ticks) / TICKS_PER_SECOND)
}

/// Resident bytes of each of these processes.
pub(crate) fn resident_bytes(pids: &[u32]) -> anyhow::Result<Vec<u64>> {
    let mut all = Vec::new();
    for pid in pids {
        let text = read(*pid, "status")?;
        all.push(resident_of(&text).ok_or_else(|| anyhow!("/proc/{pid}/status has no VmRSS"))?);
    }
    Ok(all)
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).context(path)
}

/// Fields 14 and 15, utime and stime; the name in field 2 may contain blanks and brackets.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks_of(stat), Some(300));
        assert_eq!(ticks_of("7 (x"), None);
        assert_eq!(
            resident_of("Name:\tx\nVmRSS:\t    2048 kB\n"),
            Some(2 << 20)
        );
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes(&[std::process::id()]).unwrap()[0] > 0);
        assert!(cpu_time(&[std::process::id()]).is_ok());
        assert!(cpu_time(&[u32::MAX]).is_err());
    }
}
