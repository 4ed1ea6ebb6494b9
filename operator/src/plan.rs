//! What follows from a spec: every object of a cluster, as pure functions.
//!
//! ```text
//! BrokerCluster ──> Secret C-auth, Secret C-peers, Service C-masters
//!     └─ Group  ──> ServiceAccount, Role, RoleBinding, Lease, ConfigMap, Services C-G and C-G-nodes,
//!                   StatefulSet, PodDisruptionBudget, NetworkPolicy
//! ```
//! Nothing here knows what exists: comparing and writing is `decide` and `apply`. Names, labels, files
//! and arguments are the contract with the broker (`docs/internals/kubernetes.md`).

pub mod config_map;
pub mod disruption_budget;
pub mod labels;
pub mod lease;
pub mod names;
pub mod network_policy;
pub mod peers;
pub mod pod;
pub mod rbac;
pub mod secrets;
pub mod services;
pub mod stateful_set;

#[cfg(test)]
pub(crate) mod testing;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::{BrokerCluster, Group};

/// Port of the brokers among themselves.
pub const PEERS_PORT: u16 = 61_619;
/// Health, metrics, status.
pub const METRICS_PORT: u16 = 9_404;

/// The cluster's name; the API server gives every object one.
pub fn name_of(cluster: &BrokerCluster) -> &str {
    cluster.metadata.name.as_deref().unwrap_or_default()
}

/// Its namespace.
pub fn namespace_of(cluster: &BrokerCluster) -> &str {
    cluster.metadata.namespace.as_deref().unwrap_or_default()
}

/// The BrokerCluster as controlling owner: its children go with it, and nobody else's are touched.
pub fn owner(cluster: &BrokerCluster) -> OwnerReference {
    OwnerReference {
        api_version: BrokerCluster::api_version(&()).into_owned(),
        kind: BrokerCluster::kind(&()).into_owned(),
        name: name_of(cluster).to_owned(),
        uid: cluster.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of an object of the cluster, or of one of its groups.
pub fn metadata(cluster: &BrokerCluster, group: Option<&Group>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(namespace_of(cluster).to_owned()),
        labels: Some(labels::of(
            name_of(cluster),
            group.map(|group| group.name.as_str()),
        )),
        owner_references: Some(vec![owner(cluster)]),
        ..ObjectMeta::default()
    }
}
