//! A scenario: a claim about a running cluster, tried on it. The runner gives each one a Kubernetes namespace of its
//! own, prints its figures and time, and when it fails keeps what the cluster has to tell.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::cluster::Cluster;
use crate::{run, say, scenarios};

/// How long all namespaces may take to be gone with all that is in them.
const NAMESPACES_LIMIT: Duration = Duration::from_secs(180);

/// How much is done of what can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Counts {
    /// As often as a claim deserves: for the night.
    Full,
    /// A few times: for every change.
    Short,
}

/// One claim and how it is tried.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What holds when it passes, in one sentence.
    pub claim: &'static str,
    /// Tries it.
    pub run: fn(&Run<'_>) -> Result<()>,
}

/// What a scenario works with.
#[derive(Debug)]
pub struct Run<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The scenario's own Kubernetes namespace.
    pub namespace: String,
    /// How much to do.
    pub counts: Counts,
}

impl Run<'_> {
    /// Prints a figure. Figures are reported, never judged.
    pub fn figure(&self, what: &str, value: impl std::fmt::Display) {
        say::line(format!("  {what}: {value}"));
    }

    /// `short` or `full`, by what was asked for.
    pub fn count(&self, short: u32, full: u32) -> u32 {
        match self.counts {
            Counts::Short => short,
            Counts::Full => full,
        }
    }

    /// Output of kubectl in the scenario's namespace.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.cluster
            .kubectl(&[&["--namespace", self.namespace.as_str()], words].concat())
    }

    /// Applies a manifest in the scenario's namespace.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let words = ["apply", "--namespace", &self.namespace, "--filename=-"];
        self.cluster.kubectl_with_input(&words, yaml).map(|_| ())
    }
}

/// Those that are to run: all, measurements only with full counts, or those named. A name that there
/// is not is an error.
pub fn chosen(only: &[String], counts: Counts) -> Result<Vec<&'static Scenario>> {
    let all = || scenarios::ALL.iter().chain(scenarios::MEASUREMENTS);
    let unknown = only.iter().find(|name| !all().any(|s| s.name == **name));
    if let Some(unknown) = unknown {
        let names: Vec<&str> = all().map(|s| s.name).collect();
        bail!(
            "no scenario is called {unknown:?}; there are: {}",
            names.join(", ")
        );
    }
    if !only.is_empty() {
        return Ok(all().filter(|s| only.iter().any(|n| n == s.name)).collect());
    }
    Ok(match counts {
        Counts::Short => scenarios::ALL.iter().collect(),
        Counts::Full => all().collect(),
    })
}

/// Runs them one after the other; an error when one failed, after all have run.
pub fn run_all(
    cluster: &Cluster,
    chosen: &[&Scenario],
    counts: Counts,
    reports: &std::path::Path,
) -> Result<()> {
    let mut failed = Vec::new();
    for scenario in chosen {
        say::line(format!("scenario {}: {}", scenario.name, scenario.claim));
        let start = Instant::now();
        let result = run_one(cluster, scenario, counts, reports);
        let time = say::seconds(start.elapsed());
        match result {
            Ok(()) => say::line(format!("scenario {}: passed, {time}", scenario.name)),
            Err(error) => {
                say::line(format!(
                    "scenario {}: FAILED after {time}: {error:#}",
                    scenario.name
                ));
                failed.push(scenario.name);
            }
        }
    }
    if let Err(error) = wait_removed(cluster, chosen) {
        say::line(format!("removal of namespaces: FAILED: {error:#}"));
        failed.push("removal of namespaces");
    }
    if !failed.is_empty() {
        bail!(
            "of {} scenarios these failed: {}",
            chosen.len(),
            failed.join(", ")
        );
    }
    say::line(format!("{} scenarios passed", chosen.len()));
    Ok(())
}

fn run_one(
    cluster: &Cluster,
    scenario: &Scenario,
    counts: Counts,
    reports: &std::path::Path,
) -> Result<()> {
    let namespace = namespace_of(scenario);
    cluster.kubectl(&["create", "namespace", &namespace])?;
    let run = Run {
        cluster,
        namespace,
        counts,
    };
    let result = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&run)))
        .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(panic.as_ref()))));
    if result.is_err() {
        let folder = reports.join(scenario.name);
        match collect(&run, &folder) {
            Ok(()) => say::line(format!(
                "what the cluster has to tell: {}",
                folder.display()
            )),
            Err(error) => say::line(format!(
                "what the cluster has to tell cannot be asked: {error:#}"
            )),
        }
    }
    // Also after a failure: the next scenario shall not suffer from this one's. Kubernetes looks at
    // what is left only every some ten seconds, so nobody waits for it before all have run.
    let words = ["delete", "namespace", &run.namespace, "--wait=false"];
    let removed = cluster.kubectl(&words).map(drop);
    result.and(removed)
}

/// Nothing that a scenario made holds its namespace back.
fn wait_removed(cluster: &Cluster, chosen: &[&Scenario]) -> Result<()> {
    let names: Vec<String> = chosen.iter().map(|s| namespace_of(s)).collect();
    let left = || -> Result<Vec<String>> {
        let there = cluster.get(&["namespaces"])?;
        let there = there["items"].as_array().context("a list of namespaces")?;
        let mut there: Vec<String> = there
            .iter()
            .filter_map(|n| n["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        there.retain(|name| names.contains(name));
        Ok(there)
    };
    run::wait_for("all namespaces are gone", NAMESPACES_LIMIT, || {
        Ok(left()?.is_empty())
    })
    .map(drop)
    .with_context(|| format!("left: {}", left().unwrap_or_default().join(", ")))
}

fn namespace_of(scenario: &Scenario) -> String {
    format!("e2e-{}", scenario.name)
}

/// Writes objects, events and logs into `folder` and prints the end of the events.
fn collect(run: &Run<'_>, folder: &std::path::Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let save = |file: &str, words: &[&str]| -> Result<String> {
        let text = run
            .cluster
            .kubectl(words)
            .unwrap_or_else(|error| format!("{error:#}"));
        fs::write(folder.join(file), &text)?;
        Ok(text)
    };
    let namespace = run.namespace.as_str();
    save("nodes.txt", &["describe", "nodes"])?;
    save(
        "pods.txt",
        &["get", "pods", "--all-namespaces", "--output=wide"],
    )?;
    save(
        "describe.txt",
        &[
            "describe",
            "all,pvc,lease,brokerclusters",
            "--namespace",
            namespace,
        ],
    )?;
    save(
        "objects.yaml",
        &[
            "get",
            "all,pvc,lease",
            "--namespace",
            namespace,
            "--output=yaml",
        ],
    )?;
    let events = save(
        "events.txt",
        &[
            "get",
            "events",
            "--all-namespaces",
            "--sort-by=.lastTimestamp",
        ],
    )?;
    say::line(format!("last events:\n{}", run::tail(&events)));
    let pods = run.cluster.get(&["pods", "--all-namespaces"])?;
    for pod in pods["items"].as_array().context("a list of pods")? {
        let (Some(of), Some(name)) = (
            pod["metadata"]["namespace"].as_str(),
            pod["metadata"]["name"].as_str(),
        ) else {
            continue;
        };
        let log = run
            .cluster
            .log(of, name)
            .unwrap_or_else(|error| format!("{error:#}"));
        fs::write(folder.join(format!("log-{of}-{name}.txt")), &log)?;
        if of == namespace {
            say::line(format!("end of the log of {name}:\n{}", run::tail(&log)));
        }
    }
    Ok(())
}

/// Folder of what failed scenarios left, below a cluster's folder.
pub fn reports(cluster: &Cluster) -> Result<PathBuf> {
    Ok(match cluster {
        Cluster::Own(own) => own.layout.folder.join("report"),
        Cluster::Given(..) => crate::cache::root()?.join("report"),
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no text)")
        .to_owned()
}
