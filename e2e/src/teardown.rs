//! Removes all that a cluster's journal lists, and nothing else.
//!
//! Order: processes by mark or start time, then what is left in the cgroups, then cgroups and namespaces, then the folder.
//! Mounts need no step: they lie in mount namespaces that vanish with their last process.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::cgroup::Hierarchies;
use crate::layout::Layout;
use crate::made::{Made, Thing};
use crate::{network, process};

/// Rounds of looking for processes of ours that were started while we looked.
const ROUNDS_LIMIT: Duration = Duration::from_secs(20);

/// Removes the cluster, if there is one; says whether there was. Its logs stay until the next one of the name.
pub fn down(layout: &Layout) -> Result<bool> {
    let Some(made) = Made::read(&layout.folder)? else {
        return Ok(false);
    };
    end_processes(&made)?;
    let cgroups = Hierarchies::find()?;
    for thing in made.things() {
        if let Thing::Cgroup(name) = thing {
            cgroups.kill(name)?;
            cgroups.remove(name)?;
        }
    }
    for thing in made.things() {
        match thing {
            Thing::Namespace(name) if network::exists(name) => network::remove(name)?,
            _ => {}
        }
    }
    remove_folders(layout)?;
    made.remove()?;
    Ok(true)
}

fn end_processes(made: &Made) -> Result<()> {
    let start = Instant::now();
    loop {
        let running = process::all(made);
        if running.is_empty() {
            return Ok(());
        }
        if start.elapsed() > ROUNDS_LIMIT {
            bail!(
                "processes that do not end: {:?}",
                running.iter().map(|p| p.pid).collect::<Vec<_>>()
            );
        }
        for process in &running {
            process.signal(Signal::KILL)?;
        }
        for process in running {
            process.wait_gone()?;
        }
    }
}

/// All but logs and what the runner itself keeps.
fn remove_folders(layout: &Layout) -> Result<()> {
    for entry in fs::read_dir(&layout.folder)?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if ["log", "lock", "made.jsonl", "report"]
            .iter()
            .any(|kept| name == *kept)
        {
            continue;
        }
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| path.display().to_string())?;
    }
    Ok(())
}
