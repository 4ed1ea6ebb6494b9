//! One group under load, and one thing after another happens to it.
//!
//! Each scenario starts a load of real clients, does its fault, waits until the clients got on, lets
//! the checker judge, and looks whether everything that names the master tells the truth.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::lifecycle::make;
use crate::figures::Times;
use crate::image::{BROKER, BROKER_AGAIN, BROKER_NEXT};
use crate::load::{Load, Verdict};
use crate::scenario::{Run, Scenario};
use crate::stage::Stage;
use crate::truth::{
    GroupRef, TRUTH_MAX, check_truth, condition, wait_in_sync, wait_master, wait_reason,
};

/// Deadlines: many times what was measured, because test machines are slow and busy.
const PROGRESS_MAX: Duration = Duration::from_secs(90);
const SYNC_MAX: Duration = Duration::from_secs(120);

/// A member without a quorum takes no clients after so long: two lease durations.
const REFUSED_MAX: Duration = Duration::from_secs(20);

/// Messages that must get through before and after each fault.
const PROGRESS: u64 = 300;

/// Receipts a second that the load must reach while nothing happens.
const RATE_MIN: f64 = 300.0;

macro_rules! scenario {
    ($name:ident, $run:ident, $title:literal, $claim:literal) => {
        /// See its claim.
        pub const $name: Scenario = Scenario {
            name: $title,
            claim: $claim,
            run: $run,
        };
    };
}

scenario!(
    KILLED,
    master_killed,
    "master-killed",
    "the master's process is killed again and again under load: nothing acknowledged is lost, the status tells the truth"
);
scenario!(
    DELETED,
    master_deleted,
    "master-deleted",
    "the master's pod is deleted: it hands over, nothing acknowledged is lost"
);
scenario!(
    CUT_OFF,
    master_cut_off,
    "master-cut-off",
    "the master's node loses its network for a minute: no receipt without a quorum, a client on that node is not served, the others go on"
);
scenario!(
    API_AWAY,
    api_server_away,
    "api-server-away",
    "the API server is away: no send fails, no connection is lost"
);
scenario!(
    OPERATOR_KILLED,
    operator_killed,
    "operator-killed",
    "the operator is killed while it puts objects back: brokers do not notice, everything is put back"
);
scenario!(
    ROLLED,
    image_rolled,
    "image-rolled",
    "a new image is rolled out, slaves first and the master last, without loss"
);
scenario!(
    FORMAT_RAISED,
    format_raised,
    "format-raised",
    "a version with a newer journal format is rolled out, and the way back stops at the first pod and says why"
);
scenario!(
    MAJORITY_DOWN,
    majority_held_down,
    "majority-held-down",
    "two of three are held down: clients are refused, Available=False names them, one back is service back"
);
scenario!(
    VOLUMES_DELETED,
    volumes_deleted,
    "volumes-deleted",
    "the volume of a slave and then that of the master is deleted under load: the member is rebuilt, nothing is lost"
);
scenario!(
    OPERATOR_SCALED,
    operator_scaled,
    "operator-scaled",
    "without an operator brokers elect, and one that comes back changes nothing"
);

/// The group that it happens to, made for this scenario.
fn orders(stage: &Stage<'_>) -> Result<GroupRef> {
    let group = stage.group("orders");
    make(stage, &group)?;
    Ok(group)
}

/// A load, what happens meanwhile, the verdict and the truth.
fn under_load(
    stage: &Stage<'_>,
    group: &GroupRef,
    happen: impl FnOnce(&mut Load) -> Result<()>,
) -> Result<Verdict> {
    wait_in_sync(stage, group, SYNC_MAX)?;
    let mut load = stage.load(group, &group.headless())?;
    load.progress(PROGRESS, PROGRESS_MAX)?;
    check_rate(&mut load)?;
    happen(&mut load)?;
    load.progress(PROGRESS, PROGRESS_MAX)?;
    let verdict = load.judge()?;
    let (master, told) = check_truth(stage, group)?;
    stage.note(format!(
        "{} acknowledged, {} lost, {} delivered again; master {master}, told after {told:.1?}",
        verdict.totals["acknowledged"], verdict.totals["lost"], verdict.totals["delivered again"],
    ));
    Ok(verdict)
}

fn check_rate(load: &mut Load) -> Result<()> {
    load.mark()?;
    std::thread::sleep(Duration::from_secs(2));
    let rate = load.since()?.rate;
    ensure!(
        rate >= RATE_MIN,
        "the clients reach {rate:.0} messages a second before the fault, not {RATE_MIN}"
    );
    Ok(())
}

/// The master's process gets SIGKILL, again and again.
fn master_killed(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    let mut times = Times::default();
    under_load(stage, &group, |load| {
        for _ in 0..stage.count(5, 10) {
            wait_in_sync(stage, &group, SYNC_MAX)?;
            let master = wait_master(stage, &group, PROGRESS_MAX)?;
            load.mark()?;
            stage.kill_broker(&group.namespace, &master)?;
            times.push(load.first_receipt(PROGRESS_MAX)?);
            load.progress(PROGRESS, PROGRESS_MAX)?;
            check_truth(stage, &group)?;
        }
        Ok(())
    })?;
    stage.note(format!("SIGKILL to the first receipt: {times}"));
    Ok(())
}

/// The master's pod is deleted: it hands over first.
fn master_deleted(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    let mut times = Times::default();
    under_load(stage, &group, |load| {
        for _ in 0..stage.count(2, 5) {
            wait_in_sync(stage, &group, SYNC_MAX)?;
            let master = wait_master(stage, &group, PROGRESS_MAX)?;
            load.mark()?;
            stage.kubectl(
                &group.namespace,
                &["delete", "pod", &master, "--wait=false"],
            )?;
            let changed = Instant::now();
            stage.wait("another master", PROGRESS_MAX, || {
                Ok((wait_master(stage, &group, PROGRESS_MAX)? != master).then_some(()))
            })?;
            load.progress(PROGRESS, PROGRESS_MAX)?;
            let pause = load.since()?.longest_ms;
            times.push(Duration::from_secs_f64(pause / 1_000.0));
            stage.note(format!(
                "{master} deleted, pause {pause:.0} ms, after {:.1?}",
                changed.elapsed()
            ));
            check_truth(stage, &group)?;
        }
        Ok(())
    })?;
    stage.note(format!(
        "hand-over, longest time without a receipt: {times}"
    ));
    Ok(())
}

/// Two operators, because the node may take one with it.
fn master_cut_off(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    stage.scale_operator(2)?;
    let result = cut_master_off(stage);
    stage.scale_operator(1)?;
    result
}

/// The master's node loses its network for a minute.
fn cut_master_off(stage: &Stage<'_>) -> Result<()> {
    let group = orders(stage)?;
    let away = Duration::from_secs(60);
    under_load(stage, &group, |load| {
        let master = wait_master(stage, &group, PROGRESS_MAX)?;
        let node = stage.run.cluster.node_of(&group.namespace, &master)?;
        // Clients on the node itself still reach its broker, which must close them. By addresses:
        // the cluster's DNS is as far away as the other brokers.
        let addresses = addresses_from(stage, &group, &master)?;
        let mut inside = stage.load_on_node(&group, node, &addresses)?;
        inside.progress(PROGRESS, PROGRESS_MAX)?;
        load.mark()?;
        let cut_off = stage.cut_off(node)?;
        let begun = Instant::now();
        let first = load.first_receipt(PROGRESS_MAX)?;
        stage.note(format!(
            "node {node} cut off, first receipt elsewhere after {first:.1?}"
        ));
        std::thread::sleep(Duration::from_secs(15).saturating_sub(begun.elapsed()));
        let before = inside.counts()?;
        ensure!(
            before.connected == 0,
            "{} clients of a master without a quorum still have their connection",
            before.connected
        );
        std::thread::sleep(away.saturating_sub(begun.elapsed()));
        let after = inside.counts()?;
        ensure!(
            before.acknowledged == after.acknowledged,
            "{} receipts came from a master without a quorum",
            after.acknowledged - before.acknowledged
        );
        load.progress(PROGRESS, PROGRESS_MAX)?;
        let told = check_truth_without(stage, &group, &master)?;
        stage.note(format!("the status tells the new master after {told:.1?}"));
        drop(cut_off);
        stage.run.cluster.wait_node(node, true, SYNC_MAX)?;
        wait_in_sync(stage, &group, SYNC_MAX)?;
        // Its clients find the group again, and what they were promised is there: no receipt was
        // for something that the others did not have.
        inside.progress(PROGRESS, PROGRESS_MAX)?;
        let inside = inside.judge()?;
        stage.note(format!(
            "on that node: {} acknowledged, {} lost",
            inside.totals["acknowledged"], inside.totals["lost"]
        ));
        Ok(())
    })?;
    Ok(())
}

/// All brokers by their pods' addresses, that one first.
fn addresses_from(stage: &Stage<'_>, group: &GroupRef, first: &str) -> Result<Vec<String>> {
    let mut pods = group.pods();
    pods.sort_by_key(|pod| pod.as_str() != first);
    let address = |pod: &String| {
        let ip = stage.pod_ip(&group.namespace, pod)?;
        Ok(format!("{ip}:61613"))
    };
    pods.iter().map(address).collect()
}

/// The truth while one node is away: its pod cannot be asked.
fn check_truth_without(stage: &Stage<'_>, group: &GroupRef, lost: &str) -> Result<Duration> {
    let (master, told) = check_truth(stage, group)?;
    ensure!(
        master != lost,
        "{lost} is cut off and still called the master"
    );
    Ok(told)
}

/// The API server is away: nothing of it is needed to serve.
fn api_server_away(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    let away = stage.api_away();
    under_load(stage, &group, |load| {
        let renewed = stage.operator_renewed()?;
        load.mark()?;
        stage.stop_api_server()?;
        std::thread::sleep(away);
        let since = load.since()?;
        stage.start_api_server()?;
        ensure!(
            since.refused == 0 && since.opened == 0,
            "while the API server was away {} sends were refused and {} connections lost",
            since.refused,
            since.opened
        );
        stage.note(format!(
            "API server away for {away:?}: {} receipts, longest pause {:.0} ms, 0 failed",
            since.acknowledged, since.longest_ms
        ));
        // An operator that leads again must also see again: the next master is told in time.
        stage.wait("an operator that leads again", PROGRESS_MAX, || {
            Ok((stage.operator_renewed()? != renewed).then_some(()))
        })?;
        let master = wait_master(stage, &group, PROGRESS_MAX)?;
        stage.kill_broker(&group.namespace, &master)?;
        load.progress(PROGRESS, PROGRESS_MAX)?;
        let (master, told) = check_truth(stage, &group)?;
        stage.note(format!("killed after it: {master} told after {told:.1?}"));
        Ok(())
    })?;
    Ok(())
}

/// The operator is killed again and again while it has something to do.
fn operator_killed(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    under_load(stage, &group, |_| {
        for _ in 0..stage.count(3, 10) {
            // Something to put back, so that it dies between two calls.
            stage.kubectl(
                &group.namespace,
                &[
                    "patch",
                    "service",
                    &group.name(),
                    "--type=merge",
                    "-p",
                    r#"{"spec":{"ports":[{"name":"stomp","port":1}]}}"#,
                ],
            )?;
            stage.kubectl(
                &group.namespace,
                &[
                    "delete",
                    "pdb,configmap",
                    &group.name(),
                    "--ignore-not-found",
                ],
            )?;
            std::thread::sleep(Duration::from_millis(stage.random(300)));
            stage.kill_operator()?;
            stage.wait("the operator puts everything back", SYNC_MAX, || {
                let service = stage.object(&group.namespace, "service", &group.name())?;
                let budget = stage.object(&group.namespace, "pdb", &group.name())?;
                let config = stage.object(&group.namespace, "configmap", &group.name())?;
                let port = service.is_some_and(|s| s["spec"]["ports"][0]["port"] == 61613);
                Ok((port && budget.is_some() && config.is_some()).then_some(()))
            })?;
        }
        Ok(())
    })?;
    Ok(())
}

/// A new image is rolled out: slaves first, master last.
fn image_rolled(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    under_load(stage, &group, |load| {
        load.mark()?;
        let begun = Instant::now();
        set_image(stage, &group, BROKER_AGAIN)?;
        wait_rolled(stage, &group, BROKER_AGAIN)?;
        stage.note(format!(
            "rolled three brokers in {:.0?}, longest time without a receipt {:.0} ms",
            begun.elapsed(),
            load.since()?.longest_ms
        ));
        Ok(())
    })?;
    Ok(())
}

/// A build that writes a newer journal format is rolled out; the way back is refused.
fn format_raised(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    under_load(stage, &group, |_| {
        set_image(stage, &group, BROKER_NEXT)?;
        wait_rolled(stage, &group, BROKER_NEXT)?;
        stage.wait("the newer format is written", SYNC_MAX, || {
            let master = wait_master(stage, &group, PROGRESS_MAX)?;
            let status = stage.broker_status(&group.namespace, &master)?;
            Ok((status["format"]["written"] == 2).then_some(()))
        })?;
        Ok(())
    })?;
    under_load(stage, &group, |load| {
        set_image(stage, &group, BROKER)?;
        wait_reason(stage, &group, "RollStuck", Duration::from_secs(240))?;
        load.progress(PROGRESS, PROGRESS_MAX)?;
        let new_pods = pods_with_image(stage, &group, BROKER)?;
        ensure!(
            new_pods == 1,
            "a refused roll back replaced {new_pods} pods, not one"
        );
        set_image(stage, &group, BROKER_NEXT)?;
        wait_rolled(stage, &group, BROKER_NEXT)
    })?;
    Ok(())
}

fn set_image(stage: &Stage<'_>, group: &GroupRef, image: &str) -> Result<()> {
    stage.patch(group, &format!(r#"{{"spec":{{"image":"{image}"}}}}"#))
}

fn pods_with_image(stage: &Stage<'_>, group: &GroupRef, image: &str) -> Result<usize> {
    let mut count = 0;
    for pod in group.pods() {
        let object = stage.object(&group.namespace, "pod", &pod)?;
        count +=
            usize::from(object.is_some_and(|pod| pod["spec"]["containers"][0]["image"] == image));
    }
    Ok(count)
}

fn wait_rolled(stage: &Stage<'_>, group: &GroupRef, image: &str) -> Result<()> {
    let what = format!("all pods of {} with {image}", group.name());
    stage.wait(&what, Duration::from_secs(240), || {
        Ok((pods_with_image(stage, group, image)? == group.replicas).then_some(()))
    })?;
    wait_in_sync(stage, group, SYNC_MAX)
}

/// Two of three pods are held down; one comes back.
fn majority_held_down(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    under_load(stage, &group, |load| {
        let master = wait_master(stage, &group, PROGRESS_MAX)?;
        let others: Vec<String> = group
            .pods()
            .into_iter()
            .filter(|pod| *pod != master)
            .collect();
        let held = [master, others[0].clone()];
        let mut holders = Vec::new();
        for pod in &held {
            holders.push(stage.hold_down(&group.namespace, pod)?);
        }
        let message = stage.wait("Available=False", Duration::from_secs(60), || {
            let cluster = stage.broker_cluster(&group)?;
            let available = condition(&cluster, "Available");
            Ok((available["status"] == "False")
                .then(|| available["message"].as_str().unwrap_or_default().to_owned()))
        })?;
        for pod in &held {
            stage
                .wait("the message names who is missing", TRUTH_MAX * 2, || {
                    let cluster = stage.broker_cluster(&group)?;
                    let message = condition(&cluster, "Available")["message"].clone();
                    Ok(message
                        .as_str()
                        .is_some_and(|m| m.contains(pod.as_str()))
                        .then_some(()))
                })
                .with_context(|| format!("Available=False says: {message}"))?;
        }
        load.mark()?;
        // A master that loses its quorum keeps its port for a lease duration.
        stage.wait("the survivor refuses clients", REFUSED_MAX, || {
            let open = stage.connects(&group.namespace, &others[1], 61613)?;
            Ok((!open).then_some(()))
        })?;
        std::thread::sleep(Duration::from_secs(5));
        ensure!(
            load.since()?.acknowledged == 0,
            "one of three gave receipts"
        );
        ensure!(
            !stage.connects(&group.namespace, &others[1], 61613)?,
            "the survivor takes clients again without a quorum"
        );
        stage.note(format!("Available=False: {message}"));
        drop(holders.pop());
        load.progress(PROGRESS, PROGRESS_MAX)?;
        drop(holders);
        wait_in_sync(stage, &group, SYNC_MAX)
    })?;
    Ok(())
}

/// The volume of a slave, then that of the master, is deleted and made anew.
fn volumes_deleted(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    for of_master in [false, true] {
        under_load(stage, &group, |load| {
            let master = wait_master(stage, &group, PROGRESS_MAX)?;
            let slave = group.pods().into_iter().find(|pod| *pod != master);
            let pod = if of_master {
                master
            } else {
                slave.context("there are three")?
            };
            let before = stage.broker_status(&group.namespace, &pod)?["volumeId"].clone();
            stage.kubectl(
                &group.namespace,
                &["delete", "pvc", &group.claim(&pod), "--wait=false"],
            )?;
            stage.kubectl(&group.namespace, &["delete", "pod", &pod, "--wait=false"])?;
            let begun = Instant::now();
            stage.wait("the member is on another volume", SYNC_MAX, || {
                let Ok(status) = stage.broker_status(&group.namespace, &pod) else {
                    return Ok(None);
                };
                Ok((status["volumeId"] != before && status["logState"] == "clean").then_some(()))
            })?;
            wait_in_sync(stage, &group, SYNC_MAX)?;
            stage.note(format!(
                "volume of the {} deleted: three copies again after {:.1?}",
                if of_master { "master" } else { "slave" },
                begun.elapsed()
            ));
            load.progress(PROGRESS, PROGRESS_MAX).map(drop)
        })?;
    }
    Ok(())
}

/// The operator is scaled to nothing and back.
fn operator_scaled(run: &Run<'_>) -> Result<()> {
    let stage = &Stage::new(run);
    let group = orders(stage)?;
    let before = versions(stage, &group)?;
    under_load(stage, &group, |load| {
        stage.scale_operator(0)?;
        let master = wait_master(stage, &group, PROGRESS_MAX)?;
        load.mark()?;
        // Without an operator brokers elect by themselves.
        stage.kill_broker(&group.namespace, &master)?;
        let first = load.first_receipt(PROGRESS_MAX)?;
        load.progress(PROGRESS, PROGRESS_MAX)?;
        stage.note(format!(
            "without an operator: first receipt {first:.0?} after SIGKILL"
        ));
        stage.scale_operator(1)
    })?;
    let after = versions(stage, &group)?;
    ensure!(
        before == after,
        "the operator changed objects: {before:?}, then {after:?}"
    );
    Ok(())
}

/// Generations of what the operator makes: it must not touch what is as it should be.
fn versions(stage: &Stage<'_>, group: &GroupRef) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for kind in ["service", "configmap", "role", "serviceaccount"] {
        let object = stage
            .object(&group.namespace, kind, &group.name())?
            .with_context(|| format!("{kind} {} is gone", group.name()))?;
        found.push(format!("{kind} {}", object["metadata"]["resourceVersion"]));
    }
    let set = stage.object(&group.namespace, "statefulset", &group.name())?;
    let Some(set) = set else {
        bail!("the StatefulSet is gone")
    };
    found.push(format!("statefulset {}", set["metadata"]["generation"]));
    Ok(found)
}
