//! The handle of a cluster: what scenarios ask of it through the API, and its programs started and ended.
//!
//! Either our own, brought up by [`crate::up`], or one given by `E2E_KUBECONFIG`, on which nothing below the API can
//! be done. Bringing up is `up.rs`, faults of nodes and pods are `node.rs` and `pod.rs`, client programs `client.rs`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::layout::{self, Layout};
use crate::made::{MARK, Made};
use crate::process::{self, Process};
use crate::program::{self, Binaries, Program};
use crate::{go, run};

/// Environment variable with the kubeconfig of a cluster that is there already.
pub const GIVEN: &str = "E2E_KUBECONFIG";

const SETTINGS: &str = "settings.json";
/// How long the mounts of a namespace may take.
const MOUNTS_LIMIT: Duration = Duration::from_secs(10);

/// What was asked for when the cluster was brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Number of nodes.
    pub nodes: u32,
    /// Version of Kubernetes.
    pub kubernetes: String,
    /// Nothing is quicker than in users' clusters: restart back-off, node leases, DNS caches.
    pub kubelet_defaults: bool,
}

/// A cluster of our own.
#[derive(Debug)]
pub struct Own {
    /// Names and places.
    pub layout: Layout,
    /// What was asked for.
    pub settings: Settings,
    pub(crate) binaries: Binaries,
    made: Mutex<Made>,
}

/// A cluster.
#[derive(Debug)]
pub enum Cluster {
    /// Made by us.
    Own(Box<Own>),
    /// Reached by this kubeconfig and this kubectl, and by nothing else.
    Given(PathBuf, PathBuf),
}

impl Cluster {
    /// The one that `E2E_KUBECONFIG` names, if it is set.
    pub fn given() -> Result<Option<Self>> {
        let Some(config) = std::env::var_os(GIVEN).map(PathBuf::from) else {
            return Ok(None);
        };
        File::open(&config).with_context(|| format!("{GIVEN}={}", config.display()))?;
        let kubectl = go::on_path("kubectl")
            .with_context(|| format!("{GIVEN} is set, but no kubectl is on PATH"))?;
        Ok(Some(Self::Given(config, kubectl)))
    }

    /// One that an earlier run brought up.
    pub fn open(name: &str) -> Result<Self> {
        let layout = Layout::of(name)?;
        let made =
            Made::read(&layout.folder)?.with_context(|| format!("no cluster {name} is up"))?;
        let text = fs::read(layout.folder.join(SETTINGS))
            .with_context(|| format!("cluster {name} is not whole"))?;
        let settings: Settings = serde_json::from_slice(&text)?;
        let binaries = Binaries::built(&settings.kubernetes)?;
        Ok(Self::new(layout, settings, binaries, made))
    }

    pub(crate) fn new(layout: Layout, settings: Settings, binaries: Binaries, made: Made) -> Self {
        Self::Own(Box::new(Own {
            layout,
            settings,
            binaries,
            made: Mutex::new(made),
        }))
    }

    /// Our own cluster, or a sentence why this cannot be done with the given one.
    pub fn own(&self) -> Result<&Own> {
        match self {
            Self::Own(own) => Ok(own),
            Self::Given(..) => bail!(
                "this needs the machine below the cluster, and the cluster of {GIVEN} is reached by its API only: \
                 leave such scenarios out by --only, or let the tests make a cluster"
            ),
        }
    }

    /// Names and places of our own cluster.
    pub fn layout(&self) -> Result<&Layout> {
        Ok(&self.own()?.layout)
    }

    // ------------------------------------------------------------------------------ the API

    /// kubectl with these words, ready to be run or spawned.
    pub fn kubectl_command(&self, words: &[&str]) -> Result<Command> {
        let mut command = match self {
            Self::Own(own) => {
                let mut command = layout::inside(
                    &own.layout.control_plane_namespace(),
                    own.binaries.kubectl(),
                );
                command.arg("--kubeconfig").arg(own.layout.admin());
                // kubectl keeps what it discovered here, and there may be no HOME that it may write to.
                command.env("KUBECACHEDIR", own.layout.folder.join("kubectl"));
                own.mark(&mut command)?;
                command
            }
            Self::Given(config, kubectl) => {
                let mut command = Command::new(kubectl);
                command.arg("--kubeconfig").arg(config);
                command
            }
        };
        command.args(words);
        Ok(command)
    }

    /// Output of kubectl.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        run::output(&mut self.kubectl_command(words)?)
    }

    /// Output of kubectl that reads `input`.
    pub fn kubectl_with_input(&self, words: &[&str], input: &str) -> Result<String> {
        run::output_with_input(&mut self.kubectl_command(words)?, input)
    }

    /// Whatever kubectl ends with: for tests of what is refused.
    pub fn kubectl_raw(&self, words: &[&str], input: Option<&str>) -> Result<Output> {
        run::raw(&mut self.kubectl_command(words)?, input)
    }

    /// Applies a manifest.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.kubectl_with_input(&["apply", "--filename=-"], yaml)
    }

    /// An object or a list as JSON: `get(&["pods", "--selector=a=b"])`.
    pub fn get(&self, words: &[&str]) -> Result<Value> {
        let mut all = vec!["get", "--output=json"];
        all.extend(words);
        Ok(serde_json::from_str(&self.kubectl(&all)?)?)
    }

    /// Waits for `kubectl wait` to say yes.
    pub fn wait(&self, words: &[&str], limit: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", limit.as_secs());
        let mut all = vec!["wait", timeout.as_str()];
        all.extend(words);
        self.kubectl(&all).map(|_| ())
    }

    /// Helm with these words.
    pub fn helm(&self, words: &[&str]) -> Result<String> {
        let helm = go::helm()?.join("bin/helm");
        let mut command = match self {
            Self::Own(own) => {
                let mut command = layout::inside(&own.layout.control_plane_namespace(), helm);
                command
                    .env("KUBECONFIG", own.layout.admin())
                    .env("HELM_CACHE_HOME", own.layout.folder.join("helm"));
                own.mark(&mut command)?;
                command
            }
            Self::Given(config, _) => {
                let mut command = Command::new(helm);
                command.env("KUBECONFIG", config);
                command
            }
        };
        run::output(command.args(words))
    }

    // ------------------------------------------------------------------------- its programs

    /// Starts a program of the cluster.
    pub fn start(&self, program: Program) -> Result<Process> {
        let own = self.own()?;
        let plain = program::command(program, &own.layout, &own.settings, &own.binaries)?;
        let mounts = program
            .mounts()
            .map(|holder| self.running(holder))
            .transpose()?;
        let mut placed = program::placed(
            &plain,
            &program.namespace(&own.layout),
            mounts.map(|p| p.pid),
        );
        let ready = program::mounts_ready(program, &own.layout);
        if let Some(file) = ready.as_ref().filter(|f| f.exists()) {
            fs::remove_file(file)?;
        }
        let log = own.layout.log(&program.name());
        let process = process::start(&mut own.made(), &program.name(), &mut placed, &log)?;
        if let Some(file) = ready {
            run::wait_for(
                &format!("mounts of {}", program.name()),
                MOUNTS_LIMIT,
                || {
                    if !process.runs() {
                        bail!("{} ended:\n{}", program.name(), run::tail_of_file(&log));
                    }
                    Ok(file.exists())
                },
            )?;
        }
        Ok(process)
    }

    /// The process of a program that must be running.
    pub fn running(&self, program: Program) -> Result<Process> {
        let own = self.own()?;
        let process = process::named(&own.made(), &program.name()).filter(|p| p.runs());
        process.with_context(|| {
            let name = program.name();
            format!(
                "{name} does not run:\n{}",
                run::tail_of_file(&own.layout.log(&name))
            )
        })
    }

    /// Ends a program of the cluster at once, as a crash would.
    pub fn kill(&self, program: Program) -> Result<()> {
        self.running(program)?.kill()
    }
}

impl Own {
    /// Makes a command the cluster's: it is ended with it at the latest.
    pub(crate) fn mark(&self, command: &mut Command) -> Result<()> {
        command.env(
            MARK,
            self.made()
                .mark()
                .context("a cluster that is up has a mark")?,
        );
        Ok(())
    }

    /// The journal.
    pub(crate) fn made(&self) -> MutexGuard<'_, Made> {
        self.made
            .lock()
            .expect("nobody panics while holding the journal")
    }
}

/// Keeps two runs on one cluster apart for as long as it lives.
pub fn lock(layout: &Layout) -> Result<File> {
    fs::create_dir_all(&layout.folder).with_context(|| layout.folder.display().to_string())?;
    let file = File::create(layout.folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another run is busy with cluster {}", layout.name)
        }
        Err(fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

pub(crate) fn save(settings: &Settings, folder: &Path) -> Result<()> {
    Ok(fs::write(
        folder.join(SETTINGS),
        serde_json::to_string(settings)?,
    )?)
}
