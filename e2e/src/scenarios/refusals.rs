//! What is refused: wrong specs, rights that pods do not have, peers without a certificate.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::lifecycle::make;
use crate::image;
use crate::scenario::{Run, Scenario};
use crate::stage::Stage;
use crate::truth::check_truth;

/// Wrong specs are refused by the API server, each with a sentence that helps.
fn wrong_specs_are_refused(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let fixtures = refused_specs()?;
    ensure!(
        fixtures.len() >= 5,
        "only {} wrong specs are there",
        fixtures.len()
    );
    for (name, yaml, expected) in &fixtures {
        // One that is changed must be there first.
        let (before, last) = yaml.rsplit_once("\n---\n").unwrap_or(("", yaml));
        if !before.is_empty() {
            run.apply(before)?;
        }
        let words = [
            "apply",
            "--namespace",
            &run.namespace,
            "--validate=strict",
            "--filename=-",
        ];
        let answer = stage.refused(&words, last).with_context(|| name.clone())?;
        let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(
            answer.contains(expected.as_str()),
            "{name} is refused with \"{answer}\", not with \"{expected}\""
        );
    }
    stage.note(format!("{} wrong specs refused", fixtures.len()));
    Ok(())
}

/// A pod's account may do what the golden list says and nothing else.
fn pods_have_least_rights(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = stage.group("orders");
    make(stage, &group)?;
    let account = format!("system:serviceaccount:{}:{}", group.namespace, group.name());
    let rights = stage.kubectl(
        &group.namespace,
        &[
            "auth",
            "can-i",
            "--list",
            "--no-headers",
            &format!("--as={account}"),
        ],
    )?;
    let mut found: Vec<String> = rights
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !is_of_every_user(line))
        .collect();
    found.sort();
    let golden: Vec<&str> = include_str!("../../testdata/broker_rights.txt")
        .lines()
        .collect();
    ensure!(
        found == golden,
        "the pods' account may:\n  {}",
        found.join("\n  ")
    );

    let token = stage.kubectl(&group.namespace, &["create", "token", &group.name()])?;
    let token_file = stage.secret_file("broker-token", &token)?;
    let pod = group.pod(1);
    for (patch, allowed) in [
        (
            r#"{"metadata":{"labels":{"tandemmq.io/role":"slave"}}}"#,
            true,
        ),
        (
            r#"{"metadata":{"labels":{"app.kubernetes.io/name":"other"}}}"#,
            false,
        ),
        (r#"{"metadata":{"annotations":{"a":"b"}}}"#, false),
        (r#"{"metadata":{"finalizers":["a.b/c"]}}"#, false),
        (r#"{"spec":{"activeDeadlineSeconds":60}}"#, false),
        (
            r#"{"spec":{"containers":[{"name":"broker","image":"other"}]}}"#,
            false,
        ),
    ] {
        let url = format!(
            "https://kubernetes.default.svc.cluster.local/api/v1/namespaces/{}/pods/{pod}",
            group.namespace
        );
        let mut command = run
            .cluster
            .python(&image::tree().join("e2e/clients/patch.py"))?;
        command.arg(url).arg(&token_file).arg(patch);
        let status: u16 = crate::run::output(&mut command)?.trim().parse()?;
        ensure!(
            (status == 200) == allowed,
            "{patch} with the pods' token is answered with {status}"
        );
    }
    Ok(())
}

/// Rules that Kubernetes gives to every user.
fn is_of_every_user(line: &str) -> bool {
    line.starts_with("selfsubject") || line.starts_with('[')
}

/// Who has no certificate of the group gets nothing from the port between brokers.
fn strangers_get_nothing_from_peers(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = stage.group("orders");
    make(stage, &group)?;
    for pod in group.pods() {
        let answer = stage.say(&group.namespace, &pod, 61619, &[])?;
        ensure!(
            is_nothing(&answer),
            "{pod} answers plain bytes with: {answer}"
        );
    }
    // The certificate of another group of the same CA is no better.
    let other = stage.group("others");
    make(stage, &other)?;
    let of_other = |key: &str| -> Result<PathBuf> {
        let template = format!("--output=go-template={{{{index .data \"{key}\" | base64decode}}}}");
        let words = ["get", "secret", "others-peers", &template];
        stage.secret_file(key, &stage.kubectl(&other.namespace, &words)?)
    };
    let (cert, key) = (of_other("a.crt")?, of_other("a.key")?);
    let words = [
        "--tls",
        &cert.display().to_string(),
        &key.display().to_string(),
    ];
    let answer = stage.say(&group.namespace, &group.pod(0), 61619, &words)?;
    ensure!(
        is_nothing(&answer),
        "another cluster's certificate gets: {answer}"
    );
    let own = stage.say(&other.namespace, &other.pod(0), 61619, &words)?;
    ensure!(
        own.contains("closed after 0"),
        "the own certificate is not let in: {own}"
    );
    check_truth(stage, &group)?;
    Ok(())
}

/// Ended by the other side, with an alert at the most.
fn is_nothing(answer: &str) -> bool {
    let count = answer
        .trim()
        .strip_prefix("closed after ")
        .and_then(|rest| rest.split(' ').next());
    answer.starts_with("error")
        || count.is_some_and(|count| count.parse().is_ok_and(|n: u32| n < 16))
}

/// Name, text and expected sentence of each wrong spec.
fn refused_specs() -> Result<Vec<(String, String, String)>> {
    let folder = image::tree().join("operator/testdata/refused");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let expected = text
            .lines()
            .find_map(|line| line.strip_prefix("# expect: "));
        let expected = expected.with_context(|| format!("{} expects nothing", path.display()))?;
        found.push((
            path.display().to_string(),
            text.clone(),
            expected.to_owned(),
        ));
    }
    found.sort();
    Ok(found)
}

/// Wrong specs.
pub const WRONG_SPECS: Scenario = Scenario {
    name: "wrong-specs",
    claim: "the API server refuses wrong specs and changes of what cannot change, each with a sentence that helps",
    run: wrong_specs_are_refused,
};

/// Rights of pods.
pub const LEAST_RIGHTS: Scenario = Scenario {
    name: "least-rights",
    claim: "a broker's account may do what the golden list says, and change nothing of a pod but its role label",
    run: pods_have_least_rights,
};

/// The port between brokers.
pub const STRANGERS: Scenario = Scenario {
    name: "strangers-at-the-peers-port",
    claim: "who has no certificate of the group gets nothing from the port between brokers",
    run: strangers_get_nothing_from_peers,
};
