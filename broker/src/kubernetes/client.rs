//! The connection to the API server, with the pod's own account.
//!
//! The account's token and the server's CA are files that Kubernetes renews; the client reads them
//! again by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::{Client, Config};
use tokio::runtime::Runtime;

use crate::config::Kubernetes;

/// A server that does not take a connection for so long does not answer in time anyway.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The client and the thread it runs on; cheap to clone.
#[derive(Clone)]
pub(crate) struct Kube {
    pub(super) client: Client,
    pub(super) namespace: String,
    runtime: Arc<Runtime>,
}

// === impl Kube ===

impl Kube {
    /// From what Kubernetes puts into every pod.
    pub(crate) fn in_cluster(settings: &Kubernetes) -> anyhow::Result<Self> {
        let config = Config::incluster().context(
            "this process is in no pod of Kubernetes, or the pod has no service account token",
        )?;
        Self::new(config, &settings.namespace)
    }

    /// From any configuration.
    pub(super) fn new(mut config: Config, namespace: &str) -> anyhow::Result<Self> {
        // What was sent and not answered may have been done: only the machine may try again.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kube")
            .enable_all()
            .build()
            .context("cannot start the thread for Kubernetes")?;
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config).context("cannot make a client for Kubernetes")?
        };
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            runtime: Arc::new(runtime),
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

impl Drop for Kube {
    fn drop(&mut self) {
        // The last one may be dropped by a task, where a runtime must not be waited for.
        if let Some(runtime) = Arc::get_mut(&mut self.runtime) {
            let ended = tokio::runtime::Builder::new_current_thread().build();
            if let Ok(ended) = ended {
                std::mem::replace(runtime, ended).shutdown_background();
            }
        }
    }
}
