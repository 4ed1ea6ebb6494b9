//! The start of a broker, step by step, and its end.
//!
//! Order: first what may refuse (the folder in use, a port taken, a users file missing), so that
//! a broker that cannot run says so before it has touched anything; then the journal; then the
//! node task and everything that feeds it.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytestring::ByteString;
use rustix::fs::{FlockOperation, flock};
use tandemmq_cluster::NodeMachine;
use tandemmq_journal::{DiskWorker, Reader};
use tandemmq_model::{BootNonce, Time};
use tandemmq_wire::{Authenticator, Limits, SessionConfig};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::clock;
use super::disk_thread::DiskThread;
use super::events::{ClientSender, NodeSender};
use super::listener::{ClientPort, Clients};
use super::node_task::NodeTask;
use super::ports::Ports;
use super::publish::{Publisher, StatusReader};
use super::reader::Readers;
use super::shutdown::{Shutdown, Stdin};
use super::{node_config, peer_link, peer_listener, users, volume};
use crate::config::Config;
use crate::election::{FileLease, LeaseTask};
use crate::http::{self, About, Pages, Starting};
use crate::kubernetes::{Kube, KubeLease, Labelled, RoleLabel, read_wish};
use crate::metrics::Metrics;
use crate::tls::clients::ClientTls;
use crate::tls::peers::PeerTls;
use crate::tls::reload::Reloader;

/// Between the end of the machine's own limit for a hand-over and ours: then something is stuck.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

/// At the end the disk thread may finish what it was given; a disk that hangs does not keep the
/// process.
const DISK_FINISH_MAX: Duration = Duration::from_secs(1);

/// The ports of a broker, taken before anything else is done.
struct Bound {
    clients: ClientPort,
    peers: TcpListener,
    metrics: TcpListener,
}

/// Random values of this run of the process.
struct Drawn {
    boot: BootNonce,
    seed: u64,
}

/// What is read from files and read again when they change.
struct Files {
    authenticator: Arc<dyn Authenticator>,
    client_tls: Option<ClientTls>,
    peer_tls: Option<PeerTls>,
}

/// Runs one broker to its end.
pub(super) async fn run(
    config: Config,
    stdin: Stdin,
    kube_thread: Option<Handle>,
) -> anyhow::Result<()> {
    let started = clock::boot();
    let limit = Duration::from_millis(config.timing.handover_max_ms) + SHUTDOWN_MARGIN;
    let mut shutdown = Shutdown::new(stdin, limit).context("cannot catch signals")?;
    let _lock = lock_folder(&config.data_dir)?;
    let bound = bind(&config).await?;
    let metrics = Arc::new(Metrics::new());
    let files = read_files(&config, &metrics)?;
    let kube = match (&config.kubernetes, kube_thread) {
        (Some(at), Some(thread)) => Some(Kube::in_cluster(at, thread)?),
        _ => None,
    };
    let labelled = kube.as_ref().map(|_| Labelled::default());
    let (publisher, status) = Publisher::new(Arc::clone(&metrics));
    let starting = Starting::default();
    let pages = Pages {
        about: about(&config, started),
        metrics: Arc::clone(&metrics),
        status: status.clone(),
        starting: starting.clone(),
        labelled: labelled.clone(),
    };
    tokio::spawn(http::run(bound.metrics, pages));
    let volume_id = tokio::select! {
        volume_id = volume::wait_for_id(&config, kube.as_ref(), &starting) => volume_id,
        why = shutdown.signal() => {
            tracing::info!(why, "ended before the volume was known");
            return Ok(());
        }
    };
    let lease = start_lease(&config, kube.as_ref())?;
    let drawn = Drawn {
        boot: BootNonce(random_u64()?),
        seed: random_u64()?,
    };

    let node_config = node_config::node_config(&config, volume_id.as_deref());
    let wish = match (&kube, &config.kubernetes) {
        (Some(kube), Some(at)) => read_wish(kube, &at.lease, &config.broker_name).await,
        _ => None,
    };
    let volume = volume::open(&config, &node_config, drawn.seed, &metrics)?;
    let volume = volume::recover_by_wish(volume, &node_config, wish, drawn.boot)?;
    let volume::Opened { storage, recovered } = volume;
    let (sender, events) = mpsc::unbounded_channel();
    let worker = DiskWorker::new(storage.clone(), node_config.journal.clone(), &recovered);
    let disk = DiskThread::start(worker, sender.clone(), Arc::clone(&metrics))
        .context("cannot start the disk thread")?;
    let readers = Readers::start(Reader::new(storage, &recovered), &sender)
        .context("cannot start the reader threads")?;
    let machine = NodeMachine::new(node_config, drawn.boot, drawn.seed, recovered, clock::now());

    let (client_sender, client_events) = ClientSender::channel();
    let clients = Clients::new(
        session_config(&config, drawn.boot),
        files.authenticator,
        config.transports.stomp.maximum_connections,
        client_sender,
        Arc::clone(&metrics),
    )
    .with_tls(files.client_tls);
    let node = NodeTask {
        machine,
        events,
        client_events,
        sender: sender.clone(),
        disk,
        readers,
        lease,
        ports: Ports::new(bound.clients, Arc::new(clients)),
        publisher,
        metrics,
        links: HashMap::new(),
        inbound: HashMap::new(),
    };
    tokio::spawn(peer_listener::run(
        bound.peers,
        files.peer_tls.clone(),
        sender.clone(),
    ));
    if let (Some(kube), Some(labelled)) = (kube, labelled) {
        start_label(&config, kube, labelled, status);
    }
    start_links(&config, files.peer_tls.as_ref(), drawn.seed, &sender);
    tokio::spawn(shutdown.run(sender));
    tracing::info!(
        broker = config.broker_name,
        group = config.group,
        pid = std::process::id(),
        stomp = %config.addresses.stomp,
        peers = %config.addresses.peers,
        metrics = %config.addresses.metrics,
        "broker started"
    );
    finish(node.run().await).await;
    tracing::info!("broker ended");
    Ok(())
}

/// Two brokers in one folder would destroy each other's journal.
fn lock_folder(folder: &Path) -> anyhow::Result<File> {
    let failed = || format!("cannot use dataDir {}", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    let file = File::create(folder.join("lock")).with_context(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!("{}: another broker uses it", failed()),
        Err(error) => Err(error).with_context(failed),
    }
}

fn read_files(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Files> {
    let mut reloader = Reloader::new(Arc::clone(metrics));
    let users_file = config.auth.users_file.as_deref();
    let authenticator = users::authenticator(users_file, &mut reloader)?;
    let stomp = config.transports.stomp.tls.as_ref();
    let client_tls = stomp
        .map(|tls| ClientTls::open(tls, &mut reloader))
        .transpose()
        .context("cannot use transports.stomp.tls")?;
    let peers = config.tls.peers.as_ref();
    let peer_tls = peers
        .map(|tls| PeerTls::open(tls, &mut reloader))
        .transpose()
        .context("cannot use tls.peers")?;
    reloader.start().context("cannot start the reload thread")?;
    Ok(Files {
        authenticator,
        client_tls,
        peer_tls,
    })
}

async fn bind(config: &Config) -> anyhow::Result<Bound> {
    let addresses = &config.addresses;
    let clients =
        ClientPort::bind(addresses.stomp).with_context(|| cannot_bind("stomp", addresses.stomp))?;
    let peers = TcpListener::bind(addresses.peers)
        .await
        .with_context(|| cannot_bind("peers", addresses.peers))?;
    let metrics = TcpListener::bind(addresses.metrics)
        .await
        .with_context(|| cannot_bind("metrics", addresses.metrics))?;
    Ok(Bound {
        clients,
        peers,
        metrics,
    })
}

fn cannot_bind(key: &str, address: SocketAddr) -> String {
    format!("cannot bind addresses.{key} {address}")
}

fn start_lease(config: &Config, kube: Option<&Kube>) -> anyhow::Result<LeaseTask> {
    let limit = Duration::from_millis(config.timing.lease_timeout_ms);
    let task = match (kube, &config.kubernetes) {
        (Some(kube), Some(at)) => {
            let duration = Duration::from_secs(config.election.lease_duration_seconds);
            LeaseTask::start(
                KubeLease::new(kube.clone(), &at.lease, limit, duration),
                limit,
            )
        }
        _ => LeaseTask::start(file_lease(config)?, limit),
    };
    task.context("cannot start the lease thread")
}

fn file_lease(config: &Config) -> anyhow::Result<FileLease> {
    let folder = &config.election.lease_dir;
    FileLease::open(folder, &config.broker_name)
        .with_context(|| format!("cannot use election.leaseDir {}", folder.display()))
}

fn start_label(config: &Config, kube: Kube, labelled: Labelled, status: StatusReader) {
    let names = config.members.iter().map(|member| &member.name);
    let label = RoleLabel {
        kube,
        pod: config.broker_name.clone(),
        peers: names
            .filter(|name| **name != config.broker_name)
            .cloned()
            .collect(),
        labelled,
    };
    label.start(status);
}

fn session_config(config: &Config, boot: BootNonce) -> SessionConfig {
    let frame = config.transports.stomp.max_frame_size.0;
    let limits = Limits {
        frame_bytes_max: usize::try_from(frame).expect("checked to be 10 MiB at most"),
        ..Limits::default()
    };
    SessionConfig {
        group: ByteString::from(config.group.as_str()),
        server: ByteString::from_static(concat!("TandemMQ/", env!("CARGO_PKG_VERSION"))),
        instance: boot.0,
        limits,
    }
}

fn about(config: &Config, started: Time) -> About {
    About {
        broker_name: config.broker_name.clone(),
        group: config.group.clone(),
        stomp: config.addresses.stomp,
        peers: config.addresses.peers,
        metrics: config.addresses.metrics,
        started,
    }
}

/// Dials every other member.
fn start_links(config: &Config, tls: Option<&PeerTls>, seed: u64, events: &NodeSender) {
    for (ordinal, member) in (0..).zip(&config.members) {
        if ordinal != config.ordinal {
            let seed = seed.wrapping_add(u64::from(ordinal));
            tokio::spawn(peer_link::run(
                ordinal,
                member.peers.clone(),
                tls.cloned(),
                seed,
                events.clone(),
            ));
        }
    }
}

/// Lets the disk finish what it was given.
async fn finish(disk: DiskThread) {
    let finished = tokio::task::spawn_blocking(|| disk.finish());
    if tokio::time::timeout(DISK_FINISH_MAX, finished)
        .await
        .is_err()
    {
        tracing::warn!("the disk did not finish in time; the next start recovers");
    }
}

fn random_u64() -> anyhow::Result<u64> {
    getrandom::u64().context("the system gives no random bytes")
}
