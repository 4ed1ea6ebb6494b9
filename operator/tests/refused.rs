//! Specs that the API server refuses, and the sentence it refuses each with: `operator/testdata/refused`.
//!
//! A file begins with `# expect: <part of the answer>`. Its last document is refused; one before it is
//! accepted and then changed by the last. A real API server answers them in the end-to-end tests; here the
//! schema's own rules are tried, and that none is without such a file.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;

use kube::core::cel::{ValidationErrors, validate_cel, validate_cel_update};
use serde_json::{Value, json};
use tandemmq_operator::api::BrokerCluster;
use tandemmq_operator::crd;

const FOLDER: &str = "operator/testdata/refused";
const EXPECT: &str = "# expect: ";
/// Judged against the status, which no file can hold.
const KEPT: &str = "a group that was taken out of the list still exists with its old number of replicas: \
     put it in again with that number, or let it be deleted first with the annotation \
     tandemmq.io/delete-group=<name>";

/// Name, what is expected, documents.
fn files() -> Vec<(String, String, Vec<Value>)> {
    let entries = fs::read_dir(common::path(FOLDER)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let file = |name: String| {
        let text = common::read(&format!("{FOLDER}/{name}"));
        let first = text.lines().next().unwrap_or_default();
        let expected = first.strip_prefix(EXPECT);
        let expected = expected.unwrap_or_else(|| panic!("{name} does not begin with {EXPECT}"));
        let documents = serde_saphyr::from_multiple(&text).unwrap();
        (name, expected.to_owned(), documents)
    };
    names.into_iter().map(file).collect()
}

/// The sentences of all rules below a schema.
fn messages(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let rules = fields.get("x-kubernetes-validations");
            for rule in rules.and_then(Value::as_array).into_iter().flatten() {
                let message = rule["message"].as_str().expect("a rule has a sentence");
                into.insert(message.to_owned());
            }
            fields.values().for_each(|field| messages(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| messages(item, into)),
        _ => {}
    }
}

fn rules() -> BTreeSet<String> {
    let crd: Value = serde_saphyr::from_str(&crd::yaml().unwrap()).unwrap();
    let mut rules = BTreeSet::new();
    messages(&crd, &mut rules);
    assert!(rules.len() > 10, "{rules:?}");
    rules
}

/// The cluster with all defaults, as the API server completes it before it checks.
fn complete(document: &Value) -> BrokerCluster {
    serde_json::from_value(document.clone()).unwrap()
}

fn sentences(result: Result<(), ValidationErrors>) -> Vec<String> {
    let errors = result.err().into_iter();
    let errors = errors.flat_map(ValidationErrors::into_vec);
    errors.map(|error| error.message).collect()
}

#[test]
fn every_rule_of_the_schema_has_a_spec_that_it_refuses() {
    let expected: BTreeSet<String> = files().into_iter().map(|(_, text, _)| text).collect();
    let rules = rules();
    let mut untried = rules.difference(&expected).filter(|rule| *rule != KEPT);
    assert_eq!(untried.next(), None, "no file in {FOLDER} expects it");
}

/// Bounds and unknown fields are refused in the API server's own words, and only it says them.
#[test]
fn the_rules_refuse_these_specs_with_their_sentence() {
    let rules = rules();
    let by_rule = |(_, expected, _): &(String, String, Vec<Value>)| rules.contains(expected);
    for (name, expected, documents) in files().into_iter().filter(by_rule) {
        let said = match &documents[..] {
            [wrong] => sentences(validate_cel(&complete(wrong))),
            [before, after] => {
                let (before, after) = (complete(before), complete(after));
                assert_eq!(sentences(validate_cel(&before)), [""; 0], "{name}");
                sentences(validate_cel_update(&after, &before))
            }
            _ => panic!("{name}: {} documents", documents.len()),
        };
        assert!(said.contains(&expected), "{name}: {said:?}");
    }
}

#[test]
fn the_samples_are_not_refused() {
    for file in [
        "manifests/orders.yaml",
        "manifests/single.yaml",
        "operator/testdata/full.yaml",
    ] {
        let document: Value = serde_saphyr::from_str(&common::read(file)).unwrap();
        let said = sentences(validate_cel(&complete(&document)));
        assert_eq!(said, [""; 0], "{file}");
    }
}

/// Taken out of the list and put in again, a group is the same one to its brokers. With another number
/// of members, some would count a majority of three while others count one of five.
#[test]
fn a_group_that_was_taken_out_comes_back_with_its_old_number_of_replicas() {
    let cluster = |replicas: u8| {
        complete(&json!({
            "apiVersion": "tandemmq.io/v1alpha1",
            "kind": "BrokerCluster",
            "metadata": { "name": "orders" },
            "spec": { "groups": [{ "name": "a", "replicas": replicas }, { "name": "b" }] },
            "status": { "groups": [
                { "name": "a", "replicas": 3 },
                { "name": "gone", "replicas": 5 },
            ] },
        }))
    };
    assert_eq!(sentences(validate_cel(&cluster(5))), [KEPT]);
    assert_eq!(sentences(validate_cel(&cluster(3))), [""; 0]);
}

#[test]
fn every_refused_spec_is_one_document_or_a_good_one_and_its_change() {
    for (name, expected, documents) in files() {
        assert!(!expected.trim().is_empty(), "{name}");
        assert!((1..=2).contains(&documents.len()), "{name}");
        for document in &documents {
            assert_eq!(document["apiVersion"], "tandemmq.io/v1alpha1", "{name}");
            assert_eq!(document["kind"], "BrokerCluster", "{name}");
        }
        if let [before, after] = &documents[..] {
            assert_eq!(before["metadata"], after["metadata"], "{name}");
            assert_ne!(before["spec"], after["spec"], "{name}");
        }
    }
}
