//! The brokers' configuration: one file for all pods of a group.
//!
//! Which of `[[members]]` a pod is, it is told on its command line. What this file says takes effect
//! at a restart, so its hash is in the pod template.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use crate::api::{BrokerCluster, Group, bytes_of};

use super::{METRICS_PORT, PEERS_PORT, metadata, name_of, names, namespace_of};

/// The key, and the file's name below [`FOLDER`].
pub const KEY: &str = "broker.toml";
/// Where the ConfigMap is mounted.
pub const FOLDER: &str = "/etc/tandemmq";
/// Where the volume is mounted.
pub const DATA: &str = "/var/lib/tandemmq";
/// Below [`DATA`]: a volume's root may hold `lost+found`, and belongs to the storage system.
const DATA_DIR: &str = "/var/lib/tandemmq/broker";
/// Where the login file is mounted.
pub const AUTH: &str = "/etc/tandemmq-auth";
/// Where the certificates of peers are mounted.
pub const PEERS: &str = "/etc/tandemmq-peers";
/// Where the certificate for clients is mounted.
pub const STOMP: &str = "/etc/tandemmq-stomp";

const MIB: u64 = 1024 * 1024;

/// The ConfigMap of a group.
pub fn config_map(cluster: &BrokerCluster, group: &Group) -> ConfigMap {
    ConfigMap {
        metadata: metadata(
            cluster,
            Some(group),
            names::group(name_of(cluster), &group.name),
        ),
        data: Some([(KEY.to_owned(), text(cluster, group))].into()),
        ..ConfigMap::default()
    }
}

/// The file.
pub fn text(cluster: &BrokerCluster, group: &Group) -> String {
    let file = File::new(cluster, group);
    toml::to_string(&file).expect("texts, numbers and tables are TOML")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    group: &'a str,
    data_dir: &'a str,
    addresses: Addresses,
    kubernetes: Kubernetes<'a>,
    election: Election,
    journal: Journal,
    transports: Transports,
    auth: Auth,
    tls: Tls,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Addresses {
    stomp: String,
    peers: String,
    metrics: String,
}

#[derive(Serialize)]
struct Kubernetes<'a> {
    namespace: &'a str,
    lease: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Election {
    lease_duration_seconds: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Journal {
    max_bytes: u64,
    segment_bytes: u64,
    reserve_bytes: u64,
    retain_bytes: u64,
}

#[derive(Serialize)]
struct Transports {
    stomp: Stomp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stomp {
    maximum_connections: u32,
    max_frame_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<CertificateFiles>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateFiles {
    cert_file: String,
    key_file: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Auth {
    #[serde(rename_all = "camelCase")]
    Users {
        users_file: String,
    },
    Anonymous {
        anonymous: bool,
    },
}

#[derive(Serialize)]
struct Tls {
    peers: PeersTls,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeersTls {
    cert_file: String,
    key_file: String,
    ca_file: String,
    name: String,
}

#[derive(Serialize)]
struct Member {
    name: String,
    peers: String,
}

// === impl File ===

impl<'a> File<'a> {
    fn new(cluster: &'a BrokerCluster, group: &'a Group) -> Self {
        let stomp = &cluster.spec.transports.stomp;
        let any = |port: u16| format!("0.0.0.0:{port}");
        Self {
            group: &group.name,
            data_dir: DATA_DIR,
            addresses: Addresses {
                stomp: any(stomp.port),
                peers: any(PEERS_PORT),
                metrics: any(METRICS_PORT),
            },
            kubernetes: Kubernetes {
                namespace: namespace_of(cluster),
                lease: names::group(name_of(cluster), &group.name),
            },
            election: Election {
                lease_duration_seconds: cluster.spec.election.lease_duration_seconds,
            },
            journal: Journal::of_volume(bytes_of(&group.storage.size).unwrap_or_default()),
            transports: Transports {
                stomp: Stomp {
                    maximum_connections: stomp.maximum_connections,
                    max_frame_size: bytes_of(&stomp.max_frame_size).unwrap_or(10 * MIB),
                    tls: stomp.tls.is_some().then(|| CertificateFiles {
                        cert_file: format!("{STOMP}/tls.crt"),
                        key_file: format!("{STOMP}/tls.key"),
                    }),
                },
            },
            auth: match cluster.spec.auth.anonymous {
                true => Auth::Anonymous { anonymous: true },
                false => Auth::Users {
                    users_file: format!("{AUTH}/users"),
                },
            },
            tls: Tls {
                peers: PeersTls {
                    cert_file: format!("{PEERS}/tls.crt"),
                    key_file: format!("{PEERS}/tls.key"),
                    ca_file: format!("{PEERS}/ca.crt"),
                    name: names::peers_dns(cluster, &group.name),
                },
            },
            members: members(cluster, group),
        }
    }
}

impl Journal {
    /// Nine tenths of the volume: a file system needs some room itself, and what is set aside after
    /// damage does not count. A segment is at most a thirty-second of it, so that a journal has
    /// segments enough to free one while others are in use.
    fn of_volume(bytes: u64) -> Self {
        let max_bytes = bytes / 10 * 9;
        let part = (max_bytes / 32 / MIB * MIB).clamp(MIB, 64 * MIB);
        Self {
            max_bytes,
            segment_bytes: part,
            reserve_bytes: part.max(8 * MIB),
            retain_bytes: (max_bytes / 4).min(512 * MIB),
        }
    }
}

fn members(cluster: &BrokerCluster, group: &Group) -> Vec<Member> {
    let nodes = names::nodes(name_of(cluster), &group.name);
    names::pods(cluster, group)
        .into_iter()
        .map(|name| Member {
            peers: format!("{name}.{nodes}:{PEERS_PORT}"),
            name,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_volumes_get_small_segments_and_keep_the_brokers_minimum() {
        for gib in [256 * MIB, 1024 * MIB, 10 << 30, 1 << 40] {
            let journal = Journal::of_volume(gib);
            let least = journal.reserve_bytes + 2 * journal.segment_bytes;
            assert!(journal.max_bytes >= least, "{gib}");
            assert!((MIB..=64 * MIB).contains(&journal.segment_bytes), "{gib}");
            assert!(journal.reserve_bytes >= 8 * MIB, "{gib}");
        }
        assert_eq!(Journal::of_volume(10 << 30).segment_bytes, 64 * MIB);
    }
}
