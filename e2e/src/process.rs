//! Processes of a cluster that live on after the call that starts them, and how they are found and ended.
//!
//! Every one carries the cluster's mark in its environment, and so do the programs that it starts itself
//! (containerd's shims). A signal is sent through a pidfd that was opened before the process was looked
//! at, so it cannot hit another one that got the same number meanwhile.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::made::{MARK, Made, Thing};
use crate::run;

/// How long a process that got SIGKILL may take to vanish.
const GONE_LIMIT: Duration = Duration::from_secs(20);

/// One process, told from all others that have or had its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its start, as `/proc/<pid>/stat` says it.
    pub start: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self {
            pid,
            start: stat.start,
        })
    }

    /// Does it still run? One that has ended and waits to be collected does not.
    pub fn runs(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.ended)
    }

    /// Sends a signal, if it is still the same process; says whether it was.
    pub fn signal(self, signal: Signal) -> Result<bool> {
        let pid = Pid::from_raw(self.pid).context("a process id is positive")?;
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(false);
        };
        if !self.runs() {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{signal:?} to process {}", self.pid)),
        }
    }

    /// Ends it at once and waits until it is gone.
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_gone()
    }

    /// Waits until it is gone.
    pub fn wait_gone(self) -> Result<()> {
        run::wait_for(&format!("process {} is gone", self.pid), GONE_LIMIT, || {
            Ok(!self.runs())
        })?;
        Ok(())
    }
}

/// Starts `command` in the background under the cluster's mark, its output in `log`, and writes it down.
pub fn start(made: &mut Made, name: &str, command: &mut Command, log: &Path) -> Result<Process> {
    let mark = made.mark().context("the journal has a mark")?;
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| log.display().to_string())?;
    command
        .env(MARK, mark)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out);
    // A group of its own: Ctrl-C ends the runner, which then takes things down in order.
    command.process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("start of {name}"))?;
    let pid = i32::try_from(child.id()).context("a process id fits")?;
    let Some(process) = Process::of(pid) else {
        let status = child.wait()?;
        bail!(
            "{name} ended at once ({status}):\n{}",
            run::tail_of_file(log)
        );
    };
    made.add(Thing::Process {
        name: name.to_owned(),
        pid,
        start: process.start,
    })?;
    // Collects it when it ends, so that it is no zombie for as long as we live.
    std::thread::spawn(move || child.wait());
    Ok(process)
}

/// The last process that was started under this name, whether it still runs or not.
pub fn named(made: &Made, name: &str) -> Option<Process> {
    made.things().iter().rev().find_map(|thing| match thing {
        Thing::Process {
            name: found,
            pid,
            start,
        } if found == name => Some(Process {
            pid: *pid,
            start: *start,
        }),
        _ => None,
    })
}

/// Every process that belongs to this journal: by its mark, or by number and start.
pub fn all(made: &Made) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    for thing in made.things() {
        if let Thing::Process { pid, start, .. } = thing {
            found.push(Process {
                pid: *pid,
                start: *start,
            });
        }
    }
    if let Some(mark) = made.mark() {
        let needle = format!("{MARK}={mark}");
        found.extend(
            pids()
                .filter(|pid| carries(*pid, &needle))
                .filter_map(Process::of),
        );
    }
    found.sort_by_key(|process| (process.pid, process.start));
    found.dedup();
    found.retain(|process| process.runs());
    found
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn carries(pid: i32, needle: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == needle.as_bytes())
}

struct Stat {
    start: u64,
    ended: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in brackets may hold anything, so fields are counted from its last bracket.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // Field 3 is the state, field 22 the start.
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat {
        start,
        ended: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_name_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987 1 1";
        let stat = parse_stat(text).expect("a stat line");
        assert_eq!((stat.start, stat.ended), (987, false));
    }

    #[test]
    fn a_process_is_another_one_when_its_start_differs() {
        let me = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.runs());
        let other = Process {
            start: me.start + 1,
            ..me
        };
        assert!(!other.runs());
        assert!(
            !other.signal(Signal::KILL).unwrap(),
            "no signal to a process that only has the number"
        );
    }

    #[test]
    fn a_process_is_found_by_its_mark_and_a_foreign_one_is_not() {
        let folder = std::env::temp_dir().join(format!("e2e-mark-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let made = Made::create(&folder).unwrap();
        let mut sleep = Command::new("sleep");
        let mut foreign = sleep.arg("60").env(MARK, "another").spawn().unwrap();
        let mut ours = sleep.env(MARK, made.mark().unwrap()).spawn().unwrap();

        // Its environment is there when it has become `sleep`.
        let number = i32::try_from(ours.id()).unwrap();
        run::wait_for("the marked process is found", GONE_LIMIT, || {
            Ok(!all(&made).is_empty())
        })
        .unwrap();
        let found: Vec<i32> = all(&made).iter().map(|p| p.pid).collect();
        assert_eq!(found, [number]);

        for child in [&mut foreign, &mut ours] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
