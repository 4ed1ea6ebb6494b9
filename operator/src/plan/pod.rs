//! The broker's pod: non-root, read-only root, no right it does not need (the *restricted* standard).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::{BrokerCluster, Group};

use super::config_map::{AUTH, DATA, FOLDER, PEERS, STOMP};
use super::{METRICS_PORT, PEERS_PORT, labels, name_of, names, secrets};

/// Hash of what only a restart takes up.
pub const CONFIG_HASH: &str = "tandemmq.io/config-hash";
/// The container's name.
pub const CONTAINER: &str = "broker";
/// User and group of the process.
const UID: i64 = 10_001;
/// A hand-over takes 5 s at most; the rest is for a slow disk at the end.
const GRACE_SECONDS: i64 = 30;
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The template of a group's pods. `image` is what they run; `config` is the text of their file.
pub fn template(
    cluster: &BrokerCluster,
    group: &Group,
    image: &str,
    config: &str,
) -> PodTemplateSpec {
    let own = &cluster.spec.pod_template;
    let mut all_labels = own.labels.clone();
    all_labels.extend(labels::of(name_of(cluster), Some(&group.name)));
    let mut annotations = own.annotations.clone();
    annotations.insert(CONFIG_HASH.to_owned(), hash_of(config));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(cluster, group, image)),
    }
}

/// FNV-1a: it only has to change when the text does.
fn hash_of(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn spec(cluster: &BrokerCluster, group: &Group, image: &str) -> PodSpec {
    let own = &cluster.spec;
    let placement = &group.placement;
    let selector = labels::selector(name_of(cluster), Some(&group.name));
    PodSpec {
        service_account_name: Some(names::group(name_of(cluster), &group.name)),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        priority_class_name: own.pod_template.priority_class_name.clone(),
        image_pull_secrets: some(own.image_pull_secrets.clone()),
        node_selector: (!placement.node_selector.is_empty())
            .then(|| placement.node_selector.clone()),
        tolerations: some(placement.tolerations.clone()),
        affinity: placement
            .affinity
            .clone()
            .or_else(|| Some(apart(&selector))),
        topology_spread_constraints: placement
            .topology_spread_constraints
            .clone()
            .or_else(|| Some(vec![spread(selector)])),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(UID),
            run_as_group: Some(UID),
            fs_group: Some(UID),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(cluster, group, image)],
        volumes: Some(volumes(cluster, group)),
        ..PodSpec::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    }
}

/// Brokers of a group prefer different nodes, and still run when there are too few.
fn apart(selector: &BTreeMap<String, String>) -> Affinity {
    let term = PodAffinityTerm {
        topology_key: HOSTNAME.to_owned(),
        label_selector: Some(matching(selector.clone())),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: term,
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn spread(selector: BTreeMap<String, String>) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: HOSTNAME.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(matching(selector)),
        ..TopologySpreadConstraint::default()
    }
}

fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

fn container(cluster: &BrokerCluster, group: &Group, image: &str) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(cluster.spec.image_pull_policy.as_str().to_owned()),
        args: Some(arguments()),
        env: Some(vec![
            downward("POD_NAME", "metadata.name"),
            downward("POD_UID", "metadata.uid"),
        ]),
        ports: Some(vec![
            port("stomp", cluster.spec.transports.stomp.port),
            port("peers", PEERS_PORT),
            port("metrics", METRICS_PORT),
        ]),
        // A journal of many gigabytes takes its time to be read; nothing else waits so long.
        startup_probe: Some(probe("/healthz", 2, 300)),
        liveness_probe: Some(probe("/healthz", 5, 6)),
        readiness_probe: Some(probe("/readyz", 1, 2)),
        resources: Some(resources(group)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(cluster)),
        ..Container::default()
    }
}

fn arguments() -> Vec<String> {
    [
        "serve",
        "--config",
        "/etc/tandemmq/broker.toml",
        "--broker-name",
        "$(POD_NAME)",
        "--pod-uid",
        "$(POD_UID)",
        "--log-format",
        "json",
    ]
    .map(str::to_owned)
    .into()
}

fn downward(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        timeout_seconds: Some(1),
        ..Probe::default()
    }
}

fn resources(group: &Group) -> ResourceRequirements {
    let quantities = |all: &BTreeMap<String, String>| {
        let pairs = all
            .iter()
            .map(|(key, value)| (key.clone(), Quantity(value.clone())));
        (!all.is_empty()).then(|| pairs.collect())
    };
    ResourceRequirements {
        requests: quantities(&group.resources.requests),
        limits: quantities(&group.resources.limits),
        ..ResourceRequirements::default()
    }
}

fn mounts(cluster: &BrokerCluster) -> Vec<VolumeMount> {
    let read_only = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let mut all = vec![
        VolumeMount {
            name: "data".to_owned(),
            mount_path: DATA.to_owned(),
            ..VolumeMount::default()
        },
        read_only("config", FOLDER),
        read_only("peers", PEERS),
    ];
    if secrets::users_secret(cluster).is_some() {
        all.push(read_only("auth", AUTH));
    }
    if cluster.spec.transports.stomp.tls.is_some() {
        all.push(read_only("stomp-tls", STOMP));
    }
    all
}

fn volumes(cluster: &BrokerCluster, group: &Group) -> Vec<Volume> {
    let config = Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::group(name_of(cluster), &group.name),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let own_crt = format!("{}.crt", group.name);
    let own_key = format!("{}.key", group.name);
    // The key of the CA and the other groups' stay outside.
    let peers = secret(
        "peers",
        names::peers(name_of(cluster)),
        &[
            ("ca.crt", "ca.crt"),
            (&own_crt, "tls.crt"),
            (&own_key, "tls.key"),
        ],
    );
    let mut all = vec![config, peers];
    if let Some(users) = secrets::users_secret(cluster) {
        all.push(secret("auth", users, &[("users", "users")]));
    }
    if let Some(tls) = &cluster.spec.transports.stomp.tls {
        let files = [("tls.crt", "tls.crt"), ("tls.key", "tls.key")];
        all.push(secret("stomp-tls", tls.secret_ref.name.clone(), &files));
    }
    all
}

fn secret(name: &str, secret_name: String, items: &[(&str, &str)]) -> Volume {
    let item = |(key, path): &(&str, &str)| KeyToPath {
        key: (*key).to_owned(),
        path: (*path).to_owned(),
        mode: None,
    };
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret_name),
            items: Some(items.iter().map(item).collect()),
            // The group may read: the process is neither owner nor root.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
