//! The label `tandemmq.io/role` of pods: Services find the master by it.
//!
//! The broker writes its own: `master` while it serves, else `slave`. A master without a quorum is not
//! sure of its role and touches nothing. A new master also calls its peers slaves, once: an old one
//! that is cut off cannot take its label off itself. The operator repeats all of it.
//!
//! Nothing rests on the label: a client that reaches a slave is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use tandemmq_cluster::{Role, Status};
use tokio::time::{sleep, timeout};

use super::client::Kube;
use crate::runtime::StatusReader;

const LABEL: &str = "tandemmq.io/role";
const CALL_MAX: Duration = Duration::from_secs(2);
/// Pauses between tries.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Whether this pod has its label: before that it is not ready. Shared with the HTTP pages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labelled(Arc<AtomicBool>);

/// The task's parts.
pub(crate) struct RoleLabel {
    pub(crate) kube: Kube,
    /// The own pod.
    pub(crate) pod: String,
    /// All others of the group.
    pub(crate) peers: Vec<String>,
    pub(crate) labelled: Labelled,
}

// === impl Labelled ===

impl Labelled {
    /// It was written once.
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl RoleLabel ===

impl RoleLabel {
    /// Starts the task; it ends with the process.
    pub(crate) fn start(self, status: StatusReader) {
        let kube = self.kube.clone();
        kube.spawn(self.run(status));
    }

    async fn run(self, mut status: StatusReader) {
        let mut written = None;
        let mut pause = RETRY_MIN;
        loop {
            let wanted = status.borrow_and_update().as_deref().and_then(sure_role);
            if let Some(role) = wanted.filter(|role| written != Some(*role)) {
                match self.label(&self.pod, role).await {
                    Ok(()) => {
                        tracing::info!(role, "the pod's role label is written");
                        self.labelled.0.store(true, Ordering::Relaxed);
                        written = Some(role);
                        pause = RETRY_MIN;
                        if role == "master" {
                            self.call_peers_slaves(&status).await;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(role, error, "cannot write the pod's role label");
                        sleep(pause).await;
                        pause = (pause * 2).min(RETRY_MAX);
                    }
                }
                continue;
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    async fn call_peers_slaves(&self, status: &StatusReader) {
        for peer in &self.peers {
            // One that took over meanwhile must keep its label.
            if status.borrow().as_deref().and_then(sure_role) != Some("master") {
                return;
            }
            // One that is away is labelled by the operator, or by itself when it comes back.
            if let Err(error) = self.label(peer, "slave").await {
                tracing::debug!(peer, error, "cannot write a peer's role label");
            }
        }
    }

    async fn label(&self, pod: &str, role: &str) -> Result<(), String> {
        let api: Api<Pod> = Api::namespaced(self.kube.client.clone(), &self.kube.namespace);
        let patch = serde_json::json!({ "metadata": { "labels": { LABEL: role } } });
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let call = api.patch_metadata(pod, &params, &patch);
        match timeout(CALL_MAX, call).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {CALL_MAX:?}")),
        }
    }
}

/// The role that this member is sure of.
fn sure_role(status: &Status) -> Option<&'static str> {
    match status.role {
        Role::Master if status.serving => Some("master"),
        Role::Master => None,
        Role::Slave | Role::Candidate => Some("slave"),
    }
}
