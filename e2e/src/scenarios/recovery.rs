//! Two of three volumes are gone for good: nothing is formed of the rest until a person says so.
//!
//! Row 19 of the protocol page, by the annotation that the condition names.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::lifecycle::make;
use crate::scenario::{Run, Scenario};
use crate::stage::Stage;
use crate::truth::{GroupRef, check_truth, master_by_itself, wait_in_sync, wait_reason};

const RECOVERED_MAX: Duration = Duration::from_secs(120);

const MESSAGES: &str = "500";

/// Recovery.
pub const RECOVERED: Scenario = Scenario {
    name: "recover-group",
    claim: "with two of three volumes lost nobody serves, the condition names survivor and command, and following it brings back what the survivor has",
    run: recovered_by_hand,
};

fn recovered_by_hand(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = stage.group("orders");
    make(stage, &group)?;
    queue(stage, &group, "producer")?;
    let (master, _) = check_truth(stage, &group)?;
    let lost: Vec<String> = group.pods().into_iter().filter(|p| *p != master).collect();
    lose_volumes(stage, &group, &lost)?;
    let message = wait_reason(stage, &group, "MajorityLost", RECOVERED_MAX)?;
    ensure!(
        message.contains(&master),
        "the message does not name the survivor {master}: {message}"
    );
    ensure!(
        master_by_itself(stage, &group)?.is_none(),
        "somebody serves without a majority of the group's volumes"
    );
    stage.follow(&group, &message, "tandemmq.io/recover-group=")?;
    stage.wait("the group goes on", RECOVERED_MAX, || {
        Ok(master_by_itself(stage, &group)?.map(drop))
    })?;
    wait_in_sync(stage, &group, RECOVERED_MAX)?;
    stage.wait("an Event with DataLoss", RECOVERED_MAX, || {
        let words = [
            "get",
            "events",
            "--field-selector=reason=DataLoss",
            "--output=name",
        ];
        let found = stage.kubectl(&group.namespace, &words)?;
        Ok((!found.trim().is_empty()).then_some(()))
    })?;
    stage.wait("the wish is taken back", RECOVERED_MAX, || {
        let cluster = stage.broker_cluster(&group)?;
        let wish = &cluster["metadata"]["annotations"]["tandemmq.io/recover-group"];
        Ok(wish.is_null().then_some(()))
    })?;
    check_truth(stage, &group)?;
    queue(stage, &group, "consumer")
}

/// Produces or consumes the messages.
fn queue(stage: &Stage<'_>, group: &GroupRef, tool: &str) -> Result<()> {
    let words = [
        tool,
        "--messageCount",
        MESSAGES,
        "--destination",
        "queue://KEPT",
    ];
    stage.tool(group, &words).map(drop)
}

/// All at once: no pod comes back before the last has gone, or the group would repair itself.
fn lose_volumes(stage: &Stage<'_>, group: &GroupRef, lost: &[String]) -> Result<()> {
    let cordons = stage.cordon_all()?;
    let uid = |pod: &str| -> Result<Option<String>> {
        let object = stage.object(&group.namespace, "pod", pod)?;
        Ok(object.and_then(|p| p["metadata"]["uid"].as_str().map(str::to_owned)))
    };
    for pod in lost {
        let before = uid(pod)?.with_context(|| format!("there is no pod {pod}"))?;
        let claim = group.claim(pod);
        stage.kubectl(&group.namespace, &["delete", "pvc", &claim, "--wait=false"])?;
        stage.kubectl(&group.namespace, &["delete", "pod", pod, "--wait=false"])?;
        stage.wait("the pod has gone", RECOVERED_MAX, || {
            Ok((uid(pod)?.as_ref() != Some(&before)).then_some(()))
        })?;
    }
    drop(cordons);
    Ok(())
}
