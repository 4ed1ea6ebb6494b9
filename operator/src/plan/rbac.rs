//! The brokers' account and the little that it may do: its group's Lease, claims and pods, by name.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use crate::api::{BrokerCluster, Group};

use super::{metadata, name_of, names, namespace_of};

/// `C-G`.
pub fn service_account(cluster: &BrokerCluster, group: &Group) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(
            cluster,
            Some(group),
            names::group(name_of(cluster), &group.name),
        ),
        // Only the pods' own template asks for the token.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// `C-G`. RBAC cannot say which fields of a pod: the chart's admission policy does.
pub fn role(cluster: &BrokerCluster, group: &Group) -> Role {
    let name = names::group(name_of(cluster), &group.name);
    let pods = names::pods(cluster, group);
    let claims = pods.iter().map(|pod| names::claim(pod)).collect();
    Role {
        metadata: metadata(cluster, Some(group), name.clone()),
        rules: Some(vec![
            rule(
                "coordination.k8s.io",
                "leases",
                vec![name],
                &["get", "list", "watch", "update"],
            ),
            rule("", "persistentvolumeclaims", claims, &["get"]),
            rule("", "pods", pods, &["patch"]),
        ]),
    }
}

fn rule(group: &str, resource: &str, names: Vec<String>, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(names),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    }
}

/// `C-G`.
pub fn role_binding(cluster: &BrokerCluster, group: &Group) -> RoleBinding {
    let name = names::group(name_of(cluster), &group.name);
    RoleBinding {
        metadata: metadata(cluster, Some(group), name.clone()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: Some(namespace_of(cluster).to_owned()),
            ..Subject::default()
        }]),
    }
}
