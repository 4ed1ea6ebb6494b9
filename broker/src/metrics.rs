//! Figures for Prometheus, `tandemmq_*`.
//!
//! What the tasks count themselves is counted as it happens; what the machine knows is copied from
//! the published status when somebody asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tandemmq_cluster::{Role, Status};
use tandemmq_model::Time;

/// Destinations shown one by one; with more the page would grow without bound, so the rest is
/// left to `/status`.
const DESTINATIONS_MAX: usize = 1_000;

/// All figures of this process.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Messages that clients sent (SEND), accepted or not.
    pub(crate) messages_received: Counter,
    /// Deliveries handed to client sessions.
    pub(crate) messages_sent: Counter,
    /// Connections above `maximumConnections`.
    pub(crate) connections_refused: Counter,
    /// Client connections that are let in.
    pub(crate) connections: Gauge,
    /// Time of each write of the journal with its `fdatasync`.
    pub(crate) disk_sync_seconds: Histogram,
    /// Bytes written to the journal's disk, in whole blocks.
    pub(crate) disk_written_bytes: Counter,
    certificate_not_after: Family<UseLabel, Gauge>,
    reload_failed: Family<KeyLabel, Gauge>,
    copied: Copied,
    registry: Mutex<Registry>,
    /// Boot clock, nanoseconds.
    turned_at: AtomicU64,
}

/// Copied from the status.
#[derive(Debug, Default)]
struct Copied {
    role: Family<RoleLabel, Gauge>,
    epoch: Gauge,
    serving: Gauge,
    ready: Gauge,
    offset: Family<OffsetLabel, Gauge>,
    journal_bytes: Gauge,
    member_lag: Family<MemberLabel, Gauge>,
    member_connected: Family<MemberLabel, Gauge>,
    depth: Family<DestinationLabels, Gauge>,
    consumers: Family<DestinationLabels, Gauge>,
    in_flight: Family<DestinationLabels, Gauge>,
    enqueued: Family<DestinationLabels, Counter>,
    dequeued: Family<DestinationLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabel {
    role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UseLabel {
    r#use: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabel {
    key: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OffsetLabel {
    offset: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabel {
    member: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    destination: String,
}

// === impl Metrics ===

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        let metrics = Self {
            messages_received: Counter::default(),
            messages_sent: Counter::default(),
            connections_refused: Counter::default(),
            connections: Gauge::default(),
            // 50 µs (a cached write) to 1.6 s (a disk about to be called stalled).
            disk_sync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            disk_written_bytes: Counter::default(),
            certificate_not_after: Family::default(),
            reload_failed: Family::default(),
            copied: Copied::default(),
            registry: Mutex::new(Registry::with_prefix("tandemmq")),
            turned_at: AtomicU64::new(0),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().expect("a panic ends the process");
        let own = &mut *registry;
        own.register(
            "messages_received",
            "Messages sent by clients",
            self.messages_received.clone(),
        );
        own.register(
            "messages_sent",
            "Deliveries to clients",
            self.messages_sent.clone(),
        );
        own.register(
            "connections_refused",
            "Connections above maximumConnections",
            self.connections_refused.clone(),
        );
        own.register(
            "connections",
            "Client connections",
            self.connections.clone(),
        );
        own.register_with_unit(
            "disk_sync",
            "Time of a write of the journal, fdatasync included",
            Unit::Seconds,
            self.disk_sync_seconds.clone(),
        );
        own.register_with_unit(
            "disk_written",
            "Blocks of the disk that writes of the journal touched",
            Unit::Bytes,
            self.disk_written_bytes.clone(),
        );
        own.register_with_unit(
            "certificate_not_after",
            "End of a certificate's time, since 1970",
            Unit::Seconds,
            self.certificate_not_after.clone(),
        );
        own.register(
            "reload_failed",
            "1 while changed files are not usable and their old content is in use",
            self.reload_failed.clone(),
        );
        self.copied.register(own);
    }

    /// The end of a certificate, by what it is used for.
    pub(crate) fn certificate_not_after(&self, usage: &'static str) -> Gauge {
        let label = UseLabel { r#use: usage };
        self.certificate_not_after.get_or_create_owned(&label)
    }

    /// Whether the files of a key of the configuration are not usable as they are now.
    pub(crate) fn reload_failed(&self, key: &'static str) -> Gauge {
        self.reload_failed.get_or_create_owned(&KeyLabel { key })
    }

    /// The page of `/metrics`.
    pub(crate) fn encode(&self, status: Option<&Status>) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().expect("a panic ends the process");
        if let Some(status) = status {
            self.copied.copy(status);
        }
        let mut page = String::new();
        text::encode(&mut page, &registry)?;
        Ok(page)
    }

    /// The node task has turned.
    pub(crate) fn set_turned_at(&self, now: Time) {
        self.turned_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// How long ago the node task turned.
    pub(crate) fn since_turn(&self, now: Time) -> Duration {
        now.since(Time::from_nanos(self.turned_at.load(Ordering::Relaxed)))
    }
}

// === impl Copied ===

impl Copied {
    fn register(&self, own: &mut Registry) {
        own.register("role", "1 for the role of this broker", self.role.clone());
        own.register("epoch", "Promised epoch", self.epoch.clone());
        own.register(
            "serving",
            "1 while clients are served",
            self.serving.clone(),
        );
        own.register(
            "ready",
            "1 for a master or a slave in sync",
            self.ready.clone(),
        );
        own.register("offset", "Offsets of the journal", self.offset.clone());
        own.register(
            "journal_bytes",
            "Bytes of the journal on disk",
            self.journal_bytes.clone(),
        );
        own.register(
            "member_lag",
            "Records behind the master",
            self.member_lag.clone(),
        );
        own.register(
            "member_connected",
            "1 while the own link to the member is up",
            self.member_connected.clone(),
        );
        own.register(
            "destination_depth",
            "Messages in the queue",
            self.depth.clone(),
        );
        own.register(
            "destination_consumers",
            "Subscriptions",
            self.consumers.clone(),
        );
        own.register(
            "destination_in_flight",
            "Not acknowledged yet",
            self.in_flight.clone(),
        );
        own.register(
            "destination_enqueued",
            "Messages that arrived",
            self.enqueued.clone(),
        );
        own.register(
            "destination_dequeued",
            "Messages acknowledged",
            self.dequeued.clone(),
        );
    }

    fn copy(&self, status: &Status) {
        for role in [Role::Slave, Role::Candidate, Role::Master] {
            let label = RoleLabel {
                role: role.as_str(),
            };
            self.role
                .get_or_create(&label)
                .set(i64::from(role == status.role));
        }
        self.epoch.set(number(status.epoch.0));
        self.serving.set(i64::from(status.serving));
        self.ready.set(i64::from(status.ready));
        let offsets = status.offsets;
        for (offset, value) in [
            ("appended", offsets.appended),
            ("synced", offsets.synced),
            ("committed", offsets.committed),
            ("applied", offsets.applied),
        ] {
            self.offset
                .get_or_create(&OffsetLabel { offset })
                .set(number(value.0));
        }
        self.journal_bytes.set(number(status.journal_bytes));
        self.copy_members(status);
        self.copy_destinations(status);
    }

    fn copy_members(&self, status: &Status) {
        self.member_lag.clear();
        for member in &status.members {
            let label = MemberLabel {
                member: member.name.clone(),
            };
            let connected = i64::from(member.connected);
            self.member_connected.get_or_create(&label).set(connected);
            if let Some(lag) = member.lag {
                self.member_lag.get_or_create(&label).set(number(lag));
            }
        }
    }

    fn copy_destinations(&self, status: &Status) {
        for family in [&self.depth, &self.consumers, &self.in_flight] {
            family.clear();
        }
        self.enqueued.clear();
        self.dequeued.clear();
        for stats in status.destinations.iter().take(DESTINATIONS_MAX) {
            let destination = tandemmq_model::Destination {
                kind: stats.kind,
                name: stats.name.clone(),
            };
            let label = DestinationLabels {
                destination: destination.to_string(),
            };
            self.depth.get_or_create(&label).set(number(stats.depth));
            self.consumers
                .get_or_create(&label)
                .set(number(stats.consumers));
            self.in_flight
                .get_or_create(&label)
                .set(number(stats.in_flight));
            self.enqueued.get_or_create(&label).inc_by(stats.enqueued);
            self.dequeued.get_or_create(&label).inc_by(stats.dequeued);
        }
    }
}

/// Gauges are signed; no figure of ours comes near the end of it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
