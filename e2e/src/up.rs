//! Brings a cluster up: parts, network, control plane, nodes, DNS, volumes; what a crashed run of the
//! same name left is removed first.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cgroup::Hierarchies;
use crate::cluster::{Cluster, Settings, save};
use crate::layout::{CONTROL_PLANE, Layout, NODES_MAX};
use crate::made::{Made, Thing};
use crate::program::{Binaries, Program};
use crate::{cluster, go, image, network, pki, provisioner, requirements, run, say, teardown};

/// How long the API server may take to answer; a machine may be busy with other work.
const API_LIMIT: Duration = Duration::from_secs(120);
/// How long the nodes may take to be Ready.
const NODES_LIMIT: Duration = Duration::from_secs(180);
/// How long other parts may take.
const PART_LIMIT: Duration = Duration::from_secs(60);

/// Brings the cluster up. The caller holds its lock.
pub fn up(layout: &Layout, settings: &Settings) -> Result<Cluster> {
    if !(1..=NODES_MAX).contains(&settings.nodes) {
        bail!("--nodes {}: 1 to {NODES_MAX} are allowed", settings.nodes);
    }
    go::check_version(&settings.kubernetes)?;
    if teardown::down(layout)? {
        say::line(format!(
            "removed what an earlier run left of cluster {}",
            layout.name
        ));
    }
    requirements::check(&layout.folder, settings.nodes)?;
    let binaries = Binaries::built(&settings.kubernetes)?;
    let images = image::own()?;
    let start = Instant::now();
    let cluster = prepare(layout, settings, binaries)?;
    control_plane(&cluster)?;
    let api = start.elapsed();
    nodes(&cluster, settings.nodes, &images)?;
    let ready = start.elapsed();
    services(&cluster)?;
    say::line(format!(
        "cluster {} is up: Kubernetes {}, API server after {}, {} nodes Ready after {}, DNS after {}",
        layout.name,
        settings.kubernetes,
        say::seconds(api),
        settings.nodes,
        say::seconds(ready),
        say::seconds(start.elapsed())
    ));
    Ok(cluster)
}

fn prepare(layout: &Layout, settings: &Settings, binaries: Binaries) -> Result<Cluster> {
    let logs = layout.folder.join("log");
    // Logs of an earlier cluster of this name: they were kept for people until now.
    if logs.exists() {
        fs::remove_dir_all(&logs)?;
    }
    fs::create_dir_all(&logs)?;
    let mut made = Made::create(&layout.folder)?;
    save(settings, &layout.folder)?;
    pki::make(layout, settings.nodes)?;
    network::make(layout, settings.nodes, &mut made)?;
    let cgroups = Hierarchies::find()?;
    for node in 1..=settings.nodes {
        fs::create_dir_all(layout.node_folder(node))?;
        let name = layout.node_namespace(node);
        if cgroups.exists(&name) {
            bail!("a cgroup {name} exists already, and no journal says that it is ours");
        }
        made.add(Thing::Cgroup(name.clone()))?;
        cgroups.make(&name)?;
    }
    Ok(Cluster::new(
        layout.clone(),
        settings.clone(),
        binaries,
        made,
    ))
}

fn control_plane(cluster: &Cluster) -> Result<()> {
    cluster.start(Program::Etcd)?;
    cluster.start(Program::ApiServer)?;
    // Meanwhile containerd starts on every node.
    for node in 1..=cluster.own()?.settings.nodes {
        cluster.start(Program::Mounts(node))?;
        cluster.start(Program::Containerd(node))?;
    }
    run::wait_for("the API server answers", API_LIMIT, || {
        cluster.running(Program::Etcd)?;
        cluster.running(Program::ApiServer)?;
        Ok(cluster.kubectl(&["get", "--raw=/readyz"]).is_ok())
    })?;
    cluster.start(Program::ControllerManager)?;
    cluster.start(Program::Scheduler)?;
    cluster.start(Program::Dns)?;
    cluster.start(Program::Provisioner)?;
    Ok(())
}

fn nodes(cluster: &Cluster, count: u32, images: &[PathBuf]) -> Result<()> {
    cluster.load_images(images)?;
    for node in 1..=count {
        cluster.start(Program::Kubelet(node))?;
        cluster.start(Program::Proxy(node))?;
    }
    cluster.start(Program::ClientMounts)?;
    cluster.start(Program::ClientProxy)?;
    run::wait_for("all nodes are there and Ready", NODES_LIMIT, || {
        for node in 1..=count {
            cluster.running(Program::Kubelet(node))?;
        }
        let nodes = cluster.get(&["nodes"])?;
        let nodes = nodes["items"].as_array().context("a list of nodes")?;
        let ready = nodes
            .iter()
            .filter(|node| crate::node::is_ready(node))
            .count();
        Ok(ready == count as usize)
    })?;
    Ok(())
}

fn services(cluster: &Cluster) -> Result<()> {
    cluster.apply(&provisioner::class().to_string())?;
    // Pods of the namespace `default` are refused until it is there.
    run::wait_for("the service account of pods", PART_LIMIT, || {
        Ok(cluster
            .kubectl(&["get", "serviceaccount", "default"])
            .is_ok())
    })?;
    run::wait_for("DNS answers", PART_LIMIT, || {
        cluster.running(Program::Dns)?;
        let mut lookup = cluster.client_command("getent")?;
        Ok(run::output(lookup.args(["hosts", "kubernetes.default.svc.cluster.local"])).is_ok())
    })
    .with_context(|| format!("DNS at {CONTROL_PLANE}"))?;
    for program in [
        Program::ControllerManager,
        Program::Scheduler,
        Program::Provisioner,
        Program::ClientProxy,
    ] {
        cluster.running(program)?;
    }
    Ok(())
}

/// Brings down what `up` made, with the time of it.
pub fn down(layout: &Layout) -> Result<()> {
    let start = Instant::now();
    if teardown::down(layout)? {
        say::line(format!(
            "cluster {} is down after {}",
            layout.name,
            say::seconds(start.elapsed())
        ));
    } else {
        say::line(format!("no cluster {} is up", layout.name));
    }
    Ok(())
}

/// Like [`down`], for a caller that does not hold the lock yet.
pub fn down_locked(layout: &Layout) -> Result<()> {
    let _lock = cluster::lock(layout)?;
    down(layout)
}
