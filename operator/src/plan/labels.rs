//! Labels of objects and what selects pods.

use std::collections::BTreeMap;

/// The cluster's name.
pub const CLUSTER: &str = "tandemmq.io/cluster";
/// The group's name.
pub const GROUP: &str = "tandemmq.io/group";
/// master or slave; written by the broker, never part of a template.
pub const ROLE: &str = "tandemmq.io/role";
/// Who wrote an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const OPERATOR: &str = "tandemmq-operator";

/// Labels of an object of a cluster, or of one of its groups.
pub fn of(cluster: &str, group: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from(
        [
            ("app.kubernetes.io/name", "tandemmq"),
            ("app.kubernetes.io/instance", cluster),
            (MANAGED_BY, OPERATOR),
            (CLUSTER, cluster),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    if let Some(group) = group {
        labels.insert(GROUP.to_owned(), group.to_owned());
    }
    labels
}

/// What selects the pods of a cluster, or of one of its groups. Never changes in a cluster's life.
pub fn selector(cluster: &str, group: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(CLUSTER.to_owned(), cluster.to_owned())]);
    if let Some(group) = group {
        labels.insert(GROUP.to_owned(), group.to_owned());
    }
    labels
}

/// What selects masters.
pub fn masters(cluster: &str, group: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = selector(cluster, group);
    labels.insert(ROLE.to_owned(), "master".to_owned());
    labels
}
