//! What a configuration must satisfy beyond its types. Each check names the key, what is wrong
//! and what is allowed.

use std::net::{IpAddr, SocketAddr};

use tandemmq_model::limits::FRAME_BYTES_MAX;
use tokio_rustls::rustls::pki_types::DnsName;

use super::{Auth, ByteSize, Config, Journal, Timing, Tls};

/// Sizes of a group: odd, so that each pair of members buys one more loss, and at most
/// `model::limits::MEMBERS_MAX`.
const REPLICAS: [usize; 4] = [1, 3, 5, 7];

/// Connections of one broker that its file descriptors and memory were tried with.
const MAXIMUM_CONNECTIONS_MAX: u32 = 100_000;

/// One finding.
pub(super) struct Problem {
    /// Such as `members[1].peers`.
    pub(super) key: String,
    pub(super) text: String,
}

type Checked = Result<(), Problem>;

pub(super) fn check(config: &Config) -> Checked {
    check_names(config)?;
    check_tls(&config.tls)?;
    check_lease(config)?;
    check_members(config)?;
    check_addresses(config)?;
    check_journal(&config.journal)?;
    check_transport(config)?;
    check_auth(&config.auth, config.addresses.stomp)?;
    check_timing(&config.timing, config.election.lease_duration_seconds)
}

fn problem(key: impl Into<String>, text: impl Into<String>) -> Problem {
    Problem {
        key: key.into(),
        text: text.into(),
    }
}

fn ensure(holds: bool, key: &str, text: impl FnOnce() -> String) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(problem(key, text()))
    }
}

fn check_names(config: &Config) -> Checked {
    let group = config.group.as_bytes();
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = (1..=15).contains(&group.len())
        && group[0].is_ascii_lowercase()
        && group.iter().all(allowed);
    ensure(fits, "group", || {
        format!(
            "\"{}\" is no group name; allowed are a letter and at most 14 letters or digits, all lower case",
            config.group
        )
    })?;
    check_broker_name("brokerName", &config.broker_name)
}

/// A folder or Kubernetes: brokers that ask different places would not know of each other.
fn check_lease(config: &Config) -> Checked {
    let folder = !config.election.lease_dir.as_os_str().is_empty();
    let Some(kubernetes) = &config.kubernetes else {
        return ensure(folder, "election.leaseDir", || {
            "it is missing; give the folder of the group's lease file, or [kubernetes]".to_owned()
        });
    };
    ensure(!folder, "election.leaseDir", || {
        "it is given and [kubernetes] too; allowed is one of them".to_owned()
    })?;
    for (key, value) in [
        ("kubernetes.namespace", &kubernetes.namespace),
        ("kubernetes.lease", &kubernetes.lease),
    ] {
        check_broker_name(key, value)?;
    }
    let uid = kubernetes.pod_uid.as_bytes();
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    ensure(
        !uid.is_empty() && uid.iter().all(allowed),
        "kubernetes",
        || {
            format!(
                "the pod's UID is \"{}\"; give --pod-uid with the UID that Kubernetes tells the pod",
                kubernetes.pod_uid
            )
        },
    )
}

fn check_tls(tls: &Tls) -> Checked {
    match tls.peers.as_ref().and_then(|peers| peers.name_problem()) {
        Some(text) => Err(problem("tls.peers.name", text)),
        None => Ok(()),
    }
}

/// A broker's name goes into the lease's holder, where `_` separates, and into file names.
fn check_broker_name(key: &str, name: &str) -> Checked {
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let bytes = name.as_bytes();
    ensure(
        (1..=63).contains(&bytes.len()) && bytes.iter().all(allowed),
        key,
        || {
            format!(
                "\"{name}\" is no name; allowed are 1 to 63 lower case letters, digits and dashes, such as a-0"
            )
        },
    )
}

fn check_members(config: &Config) -> Checked {
    let members = &config.members;
    ensure(REPLICAS.contains(&members.len()), "members", || {
        format!("{} members; allowed are 1, 3, 5 or 7", members.len())
    })?;
    for (index, member) in members.iter().enumerate() {
        check_broker_name(&format!("members[{index}].name"), &member.name)?;
        check_peer(config, &format!("members[{index}].peers"), &member.peers)?;
        for earlier in &members[..index] {
            ensure(
                earlier.name != member.name,
                &format!("members[{index}].name"),
                || {
                    format!(
                        "\"{}\" is there twice; each member needs its own name",
                        member.name
                    )
                },
            )?;
            ensure(
                earlier.peers != member.peers,
                &format!("members[{index}].peers"),
                || {
                    format!(
                        "\"{}\" is there twice; each member needs its own address",
                        member.peers
                    )
                },
            )?;
        }
    }
    let Some(own) = members.get(usize::from(config.ordinal)) else {
        if config.ordinal == super::ORDINAL_BY_NAME {
            return Err(problem(
                "brokerName",
                format!("\"{}\" is none of [[members]]", config.broker_name),
            ));
        }
        return Err(problem(
            "ordinal",
            format!(
                "{} is no place in [[members]]; allowed are 0 to {}",
                config.ordinal,
                members.len() - 1
            ),
        ));
    };
    ensure(own.name == config.broker_name, "ordinal", || {
        format!(
            "member {} is \"{}\", but brokerName is \"{}\"; they must be the same",
            config.ordinal, own.name, config.broker_name
        )
    })
}

/// Without TLS links between brokers are plain, so they never leave the machine.
fn check_peer(config: &Config, key: &str, address: &str) -> Checked {
    if config.tls.peers.is_some() {
        return ensure(is_host_and_port(address), key, || {
            format!(
                "\"{address}\" is no address; allowed is host:port, such as a-0.example.org:61619"
            )
        });
    }
    let loopback = match address.parse::<SocketAddr>() {
        Ok(address) => is_loopback(address.ip()) && address.port() != 0,
        Err(_) => address
            .strip_prefix("localhost:")
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)),
    };
    ensure(loopback, key, || {
        format!(
            "\"{address}\" is no loopback address; without [tls.peers] links between brokers are plain, so only an address such as 127.0.0.1:61619 is allowed"
        )
    })
}

fn is_host_and_port(address: &str) -> bool {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return address.port() != 0;
    }
    address.rsplit_once(':').is_some_and(|(host, port)| {
        DnsName::try_from(host).is_ok() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn check_addresses(config: &Config) -> Checked {
    let addresses = &config.addresses;
    check_peer(config, "addresses.peers", &addresses.peers.to_string())?;
    let all = [
        ("addresses.stomp", addresses.stomp),
        ("addresses.peers", addresses.peers),
        ("addresses.metrics", addresses.metrics),
    ];
    for (index, (key, address)) in all.iter().enumerate() {
        ensure(address.port() != 0, key, || {
            "port 0 is not allowed; clients and peers must know the port".to_owned()
        })?;
        for (other, earlier) in &all[..index] {
            ensure(address != earlier, key, || {
                format!("{address} is {other} already")
            })?;
        }
    }
    Ok(())
}

fn check_journal(journal: &Journal) -> Checked {
    let segment = journal.segment_bytes.0;
    ensure(
        (1 << 20..=1 << 30).contains(&segment),
        "journal.segmentBytes",
        || format!("{segment}; allowed are 1 MiB to 1 GiB"),
    )?;
    let reserve = journal.reserve_bytes.0;
    ensure(reserve >= 8 << 20, "journal.reserveBytes", || {
        format!("{reserve}; allowed is 8 MiB or more, its last 4 MiB are for elections")
    })?;
    if let Some(ByteSize(max)) = journal.max_bytes {
        let least = reserve.saturating_add(segment.saturating_mul(2));
        ensure(max >= least, "journal.maxBytes", || {
            format!("{max}; allowed is {least} or more: reserveBytes and two segments")
        })?;
    }
    Ok(())
}

fn check_transport(config: &Config) -> Checked {
    let stomp = &config.transports.stomp;
    ensure(
        (1..=MAXIMUM_CONNECTIONS_MAX).contains(&stomp.maximum_connections),
        "transports.stomp.maximumConnections",
        || {
            format!(
                "{}; allowed are 1 to {MAXIMUM_CONNECTIONS_MAX}",
                stomp.maximum_connections
            )
        },
    )?;
    let frame = stomp.max_frame_size.0;
    ensure(
        (1024..=FRAME_BYTES_MAX as u64).contains(&frame),
        "transports.stomp.maxFrameSize",
        || format!("{frame}; allowed are 1024 to {FRAME_BYTES_MAX}"),
    )
}

fn check_auth(auth: &Auth, client: SocketAddr) -> Checked {
    ensure(
        auth.users_file.is_none() || !auth.anonymous,
        "auth.anonymous",
        || "true, but auth.usersFile is given too; allowed is one of them".to_owned(),
    )?;
    let guarded = auth.users_file.is_some() || auth.anonymous || is_loopback(client.ip());
    ensure(guarded, "addresses.stomp", || {
        format!(
            "{client} is no loopback address and clients need no login; give auth.usersFile, or allow it with auth.anonymous = true"
        )
    })
}

fn check_timing(timing: &Timing, lease_duration_seconds: u64) -> Checked {
    ensure(
        (2..=60).contains(&lease_duration_seconds),
        "election.leaseDurationSeconds",
        || format!("{lease_duration_seconds}; allowed are 2 to 60"),
    )?;
    let heartbeat = timing.heartbeat_ms;
    ensure(
        (10..=10_000).contains(&heartbeat),
        "timing.heartbeatMs",
        || format!("{heartbeat}; allowed are 10 to 10000"),
    )?;
    let hold = timing.quorum_hold_ms;
    ensure(
        hold >= heartbeat.saturating_mul(3),
        "timing.quorumHoldMs",
        || {
            format!(
                "{hold}; allowed are three heartbeats or more ({})",
                heartbeat.saturating_mul(3)
            )
        },
    )?;
    // Else the slaves choose a new master while the old one still dispatches.
    let suspicion = timing.suspicion_ms;
    let lease_ms = lease_duration_seconds * 1_000;
    ensure(
        suspicion > hold && suspicion < lease_ms,
        "timing.suspicionMs",
        || {
            format!(
                "{suspicion}; allowed is more than quorumHoldMs ({hold}) and less than the lease ({lease_ms})"
            )
        },
    )?;
    for (key, value, least, most) in [
        ("timing.diskStallMs", timing.disk_stall_ms, 100, 60_000),
        ("timing.handoverMaxMs", timing.handover_max_ms, 100, 25_000),
        ("timing.leaseTimeoutMs", timing.lease_timeout_ms, 10, 1_000),
        ("timing.scrubMs", timing.scrub_ms, 1, 60_000),
    ] {
        ensure((least..=most).contains(&value), key, || {
            format!("{value}; allowed are {least} to {most}")
        })?;
    }
    Ok(())
}
