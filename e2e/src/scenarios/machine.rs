//! Is the cluster itself what the other scenarios take for granted? Volumes, names, lost nodes, a lost control plane.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::image::BUSYBOX;
use crate::program::Program;
use crate::scenario::{Run, Scenario};
use crate::{run, say};

const PODS: u32 = 3;
const PODS_LIMIT: Duration = Duration::from_secs(120);
/// A node's lease must run out first: 50 s with the defaults of Kubernetes.
const NODE_LIMIT: Duration = Duration::from_secs(120);

/// Volumes are made, kept over a restart and removed, names resolve for pods and clients.
pub const VOLUMES: Scenario = Scenario {
    name: "volumes-and-names",
    claim: "restricted pods get volumes of their own that outlive a killed container, names resolve everywhere, and a deleted claim's data are gone",
    run: volumes,
};

/// A node that is cut off becomes NotReady and comes back.
pub const NODE_LOST: Scenario = Scenario {
    name: "node-lost",
    claim: "a node that is cut off is told NotReady, its pods cannot be reached, and it comes back; a crashed one starts its pods again",
    run: node_lost,
};

/// Pods go on without the control plane.
pub const CONTROL_PLANE_LOST: Scenario = Scenario {
    name: "control-plane-lost",
    claim: "pods and client programs still talk while the API server is down, and it comes back with all objects",
    run: control_plane_lost,
};

fn volumes(run: &Run<'_>) -> Result<()> {
    let start = Instant::now();
    stateful_set(run)?;
    run.figure("three pods Ready after", say::seconds(start.elapsed()));

    for pod in (0..PODS).map(|n| format!("s-{n}")) {
        run.kubectl(&[
            "exec",
            &pod,
            "--",
            "sh",
            "-c",
            "echo $HOSTNAME > /data/who && sync",
        ])?;
        resolve(run, &format!("{pod}.s.{}.svc.cluster.local", run.namespace))?;
    }
    run.kubectl(&[
        "exec",
        "s-0",
        "--",
        "busybox",
        "nslookup",
        &format!("s-1.s.{}.svc.cluster.local", run.namespace),
    ])?;

    let before = run.cluster.container(&run.namespace, "s-1", "c")?;
    let start = Instant::now();
    before.kill()?;
    run.cluster
        .next_container(&run.namespace, "s-1", &before, PODS_LIMIT)?;
    run.figure(
        "killed container runs again after",
        say::seconds(start.elapsed()),
    );
    let said = run.kubectl(&["exec", "s-1", "--", "busybox", "cat", "/data/who"])?;
    ensure!(said.trim() == "s-1", "the volume of s-1 holds {said:?}");

    let claim = run
        .cluster
        .get(&["pvc", "data-s-2", "--namespace", &run.namespace])?;
    let volume = claim["spec"]["volumeName"]
        .as_str()
        .context("the claim is bound")?
        .to_owned();
    let node = run.cluster.node_of(&run.namespace, "s-2")?;
    let folder = run.cluster.volume_folder(node, &volume)?;
    ensure!(
        folder.join("who").is_file(),
        "{}: the pod's file is not there",
        folder.display()
    );
    run.kubectl(&["delete", "statefulset", "s", "--wait=true"])?;
    run.kubectl(&["delete", "pvc", "data-s-2"])?;
    let gone = run::wait_for("the deleted claim's data are gone", PODS_LIMIT, || {
        Ok(!folder.exists())
    })?;
    run.figure("data of a deleted claim gone after", say::seconds(gone));
    Ok(())
}

fn node_lost(run: &Run<'_>) -> Result<()> {
    stateful_set(run)?;
    let node = run.cluster.node_of(&run.namespace, "s-0")?;
    let name = format!("s-0.s.{}.svc.cluster.local", run.namespace);
    reach(run, &name)?;

    run.cluster.cut_off(node)?;
    let time = run.cluster.wait_node(node, false, NODE_LIMIT)?;
    run.figure("cut off, NotReady after", say::seconds(time));
    ensure!(
        reach(run, &name).is_err(),
        "a pod of the node that is cut off still answers"
    );
    run.cluster.rejoin(node)?;
    let time = run.cluster.wait_node(node, true, NODE_LIMIT)?;
    run.figure("joined again, Ready after", say::seconds(time));
    run::wait_for("the pod answers again", PODS_LIMIT, || {
        Ok(reach(run, &name).is_ok())
    })?;

    let before = run.cluster.container(&run.namespace, "s-0", "c")?;
    run.cluster.crash_node(node)?;
    ensure!(!before.process.runs(), "a container outlived its node");
    let time = run.cluster.wait_node(node, false, NODE_LIMIT)?;
    run.figure("crashed, NotReady after", say::seconds(time));
    run.cluster.boot_node(node)?;
    let time = run.cluster.wait_node(node, true, NODE_LIMIT)?;
    run.figure("booted, Ready after", say::seconds(time));
    let time = run::wait_for("the pod answers after the boot", PODS_LIMIT, || {
        Ok(reach(run, &name).is_ok())
    })?;
    run.figure("its pod answers after another", say::seconds(time));
    Ok(())
}

fn control_plane_lost(run: &Run<'_>) -> Result<()> {
    stateful_set(run)?;
    let name = format!("s.{}.svc.cluster.local", run.namespace);
    reach(run, &name)?;
    run.cluster.kill(Program::ApiServer)?;
    ensure!(
        run.kubectl(&["get", "pods"]).is_err(),
        "the API server answers although it was killed"
    );
    // DNS keeps what it knows while the API server is away.
    reach(run, &name)?;
    let container = run.cluster.container(&run.namespace, "s-2", "c")?;
    ensure!(
        container.process.runs(),
        "faults can be done without the API server"
    );
    run.cluster.start(Program::ApiServer)?;
    let time = run::wait_for("the API server answers again", PODS_LIMIT, || {
        Ok(run.kubectl(&["get", "pods"]).is_ok())
    })?;
    run.figure("API server answers again after", say::seconds(time));
    run.kubectl(&["get", "statefulset", "s"]).map(|_| ())
}

/// Looks a name up as a client program would.
fn resolve(run: &Run<'_>, name: &str) -> Result<String> {
    let mut command = run.cluster.client_command("getent")?;
    run::output(command.args(["hosts", name])).with_context(|| format!("looking up {name}"))
}

/// Reads one line from the pods' port 8080, over one connection from the client's namespace.
fn reach(run: &Run<'_>, name: &str) -> Result<()> {
    const SCRIPT: &str = "import socket,sys;s=socket.create_connection((sys.argv[1],8080),2);s.settimeout(2);print(s.recv(64).decode(),end='')";
    let mut command = run.cluster.client_command("python3")?;
    let said = run::output(command.args(["-c", SCRIPT, name]))?;
    if !said.starts_with("s-") {
        bail!("{name} said {said:?}");
    }
    Ok(())
}

/// Three pods that say their names on port 8080, each with a volume, allowed nothing.
fn stateful_set(run: &Run<'_>) -> Result<()> {
    let level = "pod-security.kubernetes.io/enforce=restricted";
    run.cluster
        .kubectl(&["label", "namespace", &run.namespace, level, "--overwrite"])?;
    run.apply(&format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: s}}
spec: {{clusterIP: None, selector: {{app: s}}, publishNotReadyAddresses: true, ports: [{{port: 8080}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: s}}
spec:
  replicas: {PODS}
  serviceName: s
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: s}}}}
  template:
    metadata: {{labels: {{app: s}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {{type: RuntimeDefault}}}}
      affinity: {{podAntiAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: [{{weight: 100, podAffinityTerm: {{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: s}}}}}}}}]}}}}
      containers:
      - name: c
        image: {BUSYBOX}
        command: [busybox, nc, -ll, -p, "8080", -e, busybox, hostname]
        readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
        volumeMounts: [{{name: data, mountPath: /data}}]
        securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
"#
    ))?;
    let timeout = format!("--timeout={}s", PODS_LIMIT.as_secs());
    run.kubectl(&["rollout", "status", "statefulset/s", &timeout])
        .map(|_| ())
}
