//! The connection to the API server, with the pod's own account.
//!
//! The account's token and the server's CA are files that Kubernetes renews; the client reads them
//! again by itself.

use std::time::Duration;

use anyhow::Context as _;
use kube::{Client, Config};
use tokio::runtime::{Handle, Runtime};

use crate::config::Kubernetes;

/// A server that does not take a connection for so long does not answer in time anyway.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread for Kubernetes. Whoever makes it ends it before the process ends: a thread that is still
/// at work then may meet what is taken down under it.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("kube")
        .enable_all()
        .build()
        .context("cannot start the thread for Kubernetes")
}

/// The client and the thread it runs on; cheap to clone.
#[derive(Clone)]
pub(crate) struct Kube {
    pub(super) client: Client,
    pub(super) namespace: String,
    runtime: Handle,
}

// === impl Kube ===

impl Kube {
    /// From what Kubernetes puts into every pod.
    pub(crate) fn in_cluster(settings: &Kubernetes, runtime: Handle) -> anyhow::Result<Self> {
        let config = Config::incluster().context(
            "this process is in no pod of Kubernetes, or the pod has no service account token",
        )?;
        Self::new(config, &settings.namespace, runtime)
    }

    /// From any configuration.
    pub(super) fn new(
        mut config: Config,
        namespace: &str,
        runtime: Handle,
    ) -> anyhow::Result<Self> {
        // What was sent and not answered may have been done: only the machine may try again.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config).context("cannot make a client for Kubernetes")?
        };
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            runtime,
        })
    }

    /// Waits for a call, from a thread that runs no tasks.
    pub(super) fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// Runs a task on the thread for Kubernetes.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(task)
    }
}
