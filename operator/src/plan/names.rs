//! Names of objects: C = cluster, G = group.

use crate::api::{BrokerCluster, Group};

use super::{name_of, namespace_of};

/// `C-G`: StatefulSet, Lease, ConfigMap, master Service, account, budget.
pub fn group(cluster: &str, group: &str) -> String {
    format!("{cluster}-{group}")
}

/// `C-G-n`: pod and broker.
pub fn pod(cluster: &str, group_name: &str, ordinal: u8) -> String {
    format!("{}-{ordinal}", group(cluster, group_name))
}

/// All pods of a group.
pub fn pods(cluster: &BrokerCluster, group: &Group) -> Vec<String> {
    (0..group.replicas)
        .map(|ordinal| pod(name_of(cluster), &group.name, ordinal))
        .collect()
}

/// `data-C-G-n`: the claim of a pod's volume.
pub fn claim(pod: &str) -> String {
    format!("data-{pod}")
}

/// `C-G-nodes`: the headless Service.
pub fn nodes(cluster: &str, group_name: &str) -> String {
    format!("{}-nodes", group(cluster, group_name))
}

/// `C-masters`: the Service of all masters.
pub fn masters(cluster: &str) -> String {
    format!("{cluster}-masters")
}

/// `C-auth`: the Secret with the login that the operator makes.
pub fn auth(cluster: &str) -> String {
    format!("{cluster}-auth")
}

/// `C-peers`: the Secret with certificates of links between brokers.
pub fn peers(cluster: &str) -> String {
    format!("{cluster}-peers")
}

/// The DNS name in a group's certificate. Nothing resolves it: it says who may be in the group.
pub fn peers_dns(cluster: &BrokerCluster, group: &str) -> String {
    format!(
        "{group}.{}.{}.tandemmq.internal",
        name_of(cluster),
        namespace_of(cluster)
    )
}
