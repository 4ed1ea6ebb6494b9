//! The task that owns the children: starts, signals, waits for and restarts them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::supervisor::child::{self, Child};
use crate::supervisor::cluster_file::ClusterFile;
use crate::supervisor::folder_lock::FolderLock;
use crate::supervisor::open::Opened;
use crate::supervisor::{Command, Options, STOP_MAX, SupervisorEvent, plan};

/// The owner task's state.
pub(super) struct Owner {
    folder: PathBuf,
    _lock: FolderLock,
    options: Options,
    cluster: ClusterFile,
    slots: Vec<Slot>,
    /// Brokers that are not started again until told.
    held: BTreeSet<String>,
    /// Who waits for the ends of which brokers.
    holders: Vec<(Vec<String>, oneshot::Sender<()>)>,
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

// === impl Owner ===

impl Owner {
    /// Of an opened folder, nothing running.
    pub(super) fn new(
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
            held: BTreeSet::new(),
            holders: Vec::new(),
            ended: JoinSet::new(),
            commands,
            shared,
            events,
        }
    }

    /// Runs until told to stop, or until nobody holds the handle.
    pub(super) async fn run(mut self) {
        loop {
            self.start_due();
            let next = self.next_start();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Signal { brokers, signal, reply }) => {
                        // The caller may have gone; the signal counts all the same.
                        let _ = reply.send(self.signal(&brokers, signal));
                    }
                    Some(Command::Hold { brokers, reply }) => self.hold(brokers, reply),
                    Some(Command::Start { brokers }) => self.start_held(&brokers),
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
        let restart_in = restart_in.filter(|_| !self.held.contains(&slot.broker));
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
        self.answer_holders();
    }

    fn hold(&mut self, brokers: Vec<String>, reply: oneshot::Sender<()>) {
        self.signal(&brokers, Signal::KILL);
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| brokers.contains(&slot.broker))
        {
            if matches!(slot.state, SlotState::Waiting(_)) {
                slot.state = SlotState::Stopped;
            }
        }
        self.held.extend(brokers.iter().cloned());
        self.holders.push((brokers, reply));
        self.answer_holders();
    }

    fn start_held(&mut self, brokers: &[String]) {
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| brokers.contains(&slot.broker))
        {
            self.held.remove(&slot.broker);
            if matches!(slot.state, SlotState::Stopped) {
                slot.state = SlotState::Waiting(Instant::now());
            }
        }
    }

    /// Tells those whose brokers have all ended.
    fn answer_holders(&mut self) {
        let slots = &self.slots;
        let runs = |broker: &String| {
            slots
                .iter()
                .any(|slot| &slot.broker == broker && matches!(slot.state, SlotState::Running(_)))
        };
        let (waiting, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.holders)
            .into_iter()
            .partition(|(brokers, _)| brokers.iter().any(runs));
        self.holders = waiting;
        for (_, reply) in ended {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
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

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
