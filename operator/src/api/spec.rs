//! What a user writes: `spec` of a `BrokerCluster`, with its defaults and rules.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint,
};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::status::BrokerClusterStatus;

/// A cluster of broker groups. Each group is a replicated broker: one master serves clients, the others
/// hold every persistent message on disk and take over when it dies.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tandemmq.io",
    version = "v1alpha1",
    kind = "BrokerCluster",
    plural = "brokerclusters",
    shortname = "bc",
    category = "messaging",
    namespaced,
    status = "BrokerClusterStatus",
    derive = "PartialEq",
    doc = "Groups of message brokers. Each group is a replicated broker: its master serves clients, its slaves hold every persistent message on disk and take over within moments when the master dies.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Groups", type_ = "string", json_path = ".status.groupsReady"),
    printcolumn(name = "Masters", type_ = "string", json_path = ".status.masters"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 30").message("the name may have at most 30 characters: names of pods and Services are made from it"),
    validation = Rule::new("!has(self.status) || !has(self.status.groups) || self.spec.groups.all(g, self.status.groups.all(s, s.name != g.name || s.replicas == 0 || s.replicas == g.replicas))").message("a group that was taken out of the list still exists with its old number of replicas: put it in again with that number, or let it be deleted first with the annotation tandemmq.io/delete-group=<name>"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name must begin with a lower case letter and have only lower case letters, digits and dashes: names of Services are made from it")
)]
#[x_kube(
    validation = Rule::new("!(has(self.auth.secretRef) && self.auth.anonymous)").message("auth.secretRef and auth.anonymous exclude each other: remove one of them")
)]
#[serde(rename_all = "camelCase")]
pub struct BrokerClusterSpec {
    /// The broker's image. Absent: the image that the operator was installed with when the group is made;
    /// a group that runs keeps its image until this field says otherwise, also when the operator is
    /// upgraded. A change rolls the pods: slaves first, then the master hands over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// When the image is pulled: Always, IfNotPresent or Never. Default: IfNotPresent.
    #[serde(default)]
    pub image_pull_policy: ImagePullPolicy,
    /// Secrets of this namespace for a registry that needs a login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The groups. Each is a broker of its own with its own queues and its own volumes. A group may be
    /// added at any time. It may be removed only together with the annotation
    /// `tandemmq.io/delete-group=<name>` on this object; without it the operator keeps the group and says
    /// GroupRemovalRefused.
    #[schemars(length(min = 1, max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub groups: Vec<Group>,
    /// How masters are elected.
    #[serde(default)]
    pub election: Election,
    /// The protocols that clients may speak.
    #[serde(default)]
    pub transports: Transports,
    /// Who may connect. Default: the operator makes a Secret `<cluster>-auth` with a random password.
    #[serde(default)]
    pub auth: Auth,
    /// For people at work on this cluster.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// What becomes of the volumes when this object or a group is deleted. Retain (default): they stay, and
    /// the same object applied again finds its messages. Delete: they go.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Additions to every pod. A change rolls the pods.
    #[serde(default)]
    pub pod_template: PodTemplate,
    /// Who may reach the pods over the network.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,
}

/// When the kubelet pulls the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// Each time.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never.
    Never,
}

impl ImagePullPolicy {
    /// As a pod spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A group: the replicas of one journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicas == oldSelf.replicas").message("replicas cannot be changed yet: add another group, or make a new BrokerCluster"),
    validation = Rule::new("self.storage == oldSelf.storage").message("storage cannot be changed yet: add another group, or make a new BrokerCluster")
)]
pub struct Group {
    /// The group's name: a lower case letter, then at most 14 lower case letters or digits. Part of the
    /// names of its pods (`<cluster>-<group>-0`) and Services, and of every message id.
    #[schemars(length(min = 1, max = 15))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z][a-z0-9]{0,14}$')").message("a group's name is a lower case letter and then at most 14 lower case letters or digits, without dashes"),
        validation = Rule::new("!(self in ['nodes', 'masters', 'auth', 'peers'])").message("nodes, masters, auth and peers are names that the operator uses itself: choose another one")
    )]
    pub name: String,
    /// Brokers of the group: 1, 3, 5 or 7. Default: 3. A group of 3 goes on when one is lost, of 5 when two
    /// are, of 7 when three are; one alone stops whenever its pod does. Cannot be changed.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(
        validation = Rule::new("self != 2").message("a group of 2 stops when either of them is lost: use 3, which goes on without one, or 1"),
        validation = Rule::new("self == 2 || self % 2 == 1").message("an even number of replicas survives no more than one less: use 1, 3, 5 or 7")
    )]
    pub replicas: u8,
    /// The volume of each broker. Cannot be changed.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of each broker. A change rolls the pods.
    #[serde(default)]
    pub resources: Resources,
    /// On which nodes the brokers run. A change rolls the pods.
    #[serde(default)]
    pub placement: Placement,
}

/// A broker's volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of the volume, at least 256Mi. Default: 10Gi. Nine tenths of it are for the journal; when they
    /// are full, producers are refused and consumers go on.
    #[serde(default = "ten_gibibytes")]
    #[schemars(length(min = 1, max = 30))]
    #[x_kube(
        validation = Rule::new("isQuantity(self)").message("size must be a quantity of bytes such as 10Gi"),
        validation = Rule::new("!isQuantity(self) || quantity(self).compareTo(quantity('256Mi')) >= 0").message("size must be at least 256Mi")
    )]
    pub size: String,
    /// The StorageClass; absent: the default one of the Kubernetes cluster. Choose one whose volumes keep
    /// what was synced to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// CPU and memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside. Default: cpu 250m, memory 512Mi.
    #[serde(default = "default_requests")]
    pub requests: BTreeMap<String, String>,
    /// What may not be exceeded. Default: memory 1Gi, and no limit of cpu: a throttled broker is a slow one.
    #[serde(default = "default_limits")]
    pub limits: BTreeMap<String, String>,
}

/// On which nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub tolerations: Vec<Toleration>,
    /// Affinity as in a pod. Absent: brokers of a group prefer different nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub affinity: Option<Affinity>,
    /// Spreading as in a pod. Absent: over the nodes, as evenly as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_list")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
}

/// Election of masters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Election {
    /// A master without a quorum for so long steps down; it renews its Lease every third of this. 2 to 60,
    /// default 6. A dead master is replaced long before: no safety rests on this time. A change rolls the
    /// pods.
    #[serde(default = "six")]
    #[schemars(range(min = 2, max = 60))]
    pub lease_duration_seconds: u32,
}

/// Protocols.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transports {
    /// STOMP 1.0, 1.1 and 1.2.
    #[serde(default)]
    pub stomp: Stomp,
}

/// STOMP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stomp {
    /// Must be true: it is the only protocol yet. Default: true.
    #[serde(default = "yes")]
    #[x_kube(validation = Rule::new("self").message("stomp is the only transport yet: without it nobody could connect"))]
    pub enabled: bool,
    /// The port of pods and Services. Default: 61613. A change rolls the pods.
    #[serde(default = "stomp_port")]
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("self != 61619 && self != 9404").message("61619 and 9404 are ports of the brokers themselves"))]
    pub port: u16,
    /// Connections that each master serves at once; one above gets an ERROR and is closed. 1 to 100000,
    /// default 1000. A change rolls the pods.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 100_000))]
    pub maximum_connections: u32,
    /// The largest frame, 1Ki to 10Mi. Default: 10Mi. A change rolls the pods.
    #[serde(default = "ten_mebibytes")]
    #[schemars(length(min = 1, max = 30))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1Ki')) >= 0 && quantity(self).compareTo(quantity('10Mi')) <= 0").message("maxFrameSize must be a quantity of bytes from 1Ki to 10Mi"))]
    pub max_frame_size: String,
    /// TLS for clients. Absent: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<StompTls>,
}

/// TLS for clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StompTls {
    /// A Secret of type kubernetes.io/tls in this namespace, with `tls.crt` and `tls.key`. A renewed
    /// certificate is taken up without a restart.
    pub secret_ref: SecretRef,
}

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// A Secret of this namespace with the key `users`: lines of `user:password`. A changed list is taken
    /// up without a restart. Absent, and not anonymous: the Secret `<cluster>-auth` is made, with the keys
    /// `username`, `password` and `users`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Everybody who reaches the port may connect without a login. Default: false. A change rolls the pods.
    #[serde(default)]
    pub anonymous: bool,
}

/// Maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// While true the operator changes nothing but the status: no roll, nothing put back, no founding
    /// confirmed. Brokers go on and elect by themselves. Default: false.
    #[serde(default)]
    pub paused: bool,
}

/// What becomes of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They go.
    Delete,
}

/// Additions to every pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels besides the operator's own, which win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations besides the operator's own, which win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The PriorityClass of the pods, so that brokers are not the first to be evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// Make a NetworkPolicy for each group: clients may reach the client ports, only the group's own pods
    /// the port between brokers. Default: false. It needs a network that enforces policies.
    #[serde(default)]
    pub enabled: bool,
}

// === defaults ===

const fn yes() -> bool {
    true
}

const fn three() -> u8 {
    3
}

const fn six() -> u32 {
    6
}

const fn thousand() -> u32 {
    1_000
}

/// The one that ActiveMQ and others use for STOMP.
const fn stomp_port() -> u16 {
    61_613
}

fn ten_gibibytes() -> String {
    "10Gi".into()
}

fn ten_mebibytes() -> String {
    "10Mi".into()
}

fn default_requests() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("cpu".into(), "250m".into()),
        ("memory".into(), "512Mi".into()),
    ])
}

fn default_limits() -> BTreeMap<String, String> {
    BTreeMap::from([("memory".into(), "1Gi".into())])
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: ten_gibibytes(),
            storage_class_name: None,
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            requests: default_requests(),
            limits: default_limits(),
        }
    }
}

impl Default for Election {
    fn default() -> Self {
        Self {
            lease_duration_seconds: six(),
        }
    }
}

impl Default for Stomp {
    fn default() -> Self {
        Self {
            enabled: true,
            port: stomp_port(),
            maximum_connections: thousand(),
            max_frame_size: ten_mebibytes(),
            tls: None,
        }
    }
}

// === schemas of what Kubernetes itself checks when the pod is made ===

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn any_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 50,
                   "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } })
}
