//! Whole groups as child processes of this one: `up`, and the groups that `demo`, `bench` and
//! `chaos` break.
//!
//! ```text
//!            start                         ended by itself or killed
//!  Planned ────────> Running{pid, stdin} ─────────────────────────> Waiting{until} ──> Running …
//!                        │ stop                                          │ stop
//!                        └──> SIGTERM ── exit, or SIGKILL after STOP_MAX ┴──> Stopped
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
pub(crate) mod plan;
pub(crate) mod status_client;
pub(crate) mod temp_folder;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use child::Child;
use cluster_file::ClusterFile;
use folder_lock::FolderLock;

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
    Stop,
}

/// The owner task's state.
struct Owner {
    folder: PathBuf,
    _lock: FolderLock,
    options: Options,
    cluster: ClusterFile,
    slots: Vec<Slot>,
    ended: JoinSet<(usize, std::io::Result<ExitStatus>)>,
    commands: mpsc::Receiver<Command>,
    shared: watch::Sender<ClusterFile>,
    events: mpsc::Sender<SupervisorEvent>,
}

struct Slot {
    group: String,
    broker: String,
    state: SlotState,
}

enum SlotState {
    Running(Child),
    Waiting(Instant),
    Stopped,
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

// === impl Owner ===

impl Owner {
    fn new(
        opened: Opened,
        options: Options,
        commands: mpsc::Receiver<Command>,
        shared: watch::Sender<ClusterFile>,
        events: mpsc::Sender<SupervisorEvent>,
    ) -> Self {
        let mut slots = Vec::new();
        for group in &opened.cluster.groups {
            slots.extend(group.brokers.iter().map(|broker| Slot {
                group: group.name.clone(),
                broker: broker.name.clone(),
                state: SlotState::Waiting(Instant::now()),
            }));
        }
        Self {
            folder: opened.folder,
            _lock: opened.lock,
            options,
            cluster: opened.cluster,
            slots,
            ended: JoinSet::new(),
            commands,
            shared,
            events,
        }
    }

    async fn run(mut self) {
        loop {
            self.start_due();
            let next = self.next_start();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Signal { brokers, signal, reply }) => {
                        // The caller may have gone; the signal counts all the same.
                        let _ = reply.send(self.signal(&brokers, signal));
                    }
                    Some(Command::Stop) => break,
                    None => return self.kill_all().await,
                },
                Some(ended) = self.ended.join_next(), if !self.ended.is_empty() => {
                    let (slot, status) = ended.expect("a task that only waits does not panic");
                    self.handle_end(slot, status, Some(self.options.restart_delay));
                }
                () = sleep_until(next) => {}
            }
        }
        self.stop_all().await;
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            if matches!(self.slots[index].state, SlotState::Waiting(until) if until <= now) {
                self.start_slot(index);
            }
        }
    }

    fn next_start(&self) -> Option<Instant> {
        let waiting = self.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Waiting(until) => Some(until),
            SlotState::Running(_) | SlotState::Stopped => None,
        });
        waiting.min()
    }

    fn start_slot(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let folder = plan::broker_folder(&self.folder, &slot.group, &slot.broker);
        match child::spawn(&folder) {
            Ok((child, process)) => {
                let pid = child.pid();
                slot.state = SlotState::Running(child);
                let broker = slot.broker.clone();
                self.ended
                    .spawn(async move { (index, process.wait().await) });
                self.write_pid(&broker, Some(pid));
                self.tell(SupervisorEvent::Started { broker, pid });
            }
            Err(error) => {
                // Never at once: the cause (no memory, no more processes) must have time to pass.
                let delay = self.options.restart_delay.max(Duration::from_secs(1));
                slot.state = SlotState::Waiting(Instant::now() + delay);
                let text = format!("cannot start {}: {error}", slot.broker);
                self.tell(SupervisorEvent::Trouble { text });
            }
        }
    }

    fn handle_end(
        &mut self,
        index: usize,
        status: std::io::Result<ExitStatus>,
        restart_in: Option<Duration>,
    ) {
        let slot = &mut self.slots[index];
        slot.state = match restart_in {
            Some(delay) => SlotState::Waiting(Instant::now() + delay),
            None => SlotState::Stopped,
        };
        let broker = slot.broker.clone();
        self.write_pid(&broker, None);
        self.tell(match status {
            Ok(status) => SupervisorEvent::Ended {
                broker,
                status,
                restart_in,
            },
            Err(error) => SupervisorEvent::Trouble {
                text: format!("lost sight of {broker}: {error}"),
            },
        });
    }

    fn signal(&self, brokers: &[String], signal: Signal) -> Vec<String> {
        let mut signalled = Vec::new();
        for slot in self
            .slots
            .iter()
            .filter(|slot| brokers.contains(&slot.broker))
        {
            if let SlotState::Running(child) = &slot.state
                && child.signal(signal).is_ok()
            {
                signalled.push(slot.broker.clone());
            }
        }
        signalled
    }

    fn signal_all(&self, signal: Signal) {
        let all: Vec<String> = self.slots.iter().map(|slot| slot.broker.clone()).collect();
        self.signal(&all, signal);
    }

    async fn stop_all(&mut self) {
        self.signal_all(Signal::TERM);
        // A stopped process gets its SIGTERM only once it goes on.
        self.signal_all(Signal::CONT);
        if tokio::time::timeout(STOP_MAX, self.drain()).await.is_err() {
            self.kill_all().await;
        }
        self.write_file();
    }

    async fn kill_all(&mut self) {
        self.signal_all(Signal::KILL);
        self.drain().await;
    }

    async fn drain(&mut self) {
        while let Some(ended) = self.ended.join_next().await {
            let (slot, status) = ended.expect("a task that only waits does not panic");
            self.handle_end(slot, status, None);
        }
    }

    fn write_pid(&mut self, broker: &str, pid: Option<u32>) {
        self.cluster.set_pid(broker, pid);
        self.write_file();
        self.shared.send_replace(self.cluster.clone());
    }

    fn write_file(&self) {
        if let Err(error) = self.cluster.write(&self.folder) {
            self.tell(SupervisorEvent::Trouble {
                text: error.to_string(),
            });
        }
    }

    fn tell(&self, event: SupervisorEvent) {
        // Full or closed: nobody is looking.
        let _ = self.events.try_send(event);
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

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
