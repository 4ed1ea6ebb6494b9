//! One node below the API: cut off, crashed, started again; images and commands on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::cgroup::Hierarchies;
use crate::cluster::{Cluster, Own};
use crate::layout::{node_address, node_name, pod_network};
use crate::process::{self, Process};
use crate::program::{self, Program};
use crate::{network, run};

/// How long containerd may take to answer after its start.
const CONTAINERD_LIMIT: Duration = Duration::from_secs(30);

/// Does the API say that this node is Ready?
pub fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}

impl Cluster {
    /// Numbers of all nodes.
    pub fn nodes(&self) -> Result<std::ops::RangeInclusive<u32>> {
        Ok(1..=self.own()?.settings.nodes)
    }

    /// A command inside a node's network and mounts.
    pub fn node_command(&self, node: u32, program: impl AsRef<Path>) -> Result<Command> {
        let own = self.own()?;
        let mounts = self.running(Program::Mounts(node))?;
        let mut plain = Command::new(program.as_ref());
        own.mark(&mut plain)?;
        let network = own.layout.node_namespace(node);
        Ok(program::placed(&plain, &network, Some(mounts.pid)))
    }

    /// Output of containerd's client on a node.
    pub fn ctr(&self, node: u32, words: &[&str]) -> Result<String> {
        let mut command = self.node_command(node, self.own()?.binaries.ctr())?;
        run::output(command.args(["--namespace", "k8s.io"]).args(words))
    }

    /// Brings OCI archives onto every node.
    pub fn load_images(&self, archives: &[PathBuf]) -> Result<()> {
        for node in self.nodes()? {
            self.wait_containerd(node)?;
        }
        thread::scope(|scope| {
            let loads: Vec<_> = self
                .nodes()?
                .map(|node| scope.spawn(move || self.load_on(node, archives)))
                .collect();
            loads
                .into_iter()
                .try_for_each(|load| load.join().expect("an import does not panic"))
        })
    }

    fn wait_containerd(&self, node: u32) -> Result<()> {
        let what = format!("containerd of node {node}");
        run::wait_for(&what, CONTAINERD_LIMIT, || {
            self.running(Program::Containerd(node))?;
            Ok(self.ctr(node, &["version"]).is_ok())
        })?;
        Ok(())
    }

    fn load_on(&self, node: u32, archives: &[PathBuf]) -> Result<()> {
        for archive in archives {
            let path = archive.to_str().context("an archive's path is text")?;
            self.ctr(node, &["images", "import", path])?;
        }
        Ok(())
    }

    /// Number of the node that a pod was scheduled to.
    pub fn node_of(&self, namespace: &str, pod: &str) -> Result<u32> {
        let pod = self.get(&["pod", pod, "--namespace", namespace])?;
        let name = pod["spec"]["nodeName"]
            .as_str()
            .context("the pod has a node")?;
        name.strip_prefix("node-")
            .and_then(|n| n.parse().ok())
            .with_context(|| format!("{name} is no node of ours"))
    }

    /// Waits until the API says Ready, or that it is not.
    pub fn wait_node(&self, node: u32, ready: bool, limit: Duration) -> Result<Duration> {
        let what = format!(
            "{} is {}Ready",
            node_name(node),
            if ready { "" } else { "not " }
        );
        run::wait_for(&what, limit, || {
            if ready {
                self.running(Program::Kubelet(node))?;
            }
            Ok(is_ready(&self.get(&["node", &node_name(node)])?) == ready)
        })
    }

    /// Cuts a node off from all others and from the control plane.
    pub fn cut_off(&self, node: u32) -> Result<()> {
        network::set_node(self.layout()?, node, false)
    }

    /// Ends what [`Self::cut_off`] began.
    pub fn rejoin(&self, node: u32) -> Result<()> {
        network::set_node(self.layout()?, node, true)
    }

    /// Drops all packets that come to node `to` from node `from` and its pods, or lets them pass again.
    /// The other way stays as it is.
    pub fn set_path(&self, from: u32, to: u32, open: bool) -> Result<()> {
        let what = if open { "-D" } else { "-I" };
        let sources = [
            ("INPUT", node_address(from)),
            ("INPUT", pod_network(from)),
            ("FORWARD", pod_network(from)),
        ];
        for (chain, source) in sources {
            let mut command = self.node_command(to, "iptables")?;
            run::output(command.args(["-w", what, chain, "-s", &source, "-j", "DROP"]))?;
        }
        Ok(())
    }

    /// Ends everything that runs on a node at once: pods, containerd, kubelet. Its disks stay.
    pub fn crash_node(&self, node: u32) -> Result<()> {
        let own = self.own()?;
        let holder = self.running(Program::Mounts(node))?;
        network::set_node(&own.layout, node, false)?;
        let processes = beside(own, holder)?;
        for process in &processes {
            process.signal(Signal::KILL)?;
        }
        Hierarchies::find()?.kill(&own.layout.node_namespace(node))?;
        processes.into_iter().try_for_each(Process::wait_gone)
    }

    /// Starts a node that crashed.
    pub fn boot_node(&self, node: u32) -> Result<()> {
        network::set_node(self.layout()?, node, true)?;
        self.start(Program::Containerd(node))?;
        // A kubelet that finds no containerd ends at once, and nothing here starts it again.
        self.wait_containerd(node)?;
        self.start(Program::Kubelet(node))?;
        self.start(Program::Proxy(node))?;
        Ok(())
    }

    /// Folder of the data of a claim's volume, as this machine sees it, whatever the API server does.
    pub fn volume_folder(&self, node: u32, volume: &str) -> Result<PathBuf> {
        let folder = crate::provisioner::folder(self, &node_name(node), volume)?;
        if !folder.is_dir() {
            bail!("{}: no such volume", folder.display());
        }
        Ok(folder)
    }
}

/// The cluster's processes in the same mount namespace as `holder`, without it: those of one node.
fn beside(own: &Own, holder: Process) -> Result<Vec<Process>> {
    let mounts = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let wanted = mounts(holder.pid).context("the mounts of a node")?;
    let mut all = process::all(&own.made());
    all.retain(|p| *p != holder && mounts(p.pid).as_ref() == Some(&wanted));
    Ok(all)
}
