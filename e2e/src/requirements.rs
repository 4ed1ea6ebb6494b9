//! What a machine must have before a cluster can be made: looked at all at once, so that one run names
//! everything that is missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::cgroup::Hierarchies;
use crate::{go, run};

/// Programs of the machine that are called, and the Debian packages that bring them.
const PROGRAMS: &[(&str, &str)] = &[
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("sysctl", "procps"),
    ("unshare", "util-linux"),
];

/// Folders that a node lays its own over: nothing of ours may lie below them.
const HIDDEN_ON_NODES: &[&str] = &["/run", "/var/lib", "/var/log", "/var/run"];

/// inotify instances of kubelet, containerd and what they run; counted on a node with three pods, and rounded up.
const INOTIFY_OF_A_NODE: u32 = 12;

/// An error that names everything that is missing.
pub fn check(state: &Path, nodes: u32) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "a cluster needs root, because it makes network and mount namespaces, bridges and cgroups. \
             With E2E_KUBECONFIG=<file> the tests use a cluster that is there already"
        );
    }
    let missing_packages = install_programs()?;
    let mut missing: Vec<String> = Vec::new();
    missing.extend(missing_packages);
    missing.extend(namespaces());
    missing.extend(filesystem("overlay", "containerd's snapshots"));
    if let Err(error) = Hierarchies::find() {
        missing.push(format!("{error:#}"));
    }
    missing.extend(inotify(nodes));
    if let Some(folder) = HIDDEN_ON_NODES.iter().find(|f| state.starts_with(f)) {
        missing.push(format!(
            "a cache folder that is not below {folder}, which nodes lay their own over: set XDG_CACHE_HOME"
        ));
    }
    if !missing.is_empty() {
        bail!(
            "no cluster can be made on this machine, it lacks:\n  {}",
            missing.join("\n  ")
        );
    }
    Ok(())
}

/// Installs the small tools that start nothing; names what is missing still.
fn install_programs() -> Result<Vec<String>> {
    let absent = || {
        PROGRAMS
            .iter()
            .filter(|(program, _)| go::on_path(program).is_none())
    };
    let packages: Vec<&str> = absent().map(|(_, package)| *package).collect();
    if !packages.is_empty() && go::on_path("apt-get").is_some() {
        let install = || {
            let mut apt = Command::new("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive");
            run::output(
                apt.args(["--quiet", "--yes", "--no-install-recommends", "install"])
                    .args(&packages),
            )
        };
        if install().is_err() {
            run::output(Command::new("apt-get").args(["--quiet", "update"]))?;
            install()?;
        }
    }
    Ok(absent()
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect())
}

fn namespaces() -> Option<String> {
    let tried = run::output(Command::new("unshare").args([
        "--net",
        "--mount",
        "--propagation",
        "private",
        "true",
    ]));
    tried
        .err()
        .map(|error| format!("network and mount namespaces: {error:#}"))
}

/// The limit is the user's, so all clusters share it, and a kubelet that meets it just ends.
fn inotify(nodes: u32) -> Option<String> {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    let limit: u32 = fs::read_to_string(LIMIT).ok()?.trim().parse().ok()?;
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let files = folders.flat_map(|process| {
        fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
    });
    let is_one = |file: &fs::DirEntry| {
        fs::read_link(file.path()).is_ok_and(|to| to.ends_with("anon_inode:inotify"))
    };
    let used = u32::try_from(files.filter(is_one).count()).unwrap_or(u32::MAX);
    let needed = nodes * INOTIFY_OF_A_NODE;
    (used.saturating_add(needed) > limit).then(|| {
        format!(
            "{needed} free inotify instances: {used} of {limit} are in use. End other clusters, or raise the \
             limit: sysctl fs.inotify.max_user_instances={}",
            limit * 4
        )
    })
}

fn filesystem(name: &str, what_for: &str) -> Option<String> {
    let known = || {
        fs::read_to_string("/proc/filesystems")
            .is_ok_and(|t| t.split_whitespace().any(|w| w == name))
    };
    if !known() {
        // It may be a module that nobody needed so far; if it is not, the next line says so.
        let _ = run::output(Command::new("modprobe").arg(name));
    }
    (!known()).then(|| format!("the file system {name} in the kernel, for {what_for}"))
}
