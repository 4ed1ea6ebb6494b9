//! Who may reach the pods: anybody the client ports and the metrics, the group's own pods the peers.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::{BrokerCluster, Group};

use super::{labels, metadata, name_of, names};

/// `C-G`, when it is asked for.
pub fn network_policy(cluster: &BrokerCluster, group: &Group) -> Option<NetworkPolicy> {
    let own = LabelSelector {
        match_labels: Some(labels::selector(name_of(cluster), Some(&group.name))),
        ..LabelSelector::default()
    };
    let group_only = NetworkPolicyPeer {
        pod_selector: Some(own.clone()),
        ..NetworkPolicyPeer::default()
    };
    cluster.spec.network_policy.enabled.then(|| NetworkPolicy {
        metadata: metadata(
            cluster,
            Some(group),
            names::group(name_of(cluster), &group.name),
        ),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(own),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule {
                    ports: Some(vec![port("stomp"), port("metrics")]),
                    from: None,
                },
                NetworkPolicyIngressRule {
                    ports: Some(vec![port("peers")]),
                    from: Some(vec![group_only]),
                },
            ]),
            egress: None,
        }),
    })
}

fn port(name: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}
