//! At most one broker of a group is evicted at a time.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::{BrokerCluster, Group};

use super::{labels, metadata, name_of, names};

/// `C-G`; none for a group of one, whose node could never be drained.
pub fn disruption_budget(cluster: &BrokerCluster, group: &Group) -> Option<PodDisruptionBudget> {
    (group.replicas > 1).then(|| PodDisruptionBudget {
        metadata: metadata(
            cluster,
            Some(group),
            names::group(name_of(cluster), &group.name),
        ),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(labels::selector(name_of(cluster), Some(&group.name))),
                ..LabelSelector::default()
            }),
            // A pod that does not get ready holds nothing that a drain could break.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
