//! What users install with: the chart, the plain manifests made of it, `helm test`, an uninstall.
//!
//! These leave the operator installed as `product::install` does, also when they fail.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::product::{self, NAMESPACE, RELEASE};
use crate::scenario::{Run, Scenario};
use crate::{go, image, run};

const DEPLOYMENT: &str = "deployment/tandemmq-operator";
const CRD: &str = "brokerclusters.tandemmq.io";
const READY_LIMIT: Duration = Duration::from_secs(120);

/// The files.
pub const CHART: Scenario = Scenario {
    name: "chart",
    claim: "the chart is well-formed, refuses values that it does not know, makes the plain manifests of the tree, and asks for no right outside of the namespaces that it is told",
    run: chart,
};

/// `helm test`.
pub const HELM_TEST: Scenario = Scenario {
    name: "helm-test",
    claim: "helm test passes on an installation, and fails when no operator runs",
    run: helm_test,
};

/// Uninstalled and taken over.
pub const UNINSTALLED: Scenario = Scenario {
    name: "uninstalled",
    claim: "kind and brokers stay when the release is uninstalled, and another release takes them over only when it is told to",
    run: uninstalled,
};

fn chart(run: &Run<'_>) -> Result<()> {
    let cluster = run.cluster;
    let folder = folder();
    cluster.helm(&["lint", "--strict", &folder])?;
    for wrong in [
        "operator.replica=2",
        "operator.replicas=two",
        "operator.imagePullPolicy=Sometimes",
        "watchNamespaces={Not_A_Name}",
    ] {
        let refused = cluster.helm(&[
            "template",
            "x",
            &folder,
            "--kube-version=1.30.0",
            "--set",
            wrong,
        ]);
        let words = refused.err().map(|error| format!("{error:#}"));
        let words = words.with_context(|| format!("--set {wrong} was not refused"))?;
        let value = wrong.split_once('=').map_or(wrong, |(path, _)| path);
        let field = value.rsplit('.').next().unwrap_or(value);
        ensure!(
            words.contains(field),
            "--set {wrong} is refused without its name:\n{words}"
        );
    }
    plain_manifests_are_of_today()?;
    only_named_namespaces(run)
}

fn folder() -> String {
    image::tree().join("charts/tandemmq").display().to_string()
}

fn plain_manifests_are_of_today() -> Result<()> {
    let helm = go::helm()?.join("bin/helm");
    let made = run::output(Command::new(image::tree().join("tools/render-install")).arg(helm))?;
    let file = image::tree().join("manifests/install.yaml");
    let kept = std::fs::read_to_string(&file)?;
    ensure!(
        made == kept,
        "{} is not what the chart makes: tools/render-install HELM >manifests/install.yaml",
        file.display()
    );
    Ok(())
}

/// Named namespaces: Roles there, no ClusterRole. The API server accepts each object.
fn only_named_namespaces(run: &Run<'_>) -> Result<()> {
    const OBJECTS: &[&str] = &[
        "deployment.apps/tandemmq-operator",
        "role.rbac.authorization.k8s.io/tandemmq-operator",
        "role.rbac.authorization.k8s.io/tandemmq-operator-leader",
        "rolebinding.rbac.authorization.k8s.io/tandemmq-operator",
        "rolebinding.rbac.authorization.k8s.io/tandemmq-operator-leader",
        "service/tandemmq-operator",
        "serviceaccount/tandemmq-operator",
    ];
    let manifest = run.cluster.helm(&[
        "template",
        "x",
        &folder(),
        "--no-hooks",
        "--kube-version=1.30.0",
        "--namespace=default",
        &format!("--set=watchNamespaces={{{}}}", run.namespace),
        // These two are the whole cluster's, and other scenarios' installation has them already.
        "--set=crd.install=false",
        "--set=admissionPolicy.enabled=false",
    ])?;
    let words = [
        "create",
        "--dry-run=server",
        "--validate=strict",
        "--output=name",
        "--filename=-",
    ];
    let made = run.cluster.kubectl_with_input(&words, &manifest)?;
    let mut made: Vec<&str> = made.lines().collect();
    made.sort_unstable();
    ensure!(made == OBJECTS, "these objects are made: {made:?}");
    let argument = format!("- --namespace={}", run.namespace);
    ensure!(
        manifest.contains(&argument),
        "the operator is not told its namespace"
    );
    Ok(())
}

fn helm_test(run: &Run<'_>) -> Result<()> {
    product::install(run.cluster)?;
    let test = ["test", RELEASE, "--namespace", NAMESPACE, "--timeout=2m"];
    let said = run.cluster.helm(&test)?;
    ensure!(said.contains("Succeeded"), "no test was run:\n{said}");
    scale(run, 0)?;
    let without = run.cluster.helm(&test);
    scale(run, 1)?;
    ensure!(without.is_err(), "helm test passes without an operator");
    // Also removes what the one that failed left to be looked at.
    run.cluster.helm(&test).map(|_| ())
}

/// So many operators, and no others.
fn scale(run: &Run<'_>, replicas: u32) -> Result<()> {
    let words = ["--namespace", NAMESPACE, "scale", DEPLOYMENT];
    let replicas = format!("--replicas={replicas}");
    run.cluster
        .kubectl(&[&words[..], &[replicas.as_str()]].concat())?;
    let words = [
        "--namespace",
        NAMESPACE,
        "rollout",
        "status",
        DEPLOYMENT,
        "--timeout=2m",
    ];
    run.cluster.kubectl(&words).map(|_| ())
}

fn uninstalled(run: &Run<'_>) -> Result<()> {
    product::install(run.cluster)?;
    let tried = lives_without_a_release(run);
    // Also after a failure: the next scenario finds the operator.
    product::install_with(run.cluster, &["--take-ownership"])?;
    tried?;
    let ready = [
        "--namespace",
        &run.namespace,
        "--for=condition=Ready",
        "brokercluster/orders",
    ];
    run.cluster.wait(&ready, READY_LIMIT)
}

fn lives_without_a_release(run: &Run<'_>) -> Result<()> {
    run.apply(
        "apiVersion: tandemmq.io/v1alpha1\nkind: BrokerCluster\nmetadata: {name: orders}\n\
         spec: {groups: [{name: a, replicas: 1, storage: {size: 1Gi}}]}\n",
    )?;
    let ready = [
        "--namespace",
        &run.namespace,
        "--for=condition=Ready",
        "brokercluster/orders",
    ];
    run.cluster.wait(&ready, READY_LIMIT)?;
    let before = broker(run)?;

    let uninstall = [
        "uninstall",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout=2m",
    ];
    run.cluster.helm(&uninstall)?;
    let pods = [
        "--namespace",
        NAMESPACE,
        "wait",
        "--for=delete",
        "pods",
        "--selector=app.kubernetes.io/name=tandemmq-operator",
        "--timeout=60s",
    ];
    run.cluster.kubectl(&pods)?;
    run.cluster.kubectl(&["get", "crd", CRD])?;
    run.kubectl(&["get", "brokercluster", "orders"])?;
    ensure!(broker(run)? == before, "the broker was touched");

    let other = [
        "install",
        "other",
        &folder(),
        "--namespace",
        &run.namespace,
        "--set=operator.replicas=0",
    ];
    let refused = run
        .cluster
        .helm(&other)
        .err()
        .map(|error| format!("{error:#}"));
    let words = refused.context("another release took the kind over without being told to")?;
    ensure!(
        words.contains("invalid ownership metadata"),
        "it is refused otherwise:\n{words}"
    );
    run.cluster
        .helm(&[&other[..], &["--take-ownership"]].concat())?;
    run.cluster
        .helm(&["uninstall", "other", "--namespace", &run.namespace])?;
    ensure!(broker(run)? == before, "the broker was touched");
    Ok(())
}

/// Which pod it is, and how often it was started.
fn broker(run: &Run<'_>) -> Result<String> {
    let what = "--output=jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}";
    run.kubectl(&["get", "pod", "orders-a-0", what])
}
