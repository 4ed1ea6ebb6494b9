//! Whole groups as child processes of this one: `up`, and the groups that `demo`, `bench` and
//! `chaos` break.
//!
//! ```text
//!            start                         ended by itself or killed
//!  Planned ────────> Running{pid, stdin} ─────────────────────────> Waiting{until} ──> Running …
//!                        │ stop                                          │ stop
//!                        ├──> SIGTERM ── exit, or SIGKILL after STOP_MAX ┴──> Stopped
//!                        └──> hold: SIGKILL ── start ──> Waiting{now}
//! ```
//! One task owns the children. Every child has a pipe on its stdin and exits at its end, so that no
//! broker outlives this process however it dies; and a process group of its own, so that Ctrl-C on
//! the terminal reaches this process alone. Signals go through a pidfd: never to a stranger that
//! got a dead broker's pid. `cluster.json` is written after every change of a process.
//!
//! Not here: what the brokers do (`observe` asks them), what is shown (`cli`).

mod child;
pub(crate) mod cluster_file;
mod folder_lock;
pub(crate) mod hearsay;
pub(crate) mod local_group;
pub(crate) mod observe;
mod open;
mod owner;
pub(crate) mod plan;
pub(crate) mod status_client;
pub(crate) mod temp_folder;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use cluster_file::ClusterFile;
use owner::Owner;

pub(crate) use open::{OpenError, Opened, Wanted, open};

/// A broker has this long after SIGTERM. A hand-over takes at most 5 s; then SIGKILL.
const STOP_MAX: Duration = Duration::from_secs(8);

/// Commands waiting for the owner task. Callers wait for each answer, so a few are enough.
const COMMANDS_MAX: usize = 16;

/// Events that nobody fetched yet; more are dropped. They are for people, `cluster.json` is not.
const EVENTS_MAX: usize = 256;

/// How the children are run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// A broker that died is started again after this.
    pub(crate) restart_delay: Duration,
}

/// What happened to a child.
#[derive(Debug, Clone)]
pub(crate) enum SupervisorEvent {
    /// A process was started.
    Started {
        /// Which broker.
        broker: String,
        /// Its process.
        pid: u32,
    },
    /// A process has ended.
    Ended {
        /// Which broker.
        broker: String,
        /// How.
        status: ExitStatus,
        /// When it is started again; none while stopping.
        restart_in: Option<Duration>,
    },
    /// Something did not work; the supervisor goes on and tries again.
    Trouble {
        /// A sentence.
        text: String,
    },
}

/// The handle of the owner task. Dropping it kills all children.
#[derive(Debug)]
pub(crate) struct Supervisor {
    commands: mpsc::Sender<Command>,
    cluster: watch::Receiver<ClusterFile>,
    task: JoinHandle<()>,
    folder: PathBuf,
}

enum Command {
    Signal {
        brokers: Vec<String>,
        signal: Signal,
        reply: oneshot::Sender<Vec<String>>,
    },
    /// SIGKILL without a new start; answered when they have no process any more.
    Hold {
        brokers: Vec<String>,
        reply: oneshot::Sender<()>,
    },
    Start {
        brokers: Vec<String>,
    },
    Stop,
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts every broker of an opened folder.
    pub(crate) fn start(
        opened: Opened,
        options: Options,
    ) -> (Self, mpsc::Receiver<SupervisorEvent>) {
        let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
        let (events, event_receiver) = mpsc::channel(EVENTS_MAX);
        let (shared, cluster) = watch::channel(opened.cluster.clone());
        let folder = opened.folder.clone();
        let owner = Owner::new(opened, options, command_receiver, shared, events);
        let task = tokio::spawn(owner.run());
        (
            Self {
                commands,
                cluster,
                task,
                folder,
            },
            event_receiver,
        )
    }

    /// The folder of the cluster.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The cluster as its file says now.
    pub(crate) fn cluster(&self) -> ClusterFile {
        self.cluster.borrow().clone()
    }

    /// The last line of a broker's log.
    pub(crate) fn last_log_line(&self, broker: &str) -> Option<String> {
        let cluster = self.cluster.borrow();
        let (_, entry) = cluster.find(broker)?;
        log_tail(entry, 1).pop()
    }

    /// Sends a signal to these brokers at once; answers with those that had a process.
    pub(crate) async fn signal(&self, brokers: &[String], signal: Signal) -> Vec<String> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Signal {
            brokers: brokers.to_vec(),
            signal,
            reply,
        };
        if self.commands.send(command).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// Kills these brokers and keeps them down; returns when they have no process any more.
    pub(crate) async fn kill_and_hold(&self, brokers: &[String]) {
        let (reply, ended) = oneshot::channel();
        let brokers = brokers.to_vec();
        // A closed channel means that all are ending.
        if self
            .commands
            .send(Command::Hold { brokers, reply })
            .await
            .is_ok()
        {
            let _ = ended.await;
        }
    }

    /// Starts brokers that were held.
    pub(crate) async fn start_held(&self, brokers: &[String]) {
        let brokers = brokers.to_vec();
        // A closed channel means that all are ending.
        let _ = self.commands.send(Command::Start { brokers }).await;
    }

    /// Stops every broker and waits for their ends.
    pub(crate) async fn stop(self) {
        // A closed channel means that the owner is stopping already.
        let _ = self.commands.send(Command::Stop).await;
        if let Err(error) = self.task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// The last lines of a broker's log.
pub(crate) fn log_tail(broker: &cluster_file::BrokerEntry, lines_max: usize) -> Vec<String> {
    let log = broker.data_dir.with_file_name("broker.log");
    // A log that cannot be read has nothing to say.
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(lines_max);
    lines[from..].iter().map(|&line| line.to_owned()).collect()
}
