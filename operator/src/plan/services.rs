//! Services: every broker by name, the group's master, all masters.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::{BrokerCluster, Group};

use super::{METRICS_PORT, PEERS_PORT, labels, metadata, name_of, names};

/// `C-G-nodes`: a name for each broker, from its first moment on. Brokers find each other by it before
/// anybody is ready, and clients list all of them.
pub fn nodes(cluster: &BrokerCluster, group: &Group) -> Service {
    Service {
        metadata: metadata(
            cluster,
            Some(group),
            names::nodes(name_of(cluster), &group.name),
        ),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::selector(name_of(cluster), Some(&group.name))),
            ports: Some(vec![
                stomp(cluster),
                port("peers", PEERS_PORT),
                port("metrics", METRICS_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// `C-G`: whoever is master of the group.
pub fn master(cluster: &BrokerCluster, group: &Group) -> Service {
    let name = names::group(name_of(cluster), &group.name);
    of_masters(cluster, Some(group), name)
}

/// `C-masters`: the masters of all groups.
pub fn masters(cluster: &BrokerCluster) -> Service {
    of_masters(cluster, None, names::masters(name_of(cluster)))
}

fn of_masters(cluster: &BrokerCluster, group: Option<&Group>, name: String) -> Service {
    let selector: BTreeMap<_, _> =
        labels::masters(name_of(cluster), group.map(|group| group.name.as_str()));
    Service {
        metadata: metadata(cluster, group, name),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector),
            ports: Some(vec![stomp(cluster)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn stomp(cluster: &BrokerCluster) -> ServicePort {
    port("stomp", cluster.spec.transports.stomp.port)
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
