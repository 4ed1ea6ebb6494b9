//! What scenarios about the product do again and again: groups, loads of clients, faults, looks.
//!
//! A [`Stage`] is a scenario's `Run` with the product's words. Looks go through the API server, faults
//! and clients do not, so that both work while it is away.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::load::Load;
use crate::program::Program;
use crate::scenario::{Counts, Run};
use crate::truth::GroupRef;
use crate::{image, product, run, say};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The operator comes back within this.
const OPERATOR_MAX: Duration = Duration::from_secs(60);

/// A scenario's means.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// Cluster, namespace, counts.
    pub run: &'a Run<'a>,
}

/// A node that takes no new pods until this is dropped.
pub struct Cordon<'a> {
    stage: Stage<'a>,
    node: String,
}

/// A node without a network until this is dropped.
pub struct CutOff<'a> {
    stage: Stage<'a>,
    node: u32,
}

impl<'a> Stage<'a> {
    /// Of a scenario.
    pub const fn new(run: &'a Run<'a>) -> Self {
        Self { run }
    }

    /// A group of three of a cluster in the scenario's namespace.
    pub fn group(&self, cluster: &str) -> GroupRef {
        GroupRef::new(&self.run.namespace, cluster, "a")
    }

    /// Prints what was seen.
    pub fn note(&self, text: impl AsRef<str>) {
        say::line(format!("  {}", text.as_ref()));
    }

    /// A random number below `end`.
    pub fn random(&self, end: u64) -> u64 {
        getrandom::u64().unwrap_or_default() % end
    }

    /// Waits until `look` finds something.
    pub fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if begun.elapsed() > within {
                bail!("waited {within:?} in vain for {what}");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    // === objects ===

    /// kubectl in a namespace.
    pub fn kubectl(&self, namespace: &str, words: &[&str]) -> Result<String> {
        self.run
            .cluster
            .kubectl(&[&["--namespace", namespace], words].concat())
    }

    /// What kubectl says when it is refused; an error when it is not.
    pub fn refused(&self, words: &[&str], input: &str) -> Result<String> {
        let output = self.run.cluster.kubectl_raw(words, Some(input))?;
        ensure!(!output.status.success(), "{words:?} was not refused");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// An object, if it is there.
    pub fn object(&self, namespace: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let words = ["get", kind, name, "--ignore-not-found", "--output=json"];
        let text = self.kubectl(namespace, &words)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&text)?))
    }

    /// A BrokerCluster that is there.
    pub fn broker_cluster(&self, group: &GroupRef) -> Result<Value> {
        self.object(&group.namespace, "brokercluster", &group.cluster)?
            .with_context(|| format!("BrokerCluster {} is gone", group.cluster))
    }

    /// A merge patch of a BrokerCluster.
    pub fn patch(&self, group: &GroupRef, patch: &str) -> Result<()> {
        let words = [
            "patch",
            "brokercluster",
            &group.cluster,
            "--type=merge",
            "--patch",
            patch,
        ];
        self.kubectl(&group.namespace, &words).map(drop)
    }

    /// Does what a condition's message says: the annotation in it that begins so.
    pub fn follow(&self, group: &GroupRef, message: &str, annotation: &str) -> Result<()> {
        let wish = message
            .split_whitespace()
            .map(|word| word.trim_matches(|c| "`'\".,;:()".contains(c)))
            .find(|word| word.starts_with(annotation))
            .with_context(|| format!("the condition does not say what to do: {message}"))?;
        let words = ["annotate", "brokercluster", &group.cluster, wish];
        self.kubectl(&group.namespace, &words).map(drop)
    }

    /// A broker's own `/status`.
    pub fn broker_status(&self, namespace: &str, pod: &str) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:9404/proxy/status");
        // The API server keeps its connection to a pod whose node was cut off for a quarter of an hour.
        let words = ["get", "--raw", &path, "--request-timeout=5s"];
        let text = self.run.cluster.kubectl(&words)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Makes a namespace if it is not there.
    pub fn ensure_namespace(&self, name: &str) -> Result<()> {
        let there = self
            .run
            .cluster
            .kubectl(&["get", "namespace", name, "--ignore-not-found"])?;
        if there.trim().is_empty() {
            self.run.cluster.kubectl(&["create", "namespace", name])?;
        }
        Ok(())
    }

    /// Where a pod is reached.
    pub fn pod_ip(&self, namespace: &str, pod: &str) -> Result<String> {
        let object = self.object(namespace, "pod", pod)?;
        let ip = object.and_then(|pod| pod["status"]["podIP"].as_str().map(str::to_owned));
        ip.with_context(|| format!("pod {pod} has no address"))
    }

    // === clients ===

    /// A file with the cluster's login, for programs that take one.
    fn login(&self, group: &GroupRef, key: &str) -> Result<PathBuf> {
        let words = [
            "get",
            "secret",
            &format!("{}-auth", group.cluster),
            &format!("--output=go-template={{{{index .data \"{key}\" | base64decode}}}}"),
        ];
        let text = self.kubectl(&group.namespace, &words)?;
        let file = format!("{}-{}-{key}", group.namespace, group.cluster);
        self.secret_file(&file, &text)
    }

    /// A file with something secret for a client program.
    pub fn secret_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let folder = self.run.cluster.layout()?.folder.join("secrets");
        fs::create_dir_all(&folder)?;
        let file = folder.join(name);
        // Nobody else may read it, not even for a moment.
        let _ = fs::remove_file(&file);
        let mut options = fs::OpenOptions::new();
        let mut open = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)?;
        std::io::Write::write_all(&mut open, text.as_bytes())?;
        Ok(file)
    }

    /// Clients that know these addresses, in the client's namespace.
    pub fn load(&self, group: &GroupRef, addresses: &[String]) -> Result<Load> {
        let command = self.run.cluster.client_command(crate::client::python()?)?;
        self.start_load(command, group, addresses, "load")
    }

    /// Clients on a node itself, beside those of [`Stage::load`].
    pub fn load_on_node(&self, group: &GroupRef, node: u32, addresses: &[String]) -> Result<Load> {
        let python = crate::client::python()?;
        let command = self.run.cluster.node_command(node, python)?;
        self.start_load(command, group, addresses, "inside")
    }

    /// `queues`: what the names of its queues begin with.
    fn start_load(
        &self,
        mut python: Command,
        group: &GroupRef,
        addresses: &[String],
        queues: &str,
    ) -> Result<Load> {
        python
            .arg(image::tree().join("e2e/clients/load.py"))
            .args(addresses)
            .args(["--queues", queues, "--login"])
            .arg(self.login(group, "users")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Load::new(python.spawn()?)
    }

    /// One of the broker's own tools, as a client of the group.
    pub fn tool(&self, group: &GroupRef, words: &[&str]) -> Result<String> {
        let this = std::env::current_exe()?.with_file_name("tandemmq");
        let url: Vec<String> = group
            .headless()
            .iter()
            .map(|a| format!("tcp://{a}"))
            .collect();
        let mut command = self.run.cluster.client_command(this)?;
        command
            .args(words)
            .arg("--brokerUrl")
            .arg(format!("failover:({})", url.join(",")))
            .args(["--user", "tandemmq", "--password-file"])
            .arg(self.login(group, "password")?);
        run::output(&mut command)
    }

    /// Does anybody take connections there?
    pub fn connects(&self, namespace: &str, pod: &str, port: u16) -> Result<bool> {
        let answer = self.say(namespace, pod, port, &["--only-connect"])?;
        Ok(answer.trim() == "connected")
    }

    /// What `say.py` prints of a conversation with a pod's port.
    pub fn say(&self, namespace: &str, pod: &str, port: u16, words: &[&str]) -> Result<String> {
        let script = image::tree().join("e2e/clients/say.py");
        let mut command = self.run.cluster.python(&script)?;
        command
            .arg(self.pod_ip(namespace, pod)?)
            .arg(port.to_string())
            .args(words);
        run::output(&mut command)
    }

    // === faults ===

    /// SIGKILL to a broker's process.
    pub fn kill_broker(&self, namespace: &str, pod: &str) -> Result<()> {
        self.run.cluster.container(namespace, pod, "broker")?.kill()
    }

    /// The operator's pod.
    pub fn operator_pod(&self) -> Result<String> {
        let selector = "--selector=app.kubernetes.io/name=tandemmq-operator";
        let pods = self
            .run
            .cluster
            .get(&["pods", "--namespace", product::NAMESPACE, selector])?;
        let pod = pods["items"][0]["metadata"]["name"].as_str();
        pod.map(str::to_owned).context("no operator runs")
    }

    /// SIGKILL to the operator's process.
    pub fn kill_operator(&self) -> Result<()> {
        let pod = self.operator_pod()?;
        self.wait("the operator's container", OPERATOR_MAX, || {
            let found = self
                .run
                .cluster
                .container(product::NAMESPACE, &pod, "operator");
            Ok(found.ok())
        })?
        .kill()
    }

    /// So many operators.
    pub fn scale_operator(&self, replicas: u32) -> Result<()> {
        let count = format!("--replicas={replicas}");
        self.kubectl(
            product::NAMESPACE,
            &["scale", "deployment", "tandemmq-operator", &count],
        )?;
        self.wait("the operators", OPERATOR_MAX, || {
            let words = ["--namespace", product::NAMESPACE];
            let pods = self.run.cluster.get(&[
                "pods",
                words[0],
                words[1],
                "--selector=app.kubernetes.io/name=tandemmq-operator",
            ])?;
            let running = pods["items"].as_array().map_or(0, Vec::len);
            Ok((running == replicas as usize).then_some(()))
        })?;
        let words = ["rollout", "status", "deployment/tandemmq-operator"];
        let limit = format!("--timeout={}s", OPERATOR_MAX.as_secs());
        let words = [&words[..], &[limit.as_str()]].concat();
        self.kubectl(product::NAMESPACE, &words).map(drop)
    }

    /// When the operator that leads last said so.
    pub fn operator_renewed(&self) -> Result<Value> {
        let lease = self.object(product::NAMESPACE, "lease", "tandemmq-operator")?;
        let lease = lease.context("the operator has no Lease")?;
        Ok(lease["spec"]["renewTime"].clone())
    }

    /// Ends the API server.
    pub fn stop_api_server(&self) -> Result<()> {
        self.run.cluster.kill(Program::ApiServer)
    }

    /// Starts it again and waits until it answers.
    pub fn start_api_server(&self) -> Result<()> {
        self.run.cluster.start(Program::ApiServer)?;
        self.wait("the API server", OPERATOR_MAX, || {
            let ready = self
                .run
                .cluster
                .kubectl_raw(&["get", "--raw", "/readyz"], None)?;
            Ok(ready.status.success().then_some(()))
        })?;
        // Their informers would wait for up to a minute: the next scenario is not about them.
        for program in [Program::ControllerManager, Program::Scheduler] {
            self.run.cluster.kill(program)?;
            self.run.cluster.start(program)?;
        }
        Ok(())
    }

    /// A node loses its network.
    pub fn cut_off(&self, node: u32) -> Result<CutOff<'a>> {
        self.run.cluster.cut_off(node)?;
        Ok(CutOff { stage: *self, node })
    }

    /// A node takes no new pods.
    pub fn cordon(&self, node: u32) -> Result<Cordon<'a>> {
        let node = format!("node-{node}");
        self.run.cluster.kubectl(&["cordon", &node])?;
        Ok(Cordon { stage: *self, node })
    }

    /// No node takes new pods.
    pub fn cordon_all(&self) -> Result<Vec<Cordon<'a>>> {
        let nodes = self.run.cluster.nodes()?;
        nodes.map(|node| self.cordon(node)).collect()
    }

    /// Deletes a pod and keeps its node from taking it back: its volume lies there.
    pub fn hold_down(&self, namespace: &str, pod: &str) -> Result<Cordon<'a>> {
        let held = self.cordon(self.run.cluster.node_of(namespace, pod)?)?;
        self.kubectl(namespace, &["delete", "pod", pod, "--wait=false"])?;
        Ok(held)
    }

    // === counts and images ===

    /// `short` or `full`.
    pub fn count(&self, short: u32, full: u32) -> u32 {
        self.run.count(short, full)
    }

    /// How long the API server is away.
    pub const fn api_away(&self) -> Duration {
        match self.run.counts {
            Counts::Short => Duration::from_secs(60),
            Counts::Full => Duration::from_secs(180),
        }
    }
}

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.stage.run.cluster.rejoin(self.node) {
            say::line(format!("  node {} stays cut off: {error:#}", self.node));
        }
    }
}

impl Drop for Cordon<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.stage.run.cluster.kubectl(&["uncordon", &self.node]) {
            say::line(format!("  {} takes no pods any more: {error:#}", self.node));
        }
    }
}
