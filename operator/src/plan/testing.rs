//! A cluster for tests.

use crate::api::{BrokerCluster, BrokerClusterSpec, Group};

/// A group of three with all defaults.
pub(crate) fn group(name: &str) -> Group {
    serde_json::from_value(serde_json::json!({ "name": name })).unwrap()
}

/// `orders` in namespace `shop` with the groups a and b.
pub(crate) fn cluster() -> BrokerCluster {
    let spec: BrokerClusterSpec =
        serde_json::from_value(serde_json::json!({ "groups": [{"name": "a"}, {"name": "b"}] }))
            .unwrap();
    let mut cluster = BrokerCluster::new("orders", spec);
    cluster.metadata.namespace = Some("shop".into());
    cluster.metadata.uid = Some("75a017c9-066e-4912-b671-4cd999539f4a".into());
    cluster
}
