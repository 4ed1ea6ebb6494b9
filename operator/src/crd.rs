//! The CustomResourceDefinition of `BrokerCluster` as a file for `kubectl apply`.
//!
//! `crds/brokerclusters.yaml` and the chart's copy are this text, byte for byte.

use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::api::BrokerCluster;

const HEAD: &str = "# BrokerCluster of TandemMQ. Made by `tandemmq-operator crd`; do not edit.\n";
/// Above it a floating-point number may stand for several integers.
const MOST_EXACT: f64 = 9.0e15;

/// The text.
///
/// # Errors
/// None that is known: a CRD is maps, lists, texts and numbers.
pub fn yaml() -> anyhow::Result<String> {
    // Through a JSON value: its maps are sorted, so that the text is the same on every machine.
    let mut crd = serde_json::to_value(BrokerCluster::crd())?;
    whole(&mut crd);
    Ok(format!("{HEAD}{}", serde_saphyr::to_string(&crd)?))
}

/// Bounds are floating-point numbers in the schema's type: `minimum: 2.0`. Whole ones are written as people
/// and the API server write them.
fn whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let exact = number.as_f64().filter(|float| {
                number.is_f64() && float.fract() == 0.0 && float.abs() < MOST_EXACT
            });
            if let Some(integer) = exact.and_then(|float| format!("{float:.0}").parse().ok()) {
                *number = integer;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(fields) => fields.values_mut().for_each(whole),
        _ => {}
    }
}
