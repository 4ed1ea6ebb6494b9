//! The JSON of `/status`: the node's status field by field, and who the process is.
//!
//! Part of the contract with tools and operators: keys are only added.

use serde::Serialize;
use tandemmq_cluster::{MemberStatus, Status};
use tandemmq_engine::DestinationStats;
use tandemmq_journal::LogState;
use tandemmq_model::DestinationKind;

use super::About;
use crate::kubernetes::FoundingText;
use crate::runtime::clock;

/// The document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusJson<'a> {
    broker_name: &'a str,
    group: &'a str,
    pid: u32,
    addresses: Addresses,
    uptime_seconds: f64,
    role: &'static str,
    epoch: u64,
    serving: bool,
    ready: bool,
    member: Member,
    group_id: Option<&'a str>,
    founding: Option<FoundingText>,
    volume_id: Option<&'a str>,
    log_state: &'static str,
    offsets: Offsets,
    format: Format,
    master: Option<Master<'a>>,
    reason: &'a str,
    message: &'a str,
    members: Vec<MemberJson<'a>>,
    journal_bytes: u64,
    checkpoint: Option<u64>,
    log_start: u64,
    config_generation: u64,
    disk_checks: u64,
    /// Hex: JSON's numbers end at 2^53 in many readers.
    state_digest: String,
    destinations: Vec<DestinationJson<'a>>,
}

#[derive(Serialize)]
struct Addresses {
    stomp: String,
    peers: String,
    metrics: String,
}

#[derive(Serialize)]
struct Member {
    ordinal: u8,
    incarnation: String,
}

#[derive(Serialize)]
struct Offsets {
    appended: u64,
    synced: u64,
    committed: u64,
    applied: u64,
}

/// Of the journal: what this version understands, what the log is in.
#[derive(Serialize)]
struct Format {
    understood: u16,
    written: u16,
}

#[derive(Serialize)]
struct Master<'a> {
    epoch: u64,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberJson<'a> {
    name: &'a str,
    member: Option<Member>,
    connected: bool,
    matched: u64,
    lag: Option<u64>,
    in_sync: bool,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DestinationJson<'a> {
    name: &'a str,
    kind: &'static str,
    depth: u64,
    consumers: u64,
    in_flight: u64,
    enqueued: u64,
    dequeued: u64,
    dispatched: u64,
    expired: u64,
    dead_lettered: u64,
}

// === impl StatusJson ===

impl<'a> StatusJson<'a> {
    /// The document of a status.
    pub(super) fn new(about: &'a About, status: &'a Status) -> Self {
        let offsets = status.offsets;
        Self {
            broker_name: &about.broker_name,
            group: &about.group,
            pid: std::process::id(),
            addresses: Addresses {
                stomp: about.stomp.to_string(),
                peers: about.peers.to_string(),
                metrics: about.metrics.to_string(),
            },
            uptime_seconds: clock::boot().since(about.started).as_secs_f64(),
            role: status.role.as_str(),
            epoch: status.epoch.0,
            serving: status.serving,
            ready: status.ready,
            member: Member::new(status.member),
            group_id: status.group_id.as_deref(),
            founding: status.founding.as_ref().map(FoundingText::new),
            volume_id: status.volume_id.as_deref(),
            log_state: log_state(status.log_state),
            offsets: Offsets {
                appended: offsets.appended.0,
                synced: offsets.synced.0,
                committed: offsets.committed.0,
                applied: offsets.applied.0,
            },
            format: Format {
                understood: status.formats.understood,
                written: status.formats.written,
            },
            master: status.master.as_ref().map(|(epoch, name)| Master {
                epoch: epoch.0,
                name,
            }),
            reason: &status.reason,
            message: &status.message,
            members: status.members.iter().map(MemberJson::new).collect(),
            journal_bytes: status.journal_bytes,
            checkpoint: status.checkpoint.map(|at| at.0),
            log_start: status.log_start.0,
            config_generation: status.config_generation,
            disk_checks: status.disk_checks,
            state_digest: format!("{:016x}", status.state_digest),
            destinations: status
                .destinations
                .iter()
                .map(DestinationJson::new)
                .collect(),
        }
    }
}

impl Member {
    fn new(member: tandemmq_model::MemberId) -> Self {
        Self {
            ordinal: member.ordinal,
            incarnation: member.incarnation.to_string(),
        }
    }
}

impl<'a> MemberJson<'a> {
    fn new(member: &'a MemberStatus) -> Self {
        Self {
            name: &member.name,
            member: member.member.map(Member::new),
            connected: member.connected,
            matched: member.matched.0,
            lag: member.lag,
            in_sync: member.in_sync,
            reason: &member.reason,
        }
    }
}

impl<'a> DestinationJson<'a> {
    fn new(stats: &'a DestinationStats) -> Self {
        Self {
            name: &stats.name,
            kind: match stats.kind {
                DestinationKind::Queue => "queue",
                DestinationKind::Topic => "topic",
                DestinationKind::TempQueue => "tempQueue",
                DestinationKind::TempTopic => "tempTopic",
            },
            depth: stats.depth,
            consumers: stats.consumers,
            in_flight: stats.in_flight,
            enqueued: stats.enqueued,
            dequeued: stats.dequeued,
            dispatched: stats.dispatched,
            expired: stats.expired,
            dead_lettered: stats.dead_lettered,
        }
    }
}

const fn log_state(state: LogState) -> &'static str {
    match state {
        LogState::Clean => "clean",
        LogState::NeedsRepair => "needsRepair",
        LogState::Learner => "learner",
        LogState::DataLoss => "dataLoss",
    }
}
