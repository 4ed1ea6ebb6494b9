//! The network of a cluster: one namespace for the control plane, one for each node, one for client programs,
//! joined by a bridge in the control plane's.
//!
//! Nothing of the machine's own network is touched. All links are made inside a namespace, so their names
//! are free. Each node needs a default route, or the addresses of Services are "unreachable" before
//! kube-proxy's rules see them.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout::{self, CLIENT, CONTROL_PLANE, Layout, node_address, pod_network};
use crate::made::{Made, Thing};
use crate::run;

const BRIDGE: &str = "nodes";

/// Makes namespaces, bridge, links and routes.
pub fn make(layout: &Layout, nodes: u32, made: &mut Made) -> Result<()> {
    let control = layout.control_plane_namespace();
    namespace(&control, made)?;
    ip(&control, &format!("link add {BRIDGE} type bridge"))?;
    ip(
        &control,
        &format!("addr add {CONTROL_PLANE}/24 dev {BRIDGE}"),
    )?;
    ip(&control, &format!("link set {BRIDGE} up"))?;
    ip(
        &control,
        &format!("route add default dev {BRIDGE} src {CONTROL_PLANE}"),
    )?;
    join(&control, &layout.client_namespace(), "client", CLIENT, made)?;
    for node in 1..=nodes {
        join(
            &control,
            &layout.node_namespace(node),
            &port(node),
            &node_address(node),
            made,
        )?;
    }
    for namespace in everywhere(layout, nodes) {
        run::output(layout::inside(&namespace, "sysctl").args(["-qw", "net.ipv4.ip_forward=1"]))?;
        for node in (1..=nodes).filter(|n| namespace != layout.node_namespace(*n)) {
            ip(
                &namespace,
                &format!("route add {} via {}", pod_network(node), node_address(node)),
            )?;
        }
    }
    Ok(())
}

/// Cuts a node off from all others, or joins it again.
pub fn set_node(layout: &Layout, node: u32, up: bool) -> Result<()> {
    let state = if up { "up" } else { "down" };
    ip(
        &layout.control_plane_namespace(),
        &format!("link set {} {state}", port(node)),
    )
}

/// Is there a named network namespace already?
pub fn exists(namespace: &str) -> bool {
    std::path::Path::new("/run/netns").join(namespace).exists()
}

/// Removes a named network namespace, with all links that end in it.
pub fn remove(namespace: &str) -> Result<()> {
    run::output(Command::new("ip").args(["netns", "delete", namespace])).map(|_| ())
}

fn everywhere(layout: &Layout, nodes: u32) -> Vec<String> {
    let mut all = vec![layout.control_plane_namespace(), layout.client_namespace()];
    all.extend((1..=nodes).map(|node| layout.node_namespace(node)));
    all
}

fn namespace(name: &str, made: &mut Made) -> Result<()> {
    if exists(name) {
        bail!("a network namespace {name} exists already, and no journal says that it is ours");
    }
    made.add(Thing::Namespace(name.to_owned()))?;
    run::output(Command::new("ip").args(["netns", "add", name]))?;
    ip(name, "link set lo up")
}

fn join(control: &str, name: &str, port: &str, address: &str, made: &mut Made) -> Result<()> {
    namespace(name, made)?;
    ip(
        control,
        &format!("link add {port} type veth peer name eth0 netns {name}"),
    )?;
    ip(control, &format!("link set {port} master {BRIDGE} up"))?;
    ip(name, &format!("addr add {address}/24 dev eth0"))?;
    ip(name, "link set eth0 up")?;
    ip(name, &format!("route add default dev eth0 src {address}"))
}

fn port(node: u32) -> String {
    format!("node-{node}")
}

fn ip(namespace: &str, words: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-n", namespace]).args(words.split(' '));
    run::output(&mut command)
        .with_context(|| format!("network of {namespace}"))
        .map(|_| ())
}
