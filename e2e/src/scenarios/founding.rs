//! A group forms while everything that knows of it is taken away.
//!
//! F0, F1 of the protocol page: never do two groups give receipts under one name. Judged by the id
//! of the group in which each message was acknowledged: what one group acknowledged must be there
//! until its volumes are gone on purpose.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::lifecycle::{delete, small_cluster};
use crate::scenario::{Run, Scenario};
use crate::stage::Stage;
use crate::truth::{GroupRef, condition, master_by_itself, wait_reason};

/// What `FoundingStuck` tells a person to annotate.
const FOUND_ANEW: &str = "tandemmq.io/found-anew=";

const FORM_MAX: Duration = Duration::from_secs(120);

/// Under fire.
pub const UNDER_FIRE: Scenario = Scenario {
    name: "founding-under-fire",
    claim: "Lease, status, operator and a volume are taken away in every order while a group forms: never do two groups serve under one name",
    run: founding_under_fire,
};

/// Stuck.
pub const STUCK: Scenario = Scenario {
    name: "founding-stuck",
    claim: "when a listed volume dies before the first election nobody serves, the condition says what to do, and doing it helps",
    run: founding_stuck_says_what_to_do,
};

/// What is taken away.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Lease,
    Status,
    Operator,
    Volume,
}

const BLOWS: [Blow; 4] = [Blow::Lease, Blow::Status, Blow::Operator, Blow::Volume];

/// Every order of the blows, at random moments.
fn founding_under_fire(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    for round in 0..stage.count(3, 20) {
        let group = stage.group(&format!("f{round}"));
        stage.ensure_namespace(&group.namespace)?;
        let blows = order(stage.random(24) as usize);
        form(stage, &group, &blows).with_context(|| format!("round {round}, blows {blows:?}"))?;
        delete(stage, &group)?;
        for pod in group.pods() {
            stage.kubectl(
                &group.namespace,
                &["delete", "pvc", &group.claim(&pod), "--ignore-not-found"],
            )?;
        }
    }
    Ok(())
}

/// The permutation of that number.
fn order(mut number: usize) -> Vec<Blow> {
    let mut left = BLOWS.to_vec();
    let mut found = Vec::new();
    for places in (1..=left.len()).rev() {
        found.push(left.remove(number % places));
        number /= places;
    }
    found
}

fn form(stage: &Stage<'_>, group: &GroupRef, blows: &[Blow]) -> Result<()> {
    let mut witness = Witness::default();
    stage.run.cluster.apply(&small_cluster(group))?;
    for blow in blows {
        let pause = Duration::from_millis(stage.random(2_500));
        let until = std::time::Instant::now() + pause;
        while std::time::Instant::now() < until {
            witness.look(stage, group)?;
        }
        strike(stage, group, *blow)?;
    }
    let begun = std::time::Instant::now();
    let mut asked = false;
    loop {
        witness.look(stage, group)?;
        if master_by_itself(stage, group)?.is_some() {
            break;
        }
        let cluster = stage.broker_cluster(group)?;
        let ready = condition(&cluster, "Ready");
        if ready["reason"] == "FoundingStuck" && !asked {
            asked = true;
            stage.follow(
                group,
                ready["message"].as_str().unwrap_or_default(),
                FOUND_ANEW,
            )?;
        }
        if begun.elapsed() > FORM_MAX {
            bail!("no group formed within {FORM_MAX:?}; Ready is {ready}");
        }
    }
    for _ in 0..10 {
        witness.look(stage, group)?;
    }
    let ids = witness.serving.len();
    ensure!(
        ids == 1,
        "{ids} groups served under one name: {:?}",
        witness.serving
    );
    stage.note(format!(
        "formed after {blows:?}{}, one group served",
        if asked { " and found-anew" } else { "" }
    ));
    Ok(())
}

/// The ids of groups that were seen to serve.
#[derive(Debug, Default)]
struct Witness {
    serving: std::collections::BTreeSet<String>,
}

impl Witness {
    fn look(&mut self, stage: &Stage<'_>, group: &GroupRef) -> Result<()> {
        for pod in group.pods() {
            if let Ok(status) = stage.broker_status(&group.namespace, &pod)
                && status["serving"] == true
                && let Some(id) = status["groupId"].as_str()
            {
                self.serving.insert(id.to_owned());
            }
        }
        Ok(())
    }
}

fn strike(stage: &Stage<'_>, group: &GroupRef, blow: Blow) -> Result<()> {
    let namespace = &group.namespace;
    match blow {
        Blow::Lease => {
            stage.kubectl(
                namespace,
                &["delete", "lease", &group.name(), "--ignore-not-found"],
            )?;
        }
        Blow::Status => {
            let words = [
                "patch",
                "brokercluster",
                &group.cluster,
                "--subresource=status",
                "--type=merge",
                "--patch",
                r#"{"status":null}"#,
            ];
            stage.kubectl(namespace, &words)?;
        }
        Blow::Operator => stage.kill_operator()?,
        Blow::Volume => {
            let pod = group.pod(stage.random(3) as usize);
            let claim = group.claim(&pod);
            stage.kubectl(
                namespace,
                &[
                    "delete",
                    "pvc",
                    &claim,
                    "--wait=false",
                    "--ignore-not-found",
                ],
            )?;
            stage.kubectl(
                namespace,
                &["delete", "pod", &pod, "--wait=false", "--ignore-not-found"],
            )?;
        }
    }
    Ok(())
}

/// A listed volume dies before the first election: nobody serves, and the condition says what to do.
fn founding_stuck_says_what_to_do(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = stage.group("stuck");
    stage.ensure_namespace(&group.namespace)?;
    let message = make_stuck(stage, &group)?;
    ensure!(
        master_by_itself(stage, &group)?.is_none(),
        "somebody serves though a founder is gone"
    );
    stage.follow(&group, &message, FOUND_ANEW)?;
    stage.wait("a group after found-anew", FORM_MAX, || {
        Ok(master_by_itself(stage, &group)?.map(drop))
    })?;
    delete(stage, &group)
}

/// A founder is lost between confirmation and adoption: the test confirms a proposal whose member it
/// has taken away, as an operator would that looked a moment earlier. Two adopt, one is another volume.
fn make_stuck(stage: &Stage<'_>, group: &GroupRef) -> Result<String> {
    let paused =
        small_cluster(group).replace(r#""spec":{"#, r#""spec":{"maintenance":{"paused":true},"#);
    // The objects must be there before it is paused.
    stage.run.cluster.apply(&small_cluster(group))?;
    stage.wait("the StatefulSet", FORM_MAX, || {
        stage.object(&group.namespace, "statefulset", &group.name())
    })?;
    stage.run.cluster.apply(&paused)?;
    let proposal = stage.wait("a proposal", FORM_MAX, || {
        let lease = stage.object(&group.namespace, "lease", &group.name())?;
        let annotations = lease.map(|lease| lease["metadata"]["annotations"].clone());
        let proposal = annotations.and_then(|all| {
            let found = &all["tandemmq.io/group-proposal"];
            found.as_str().map(str::to_owned)
        });
        if proposal.is_none() && master_by_itself(stage, group)?.is_some() {
            bail!("the group was founded before it was paused: nothing is proved");
        }
        Ok(proposal)
    })?;
    let pod = group.pod(2);
    stage.kubectl(
        &group.namespace,
        &["delete", "pvc", &group.claim(&pod), "--wait=false"],
    )?;
    stage.kubectl(&group.namespace, &["delete", "pod", &pod, "--wait=true"])?;
    let confirmed = format!("tandemmq.io/group={proposal}");
    stage.kubectl(
        &group.namespace,
        &[
            "annotate",
            "lease",
            &group.name(),
            &confirmed,
            "tandemmq.io/group-proposal-",
        ],
    )?;
    stage.run.cluster.apply(
        &small_cluster(group).replace(r#""spec":{"#, r#""spec":{"maintenance":{"paused":false},"#),
    )?;
    wait_reason(stage, group, "FoundingStuck", FORM_MAX)
}
