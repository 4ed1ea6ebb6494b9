//! One container below the API: its process on this machine, killed, stopped, continued; its logs.
//!
//! Containers are found by the labels that the kubelet gives them, on the node itself: so faults can be
//! done while the API server is away.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::process::Process;
use crate::run;

/// A running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its node's number.
    pub node: u32,
    /// containerd's id.
    pub id: String,
    /// Its first process.
    pub process: Process,
}

impl Container {
    /// SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// SIGSTOP: it hangs.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if !self.process.signal(signal)? {
            bail!("{signal:?}: container {} ended before", self.id);
        }
        Ok(())
    }
}

impl Cluster {
    /// The container of a pod that runs now, wherever it is.
    pub fn container(&self, namespace: &str, pod: &str, name: &str) -> Result<Container> {
        for node in self.nodes()? {
            if let Some(found) = self.container_on(node, namespace, pod, name)? {
                return Ok(found);
            }
        }
        bail!("no container {name} of pod {namespace}/{pod} runs on any node")
    }

    /// The same on one node; nothing when none runs there.
    pub fn container_on(
        &self,
        node: u32,
        namespace: &str,
        pod: &str,
        name: &str,
    ) -> Result<Option<Container>> {
        let label = |key: &str, value: &str| format!("labels.\"io.kubernetes.{key}\"=={value}");
        let filter = [
            label("pod.namespace", namespace),
            label("pod.name", pod),
            label("container.name", name),
        ];
        let ids = self.ctr(node, &["containers", "list", "--quiet", &filter.join(",")])?;
        let tasks = self.ctr(node, &["tasks", "list"])?;
        for id in ids.split_whitespace() {
            if let Some(process) = running(&tasks, id)?.and_then(Process::of) {
                return Ok(Some(Container {
                    node,
                    id: id.to_owned(),
                    process,
                }));
            }
        }
        Ok(None)
    }

    /// Waits for a container that is not the one of `before`.
    pub fn next_container(
        &self,
        namespace: &str,
        pod: &str,
        before: &Container,
        limit: Duration,
    ) -> Result<Container> {
        let name = self
            .ctr(before.node, &["containers", "info", &before.id])
            .ok();
        let name = name.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        let name = name.and_then(|info| {
            Some(
                info["Labels"]["io.kubernetes.container.name"]
                    .as_str()?
                    .to_owned(),
            )
        });
        let name = name.context("the name of a container whose record is gone")?;
        let mut found = None;
        run::wait_for(&format!("pod {pod} runs again"), limit, || {
            found = self
                .container(namespace, pod, &name)
                .ok()
                .filter(|c| c.id != before.id);
            Ok(found.is_some())
        })?;
        found.context("the loop ended because it was found")
    }

    /// What a pod wrote, its earlier container's words first when it has been restarted.
    pub fn log(&self, namespace: &str, pod: &str) -> Result<String> {
        let base = ["logs", pod, "--namespace", namespace, "--all-containers"];
        let before = self
            .kubectl(&[&base[..], &["--previous"]].concat())
            .unwrap_or_default();
        Ok(before + &self.kubectl(&base)?)
    }
}

/// Process id of a task in containerd's table: `TASK PID STATUS`.
fn running(table: &str, id: &str) -> Result<Option<i32>> {
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [task, pid, status] = words[..] else {
            bail!("containerd's table of tasks: {line:?}")
        };
        if task == id && status == "RUNNING" {
            return Ok(Some(pid.parse()?));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_task_counts() {
        let table = "TASK    PID    STATUS    \nabc     12     RUNNING\ndef     13     STOPPED\n";
        assert_eq!(running(table, "abc").unwrap(), Some(12));
        assert_eq!(running(table, "def").unwrap(), None);
        assert_eq!(running(table, "ghi").unwrap(), None);
    }
}
