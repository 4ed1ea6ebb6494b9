//! One place of a group: the pod of one ordinal, its volume claim, and what the pod says.

use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;

use super::report::{Answer, Report};

/// The label with the role of a broker.
pub const ROLE: &str = "tandemmq.io/role";
/// The label with the StatefulSet's revision that a pod was made of.
const REVISION: &str = "controller-revision-hash";

/// A place of a group.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The name of its pod, which is the broker's.
    pub pod: String,
    /// Its ordinal.
    pub ordinal: u8,
    /// The pod, if there is one.
    pub seen: Option<PodSeen>,
    /// The volume claim, if there is one.
    pub claim: Option<ClaimSeen>,
    /// What the pod answered.
    pub answer: Answer,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodSeen {
    /// Its UID.
    pub uid: String,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// The role it is labelled with.
    pub role: Option<String>,
    /// The revision it was made of.
    pub revision: String,
    /// It is being deleted.
    pub leaving: bool,
    /// Kubernetes calls it Ready.
    pub ready: bool,
    /// Why it does not run, in Kubernetes' own word.
    pub trouble: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A volume claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// It is being deleted.
    pub leaving: bool,
}

impl Seat {
    /// The status of the pod, if it gave one.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.answer.report()
    }

    /// Why this member is not in sync, as far as Kubernetes or its silence tells.
    #[must_use]
    pub fn why_silent(&self) -> String {
        let Some(pod) = &self.seen else {
            return "NoPod".into();
        };
        if let Answer::Waiting { reason } = &self.answer {
            return reason.clone();
        }
        match &pod.trouble {
            Some(trouble) => trouble.clone(),
            None if pod.leaving => "Terminating".into(),
            None if pod.ip.is_none() => "Starting".into(),
            None => "NotAnswering".into(),
        }
    }
}

impl PodSeen {
    /// Reads a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let label = |key: &str| pod.metadata.labels.as_ref()?.get(key).cloned();
        let status = pod.status.as_ref();
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            ip: status.and_then(|s| s.pod_ip.clone()),
            role: label(ROLE),
            revision: label(REVISION).unwrap_or_default(),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            ready: condition(pod, "Ready").is_some_and(|(yes, _)| yes),
            trouble: trouble(pod),
            created: pod.metadata.creation_timestamp.as_ref().map(|t| t.0),
        }
    }

    /// It will not come up by waiting alone: what it was made of is wrong, or it dies again and
    /// again.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        const HOPELESS: [&str; 9] = [
            "CrashLoopBackOff",
            "CreateContainerConfigError",
            "CreateContainerError",
            "ErrImageNeverPull",
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "RunContainerError",
            "Unschedulable",
        ];
        let trouble = self.trouble.as_deref().unwrap_or_default();
        HOPELESS.contains(&trouble) || trouble == "Failed"
    }
}

impl ClaimSeen {
    /// Reads a claim.
    #[must_use]
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        Self {
            name: claim.metadata.name.clone().unwrap_or_default(),
            uid: claim.metadata.uid.clone().unwrap_or_default(),
            leaving: claim.metadata.deletion_timestamp.is_some(),
        }
    }
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(bool, Option<&'a str>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|c| c.type_ == kind)?;
    Some((found.status == "True", found.reason.as_deref()))
}

/// What keeps a pod from running, in Kubernetes' own word.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        // Evicted, NodeShutdown: the word of the node, when there is one.
        return Some(status.reason.clone().unwrap_or_else(|| "Failed".into()));
    }
    let containers = status.container_statuses.iter().flatten();
    if let Some(reason) = containers.filter_map(waiting).next() {
        return Some(reason.to_owned());
    }
    match condition(pod, "PodScheduled") {
        Some((false, Some(reason))) => Some(reason.to_owned()),
        _ => None,
    }
}

fn waiting(container: &ContainerStatus) -> Option<&str> {
    container
        .state
        .as_ref()?
        .waiting
        .as_ref()?
        .reason
        .as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> PodSeen {
        PodSeen::of(
            &serde_json::from_value(json!({"metadata": {"uid": "u"}, "status": status})).unwrap(),
        )
    }

    #[test]
    fn the_trouble_of_a_pod_is_kubernetes_own_word() {
        let unschedulable = pod(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}));
        assert_eq!(unschedulable.trouble.as_deref(), Some("Unschedulable"));
        let crashing = pod(
            json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
            {"name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 3,
             "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
        );
        assert!(crashing.is_failing());
        let evicted = pod(json!({"phase": "Failed", "reason": "Evicted"}));
        assert_eq!(evicted.trouble.as_deref(), Some("Evicted"));
        let fine = pod(
            json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}),
        );
        assert_eq!(fine.trouble, None);
        assert!(fine.ready && !fine.is_failing());
    }

    #[test]
    fn a_container_that_is_being_made_is_no_failure() {
        let starting = pod(json!({"phase": "Pending", "containerStatuses": [
            {"name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": "ContainerCreating"}}}]}));
        assert_eq!(starting.trouble.as_deref(), Some("ContainerCreating"));
        assert!(!starting.is_failing());
    }
}
