//! Names, addresses and folders of one cluster. Everything here follows from its name and its node count,
//! so that any later run finds what an earlier one made.
//!
//! Addresses may be the same in every cluster: they exist in its own network namespaces only.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cache;

/// Most nodes of a cluster: their addresses and pod networks are numbered by one digit or two.
pub const NODES_MAX: u32 = 9;
/// Longest name of a cluster: it is part of the names of namespaces and sockets.
const NAME_MAX: usize = 20;

/// First address of the network of nodes: the control plane, with API server and DNS.
pub const CONTROL_PLANE: &str = "10.89.0.1";
/// Address of the namespace in which client programs run.
pub const CLIENT: &str = "10.89.0.2";
/// Network of Services, and the first address of it, which is the API server's.
pub const SERVICES: &str = "10.96.0.0/16";
/// Address of the Service `kubernetes`.
pub const API_SERVICE: &str = "10.96.0.1";
/// Network of all pods; each node has a /24 of it.
pub const PODS: &str = "10.244.0.0/16";

/// Names and places of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Name of the cluster.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

impl Layout {
    /// The layout of the cluster of this name.
    pub fn of(name: &str) -> Result<Self> {
        let fits = (1..=NAME_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            bail!(
                "cluster name {name:?}: 1 to {NAME_MAX} characters of a-z, 0-9 and - are allowed"
            );
        }
        Ok(Self {
            name: name.to_owned(),
            folder: cache::clusters()?.join(name),
        })
    }

    /// Network namespace of the control plane, which also holds the bridge that joins the nodes.
    pub fn control_plane_namespace(&self) -> String {
        format!("e2e-{}.control", self.name)
    }

    /// Network namespace of client programs.
    pub fn client_namespace(&self) -> String {
        format!("e2e-{}.client", self.name)
    }

    /// Network namespace of a node; its cgroup has the same name.
    pub fn node_namespace(&self, node: u32) -> String {
        format!("e2e-{}.{node}", self.name)
    }

    /// Certificates and kubeconfigs.
    pub fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// Logs of the cluster's own programs.
    pub fn log(&self, program: &str) -> PathBuf {
        self.folder.join("log").join(format!("{program}.log"))
    }

    /// What a node has of its own.
    pub fn node_folder(&self, node: u32) -> PathBuf {
        self.folder.join(format!("node-{node}"))
    }

    /// kubeconfig of the administrator.
    pub fn admin(&self) -> PathBuf {
        self.pki().join("admin.conf")
    }
}

/// Name of a node in Kubernetes.
pub fn node_name(node: u32) -> String {
    format!("node-{node}")
}

/// Address of a node.
pub fn node_address(node: u32) -> String {
    format!("10.89.0.{}", 10 + node)
}

/// Network of a node's pods.
pub fn pod_network(node: u32) -> String {
    format!("10.244.{node}.0/24")
}

/// A command that runs inside a network namespace. `ip netns exec` would mount /sys anew and hide the cgroups.
pub fn inside(namespace: &str, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{namespace}"))
        .arg("--")
        .arg(program.as_ref());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_not_fit_is_refused() {
        for name in ["", "UPPER", "a/b", "a.b", "twenty-one-characters"] {
            Layout::of(name).expect_err(name);
        }
        Layout::of("default").expect("a plain name");
    }
}
