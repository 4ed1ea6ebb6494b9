//! A BrokerCluster whose spec cannot be read: the API server took it, because the schema leaves
//! parts of a pod open (tolerations, affinity). Its groups are left as they are, and a condition
//! says what is wrong.

use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, ResourceExt};

use crate::api::{BrokerCluster, BrokerClusterStatus, Reason};
use crate::decide::conditions::{self, Facts, Problem};

/// Reads a BrokerCluster.
///
/// # Errors
/// Says what of it cannot be read.
pub(super) fn read(object: &DynamicObject) -> Result<BrokerCluster, String> {
    let value = serde_json::to_value(object).map_err(|e| e.to_string())?;
    serde_json::from_value(value).map_err(|e| e.to_string())
}

/// Writes the condition, unless it is there. Returns whether it is.
pub(super) async fn tell(client: &Client, object: &DynamicObject, why: &str) -> bool {
    let Some(told) = with_condition(object, why, Timestamp::now()) else {
        return true;
    };
    let namespace = object.namespace().unwrap_or_default();
    let resource = ApiResource::erase::<BrokerCluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let name = object.name_any();
    match api
        .replace_status(&name, &PostParams::default(), &told)
        .await
    {
        Ok(_) => {
            tracing::warn!(cluster = name, namespace, "the spec cannot be read: {why}");
            true
        }
        Err(error) => {
            tracing::debug!(%error, cluster = name, namespace, "not told; trying again");
            false
        }
    }
}

/// The object with the condition; none when it has it already.
fn with_condition(object: &DynamicObject, why: &str, now: Timestamp) -> Option<DynamicObject> {
    let old = object.data.get("status").cloned().unwrap_or_default();
    let old: BrokerClusterStatus = serde_json::from_value(old).unwrap_or_default();
    let text = format!("the spec cannot be read, its groups are left as they are: {why}");
    let facts = Facts {
        groups: &old.groups,
        problems: &[Problem::new(Reason::InvalidSpec, text)],
        paused: false,
        generation: object.metadata.generation,
        now,
    };
    let new = BrokerClusterStatus {
        conditions: conditions::decide(&facts, &old.conditions),
        ..old.clone()
    };
    if new == old {
        return None;
    }
    let mut told = object.clone();
    let resource = ApiResource::erase::<BrokerCluster>(&());
    // An entry of a list comes without them.
    told.types = Some(kube::api::TypeMeta {
        api_version: resource.api_version,
        kind: resource.kind,
    });
    told.data["status"] = serde_json::to_value(new).expect("a status is JSON");
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(tolerations: &serde_json::Value) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "orders", "namespace": "shop", "generation": 2},
            "spec": {"groups": [{"name": "a", "placement": {"tolerations": tolerations}}]},
            "status": {"observedGeneration": 1, "masters": "a=orders-a-0",
                "groups": [{"name": "a", "founding": {"id": "g1", "incarnations": ["0/a"]}}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_spec_that_cannot_be_read_is_told_once_and_nothing_else_is_changed() {
        let broken = object(&json!([{"tolerationSeconds": "soon"}]));
        let why = read(&broken).unwrap_err();
        let told = with_condition(&broken, &why, Timestamp::UNIX_EPOCH).unwrap();
        let status: BrokerClusterStatus =
            serde_json::from_value(told.data["status"].clone()).unwrap();
        assert_eq!(status.observed_generation, Some(1), "not acted upon");
        assert_eq!(status.groups[0].founding.as_ref().unwrap().id, "g1");
        assert_eq!(status.conditions[0].reason, "InvalidSpec");
        assert!(status.conditions[0].message.contains("soon"));
        assert!(with_condition(&told, &why, Timestamp::UNIX_EPOCH).is_none());
    }

    #[test]
    fn one_out_of_a_list_that_does_not_name_its_kind_is_read() {
        let whole = object(&json!([{"key": "x", "operator": "Exists"}]));
        assert_eq!(read(&whole).unwrap().spec.groups[0].name, "a");
    }
}
