//! The operator's own port: `/healthz`, `/readyz`, `/metrics`. Read only, no secrets.
//!
//! A stand-by is ready like a leader: readiness says that the API server answers and serves our
//! kind, so that a roll of the operator's Deployment never waits for the Lease of its predecessor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::metrics::Metrics;

/// What the port tells.
#[derive(Clone)]
pub struct Door {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Whether the API server serves BrokerClusters.
    pub served: Arc<AtomicBool>,
}

impl Door {
    /// A door that is not ready yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            served: Arc::default(),
        }
    }

    /// Binds the port; the future answers until it is dropped.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn open(self, listen: SocketAddr) -> anyhow::Result<impl Future<Output = ()>> {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("--listen {listen} cannot be bound"))?;
        let app = self.router();
        Ok(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the operator's port is closed");
            }
        })
    }

    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route(
                "/metrics",
                get(async |State(door): State<Self>| door.metrics.text()),
            )
            .with_state(self)
    }
}

async fn ready(State(door): State<Door>) -> (StatusCode, &'static str) {
    if door.served.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server does not serve brokerclusters.tandemmq.io yet: apply the CRD\n",
        )
    }
}
