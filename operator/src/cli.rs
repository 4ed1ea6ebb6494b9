//! The operator's command line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use crate::api::BrokerCluster;
use crate::check::Check;
use crate::controller::{self, Context};
use crate::crd;
use crate::events::Events;
use crate::http::Door;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::observe::report::Poller;
use crate::observe::stores::Stores;

/// From one question whether the kind is served to the next.
const SERVED_RETRY: Duration = Duration::from_secs(2);

/// Makes BrokerClusters into running groups of brokers.
#[derive(Debug, Parser)]
#[command(name = "tandemmq-operator", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the CustomResourceDefinition of BrokerCluster, for `kubectl apply --server-side -f -`.
    Crd,
    /// Looks after BrokerClusters.
    Run(Run),
    /// Tells whether an installation is whole: operator, kind and rules. Changes nothing.
    Check(Check),
}

/// Options of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  In a pod of the chart, for all namespaces:
    tandemmq-operator run --broker-image registry.example.com/tandemmq:0.1.0 --log-format json
  On a laptop, with the rights of the current kubeconfig, for two namespaces:
    tandemmq-operator run --broker-image tandemmq:dev --namespace shop --namespace billing \\
        --lease-namespace shop --identity $(hostname)")]
struct Run {
    /// The namespaces to look after. Repeat it for several. Default: all.
    #[arg(long = "namespace", env = "WATCH_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// The image of brokers whose BrokerCluster names none. A group that runs keeps its image.
    #[arg(long, default_value = "")]
    broker_image: String,
    /// Where /healthz, /readyz and /metrics are.
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// How a log line looks.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// The namespace of the Lease that says which operator acts.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Who this operator is: the UID of its pod. A restarted container goes on at once.
    #[arg(long, env = "POD_UID")]
    identity: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// When the operator cannot start, or has to end because it does not lead any more.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Crd => {
                print!("{}", crd::yaml()?);
                Ok(())
            }
            Command::Run(run) => {
                init_logs(run.log_format);
                let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
                runtime.block_on(run.serve())
            }
            Command::Check(check) => {
                let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
                runtime.block_on(async { check.run(client().await?).await })
            }
        }
    }
}

impl Run {
    async fn serve(self) -> anyhow::Result<()> {
        let client = client().await?;
        let metrics = Arc::new(Metrics::default());
        let door = Door::new(metrics.clone());
        tokio::spawn(until_served(
            client.clone(),
            self.namespaces.clone(),
            door.clone(),
        ));
        tokio::spawn(door.open(self.listen).await?);
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let told = async {
            tokio::select! { _ = term.recv() => "SIGTERM", _ = int.recv() => "SIGINT" }
        };
        tokio::pin!(told);
        let acquire = Leadership::acquire(client.clone(), &self.lease_namespace, &self.identity);
        let mut leadership = tokio::select! {
            led = acquire => led?,
            signal = &mut told => {
                tracing::info!("{signal}: ended while standing by");
                return Ok(());
            }
        };
        metrics.leads(true);
        tracing::info!(identity = self.identity, "leads");
        let end = tokio::select! {
            () = leadership.keep() => End::LostLease,
            ended = self.look_after(client, metrics) => End::Failed(ended),
            signal = &mut told => End::Asked(signal),
        };
        match end {
            // At once, whatever is under way: another operator acts now.
            End::LostLease => anyhow::bail!("this operator does not lead any more"),
            End::Failed(why) => why.context("the loop ended"),
            End::Asked(signal) => {
                tracing::info!("{signal}: the Lease is released");
                leadership.release().await;
                Ok(())
            }
        }
    }

    async fn look_after(&self, client: Client, metrics: Arc<Metrics>) -> anyhow::Result<()> {
        let (changed, changes) = mpsc::unbounded_channel();
        let stores = Stores::start(&client, &self.namespaces, &changed);
        stores.ready().await?;
        let context = Context {
            events: Events::new(client.clone(), &self.identity),
            client,
            stores,
            poller: Poller::new()?,
            metrics,
            image: self.broker_image.clone(),
        };
        controller::run(Arc::new(context), changes).await;
        drop(changed);
        Ok(())
    }
}

enum End {
    LostLease,
    Failed(anyhow::Result<()>),
    Asked(&'static str),
}

/// In a pod its account, else the kubeconfig. A call is not repeated behind our back: a write
/// that may have happened is looked at again instead.
async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer()
        .await
        .context("neither a pod's account nor a kubeconfig was found")?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Until the API server answers for our kind. Only metadata: one whose spec cannot be read must not
/// make the operator unready.
async fn until_served(client: Client, namespaces: Vec<String>, door: Door) {
    let api: Api<BrokerCluster> = match namespaces.first() {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut told = false;
    loop {
        match api.list_metadata(&ListParams::default().limit(1)).await {
            Ok(_) => {
                door.served.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) if !told => {
                tracing::warn!(%error, "BrokerClusters cannot be listed: is the CRD applied?");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(SERVED_RETRY).await;
    }
}

fn init_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call keeps the first one's choice.
    let _ = match format {
        LogFormat::Text => logs.with_target(false).with_ansi(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
}
