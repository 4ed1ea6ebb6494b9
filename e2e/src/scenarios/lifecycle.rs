//! From `helm install` to deletion: what a user does with a BrokerCluster in its life.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::scenario::{Run, Scenario};
use crate::stage::Stage;
use crate::truth::{GroupRef, check_truth, group_status, wait_in_sync, wait_master, wait_reason};

const READY_MAX: Duration = Duration::from_secs(60);
const GONE_MAX: Duration = Duration::from_secs(90);

/// From nothing to Ready.
pub const READY: Scenario = Scenario {
    name: "applied-and-ready",
    claim: "an applied BrokerCluster is Ready within a minute; Lease, status, label and condition name one master, slaves refuse clients",
    run: applied_and_ready,
};

/// The deletion policy.
pub const VOLUMES: Scenario = Scenario {
    name: "deletion-policy",
    claim: "volumes are kept and bring their messages back when the object is applied again, or they go, as the policy says",
    run: volumes_follow_the_policy,
};

/// Neighbours.
pub const NEIGHBOURS: Scenario = Scenario {
    name: "neighbours",
    claim: "two clusters in one namespace and one in another do not touch each other; a name that is taken is reported, not stolen",
    run: neighbours_are_left_alone,
};

/// `kubectl apply`, then Ready within a minute; slaves refuse clients.
fn applied_and_ready(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = stage.group("orders");
    let begun = Instant::now();
    stage.run.cluster.apply(&small_cluster(&group))?;
    stage.kubectl(
        &group.namespace,
        &[
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            &format!("brokercluster/{}", group.cluster),
        ],
    )?;
    stage.note(format!("apply to Ready: {:.1?}", begun.elapsed()));
    let (master, _) = check_truth(stage, &group)?;
    for pod in group.pods() {
        let open = stage.connects(&group.namespace, &pod, 61613)?;
        ensure!(
            open == (pod == master),
            "{pod} listens: {open}, the master is {master}"
        );
    }
    Ok(())
}

/// A BrokerCluster with one small group of three.
pub fn small_cluster(group: &GroupRef) -> String {
    format!(
        r#"{{"apiVersion":"tandemmq.io/v1alpha1","kind":"BrokerCluster",
            "metadata":{{"name":"{}","namespace":"{}"}},
            "spec":{{"image":"{}","groups":[{{"name":"{}","replicas":{},"storage":{{"size":"1Gi"}},
                "resources":{{"requests":{{"cpu":"50m","memory":"64Mi"}},"limits":{{"memory":"512Mi"}}}}}}]}}}}"#,
        group.cluster,
        group.namespace,
        crate::image::BROKER,
        group.group,
        group.replicas
    )
}

/// Makes a cluster of its own and waits until it serves.
pub fn make(stage: &Stage<'_>, group: &GroupRef) -> Result<()> {
    stage.ensure_namespace(&group.namespace)?;
    let begun = Instant::now();
    stage.run.cluster.apply(&small_cluster(group))?;
    wait_master(stage, group, READY_MAX)?;
    wait_in_sync(stage, group, READY_MAX)?;
    stage.note(format!(
        "{} in sync {:.1?} after apply",
        group.name(),
        begun.elapsed()
    ));
    Ok(())
}

/// Deletes a cluster and waits until its pods are gone.
pub fn delete(stage: &Stage<'_>, group: &GroupRef) -> Result<()> {
    stage.kubectl(
        &group.namespace,
        &["delete", "brokercluster", &group.cluster, "--wait=true"],
    )?;
    stage.wait("the pods are gone", GONE_MAX, || {
        for pod in group.pods() {
            if stage.object(&group.namespace, "pod", &pod)?.is_some() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

fn claims(stage: &Stage<'_>, group: &GroupRef) -> Result<usize> {
    let mut count = 0;
    for pod in group.pods() {
        count += usize::from(
            stage
                .object(&group.namespace, "pvc", &group.claim(&pod))?
                .is_some(),
        );
    }
    Ok(count)
}

/// Volumes are kept, and the same object applied again finds its messages; or they go.
fn volumes_follow_the_policy(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = stage.group("kept");
    make(stage, &group)?;
    let id = founding_id(stage, &group)?;
    stage.tool(
        &group,
        &[
            "producer",
            "--messageCount",
            "500",
            "--destination",
            "queue://KEPT",
        ],
    )?;
    delete(stage, &group)?;
    ensure!(
        claims(stage, &group)? == 3,
        "Retain must keep three volumes, there are {}",
        claims(stage, &group)?
    );
    make(stage, &group)?;
    ensure!(
        founding_id(stage, &group)? == id,
        "the same volumes came back as another group"
    );
    stage.tool(
        &group,
        &[
            "consumer",
            "--messageCount",
            "500",
            "--destination",
            "queue://KEPT",
        ],
    )?;
    stage.patch(&group, r#"{"spec":{"deletionPolicy":"Delete"}}"#)?;
    stage.wait("the StatefulSet has the policy", READY_MAX, || {
        let set = stage.object(&group.namespace, "statefulset", &group.name())?;
        Ok(set
            .is_some_and(|s| {
                s["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
            })
            .then_some(()))
    })?;
    // Its controller makes the claims follow the set.
    stage.wait("the claims have an owner", READY_MAX, || {
        let claim = stage.object(&group.namespace, "pvc", &group.claim(&group.pod(0)))?;
        Ok(claim
            .is_some_and(|c| c["metadata"]["ownerReferences"].is_array())
            .then_some(()))
    })?;
    delete(stage, &group)?;
    stage.wait("Delete removes the volumes", GONE_MAX, || {
        Ok((claims(stage, &group)? == 0).then_some(()))
    })
}

fn founding_id(stage: &Stage<'_>, group: &GroupRef) -> Result<String> {
    let cluster = stage.broker_cluster(group)?;
    let id = &group_status(&cluster, &group.group)["founding"]["id"];
    id.as_str()
        .map(str::to_owned)
        .context("status has no founding")
}

/// Clusters side by side do not touch each other; a name that is taken is reported, not stolen.
fn neighbours_are_left_alone(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let one = stage.group("left");
    let two = stage.group("right");
    let far = GroupRef::new(&format!("{}-two", run.namespace), "left", "a");
    for group in [&one, &two, &far] {
        make(stage, group)?;
    }
    for group in [&one, &two, &far] {
        stage.tool(
            group,
            &[
                "producer",
                "--messageCount",
                "50",
                "--destination",
                "queue://MINE",
            ],
        )?;
    }
    delete(stage, &two)?;
    for group in [&one, &far] {
        check_truth(stage, group)?;
        stage.tool(
            group,
            &[
                "consumer",
                "--messageCount",
                "50",
                "--destination",
                "queue://MINE",
            ],
        )?;
    }
    name_taken(stage)?;
    delete(stage, &one)?;
    delete(stage, &far)?;
    run.cluster
        .kubectl(&["delete", "namespace", &far.namespace])
        .map(drop)
}

fn name_taken(stage: &Stage<'_>) -> Result<()> {
    let group = stage.group("taken");
    stage.run.cluster.apply(
        &format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"taken-a","namespace":"{}"}},"data":{{"mine":"yes"}}}}"#, group.namespace),
    )?;
    stage.run.cluster.apply(&small_cluster(&group))?;
    let message = wait_reason(stage, &group, "NameTaken", READY_MAX)?;
    ensure!(
        message.contains("taken-a"),
        "the message does not name the object: {message}"
    );
    let config = stage
        .object(&group.namespace, "configmap", "taken-a")?
        .context("the ConfigMap is gone")?;
    ensure!(
        config["data"]["mine"] == "yes" && config["data"]["broker.toml"].is_null(),
        "a foreign ConfigMap was changed: {}",
        config["data"]
    );
    stage.kubectl(&group.namespace, &["delete", "configmap", "taken-a"])?;
    wait_master(stage, &group, READY_MAX)?;
    delete(stage, &group)?;
    Ok(())
}
