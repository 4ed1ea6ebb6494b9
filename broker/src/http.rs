//! The metrics port: `/healthz`, `/readyz`, `/metrics`, `/status`. Read only, by GET.
//!
//! Bounded: at most `CONNECTIONS_MAX` connections, others wait in the listen backlog; one that
//! lasts too long is cut, whatever it does. What is shown was published by the node task; nothing
//! here waits for it.

mod limited;
mod status_json;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tandemmq_model::Time;

use crate::kubernetes::Labelled;
use crate::metrics::Metrics;
use crate::runtime::{StatusReader, clock};
use limited::Limited;
use status_json::StatusJson;

/// The node task turns twice a second at least. A disk that hangs does not stop it; ten seconds
/// without a turn mean that it is stuck for good.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// What the pages are made of.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Who this broker is.
    pub(crate) about: About,
    /// Figures.
    pub(crate) metrics: Arc<Metrics>,
    /// The published status.
    pub(crate) status: StatusReader,
    /// What the process waits for before there is a status.
    pub(crate) starting: Starting,
    /// On Kubernetes: whether the pod has its role label.
    pub(crate) labelled: Option<Labelled>,
}

/// What a process waits for before it has a status: reason and message. Shared with who waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Starting(Arc<Mutex<Option<(&'static str, String)>>>);

/// What a status says about the process.
#[derive(Debug)]
pub(crate) struct About {
    /// `brokerName`.
    pub(crate) broker_name: String,
    /// The group's name.
    pub(crate) group: String,
    /// Where clients reach it.
    pub(crate) stomp: SocketAddr,
    /// Where peers reach it.
    pub(crate) peers: SocketAddr,
    /// This port.
    pub(crate) metrics: SocketAddr,
    /// Boot clock at the start of the process.
    pub(crate) started: Time,
}

// === impl Pages ===

impl Pages {
    fn is_labelled(&self) -> bool {
        self.labelled.as_ref().is_none_or(Labelled::get)
    }
}

// === impl Starting ===

impl Starting {
    /// From now on it waits for this.
    pub(crate) fn wait_for(&self, reason: &'static str, message: String) {
        *self.0.lock().expect("nobody panics with it") = Some((reason, message));
    }

    fn page(&self) -> Response {
        let waiting = self.0.lock().expect("nobody panics with it").clone();
        let (reason, message) =
            waiting.unwrap_or_else(|| ("Starting", "the journal is being read".to_owned()));
        let page = Json(serde_json::json!({ "reason": reason, "message": message }));
        (StatusCode::SERVICE_UNAVAILABLE, page).into_response()
    }
}

type Shared = State<Arc<Pages>>;

/// Serves for ever.
pub(crate) async fn run(listener: tokio::net::TcpListener, pages: Pages) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(Arc::new(pages));
    axum::serve(Limited::new(listener), routes).await
}

/// The process lives and its node loop turns.
async fn healthz(State(pages): Shared) -> Response {
    // A start takes what its journal takes: ended, it would only begin anew.
    if pages.status.borrow().is_none() {
        return "starting\n".into_response();
    }
    let since = pages.metrics.since_turn(clock::boot());
    if since < STUCK_AFTER {
        return "ok\n".into_response();
    }
    let text = format!("the node loop has not turned for {} s\n", since.as_secs());
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Master, or a slave in sync.
async fn readyz(State(pages): Shared) -> Response {
    let status = pages.status.borrow().clone();
    match status {
        Some(status) if status.ready && !pages.is_labelled() => {
            let text = "Unlabelled: the pod has no role label yet\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        Some(status) if status.ready => format!("{}\n", status.role.as_str()).into_response(),
        Some(status) => {
            let text = format!(
                "{}: {} {}\n",
                status.role.as_str(),
                status.reason,
                status.message
            );
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        None => pages.starting.page(),
    }
}

async fn metrics(State(pages): Shared) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let status = pages.status.borrow().clone();
    match pages.metrics.encode(status.as_deref()) {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn status(State(pages): Shared) -> Response {
    let status = pages.status.borrow().clone();
    match status {
        Some(status) => Json(StatusJson::new(&pages.about, &status)).into_response(),
        None => pages.starting.page(),
    }
}
