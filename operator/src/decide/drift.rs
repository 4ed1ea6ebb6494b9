//! Is a live object still what the operator wants of it?
//!
//! Two questions, both must be yes, or it is applied:
//! - *Was the newest wish applied?* The annotation `tandemmq.io/applied` holds a hash of the whole
//!   wish. It notices what a wish does **not** contain any more.
//! - *Does it still hold?* Everything wished for is in the live object (`holds`). It notices what
//!   somebody changed or took away.
//!
//! What others add (fields, labels, list entries with a name of their own) is theirs and stays.
//! The comparison knows how the API server rewrites a wish: defaults are added, quantities get
//! their canonical form, empty objects and lists may vanish.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use crate::api::bytes_of;

/// The annotation with the hash of the wish.
pub const APPLIED: &str = "tandemmq.io/applied";

/// Writes the hash of a wish into its own annotation.
pub fn stamp(wish: &mut Value) {
    let hash = fingerprint(wish);
    let metadata = object(wish, "metadata");
    if !metadata.get("annotations").is_some_and(Value::is_object) {
        metadata.insert("annotations".into(), Value::Object(Map::new()));
    }
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.insert(APPLIED.into(), Value::String(hash));
    }
}

fn object<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let map = value.as_object_mut().expect("an object of Kubernetes");
    map.entry(key)
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
        .expect("metadata is an object")
}

/// A hash that means something between builds of this operator: only equality counts, and a
/// difference costs one apply that changes nothing.
fn fingerprint(wish: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    // serde_json's maps are sorted.
    wish.to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Whether all of `wish` is in `live`. They are of one kind: an entry of a list, as the API server
/// sends it, does not say so again.
#[must_use]
pub fn holds(wish: &Value, live: &Value) -> bool {
    let Some(fields) = wish.as_object() else {
        return false;
    };
    fields
        .iter()
        .filter(|(key, _)| !["apiVersion", "kind"].contains(&key.as_str()))
        .all(|(key, value)| within(inner("", key), value, live.get(key)))
}

/// `at`: the key that leads here; it decides what the entries of a list are named by.
fn within(at: &str, wish: &Value, live: Option<&Value>) -> bool {
    let Some(live) = live else {
        return is_nothing(wish);
    };
    match (wish, live) {
        (Value::Object(wish), Value::Object(live)) => wish
            .iter()
            .all(|(key, value)| within(inner(at, key), value, live.get(key))),
        (Value::Array(wish), Value::Array(live)) => lists(at, wish, live),
        (Value::String(wish), Value::String(live)) => {
            wish == live || at == QUANTITIES && same_quantity(wish, live)
        }
        (Value::Null, _) => true,
        _ => wish == live,
    }
}

/// The mark of a map whose values are quantities.
const QUANTITIES: &str = "(quantities)";

fn inner<'a>(at: &str, key: &'a str) -> &'a str {
    match key {
        "requests" | "limits" => QUANTITIES,
        _ if at == QUANTITIES => QUANTITIES,
        _ => key,
    }
}

fn is_nothing(wish: &Value) -> bool {
    match wish {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// The fields that name an entry, where Kubernetes merges lists by name.
fn named_by(at: &str) -> Option<&'static [&'static str]> {
    Some(match at {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "ports" => &["port", "containerPort", "protocol"],
        "ownerReferences" => &["uid"],
        _ => return None,
    })
}

fn lists(at: &str, wish: &[Value], live: &[Value]) -> bool {
    let Some(names) = named_by(at) else {
        // Kubernetes replaces such a list as a whole.
        let mut pairs = wish.iter().zip(live);
        return wish.len() == live.len() && pairs.all(|(w, l)| within("", w, Some(l)));
    };
    wish.iter().all(|wanted| {
        let same = |found: &&Value| {
            names
                .iter()
                .all(|n| wanted.get(n).is_none_or(|w| found.get(n) == Some(w)))
        };
        within("", wanted, live.iter().find(same))
    })
}

/// Whether two texts are one quantity: the API server writes 1000m as 1 and 1024Mi as 1Gi.
fn same_quantity(a: &str, b: &str) -> bool {
    let thousandths = |text: &str| -> Option<u128> {
        if let Some(milli) = text.strip_suffix('m') {
            return milli.parse().ok();
        }
        // "0.5" of a CPU is no number of bytes.
        if let Some((whole, fraction)) = text.split_once('.')
            && fraction.bytes().all(|b| b.is_ascii_digit())
            && fraction.len() <= 3
        {
            return format!("{whole}{fraction:0<3}").parse().ok();
        }
        bytes_of(text).map(|bytes| u128::from(bytes) * 1000)
    };
    match (thousandths(a), thousandths(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_and_foreign_fields_are_no_drift() {
        let wish = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"ports": [{"port": 1, "name": "x"}]}});
        let live = json!({"metadata": {"labels": {"a": "1", "theirs": "2"}, "uid": "u"},
            "spec": {"type": "ClusterIP", "ports": [{"port": 9}, {"port": 1, "name": "x", "protocol": "TCP"}]}});
        assert!(holds(&wish, &live));
    }

    #[test]
    fn an_object_out_of_a_list_does_not_name_its_kind() {
        let wish = json!({"apiVersion": "v1", "kind": "Service", "spec": {"a": 1}});
        assert!(holds(&wish, &json!({"spec": {"a": 1}})));
        assert!(!holds(&wish, &json!({"spec": {"a": 2}})));
    }

    #[test]
    fn a_changed_or_missing_field_is_drift() {
        let wish = json!({"spec": {"replicas": 3, "selector": {"a": "b"}}});
        assert!(!holds(
            &wish,
            &json!({"spec": {"replicas": 2, "selector": {"a": "b"}}})
        ));
        assert!(!holds(&wish, &json!({"spec": {"replicas": 3}})));
        assert!(!holds(&json!({"enableServiceLinks": false}), &json!({})));
    }

    #[test]
    fn lists_without_names_are_compared_as_a_whole() {
        let wish = json!({"rules": [{"verbs": ["get", "list"]}]});
        assert!(holds(&wish, &wish.clone()));
        assert!(!holds(
            &wish,
            &json!({"rules": [{"verbs": ["get", "list", "delete"]}]})
        ));
        let more = json!({"rules": [{"verbs": ["get", "list"]}, {"verbs": ["*"]}]});
        assert!(!holds(&wish, &more));
        let args = json!({"args": ["a", "b"]});
        assert!(!holds(&args, &json!({"args": ["b", "a"]})));
    }

    #[test]
    fn quantities_are_compared_by_value_and_only_where_they_are_quantities() {
        let wish = json!({"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}});
        let live = json!({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}});
        assert!(holds(&wish, &live));
        let half = json!({"limits": {"cpu": "0.5"}});
        assert!(holds(&half, &json!({"limits": {"cpu": "500m"}})));
        assert!(!holds(&half, &json!({"limits": {"cpu": "501m"}})));
        assert!(!holds(
            &json!({"labels": {"x": "1000m"}}),
            &json!({"labels": {"x": "1"}})
        ));
    }

    #[test]
    fn empty_things_may_vanish() {
        let wish = json!({"emptyDir": {}, "list": [], "nothing": null});
        assert!(holds(&wish, &json!({})));
    }

    #[test]
    fn a_wish_without_a_field_has_another_stamp() {
        let mut with = json!({"metadata": {}, "spec": {"a": 1, "b": 2}});
        let mut without = json!({"metadata": {}, "spec": {"a": 1}});
        stamp(&mut with);
        stamp(&mut without);
        assert!(!holds(&without, &with), "the annotation tells them apart");
        let again = without.clone();
        assert!(holds(&without, &again));
    }
}
