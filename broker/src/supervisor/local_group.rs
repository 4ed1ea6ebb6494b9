//! One group of three for the commands that break it: `demo`, `bench`, `chaos`.
//!
//! It lives in a temporary folder unless the user named one, on ports that were free a moment ago,
//! and leaves nothing behind once `stop` was called or the process has ended.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::stomp_client::Failover;
use crate::supervisor::cluster_file::GroupEntry;
use crate::supervisor::observe::{GroupView, observe};
use crate::supervisor::open::{OpenError, Opened, Wanted, open};
use crate::supervisor::plan::{Settings, Shape};
use crate::supervisor::status_client;
use crate::supervisor::temp_folder::TempFolder;
use crate::supervisor::{Options, Supervisor, SupervisorEvent};

/// Brokers of the group.
pub(crate) const REPLICAS: u8 = 3;

/// Ports are looked for from here on, in steps of a group's hundred, to stay out of `up`'s way.
const PORTS_FROM: u16 = 22_000;
const PORT_STEPS: u16 = 100;

/// Between two looks at the group.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// A group elects its first master within a second or two; a slow disk or a busy machine gets
/// plenty more before the start counts as failed.
pub(crate) const START_MAX: Duration = Duration::from_secs(30);

/// Lines of a broker's log shown when the group does not come up.
const LOG_LINES_SHOWN: usize = 5;

/// How a group is started.
#[derive(Debug, Default)]
pub(crate) struct Launch<'a> {
    /// Part of the temporary folder's name.
    pub(crate) purpose: &'a str,
    /// Use this folder and leave it behind; none: a temporary one.
    pub(crate) folder: Option<&'a Path>,
    /// A broker that died is started again after this.
    pub(crate) restart_delay: Duration,
    /// For the configuration of new brokers.
    pub(crate) settings: Settings,
}

/// A running group.
pub(crate) struct LocalGroup {
    supervisor: Supervisor,
    events: mpsc::Receiver<SupervisorEvent>,
    /// Removed after the processes have ended; none when the user named the folder.
    temp: Option<TempFolder>,
}

impl LocalGroup {
    /// Starts the processes of a group. Whatever comes then, `stop` is to be called.
    pub(crate) fn launch(launch: &Launch<'_>) -> anyhow::Result<Self> {
        let temp = match launch.folder {
            Some(_) => None,
            None => Some(TempFolder::create(launch.purpose).context("no temporary folder")?),
        };
        let folder = launch
            .folder
            .or_else(|| temp.as_ref().map(TempFolder::path))
            .expect("one of both is there");
        let opened = open_anywhere(folder, &launch.settings)?;
        let options = Options {
            restart_delay: launch.restart_delay,
        };
        let (supervisor, events) = Supervisor::start(opened, options);
        Ok(Self {
            supervisor,
            events,
            temp,
        })
    }

    /// Until every broker is in step; an error shows the last lines of their logs.
    pub(crate) async fn wait_for_start(&mut self) -> anyhow::Result<()> {
        let started = self.wait_until_whole().await;
        started.map_err(|error| {
            let logs = self.log_tails();
            error.context(format!("the group did not start\n{logs}"))
        })
    }

    /// A process that ends by itself now will do so again.
    async fn wait_until_whole(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let view = self.view().await;
            if view.is_whole() {
                return Ok(());
            }
            let ends = self.unexpected_ends();
            if !ends.is_empty() {
                bail!("{}", ends.join("; "));
            }
            if begun.elapsed() > START_MAX {
                bail!("after {START_MAX:?} it is: {}", describe(&view));
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// The group as its file says.
    pub(crate) fn entry(&self) -> GroupEntry {
        self.supervisor.cluster().groups.remove(0)
    }

    /// The folder of the cluster.
    pub(crate) fn folder(&self) -> &Path {
        self.supervisor.folder()
    }

    /// A client of this group.
    pub(crate) fn failover(&self) -> Failover {
        Failover::eager(self.entry().stomp_addresses())
    }

    /// The group as its brokers say.
    pub(crate) async fn view(&self) -> GroupView {
        observe(&self.supervisor.cluster()).await.groups.remove(0)
    }

    /// Looks at the group until it is so.
    pub(crate) async fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&GroupView) -> bool,
    ) -> anyhow::Result<GroupView> {
        let begun = Instant::now();
        loop {
            let view = self.view().await;
            if is_so(&view) {
                return Ok(view);
            }
            if begun.elapsed() > limit {
                bail!("waited {limit:?} for: {what}; instead: {}", describe(&view));
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Sends a signal to some brokers at once; an error when one of them has no process.
    pub(crate) async fn signal(&self, brokers: &[String], signal: Signal) -> anyhow::Result<()> {
        let reached = self.supervisor.signal(brokers, signal).await;
        match reached.len() == brokers.len() {
            true => Ok(()),
            false => bail!("{brokers:?} should get a signal, only {reached:?} had a process"),
        }
    }

    /// Kills some brokers and keeps them down until `start`.
    pub(crate) async fn kill_and_hold(&self, brokers: &[String]) {
        self.supervisor.kill_and_hold(brokers).await;
    }

    /// Starts brokers that are held.
    pub(crate) async fn start(&self, brokers: &[String]) {
        self.supervisor.start_held(brokers).await;
    }

    /// The names of all brokers.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entry()
            .brokers
            .into_iter()
            .map(|broker| broker.name)
            .collect()
    }

    /// Process ids of the brokers that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.entry()
            .brokers
            .iter()
            .filter_map(|broker| broker.pid)
            .collect()
    }

    /// Bytes that each broker has written to its journal since its start, by name.
    pub(crate) async fn written_bytes(&self) -> anyhow::Result<Vec<u64>> {
        let mut all = Vec::new();
        for broker in self.entry().brokers {
            let name = "tandemmq_disk_written_bytes_total";
            all.push(status_client::fetch_metric(&broker.addresses.metrics, name).await?);
        }
        Ok(all)
    }

    /// Ends of processes that the caller did not ask for since the last call, as sentences. Kills
    /// are asked for.
    pub(crate) fn unexpected_ends(&mut self) -> Vec<String> {
        let mut ends = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            match event {
                SupervisorEvent::Ended { broker, status, .. } if !is_kill(status) => {
                    ends.push(format!("{broker} ended by itself: {status}"));
                }
                SupervisorEvent::Trouble { text } => ends.push(text),
                SupervisorEvent::Ended { .. } | SupervisorEvent::Started { .. } => {}
            }
        }
        ends
    }

    /// Ends of processes since the last call but for kills: which broker, and by which signal.
    pub(crate) fn ends(&mut self) -> Vec<(String, Option<i32>)> {
        let mut ends = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            match event {
                SupervisorEvent::Ended { broker, status, .. } if !is_kill(status) => {
                    ends.push((broker, status.signal()));
                }
                _ => {}
            }
        }
        ends
    }

    /// The last lines of each broker's log.
    pub(crate) fn log_tails(&self) -> String {
        let mut tails = String::new();
        for broker in self.entry().brokers {
            for line in super::log_tail(&broker, LOG_LINES_SHOWN) {
                tails.push_str(&format!("  {}: {line}\n", broker.name));
            }
        }
        tails
    }

    /// Stops the brokers and removes the temporary folder.
    pub(crate) async fn stop(self) {
        self.supervisor.stop().await;
        drop(self.temp);
    }

    /// Stops the brokers and leaves the folder for a look at what went wrong; says where it is.
    pub(crate) async fn stop_and_keep(self) -> std::path::PathBuf {
        let folder = self.supervisor.folder().to_owned();
        self.supervisor.stop().await;
        if let Some(temp) = self.temp {
            temp.keep();
        }
        folder
    }
}

fn is_kill(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// Takes the folder on the first hundred ports that are free.
fn open_anywhere(folder: &Path, settings: &Settings) -> anyhow::Result<Opened> {
    if folder
        .join(crate::supervisor::cluster_file::FILE_NAME)
        .exists()
    {
        return Ok(open(folder, &Wanted::default())?);
    }
    // Two runs at once start looking at different places.
    let first = u16::try_from(std::process::id() % u32::from(PORT_STEPS)).expect("below 100");
    for step in 0..PORT_STEPS {
        let base_port = PORTS_FROM + 100 * ((first + step) % PORT_STEPS);
        let shape = Shape {
            groups: 1,
            replicas: REPLICAS,
            base_port,
        };
        if !super::plan::busy_addresses(&shape.plan(folder)).is_empty() {
            continue;
        }
        let wanted = Wanted {
            groups: Some(1),
            replicas: Some(REPLICAS),
            base_port: Some(base_port),
            settings: settings.clone(),
        };
        match open(folder, &wanted) {
            Err(OpenError::PortsBusy(_)) => {}
            result => return Ok(result?),
        }
    }
    bail!("no {REPLICAS} brokers' ports are free from {PORTS_FROM} to 32000")
}

/// A group in one line.
pub(crate) fn describe(view: &GroupView) -> String {
    let brokers = view.brokers.iter().map(|broker| {
        let reason = match broker.reason.is_empty() {
            true => String::new(),
            false => format!(" ({})", broker.reason),
        };
        format!("{} {}{reason}", broker.entry.name, broker.role)
    });
    brokers.collect::<Vec<_>>().join(", ")
}
