//! The group's StatefulSet. The operator rolls its pods itself (OnDelete): slaves first, master last.

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::api::{BrokerCluster, DeletionPolicy, Group};

use super::{config_map, labels, metadata, name_of, names, pod};

/// Which image a group's pods are made with: what the spec says, else what they have, else what the
/// operator was installed with. So an upgraded operator restarts no broker.
pub fn image<'a>(
    cluster: &'a BrokerCluster,
    current: Option<&'a str>,
    of_the_operator: &'a str,
) -> &'a str {
    cluster
        .spec
        .image
        .as_deref()
        .or(current)
        .unwrap_or(of_the_operator)
}

/// `C-G`.
pub fn stateful_set(cluster: &BrokerCluster, group: &Group, image: &str) -> StatefulSet {
    let config = config_map::text(cluster, group);
    StatefulSet {
        metadata: metadata(
            cluster,
            Some(group),
            names::group(name_of(cluster), &group.name),
        ),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(group.replicas)),
            service_name: Some(names::nodes(name_of(cluster), &group.name)),
            // A group that is down as a whole comes back only if all its pods may start at once.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            selector: LabelSelector {
                match_labels: Some(labels::selector(name_of(cluster), Some(&group.name))),
                ..LabelSelector::default()
            },
            template: pod::template(cluster, group, image, &config),
            volume_claim_templates: Some(vec![claim(cluster, group)]),
            persistent_volume_claim_retention_policy: Some(retention(cluster)),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn retention(cluster: &BrokerCluster) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match cluster.spec.deletion_policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        // A set that somebody scaled down by hand must not lose a copy.
        when_scaled: Some("Retain".to_owned()),
    }
}

fn claim(cluster: &BrokerCluster, group: &Group) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(labels::of(name_of(cluster), Some(&group.name))),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: group.storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(
                    [("storage".to_owned(), Quantity(group.storage.size.clone()))].into(),
                ),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
