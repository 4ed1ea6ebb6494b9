//! What is: one BrokerCluster, everything of its that the API server holds, and what its pods say.
//!
//! Reads only. The objects come from reflector stores (`stores`), so that looking costs the API
//! server nothing; the pods are asked each time, all at once (`report`). A store may be behind.
//! That is safe: whatever must not be written from an old picture is written by a
//! compare-and-swap on a fresh object (`apply`).
//!
//! What follows from it is `decide`'s.

pub mod backoff;
pub mod child;
pub mod lease;
pub mod look;
pub mod pod;
pub mod report;
pub mod stores;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::Value;

use crate::api::{BrokerCluster, Founding, GroupStatus};
use child::{Kind, Live};
use pod::Seat;

/// One BrokerCluster at one moment.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The object itself.
    pub cluster: Arc<BrokerCluster>,
    /// The objects that carry this cluster's label.
    pub objects: Vec<Live>,
    /// Every group that the spec names or that there are objects or a status of.
    pub groups: Vec<GroupSeen>,
}

/// One group at one moment.
#[derive(Debug, Clone, Default)]
pub struct GroupSeen {
    /// Its name.
    pub name: String,
    /// The spec names it.
    pub wanted: bool,
    /// Members by the spec, or by the StatefulSet when the spec does not name it any more.
    pub replicas: u8,
    /// The Lease, if it is there.
    pub lease: Option<lease::LeaseSeen>,
    /// The StatefulSet, if it is there.
    pub stateful_set: Option<StatefulSet>,
    /// Each ordinal.
    pub seats: Vec<Seat>,
}

impl Observed {
    /// The UID that children must be controlled by.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.cluster.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.cluster.metadata.name.as_deref().unwrap_or_default()
    }

    /// The cluster's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.cluster
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default()
    }

    /// The value of an annotation of the BrokerCluster.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.cluster.metadata.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    /// What the status says of a group.
    #[must_use]
    pub fn status_of(&self, group: &str) -> Option<&GroupStatus> {
        let status = self.cluster.status.as_ref()?;
        status.groups.iter().find(|g| g.name == group)
    }

    /// The founding that the status has confirmed.
    #[must_use]
    pub fn founding_of(&self, group: &str) -> Option<&Founding> {
        self.status_of(group)?.founding.as_ref()
    }

    /// A live object.
    #[must_use]
    pub fn object(&self, kind: Kind, name: &str) -> Option<&Value> {
        let found = self
            .objects
            .iter()
            .find(|o| o.kind == kind && o.name == name);
        found.map(|o| &o.body)
    }
}

impl GroupSeen {
    /// Members that a commit needs.
    #[must_use]
    pub const fn quorum(&self) -> usize {
        self.replicas as usize / 2 + 1
    }
}
