//! What the operator counts: reconciles, their time and errors, calls to the API server, whether
//! it leads.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The labels of a call to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Call {
    /// get, create, apply, patch, replace, delete.
    pub verb: &'static str,
    /// The plural name of the resource.
    pub resource: String,
}

/// The counters, and the registry that knows them.
pub struct Metrics {
    registry: Registry,
    reconciles: Counter,
    reconcile_errors: Counter,
    reconcile_time: Histogram,
    calls: Family<Call, Counter>,
    polls: Counter,
    leader: Gauge,
    clusters: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut it = Self {
            registry: Registry::with_prefix("tandemmq_operator"),
            reconciles: Counter::default(),
            reconcile_errors: Counter::default(),
            reconcile_time: Histogram::new(exponential_buckets(0.001, 4.0, 7)),
            calls: Family::default(),
            polls: Counter::default(),
            leader: Gauge::default(),
            clusters: Gauge::default(),
        };
        it.register();
        it
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "reconciles",
            "Looks at one BrokerCluster",
            self.reconciles.clone(),
        );
        r.register(
            "reconcile_errors",
            "Reconciles that stopped at a failed call",
            self.reconcile_errors.clone(),
        );
        r.register_with_unit(
            "reconcile",
            "Time of a reconcile, the poll of the pods included",
            Unit::Seconds,
            self.reconcile_time.clone(),
        );
        r.register(
            "api_calls",
            "Calls to the API server, the watches left out",
            self.calls.clone(),
        );
        r.register("polls", "Requests for a pod's /status", self.polls.clone());
        r.register("leader", "1 while this operator acts", self.leader.clone());
        r.register(
            "clusters",
            "BrokerClusters looked after",
            self.clusters.clone(),
        );
    }

    /// One reconcile took `time`.
    pub fn reconciled(&self, time: Duration, ok: bool) {
        self.reconciles.inc();
        self.reconcile_time.observe(time.as_secs_f64());
        if !ok {
            self.reconcile_errors.inc();
        }
    }

    /// One call to the API server.
    pub fn called(&self, verb: &'static str, resource: &str) {
        let resource = resource.to_owned();
        self.calls.get_or_create(&Call { verb, resource }).inc();
    }

    /// `pods` were asked for their status.
    pub fn polled(&self, pods: usize) {
        self.polls.inc_by(pods as u64);
    }

    /// Whether this operator leads.
    pub fn leads(&self, yes: bool) {
        self.leader.set(i64::from(yes));
    }

    /// How many clusters there are.
    pub fn looks_after(&self, clusters: usize) {
        self.clusters.set(clusters as i64);
    }

    /// The text for a scrape.
    ///
    /// # Panics
    /// Never: a String takes all that is written into it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a String takes all");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_tells_reconciles_calls_and_leadership() {
        let metrics = Metrics::default();
        metrics.reconciled(Duration::from_millis(3), false);
        metrics.called("apply", "statefulsets");
        metrics.leads(true);
        let text = metrics.text();
        for line in [
            "tandemmq_operator_reconciles_total 1",
            "tandemmq_operator_reconcile_errors_total 1",
            "tandemmq_operator_api_calls_total{verb=\"apply\",resource=\"statefulsets\"} 1",
            "tandemmq_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
