//! What the operator answers: `status` of a `BrokerCluster`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of the conditions.
pub mod condition {
    /// Everything is as the spec asks: every group has a master and all its members in sync.
    pub const READY: &str = "Ready";
    /// Every group has a master that serves clients.
    pub const AVAILABLE: &str = "Available";
    /// Every group has a master; the message names them.
    pub const MASTER_ELECTED: &str = "MasterElected";
    /// A quorum of every group's members answers and is in sync.
    pub const QUORUM_HEALTHY: &str = "QuorumHealthy";
    /// Something is being changed.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is wrong that does not stop the service.
    pub const DEGRADED: &str = "Degraded";
    /// The operator changes nothing.
    pub const PAUSED: &str = "Paused";

    /// All of them, in the order of the status.
    pub const ALL: [&str; 7] = [
        READY,
        AVAILABLE,
        MASTER_ELECTED,
        QUORUM_HEALTHY,
        PROGRESSING,
        DEGRADED,
        PAUSED,
    ];
}

/// What is observed of a BrokerCluster. It is true within 5 seconds of a change while an operator runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerClusterStatus {
    /// The generation of the spec that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Groups with a master and all members in sync, of all groups: "2/2".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub groups_ready: String,
    /// The master of each group: "a=orders-a-0,b=orders-b-2"; "-" for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub masters: String,
    /// Each group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub groups: Vec<GroupStatus>,
    /// Ready, Available, MasterElected, QuorumHealthy, Progressing, Degraded, Paused; each with a reason,
    /// a message and the time since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What is observed of one group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The group's name.
    #[schemars(length(max = 15))]
    pub name: String,
    /// Who the group is: written once, when it is founded. Two groups never give receipts under one
    /// name because this is confirmed before the first election. Do not edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founding: Option<Founding>,
    /// The pod that serves clients; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The master's epoch: it only grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Since when that pod has been seen as master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_since: Option<Time>,
    /// Members of the group.
    #[serde(default)]
    pub replicas: u8,
    /// Members that a commit needs, and those in sync now.
    #[serde(default)]
    pub quorum: Quorum,
    /// The image that the group's pods are made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Each member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod"]))]
    pub members: Vec<MemberStatus>,
    /// The roll that is under way or stuck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll: Option<RollStatus>,
}

/// A group's identity: drawn by the founder, confirmed by the operator, kept by every volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Founding {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Ordinal and incarnation of each founding member, such as "0/c3d8bdf9492581ed5b7f81daa89e5a6c".
    pub incarnations: Vec<String>,
}

/// How many members count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quorum {
    /// A majority of the members.
    pub needed: u8,
    /// Members in sync, the master included.
    pub have: u8,
}

/// What is observed of one member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The pod, which is also the broker's name.
    pub pod: String,
    /// master, slave or candidate; absent while it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The epoch it has promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Records of its journal on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Records behind the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// It holds everything that is committed, and counts for the quorum.
    #[serde(default)]
    pub in_sync: bool,
    /// Why it is not: the broker's own reason, or what Kubernetes says of its pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A roll of a group: slaves first, then the master hands over and is last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollStatus {
    /// The revision of the StatefulSet that all pods shall have.
    pub revision: String,
    /// Replacing, Waiting, HandingOver or Stuck.
    pub phase: RollPhase,
    /// The pod that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Since when it has been in this phase with this pod.
    pub since: Time,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Where a roll is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollPhase {
    /// A pod of the old revision is being deleted.
    Replacing,
    /// A new pod is to come up and into sync.
    Waiting,
    /// The master is asked to hand over to a pod of the new revision.
    HandingOver,
    /// It does not go on; the reason says why.
    Stuck,
}
