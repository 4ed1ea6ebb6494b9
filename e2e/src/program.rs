//! The programs of a cluster: their names, arguments and configuration files.
//!
//! Control plane and client run in the machine's files. A node's programs see their own `/run`, `/var/lib` and
//! `/var/log`: its *mounts* program holds a mount namespace in which the node's folders lie over them. So
//! every node uses the default paths, as real ones do, and all mounts vanish with the last process in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::Settings;
use crate::layout::{CONTROL_PLANE, Layout, PODS, SERVICES, node_address, node_name, pod_network};
use crate::{debian, go, image};

/// Where a node's own folders lie over the machine's.
const NODE_FOLDERS: &[&str] = &["run", "var/lib", "var/log"];

/// One program of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The store of the API server.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// CoreDNS.
    Dns,
    /// Makes volumes: `provisioner.rs`.
    Provisioner,
    /// Holds the client's mount namespace, with the cluster's `resolv.conf`.
    ClientMounts,
    /// kube-proxy of the client's namespace, so that programs there reach Services.
    ClientProxy,
    /// Holds a node's mount namespace.
    Mounts(u32),
    /// containerd of a node.
    Containerd(u32),
    /// kubelet of a node.
    Kubelet(u32),
    /// kube-proxy of a node.
    Proxy(u32),
}

impl Program {
    /// Its name in the journal and of its log.
    pub fn name(self) -> String {
        match self {
            Self::Etcd => "etcd".into(),
            Self::ApiServer => "apiserver".into(),
            Self::ControllerManager => "controller-manager".into(),
            Self::Scheduler => "scheduler".into(),
            Self::Dns => "dns".into(),
            Self::Provisioner => "provisioner".into(),
            Self::ClientMounts => "client-mounts".into(),
            Self::ClientProxy => "client-proxy".into(),
            Self::Mounts(node) => format!("mounts-{node}"),
            Self::Containerd(node) => format!("containerd-{node}"),
            Self::Kubelet(node) => format!("kubelet-{node}"),
            Self::Proxy(node) => format!("proxy-{node}"),
        }
    }

    /// The program that holds the mounts in which it runs, if not the machine's.
    pub fn mounts(self) -> Option<Self> {
        match self {
            Self::Containerd(node) | Self::Kubelet(node) | Self::Proxy(node) => {
                Some(Self::Mounts(node))
            }
            Self::ClientProxy => Some(Self::ClientMounts),
            _ => None,
        }
    }

    /// The network namespace in which it runs.
    pub fn namespace(self, layout: &Layout) -> String {
        match self {
            Self::ClientMounts | Self::ClientProxy => layout.client_namespace(),
            Self::Mounts(node)
            | Self::Containerd(node)
            | Self::Kubelet(node)
            | Self::Proxy(node) => layout.node_namespace(node),
            _ => layout.control_plane_namespace(),
        }
    }
}

/// Where the built programs lie.
#[derive(Debug, Clone)]
pub struct Binaries {
    kubernetes: PathBuf,
    coredns: PathBuf,
    debian: PathBuf,
}

impl Binaries {
    /// Builds what is not built yet.
    pub fn built(version: &str) -> Result<Self> {
        Ok(Self {
            debian: debian::packages()?,
            kubernetes: go::kubernetes(version)?,
            coredns: go::coredns(version)?,
        })
    }

    /// kubectl of the cluster's version.
    pub fn kubectl(&self) -> PathBuf {
        self.kubernetes("kubectl")
    }

    /// containerd's own client.
    pub fn ctr(&self) -> PathBuf {
        self.debian("usr/bin/ctr")
    }

    fn kubernetes(&self, name: &str) -> PathBuf {
        self.kubernetes.join("bin").join(name)
    }

    fn debian(&self, path: &str) -> PathBuf {
        self.debian.join(path)
    }

    /// `PATH` of containerd: its shim and runc before the machine's programs.
    fn path(&self) -> String {
        let own = ["usr/sbin", "usr/bin", "bin"].map(|f| self.debian(f).display().to_string());
        format!(
            "{}:{}",
            own.join(":"),
            std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into())
        )
    }
}

/// Writes its configuration and returns what starts it, still without its namespaces.
pub fn command(
    program: Program,
    layout: &Layout,
    settings: &Settings,
    bin: &Binaries,
) -> Result<Command> {
    let mut command = match program {
        Program::Etcd => etcd(layout, bin),
        Program::ApiServer => api_server(layout, bin),
        Program::ControllerManager => controller_manager(layout, settings, bin),
        Program::Scheduler => with_kubeconfig(
            &bin.kubernetes("kube-scheduler"),
            &layout.pki().join("scheduler.conf"),
        ),
        Program::Dns => dns(layout, settings, bin)?,
        Program::Provisioner => provisioner(layout)?,
        Program::ClientMounts => client_mounts(layout)?,
        Program::ClientProxy => proxy(layout, settings, bin, 1, &layout.folder.join("client"))?,
        Program::Mounts(node) => node_mounts(&layout.node_folder(node))?,
        Program::Containerd(node) => containerd(&layout.node_folder(node), node, bin)?,
        Program::Kubelet(node) => kubelet(layout, settings, bin, node)?,
        Program::Proxy(node) => proxy(layout, settings, bin, node, &layout.node_folder(node))?,
    };
    if matches!(program, Program::Scheduler | Program::ControllerManager) {
        command.arg("--leader-elect=false");
    }
    Ok(command)
}

fn etcd(layout: &Layout, bin: &Binaries) -> Command {
    let mut command = Command::new(bin.debian("usr/bin/etcd"));
    let (clients, peers) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    command.arg("--data-dir").arg(layout.folder.join("etcd"));
    command.args([
        "--listen-client-urls",
        clients,
        "--advertise-client-urls",
        clients,
    ]);
    command.args([
        "--listen-peer-urls",
        peers,
        "--initial-advertise-peer-urls",
        peers,
    ]);
    // The disk is there for the brokers under test; what a cluster holds is gone with it anyway.
    command.args([
        "--initial-cluster",
        &format!("default={peers}"),
        "--unsafe-no-fsync",
    ]);
    command
}

fn api_server(layout: &Layout, bin: &Binaries) -> Command {
    let pki = |name: &str| layout.pki().join(name).display().to_string();
    let mut command = Command::new(bin.kubernetes("kube-apiserver"));
    command.args([
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--allow-privileged=true",
        "--profiling=false",
        // Else exec and logs would look up the node's name, which no DNS knows.
        "--kubelet-preferred-address-types=InternalIP",
    ]);
    command.arg(format!("--advertise-address={CONTROL_PLANE}"));
    command.arg(format!("--service-cluster-ip-range={SERVICES}"));
    for (option, file) in [
        ("client-ca-file", "ca.crt"),
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("service-account-key-file", "accounts.pub"),
        ("service-account-signing-key-file", "accounts.key"),
        ("kubelet-client-certificate", "admin.crt"),
        ("kubelet-client-key", "admin.key"),
        ("kubelet-certificate-authority", "ca.crt"),
    ] {
        command.arg(format!("--{option}={}", pki(file)));
    }
    command
}

fn controller_manager(layout: &Layout, settings: &Settings, bin: &Binaries) -> Command {
    let pki = layout.pki();
    let mut command = with_kubeconfig(
        &bin.kubernetes("kube-controller-manager"),
        &pki.join("controller-manager.conf"),
    );
    command.arg(format!("--root-ca-file={}", pki.join("ca.crt").display()));
    command.arg(format!(
        "--service-account-private-key-file={}",
        pki.join("accounts.key").display()
    ));
    command.args([
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=false",
    ]);
    if !settings.kubelet_defaults {
        command.args([
            "--node-monitor-period=2s",
            "--node-monitor-grace-period=10s",
        ]);
    }
    command
}

fn with_kubeconfig(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    for option in [
        "kubeconfig",
        "authentication-kubeconfig",
        "authorization-kubeconfig",
    ] {
        command.arg(format!("--{option}={}", config.display()));
    }
    command
}

fn dns(layout: &Layout, settings: &Settings, bin: &Binaries) -> Result<Command> {
    let config = layout.folder.join("Corefile");
    let seconds = if settings.kubelet_defaults { 30 } else { 1 };
    let kubeconfig = layout.pki().join("dns.conf");
    let text = format!(
        "cluster.local:53 in-addr.arpa:53 {{
  bind {CONTROL_PLANE}
  errors
  ready {CONTROL_PLANE}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {}
    pods insecure
    ttl {seconds}
  }}
  cache {seconds} {{
    success 1000 {seconds}
    denial 1000 {seconds}
  }}
}}
",
        kubeconfig.display()
    );
    fs::write(&config, text)?;
    let mut command = Command::new(bin.coredns.join("bin/coredns"));
    command.arg("-conf").arg(config);
    Ok(command)
}

fn provisioner(layout: &Layout) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("path of this program")?);
    command.args(["provision", "--name", &layout.name]);
    Ok(command)
}

/// Lays `(from, to)` over each other in a namespace that lives as long as the command, and says so by the
/// file `ready`.
fn mounts(ready: &Path, pairs: &[(PathBuf, PathBuf)]) -> Command {
    // Private first, so that nothing reaches the machine; shared then, because kubelets pass mounts on to pods.
    const SCRIPT: &str = "set -e; ready=$1; shift; mount --make-rshared /
while [ $# -gt 0 ]; do mount --bind \"$1\" \"$2\"; shift 2; done
: > \"$ready\"; exec sleep infinity";
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            SCRIPT,
            "mounts",
        ])
        .arg(ready);
    for (from, to) in pairs {
        command.arg(from).arg(to);
    }
    command
}

/// The file that a program of mounts writes when all are there.
pub fn mounts_ready(program: Program, layout: &Layout) -> Option<PathBuf> {
    match program {
        Program::ClientMounts => Some(layout.folder.join("client/ready")),
        Program::Mounts(node) => Some(layout.node_folder(node).join("ready")),
        _ => None,
    }
}

fn client_mounts(layout: &Layout) -> Result<Command> {
    let folder = layout.folder.join("client");
    fs::create_dir_all(folder.join("run"))?;
    let text = format!(
        "nameserver {CONTROL_PLANE}\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    );
    fs::write(folder.join("resolv.conf"), text)?;
    let pairs = [
        (folder.join("run"), "/run".into()),
        (folder.join("resolv.conf"), "/etc/resolv.conf".into()),
    ];
    Ok(mounts(&folder.join("ready"), &pairs))
}

fn node_mounts(folder: &Path) -> Result<Command> {
    let mut pairs = Vec::new();
    for name in NODE_FOLDERS {
        let own = folder.join(name.replace('/', "-"));
        fs::create_dir_all(&own)?;
        pairs.push((own, Path::new("/").join(name)));
    }
    Ok(mounts(&folder.join("ready"), &pairs))
}

fn containerd(folder: &Path, node: u32, bin: &Binaries) -> Result<Command> {
    let cni = folder.join("cni");
    fs::create_dir_all(&cni)?;
    let bridge = json!({
        "type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": pod_network(node)}]], "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let network = json!({"cniVersion": "0.4.0", "name": "e2e", "plugins": [bridge, portmap]});
    fs::write(cni.join("10-e2e.conflist"), network.to_string())?;
    // `restrict_oom_score_adj`: lowering it needs a right that root in a container lacks.
    let config = format!(
        r#"version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "{}"
"#,
        image::PAUSE,
        bin.debian("usr/lib/cni").display(),
        cni.display(),
    );
    let file = folder.join("containerd.toml");
    fs::write(&file, config)?;
    let mut command = Command::new(bin.debian("usr/bin/containerd"));
    command.arg("--config").arg(file).env("PATH", bin.path());
    Ok(command)
}

fn kubelet(layout: &Layout, settings: &Settings, bin: &Binaries, node: u32) -> Result<Command> {
    let folder = layout.node_folder(node);
    let pki = |name: String| layout.pki().join(name).display().to_string();
    fs::write(folder.join("resolv.conf"), "")?;
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki("ca.crt".into())}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki(format!("kubelet-{node}.crt")),
        "tlsPrivateKeyFile": pki(format!("kubelet-{node}.key")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", layout.node_namespace(node)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "clusterDNS": [CONTROL_PLANE],
        "clusterDomain": "cluster.local",
        "resolvConf": folder.join("resolv.conf"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {},
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
    });
    if !settings.kubelet_defaults {
        merge(
            &mut config,
            json!({
                "syncFrequency": "5s",
                "nodeStatusUpdateFrequency": "2s",
                "featureGates": {"KubeletCrashLoopBackOffMax": true},
                "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
            }),
        );
    }
    let file = folder.join("kubelet.json");
    fs::write(&file, config.to_string())?;
    let mut command = Command::new(bin.kubernetes("kubelet"));
    command.arg("--config").arg(file);
    command.arg(format!(
        "--kubeconfig={}",
        pki(format!("kubelet-{node}.conf"))
    ));
    command.arg(format!("--hostname-override={}", node_name(node)));
    command.arg(format!("--node-ip={}", node_address(node)));
    Ok(command)
}

fn proxy(
    layout: &Layout,
    settings: &Settings,
    bin: &Binaries,
    node: u32,
    folder: &Path,
) -> Result<Command> {
    let mut config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": layout.pki().join("proxy.conf")},
        "clusterCIDR": PODS,
        "hostnameOverride": node_name(node),
        "oomScoreAdj": 0,
        // These limits are the machine's, not the namespace's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    if !settings.kubelet_defaults {
        merge(&mut config, json!({"iptables": {"minSyncPeriod": "100ms"}}));
    }
    let file = folder.join("proxy.json");
    fs::write(&file, config.to_string())?;
    let mut command = Command::new(bin.kubernetes("kube-proxy"));
    command.arg("--config").arg(file);
    Ok(command)
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// `command` inside the namespaces of `program`; `mounts` is the process that holds its mount namespace.
pub fn placed(command: &Command, network: &str, mounts: Option<i32>) -> Command {
    let mut outer = Command::new("nsenter");
    outer.arg(format!("--net=/run/netns/{network}"));
    if let Some(pid) = mounts {
        outer.arg(format!("--mount=/proc/{pid}/ns/mnt"));
    }
    outer
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}
