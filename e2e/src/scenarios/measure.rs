//! Figures that are printed and never judged, and the suites of the packages that need an API server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::lifecycle::{make, small_cluster};
use crate::figures::Times;
use crate::product;
use crate::scenario::{Run, Scenario};
use crate::stage::Stage;
use crate::truth::{GroupRef, wait_in_sync, wait_master};

const WAIT_MAX: Duration = Duration::from_secs(120);

/// The contract suite of Lease stores and the operator's own tests.
pub const SUITES: Scenario = Scenario {
    name: "suites-on-an-api-server",
    claim: "KubeLease keeps the contract of Lease stores, and the operator's process makes, puts back and leaves alone what it should",
    run: suites,
};

/// Failover, idle cost, memory.
pub const FIGURES: Scenario = Scenario {
    name: "figures",
    claim: "failover by names and by the Service, requests of an idle cluster and memory are printed",
    run: figures,
};

/// Fifty clusters without pods.
pub const FIFTY: Scenario = Scenario {
    name: "fifty-clusters",
    claim: "the operator makes the objects of fifty clusters while no node takes a pod",
    run: fifty_clusters,
};

fn suites(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    // The operator's own tests bring their own, and want pods that nobody starts.
    stage.scale_operator(0)?;
    let cordons = stage.cordon_all()?;
    let result = run_suites(run);
    drop(cordons);
    stage.scale_operator(1)?;
    result
}

fn run_suites(run: &Run<'_>) -> Result<()> {
    for (binary, words) in [
        ("tandemmq-tests", vec!["--ignored", "kube_lease"]),
        (
            "tandemmq-operator-tests",
            vec!["--ignored", "--test-threads=1"],
        ),
    ] {
        let program = std::env::current_exe()?.with_file_name(binary);
        ensure!(
            program.is_file(),
            "{} is not there: make e2e builds it",
            program.display()
        );
        let mut command = run.cluster.client_command(program)?;
        command
            .args(words)
            .env("TANDEMMQ_TEST_KUBECONFIG", run.cluster.layout()?.admin());
        let output = crate::run::output(&mut command)?;
        let result = output.lines().find(|line| line.starts_with("test result"));
        let result = result.context("no result of the tests")?;
        ensure!(
            !result.contains(" 0 passed"),
            "{binary} ran nothing: {result}"
        );
        run.figure(binary, result);
    }
    Ok(())
}

fn figures(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = stage.group("orders");
    make(stage, &group)?;
    for (what, addresses) in [
        (
            "SIGKILL to the first receipt, by the brokers' names",
            group.headless(),
        ),
        (
            "SIGKILL to the first receipt, by the master's Service",
            group.service(),
        ),
    ] {
        run.figure(what, kills(stage, &group, &addresses)?);
    }
    idle(stage, &group)
}

fn kills(stage: &Stage<'_>, group: &GroupRef, addresses: &[String]) -> Result<Times> {
    let mut times = Times::default();
    let mut load = stage.load(group, addresses)?;
    load.progress(100, WAIT_MAX)?;
    for _ in 0..stage.count(5, 20) {
        wait_in_sync(stage, group, WAIT_MAX)?;
        let master = wait_master(stage, group, WAIT_MAX)?;
        load.mark()?;
        stage.kill_broker(&group.namespace, &master)?;
        times.push(load.first_receipt(WAIT_MAX)?);
        load.progress(100, WAIT_MAX)?;
    }
    load.judge()?;
    Ok(times)
}

/// Nobody does anything for a while.
fn idle(stage: &Stage<'_>, group: &GroupRef) -> Result<()> {
    wait_in_sync(stage, group, WAIT_MAX)?;
    let before = requests(stage)?;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(30));
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let (operator, renewals) = requests(stage)?;
    stage.run.figure(
        "idle, requests a minute",
        format!(
            "{:.0} of the operator, {:.0} changes of Leases by all of the cluster",
            (operator - before.0) / minutes,
            (renewals - before.1) / minutes
        ),
    );
    for pod in group.pods() {
        let container = stage
            .run
            .cluster
            .container(&group.namespace, &pod, "broker")?;
        stage.run.figure(
            &format!("memory of {pod}"),
            resident(container.process.pid)?,
        );
    }
    let pod = stage.operator_pod()?;
    let container = stage
        .run
        .cluster
        .container(product::NAMESPACE, &pod, "operator")?;
    stage
        .run
        .figure("memory of the operator", resident(container.process.pid)?);
    Ok(())
}

/// API requests of the operator, and writes of Leases, since their start.
fn requests(stage: &Stage<'_>) -> Result<(f64, f64)> {
    let pod = stage.operator_pod()?;
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:8080/proxy/metrics",
        product::NAMESPACE
    );
    let own = stage.run.cluster.kubectl(&["get", "--raw", &path])?;
    let server = stage.run.cluster.kubectl(&["get", "--raw", "/metrics"])?;
    let operator = sum(&own, |line| {
        line.starts_with("tandemmq_operator_api_requests_total")
    });
    let leases = sum(&server, |line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"leases\"")
            && line.contains("verb=\"PUT\"")
    });
    Ok((operator, leases))
}

fn sum(page: &str, is_ours: impl Fn(&str) -> bool) -> f64 {
    let lines = page.lines().filter(|line| is_ours(line));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

fn resident(pid: i32) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.context("the process has no memory")?.trim().to_owned())
}

fn fifty_clusters(run: &Run<'_>) -> Result<()> {
    const COUNT: usize = 50;
    let stage = &Stage::new(run);
    let _cordons = stage.cordon_all()?;
    let yaml: Vec<String> = (0..COUNT)
        .map(|n| small_cluster(&stage.group(&format!("c{n}"))))
        .collect();
    let begun = Instant::now();
    run.cluster.apply(&yaml.join("\n---\n"))?;
    stage.wait("the objects of fifty clusters", WAIT_MAX, || {
        let sets = run
            .cluster
            .get(&["statefulsets", "--namespace", &run.namespace])?;
        let made = sets["items"].as_array().map_or(0, Vec::len);
        Ok((made == COUNT).then_some(()))
    })?;
    run.figure(
        "apply of 50 clusters to all their StatefulSets",
        format!("{:.1?}", begun.elapsed()),
    );
    stage
        .kubectl(
            &run.namespace,
            &["delete", "brokercluster", "--all", "--wait=false"],
        )
        .map(drop)
}
