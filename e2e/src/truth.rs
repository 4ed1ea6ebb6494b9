//! What a BrokerCluster says of itself, against what is.
//!
//! The brokers' own `/status` is what is; Lease holder, `status`, pod labels and conditions must
//! agree with it within 5 seconds. Read through the API server's proxy, so only while it runs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::stage::Stage;

/// The operator's promise.
pub const TRUTH_MAX: Duration = Duration::from_secs(5);

/// A group of one BrokerCluster, as scenarios speak of it.
#[derive(Debug, Clone)]
pub struct GroupRef {
    /// Namespace.
    pub namespace: String,
    /// BrokerCluster.
    pub cluster: String,
    /// Group.
    pub group: String,
    /// Its members.
    pub replicas: usize,
}

impl GroupRef {
    /// A group of three.
    pub fn new(namespace: &str, cluster: &str, group: &str) -> Self {
        Self {
            namespace: namespace.into(),
            cluster: cluster.into(),
            group: group.into(),
            replicas: 3,
        }
    }

    /// `<cluster>-<group>`: StatefulSet, Lease, master Service.
    pub fn name(&self) -> String {
        format!("{}-{}", self.cluster, self.group)
    }

    /// A pod's name.
    pub fn pod(&self, ordinal: usize) -> String {
        format!("{}-{ordinal}", self.name())
    }

    /// All pods' names.
    pub fn pods(&self) -> Vec<String> {
        (0..self.replicas)
            .map(|ordinal| self.pod(ordinal))
            .collect()
    }

    /// The claim of a pod's volume.
    pub fn claim(&self, pod: &str) -> String {
        format!("data-{pod}")
    }

    /// Every broker by its own name, as a client's failover list has them.
    pub fn headless(&self) -> Vec<String> {
        let service = format!("{}-nodes.{}.svc.cluster.local", self.name(), self.namespace);
        self.pods()
            .iter()
            .map(|pod| format!("{pod}.{service}:61613"))
            .collect()
    }

    /// The Service of whoever is master.
    pub fn service(&self) -> Vec<String> {
        vec![format!(
            "{}.{}.svc.cluster.local:61613",
            self.name(),
            self.namespace
        )]
    }
}

/// Who says in its own `/status` that it is master and serves; none: nobody.
pub fn master_by_itself(stage: &Stage<'_>, group: &GroupRef) -> Result<Option<(String, u64)>> {
    let mut found: Option<(String, u64)> = None;
    for pod in group.pods() {
        let Ok(status) = stage.broker_status(&group.namespace, &pod) else {
            continue;
        };
        let epoch = status["epoch"].as_u64().unwrap_or(0);
        if status["role"] == "master"
            && status["serving"] == true
            && found.as_ref().is_none_or(|(_, other)| *other < epoch)
        {
            found = Some((pod, epoch));
        }
    }
    Ok(found)
}

/// Waits until somebody is.
pub fn wait_master(stage: &Stage<'_>, group: &GroupRef, within: Duration) -> Result<String> {
    let what = format!("a master of {}", group.name());
    stage.wait(&what, within, || {
        Ok(master_by_itself(stage, group)?.map(|(pod, _)| pod))
    })
}

/// Waits until all members are in sync, by the status.
pub fn wait_in_sync(stage: &Stage<'_>, group: &GroupRef, within: Duration) -> Result<()> {
    let what = format!("all members of {} in sync", group.name());
    stage.wait(&what, within, || {
        let cluster = stage.broker_cluster(group)?;
        let status = group_status(&cluster, &group.group);
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let in_sync = members.iter().filter(|m| m["inSync"] == true).count();
        Ok((in_sync == group.replicas).then_some(()))
    })
}

/// The group's part of a BrokerCluster's status.
pub fn group_status<'a>(cluster: &'a Value, group: &str) -> &'a Value {
    cluster["status"]["groups"]
        .as_array()
        .and_then(|groups| groups.iter().find(|g| g["name"] == group))
        .unwrap_or(&Value::Null)
}

/// A condition.
pub fn condition<'a>(cluster: &'a Value, kind: &str) -> &'a Value {
    cluster["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|c| c["type"] == kind))
        .unwrap_or(&Value::Null)
}

/// Waits until `Ready` has that reason: its message.
pub fn wait_reason(
    stage: &Stage<'_>,
    group: &GroupRef,
    reason: &str,
    within: Duration,
) -> Result<String> {
    let message = stage.wait(reason, within, || {
        let cluster = stage.broker_cluster(group)?;
        let ready = condition(&cluster, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        Ok((ready["reason"] == reason).then(|| message.to_owned()))
    })?;
    stage.note(format!("{reason}: {message}"));
    Ok(message)
}

/// Everything that names the master names the one that is; answers with it and the time it took.
pub fn check_truth(stage: &Stage<'_>, group: &GroupRef) -> Result<(String, Duration)> {
    let master = wait_master(stage, group, Duration::from_secs(60))?;
    let since = Instant::now();
    let mut last = String::new();
    // One look takes some tenths of a second by itself, so the last one may begin before the limit.
    while since.elapsed() < TRUTH_MAX + Duration::from_secs(1) {
        // It may have changed meanwhile: then that one counts from now on.
        match disagreement(stage, group, &master)? {
            None => return Ok((master, since.elapsed())),
            Some(text) => last = text,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if let Some((now, _)) = master_by_itself(stage, group)?
        && now != master
    {
        return check_truth(stage, group);
    }
    bail!("{master} has been master for more than {TRUTH_MAX:?}, but {last}")
}

fn disagreement(stage: &Stage<'_>, group: &GroupRef, master: &str) -> Result<Option<String>> {
    let cluster = stage.broker_cluster(group)?;
    let status = group_status(&cluster, &group.group);
    if status["master"] != master {
        return Ok(Some(format!("status names {}", status["master"])));
    }
    let elected = condition(&cluster, "MasterElected");
    let message = elected["message"].as_str().unwrap_or_default();
    if elected["status"] != "True" || !message.contains(master) {
        return Ok(Some(format!("MasterElected is {elected}")));
    }
    if condition(&cluster, "Available")["status"] != "True" {
        return Ok(Some(format!(
            "Available is {}",
            condition(&cluster, "Available")
        )));
    }
    let lease = stage
        .object(&group.namespace, "lease", &group.name())?
        .context("the Lease is gone")?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    if !holder.starts_with(&format!("{master}_")) {
        return Ok(Some(format!("the Lease is held by \"{holder}\"")));
    }
    for pod in group.pods() {
        let Some(object) = stage.object(&group.namespace, "pod", &pod)? else {
            continue;
        };
        let role = &object["metadata"]["labels"]["tandemmq.io/role"];
        let expected = if pod == master { "master" } else { "slave" };
        let starting = role.is_null() && expected == "slave";
        if role != expected && !starting {
            return Ok(Some(format!("the role label of {pod} is {role}")));
        }
    }
    Ok(None)
}
