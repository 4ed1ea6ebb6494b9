//! The group's Lease: made empty, filled by the brokers.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use crate::api::{BrokerCluster, Group};

use super::{metadata, name_of, names};

/// `C-G`. Only metadata is the operator's; what stands in it belongs to the brokers.
pub fn lease(cluster: &BrokerCluster, group: &Group) -> Lease {
    Lease {
        metadata: metadata(
            cluster,
            Some(group),
            names::group(name_of(cluster), &group.name),
        ),
        spec: Some(LeaseSpec::default()),
    }
}
