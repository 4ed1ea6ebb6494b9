//! The kinds of objects that the operator makes, and one such object as it was found.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::ApiResource;
use serde_json::Value;

/// A kind of object that belongs to a BrokerCluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The pods of a group.
    StatefulSet,
    /// A way to a group.
    Service,
    /// The brokers' file.
    ConfigMap,
    /// Logins and certificates.
    Secret,
    /// Who the pods are.
    ServiceAccount,
    /// What they may.
    Role,
    /// Both together.
    RoleBinding,
    /// The arbiter of a group.
    Lease,
    /// One at a time.
    PodDisruptionBudget,
    /// Who may reach the pods.
    NetworkPolicy,
    /// A broker. Made by the StatefulSet.
    Pod,
    /// Its volume. Made by the StatefulSet.
    PersistentVolumeClaim,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::StatefulSet,
        Self::Service,
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Lease,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::Pod,
        Self::PersistentVolumeClaim,
    ];

    /// How the API server calls it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        match self {
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::Lease => ApiResource::erase::<Lease>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Pod => ApiResource::erase::<Pod>(&()),
            Self::PersistentVolumeClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.resource().kind == kind)
    }

    /// Whether the StatefulSet makes it, and not the operator.
    #[must_use]
    pub const fn is_made_by_stateful_set(self) -> bool {
        matches!(self, Self::Pod | Self::PersistentVolumeClaim)
    }
}

/// An object as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it, as JSON.
    pub body: Value,
}

impl Live {
    /// The UID of the object.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.body
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.body.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// The owner that controls it: kind, name and UID.
    #[must_use]
    pub fn controller(&self) -> Option<(&str, &str, &str)> {
        controller_of(&self.body)
    }
}

/// The owner that controls an object: kind, name and UID.
#[must_use]
pub fn controller_of(body: &Value) -> Option<(&str, &str, &str)> {
    let owners = body.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|o| o["controller"] == true)?;
    Some((
        owner["kind"].as_str()?,
        owner["name"].as_str()?,
        owner["uid"].as_str()?,
    ))
}
