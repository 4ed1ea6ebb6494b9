//! The CRD that is applied is the one that the program was built with.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod common;

use std::process::Command;

use common::{read, same};

/// The last-applied annotation of `kubectl apply` holds 256 KiB, and people read this file.
const MOST_BYTES: usize = 100_000;

fn printed() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tandemmq-operator"))
        .arg("crd")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn crds_and_the_charts_copy_are_what_the_program_prints() {
    let printed = printed();
    same("crds/brokerclusters.yaml", &printed);
    same("charts/tandemmq/files/brokerclusters.yaml", &printed);
}

#[test]
fn the_crd_stays_small() {
    let bytes = printed().len();
    assert!(bytes < MOST_BYTES, "{bytes}");
}

/// `manifests/install.yaml` is made by Helm, which `make test` does not have; its part that is the
/// CRD can be compared without.
#[test]
fn the_plain_manifests_hold_the_same_schema() {
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&read("manifests/install.yaml")).unwrap();
    let held: Vec<_> = documents
        .iter()
        .filter(|document| document["kind"] == "CustomResourceDefinition")
        .collect();
    let own: serde_json::Value = serde_saphyr::from_str(&printed()).unwrap();
    assert_eq!(held.len(), 1);
    assert!(held[0]["spec"] == own["spec"], "run tools/render-install");
}

/// `kubectl explain` is the manual of the kind.
#[test]
fn every_field_of_the_spec_is_explained() {
    let own: serde_json::Value = serde_saphyr::from_str(&printed()).unwrap();
    let root = &own["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut silent = Vec::new();
    for part in ["spec", "status"] {
        unexplained(&root["properties"][part], part, &mut silent);
    }
    assert!(
        silent.is_empty(),
        "fields without a description: {silent:?}"
    );
}

/// Fields below `schema` that say nothing. What Kubernetes defines itself, it explains itself.
fn unexplained(schema: &serde_json::Value, at: &str, silent: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            silent.push(at.clone());
        }
        unexplained(field, &at, silent);
        unexplained(&field["items"], &at, silent);
    }
}
