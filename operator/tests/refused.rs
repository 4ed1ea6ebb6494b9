//! Specs that the API server refuses, and the sentence it refuses each with: `operator/testdata/refused`.
//!
//! A file begins with `# expect: <part of the answer>`. Its last document is refused; one before it is
//! accepted and then changed by the last. A real API server answers them in the end-to-end tests; here it
//! is checked that no rule is without such a file.

mod common;

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tandemmq_operator::crd;

const FOLDER: &str = "operator/testdata/refused";
const EXPECT: &str = "# expect: ";

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

#[test]
fn every_rule_of_the_schema_has_a_spec_that_it_refuses() {
    let crd: Value = serde_saphyr::from_str(&crd::yaml().unwrap()).unwrap();
    let mut rules = BTreeSet::new();
    messages(&crd, &mut rules);
    assert!(rules.len() > 10, "{rules:?}");
    let expected: BTreeSet<String> = files().into_iter().map(|(_, text, _)| text).collect();
    let untried: Vec<_> = rules.difference(&expected).collect();
    assert!(
        untried.is_empty(),
        "no file in {FOLDER} expects: {untried:#?}"
    );
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
