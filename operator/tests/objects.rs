//! Every object of a small and of a full cluster, as the operator writes it.
//!
//! The clusters are files that people apply, so these tests read them as the API server would, and the
//! objects are compared with files that a reader can look at: `operator/testdata/*.objects.yaml`.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod common;

use std::collections::BTreeMap;

use serde_json::Value;
use tandemmq_operator::api::BrokerCluster;
use tandemmq_operator::decide::wishes::{self, Matter};

use common::{read, same};

const UID: &str = "75a017c9-066e-4912-b671-4cd999539f4a";

/// The cluster of a file, as an API server would hand it out.
fn cluster(file: &str) -> BrokerCluster {
    let mut cluster: BrokerCluster =
        serde_saphyr::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    cluster.metadata.namespace = Some("shop".to_owned());
    cluster.metadata.uid = Some(UID.to_owned());
    cluster
}

/// Its objects. Certificates are random, and another test's.
fn objects(file: &str) -> Vec<Value> {
    let matter = Matter {
        images: &BTreeMap::new(),
        image: "registry.example.com/tandemmq:0.1.0",
        peers: None,
        random: &[7; 32],
    };
    let wishes = wishes::all(&cluster(file), &matter);
    wishes.into_iter().map(|wish| wish.child.body).collect()
}

fn pods(file: &str) -> Vec<Value> {
    let sets = objects(file).into_iter();
    let sets = sets.filter(|object| object["kind"] == "StatefulSet");
    sets.map(|set| set["spec"]["template"].clone()).collect()
}

const ALL: [&str; 3] = [
    "manifests/single.yaml",
    "manifests/orders.yaml",
    "operator/testdata/full.yaml",
];

fn golden(file: &str, objects_file: &str) {
    let documents: Vec<String> = objects(file)
        .iter()
        .map(|object| serde_saphyr::to_string(object).unwrap())
        .collect();
    same(
        &format!("operator/testdata/{objects_file}"),
        &documents.join("---\n"),
    );
}

#[test]
fn a_small_cluster_has_these_objects() {
    golden("manifests/single.yaml", "single.objects.yaml");
}

#[test]
fn a_full_cluster_has_these_objects() {
    golden("operator/testdata/full.yaml", "full.objects.yaml");
}

#[test]
fn every_object_goes_with_its_cluster_and_says_whose_it_is() {
    for object in ALL.iter().flat_map(|file| objects(file)) {
        let metadata = &object["metadata"];
        let name = &metadata["name"];
        let owner = &metadata["ownerReferences"][0];
        assert_eq!(owner["uid"], UID, "{name}");
        assert_eq!(owner["controller"], true, "{name}");
        assert_eq!(metadata["namespace"], "shop", "{name}");
        let labels = &metadata["labels"];
        assert_eq!(labels["app.kubernetes.io/managed-by"], "tandemmq-operator");
        assert_eq!(labels["tandemmq.io/cluster"], owner["name"], "{name}");
    }
}

/// The *restricted* Pod Security Standard, field by field.
#[test]
fn pods_keep_the_restricted_standard() {
    const VOLUMES: [&str; 2] = ["configMap", "secret"];
    for pod in ALL.iter().flat_map(|file| pods(file)) {
        let spec = &pod["spec"];
        for forbidden in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
            assert!(spec[forbidden].is_null(), "{forbidden}");
        }
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_ne!(spec["securityContext"]["runAsUser"], 0);
        for volume in spec["volumes"].as_array().unwrap() {
            let kinds = volume.as_object().unwrap().keys();
            let mut kinds = kinds.filter(|key| *key != "name");
            assert!(
                kinds.all(|kind| VOLUMES.contains(&kind.as_str())),
                "{volume}"
            );
        }
        for container in spec["containers"].as_array().unwrap() {
            let own = &container["securityContext"];
            assert_eq!(own["allowPrivilegeEscalation"], false);
            assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]));
            assert!(own["capabilities"]["add"].is_null());
            assert_eq!(own["seccompProfile"]["type"], "RuntimeDefault");
            assert_eq!(own["readOnlyRootFilesystem"], true);
            assert!(own["privileged"].is_null());
            for port in container["ports"].as_array().unwrap() {
                assert!(port["hostPort"].is_null());
            }
        }
    }
}

#[test]
fn a_brokers_account_may_touch_its_own_group_by_name_and_nothing_else() {
    let allowed = [
        ("leases", vec!["get", "list", "watch", "update"]),
        ("persistentvolumeclaims", vec!["get"]),
        ("pods", vec!["patch"]),
    ];
    let roles = ALL.iter().flat_map(|file| objects(file));
    let roles: Vec<Value> = roles.filter(|object| object["kind"] == "Role").collect();
    assert!(!roles.is_empty());
    for role in roles {
        let group = role["metadata"]["name"].as_str().unwrap();
        let rules = role["rules"].as_array().unwrap();
        assert_eq!(rules.len(), allowed.len(), "{group}");
        for (rule, (resource, verbs)) in rules.iter().zip(&allowed) {
            assert_eq!(rule["resources"], serde_json::json!([resource]));
            assert_eq!(rule["verbs"], serde_json::json!(verbs));
            let names = rule["resourceNames"].as_array().unwrap();
            assert!(!names.is_empty(), "{group}: {resource}: any name");
            for name in names {
                let name = name.as_str().unwrap().trim_start_matches("data-");
                let ordinal = name.strip_prefix(group).unwrap();
                assert!(
                    ordinal.is_empty() || ordinal[1..].parse::<u8>().is_ok(),
                    "{name}"
                );
            }
        }
    }
}

/// Secrets come as files only: arguments and variables are seen by whoever may see the pod.
#[test]
fn no_secret_is_in_an_argument_a_variable_or_the_configuration() {
    for file in ALL {
        let password = "HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH";
        let texts: Vec<String> = objects(file)
            .iter()
            .filter(|object| object["kind"] != "Secret")
            .map(Value::to_string)
            .collect();
        assert!(texts.iter().all(|text| !text.contains(password)), "{file}");
        for pod in pods(file) {
            let container = &pod["spec"]["containers"][0];
            assert!(container["envFrom"].is_null(), "{file}");
            for variable in container["env"].as_array().unwrap() {
                assert!(variable["valueFrom"]["fieldRef"].is_object(), "{variable}");
            }
        }
    }
}

/// A made password is in the Secret, so that the test above would find it anywhere else.
#[test]
fn a_login_is_made_unless_the_spec_brings_one() {
    let secrets = |file| {
        let all = objects(file).into_iter();
        all.filter(|object| object["kind"] == "Secret").count()
    };
    assert_eq!(secrets("manifests/orders.yaml"), 1);
    assert_eq!(secrets("operator/testdata/full.yaml"), 0);
    let made = objects("manifests/orders.yaml").remove(0);
    // Base64 of 32 times H.
    let password = format!("{}SEg=", "SEhI".repeat(10));
    assert_eq!(made["data"]["password"], Value::String(password));
}

/// What nobody chose must not restart a broker when the operator is upgraded.
#[test]
fn a_group_keeps_its_image_until_the_spec_says_otherwise() {
    let running = BTreeMap::from([("a".to_owned(), "tandemmq:old".to_owned())]);
    let image_of = |file: &str| {
        let matter = Matter {
            images: &running,
            image: "tandemmq:new",
            peers: None,
            random: &[0; 32],
        };
        let wishes = wishes::all(&cluster(file), &matter).into_iter();
        let sets = wishes
            .map(|w| w.child.body)
            .filter(|o| o["kind"] == "StatefulSet");
        let images = sets.map(|s| s["spec"]["template"]["spec"]["containers"][0]["image"].clone());
        images.collect::<Vec<_>>()
    };
    assert_eq!(
        image_of("manifests/orders.yaml"),
        ["tandemmq:old", "tandemmq:new"]
    );
    let chosen = "registry.example.com/tandemmq:0.1.0";
    assert_eq!(image_of("operator/testdata/full.yaml"), [chosen, chosen]);
}

#[test]
fn the_operators_labels_win_over_the_users() {
    for pod in pods("operator/testdata/full.yaml") {
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels["team"], "payments");
        assert_eq!(labels["tandemmq.io/cluster"], "full");
        // Written by the broker alone: in a template it would make a restarted pod master at once.
        assert!(labels["tandemmq.io/role"].is_null());
        let annotations = &pod["metadata"]["annotations"];
        assert_ne!(annotations["tandemmq.io/config-hash"], "mine");
    }
}
