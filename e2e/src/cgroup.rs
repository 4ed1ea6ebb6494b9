//! Control groups: one for each node, below the root of every hierarchy, in which its kubelet keeps its pods.
//!
//! Version 1 (a folder of hierarchies) and version 2 (one). What runs in a cgroup of ours is ours, which
//! is how containers are found when their containerd is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::process::Process;
use crate::run;

const ROOT: &str = "/sys/fs/cgroup";
/// What a kubelet wants to limit.
const CONTROLLERS: &[&str] = &["cpu", "cpuset", "memory", "pids"];
const EMPTY_LIMIT: Duration = Duration::from_secs(20);

/// The cgroup file systems of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchies {
    /// One folder for each controller, and a tree of version 2 without controllers beside them in which
    /// runc keeps folders, too.
    V1(Vec<PathBuf>),
    /// One tree.
    V2,
}

impl Hierarchies {
    /// Finds them, or says what is missing.
    pub fn find() -> Result<Self> {
        if let Ok(text) = fs::read_to_string(format!("{ROOT}/cgroup.controllers")) {
            for wanted in CONTROLLERS {
                if !text.split_whitespace().any(|c| c == *wanted) {
                    bail!("the cgroup controller {wanted} in {ROOT}/cgroup.controllers");
                }
            }
            return Ok(Self::V2);
        }
        let entries = fs::read_dir(ROOT).with_context(|| format!("cgroups, mounted at {ROOT}"))?;
        let folders = entries.flatten().map(|entry| entry.path());
        let is_v1 = |p: &PathBuf| p.join("cgroup.procs").is_file() && !p.is_symlink();
        let found: Vec<PathBuf> = folders.filter(is_v1).collect();
        for wanted in CONTROLLERS {
            if !Path::new(ROOT).join(wanted).join("tasks").is_file() {
                bail!("the cgroup controller {wanted} at {ROOT}/{wanted}");
            }
        }
        Ok(Self::V1(found))
    }

    /// Folders of the cgroup `name`, one in each hierarchy.
    fn folders(&self, name: &str) -> Vec<PathBuf> {
        match self {
            Self::V1(roots) => roots.iter().map(|root| root.join(name)).collect(),
            Self::V2 => vec![Path::new(ROOT).join(name)],
        }
    }

    /// Is there a cgroup of this name anywhere?
    pub fn exists(&self, name: &str) -> bool {
        self.folders(name).iter().any(|folder| folder.is_dir())
    }

    /// Makes the cgroup `name`.
    pub fn make(&self, name: &str) -> Result<()> {
        for folder in self.folders(name) {
            fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        }
        match self {
            Self::V1(roots) => {
                // A new cpuset is empty, and nothing can be put into an empty one.
                for root in roots
                    .iter()
                    .filter(|root| root.join("cpuset.cpus").is_file())
                {
                    for file in ["cpuset.cpus", "cpuset.mems"] {
                        fs::write(root.join(name).join(file), fs::read(root.join(file))?)?;
                    }
                }
            }
            Self::V2 => {
                let wanted: Vec<String> = CONTROLLERS.iter().map(|c| format!("+{c}")).collect();
                let file = Path::new(ROOT).join("cgroup.subtree_control");
                fs::write(&file, wanted.join(" ")).with_context(|| file.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Everything that runs in it or below it.
    pub fn processes(&self, name: &str) -> Vec<Process> {
        let mut found: Vec<Process> = Vec::new();
        for folder in self.folders(name).iter().flat_map(|f| tree(f)) {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(
                text.lines()
                    .filter_map(|pid| Process::of(pid.parse().ok()?)),
            );
        }
        found.sort_by_key(|p| p.pid);
        found.dedup();
        found
    }

    /// Ends everything in it at once.
    pub fn kill(&self, name: &str) -> Result<()> {
        // Again and again, because a process may start another one between two looks.
        run::wait_for(&format!("cgroup {name} is empty"), EMPTY_LIMIT, || {
            let running = self.processes(name);
            for process in &running {
                process.signal(Signal::KILL)?;
            }
            Ok(!running.iter().any(|process| process.runs()))
        })?;
        Ok(())
    }

    /// Removes it and everything below it; it must be empty of processes.
    pub fn remove(&self, name: &str) -> Result<()> {
        run::wait_for(&format!("cgroup {name} is removed"), EMPTY_LIMIT, || {
            let folders = self.folders(name);
            for folder in folders.iter().flat_map(|f| tree(f)).rev() {
                // Busy for a moment after its last process ended: hence the loop.
                let _ = fs::remove_dir(&folder);
            }
            Ok(folders.iter().all(|folder| !folder.exists()))
        })?;
        Ok(())
    }
}

/// A folder and all folders below it, each before those that it holds.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = if folder.is_dir() {
        vec![folder.to_path_buf()]
    } else {
        Vec::new()
    };
    while let Some(folder) = open.pop() {
        let below = fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(
            below
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .map(|e| e.path()),
        );
        found.push(folder);
    }
    found
}
