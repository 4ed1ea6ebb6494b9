//! From the configuration of the process to that of the machine.

use std::time::Duration;

use bytestring::ByteString;
use tandemmq_cluster::{Confirmation, NodeConfig, PeerConfig, Timing};
use tandemmq_engine::EngineConfig;
use tandemmq_journal::{FORMAT, JournalConfig};

use crate::config::Config;

/// Recent batches kept in memory for slaves that are a little behind, in bytes.
const TAIL_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(super) fn node_config(config: &Config, volume_id: Option<&str>) -> NodeConfig {
    let members = (0..)
        .zip(&config.members)
        .map(|(ordinal, member)| PeerConfig {
            ordinal,
            name: ByteString::from(member.name.as_str()),
        });
    NodeConfig {
        group: ByteString::from(config.group.as_str()),
        name: ByteString::from(config.broker_name.as_str()),
        ordinal: config.ordinal,
        members: members.collect(),
        holder: config
            .kubernetes
            .as_ref()
            .map(|at| ByteString::from(at.pod_uid.as_str())),
        volume_id: volume_id.map(ByteString::from),
        confirmation: match config.kubernetes {
            Some(_) => Confirmation::ByOperator,
            None => Confirmation::ByFounder,
        },
        client_address: client_address(config),
        timing: timing(config),
        journal: journal_config(config),
        engine: EngineConfig {
            group: ByteString::from(config.group.as_str()),
            transient_bytes_max: config.system_usage.memory_limit.0,
            ..EngineConfig::default()
        },
    }
}

/// On Kubernetes a broker listens on all addresses of its pod: the pod's name is its address.
fn client_address(config: &Config) -> ByteString {
    let address = config.addresses.stomp;
    let own = config.members.get(usize::from(config.ordinal));
    let host = own.and_then(|own| own.peers.rsplit_once(':'));
    match (&config.kubernetes, host) {
        (Some(_), Some((host, _))) => ByteString::from(format!("{host}:{}", address.port())),
        _ => ByteString::from(address.to_string()),
    }
}

const fn timing(config: &Config) -> Timing {
    let timing = &config.timing;
    Timing {
        heartbeat: Duration::from_millis(timing.heartbeat_ms),
        suspicion: Duration::from_millis(timing.suspicion_ms),
        quorum_hold: Duration::from_millis(timing.quorum_hold_ms),
        lease_duration: Duration::from_secs(config.election.lease_duration_seconds),
        disk_stall: Duration::from_millis(timing.disk_stall_ms),
        handover_max: Duration::from_millis(timing.handover_max_ms),
        lease_timeout: Duration::from_millis(timing.lease_timeout_ms),
        scrub: Duration::from_millis(timing.scrub_ms),
    }
}

/// The limits of the journal.
pub(crate) fn journal_config(config: &Config) -> JournalConfig {
    let journal = &config.journal;
    JournalConfig {
        segment_bytes: u32::try_from(journal.segment_bytes.0).expect("checked to be 1 GiB at most"),
        max_bytes: journal.max_bytes.map(|max| max.0),
        reserve_bytes: journal.reserve_bytes.0,
        tail_bytes_max: TAIL_BYTES_MAX,
        checkpoint_bytes: journal.segment_bytes.0,
        retain_bytes: journal.retain_bytes.0,
        format_max: FORMAT,
    }
}
