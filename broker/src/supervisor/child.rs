//! One broker process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::process::{ChildStdin, Command};

/// The log of a broker is set aside (`broker.log.1`) when it is longer than this at a start. A
/// broker writes some lines for each change of role, so this is months.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// A running broker. Dropping it closes the pipe on the broker's stdin, which ends it.
pub(super) struct Child {
    pid: u32,
    pidfd: OwnedFd,
    _stdin: ChildStdin,
}

/// Its process, to be waited for.
pub(super) struct Process(tokio::process::Child);

impl Child {
    /// Its process id.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal to this very process, or fails if it has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.pidfd, signal)?)
    }
}

impl Process {
    /// Its end.
    pub(super) async fn wait(mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }
}

/// Starts the broker of that folder.
pub(super) fn spawn(folder: &Path) -> io::Result<(Child, Process)> {
    let log = open_log(folder)?;
    let mut process = Command::new(own_program()?)
        .arg0("tandemmq")
        .arg("serve")
        .arg("--config")
        .arg(folder.join("broker.toml"))
        .arg("--exit-with-stdin")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let ended = || io::Error::other("the process has ended already");
    let pid = process.id().ok_or_else(ended)?;
    let stdin = process.stdin.take().ok_or_else(ended)?;
    let raw = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(ended)?;
    // Nobody has waited for it yet, so the pid is still its own.
    let pidfd = rustix::process::pidfd_open(raw, PidfdFlags::empty())?;
    Ok((
        Child {
            pid,
            pidfd,
            _stdin: stdin,
        },
        Process(process),
    ))
}

/// This program. A rebuild may have removed its file; the kernel still has it then.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() {
        path
    } else {
        "/proc/self/exe".into()
    })
}

fn open_log(folder: &Path) -> io::Result<File> {
    let path = folder.join("broker.log");
    if std::fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        std::fs::rename(&path, folder.join("broker.log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
