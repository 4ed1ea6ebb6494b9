//! Makes a volume for each claim, on the node that the scheduler chose, and removes it when the claim is gone.
//!
//! A volume is a folder of a node and a PersistentVolume of the type `local`, which honours `fsGroup` and stays on
//! its node, as a disk does. Its name holds the claim's uid, so two volumes never have the same one. Runs as
//! a program of its own beside the control plane; the state is all in the API server.

use std::fs;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::{run, say};

/// The StorageClass, which is also the default one.
pub const CLASS: &str = "local";
const NAME: &str = "e2e.tandemmq.io/folder";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Where volumes lie on a node.
const FOLDER: &str = "var/lib/disks";
/// Between two tries while the API server is away.
const PAUSE: Duration = Duration::from_millis(500);

/// The StorageClass.
pub fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": NAME, "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete",
    })
}

/// Follows claims and volumes until the process is ended.
pub fn serve(cluster: &Cluster) -> ! {
    thread::scope(|scope| {
        scope.spawn(|| follow(cluster, "persistentvolumeclaims", provide));
        scope.spawn(|| follow(cluster, "persistentvolumes", reclaim));
    });
    unreachable!("both loops are endless")
}

/// Where a volume's data lie as this machine sees them.
pub fn folder(cluster: &Cluster, node: &str, volume: &str) -> Result<PathBuf> {
    let node: u32 = node
        .strip_prefix("node-")
        .and_then(|n| n.parse().ok())
        .context("a node of ours")?;
    Ok(cluster
        .layout()?
        .node_folder(node)
        .join("var-lib/disks")
        .join(volume))
}

fn follow(cluster: &Cluster, what: &str, handle: fn(&Cluster, &Value) -> Result<()>) -> ! {
    loop {
        if let Err(error) = watch(cluster, what, handle) {
            say::line(format!("{what}: {error:#}"));
        }
        thread::sleep(PAUSE);
    }
}

fn watch(cluster: &Cluster, what: &str, handle: fn(&Cluster, &Value) -> Result<()>) -> Result<()> {
    let words = [
        "get",
        what,
        "--all-namespaces",
        "--watch",
        "--output-watch-events",
        "--output=json",
    ];
    let mut command = cluster.kubectl_command(&words)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().context("kubectl's output is a pipe")?;
    let mut result = Ok(());
    for event in serde_json::Deserializer::from_reader(BufReader::new(out)).into_iter::<Value>() {
        let object = event.map(|mut event| event["object"].take());
        result = object
            .map_err(anyhow::Error::from)
            .and_then(|object| handle(cluster, &object));
        if result.is_err() {
            break;
        }
    }
    // Ended by us or by itself: either way it is started again, and tells everything from the start.
    let _ = child.kill();
    child.wait()?;
    result
}

fn provide(cluster: &Cluster, claim: &Value) -> Result<()> {
    let Some(node) = claim["metadata"]["annotations"][SELECTED_NODE].as_str() else {
        return Ok(());
    };
    let unbound =
        claim["spec"]["volumeName"].is_null() && claim["metadata"]["deletionTimestamp"].is_null();
    if claim["spec"]["storageClassName"] != CLASS || !unbound {
        return Ok(());
    }
    let name = format!(
        "pvc-{}",
        claim["metadata"]["uid"]
            .as_str()
            .context("a claim has a uid")?
    );
    fs::create_dir_all(folder(cluster, node, &name)?)?;
    let volume = volume(&name, node, claim);
    let created = cluster.kubectl_with_input(&["create", "--filename=-"], &volume.to_string());
    match created {
        Err(error) if !format!("{error:#}").contains("AlreadyExists") => Err(error),
        _ => Ok(()),
    }
}

fn volume(name: &str, node: &str, claim: &Value) -> Value {
    let meta = &claim["metadata"];
    let on_node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": NAME}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": meta["name"],
                "namespace": meta["namespace"], "uid": meta["uid"]},
            "local": {"path": format!("/{FOLDER}/{name}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
        },
    })
}

/// The PersistentVolume goes first: a folder that is left behind is only garbage.
fn reclaim(cluster: &Cluster, volume: &Value) -> Result<()> {
    let ours = volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == NAME;
    let released = volume["status"]["phase"] == "Released"
        && volume["metadata"]["deletionTimestamp"].is_null();
    if !ours || !released || volume["spec"]["persistentVolumeReclaimPolicy"] != "Delete" {
        return Ok(());
    }
    let name = volume["metadata"]["name"]
        .as_str()
        .context("a volume has a name")?;
    let affinity =
        &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    let Some(node) = affinity["values"][0].as_str() else {
        bail!("{name}: no node")
    };
    cluster.kubectl(&["delete", "persistentvolume", name, "--ignore-not-found"])?;
    let folder = folder(cluster, node, name)?;
    run::output(Command::new("rm").arg("-rf").arg("--").arg(&folder)).map(|_| ())
}
