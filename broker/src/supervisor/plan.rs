//! What `up` starts: names, ports, folders and configuration files.
//!
//! ```text
//! D/cluster.json  D/up.lock
//! D/<group>/lease/                      the group's lease file
//! D/<group>/<broker>/broker.toml        written once; edits are kept
//! D/<group>/<broker>/broker.log
//! D/<group>/<broker>/data/              the journal
//! ```
//! Ports: base + 100 × group + 10 × broker + {0 stomp, 1 peers, 2 metrics}. Ten apart, so that none
//! lands on another protocol's port of the same broker; below 32768, where the kernel starts to
//! take source ports: the bound but silent port of a slave could else be somebody's source port.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::{
    Addresses, Auth, Config, Election, Journal, Member, SystemUsage, Testing, Timing, Tls,
    Transports,
};
use crate::supervisor::cluster_file::{BrokerAddresses, BrokerEntry, ClusterFile, GroupEntry};

/// First port of the first broker.
pub(crate) const BASE_PORT_DEFAULT: u16 = 20_000;

/// First port that is not used: from here on Linux takes source ports.
pub(crate) const PORT_END: u16 = 32_768;

/// Groups are named by one letter each.
pub(crate) const GROUPS_MAX: u8 = 26;

const PORTS_PER_GROUP: u16 = 100;
const PORTS_PER_BROKER: u16 = 10;

/// How many groups of how many brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// 1 to `GROUPS_MAX`.
    pub(crate) groups: u8,
    /// Brokers of each group: 1, 3, 5 or 7.
    pub(crate) replicas: u8,
    /// First port.
    pub(crate) base_port: u16,
}

/// What the configuration of each new broker says besides names and addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// `[journal]`
    pub(crate) journal: Journal,
    /// `[timing]`
    pub(crate) timing: Timing,
    /// `[testing]`
    pub(crate) testing: Testing,
}

/// What is wrong with a shape. Fatal: the user must choose another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShapeError {
    /// Not a count of groups.
    #[error("--groups {0}: allowed are 1 to {GROUPS_MAX}")]
    Groups(u8),
    /// An even number, or too many.
    #[error(
        "--replicas {0}: allowed are 1, 3, 5 and 7. An even number outlives no more losses than \
         the odd one below it: a group of 2 stops when either of the two is away"
    )]
    Replicas(u8),
    /// The ports do not fit below `PORT_END`.
    #[error(
        "--base-port {base}: the last port would be {last}; all must stay from 1024 to 32767, \
         below the ports that the kernel gives to outgoing connections"
    )]
    Ports {
        /// What was asked for.
        base: u16,
        /// The last port of it.
        last: u32,
    },
}

impl Shape {
    /// Checks the numbers.
    pub(crate) fn check(self) -> Result<Self, ShapeError> {
        if !(1..=GROUPS_MAX).contains(&self.groups) {
            return Err(ShapeError::Groups(self.groups));
        }
        if ![1, 3, 5, 7].contains(&self.replicas) {
            return Err(ShapeError::Replicas(self.replicas));
        }
        let last = u32::from(self.base_port)
            + u32::from(PORTS_PER_GROUP) * u32::from(self.groups - 1)
            + u32::from(PORTS_PER_BROKER) * u32::from(self.replicas - 1)
            + 2;
        if self.base_port < 1024 || last >= u32::from(PORT_END) {
            return Err(ShapeError::Ports {
                base: self.base_port,
                last,
            });
        }
        Ok(self)
    }

    /// The cluster of that shape in a folder, nothing running. The shape must be checked.
    pub(crate) fn plan(self, folder: &Path) -> ClusterFile {
        let groups = (0..self.groups)
            .map(|group| self.plan_group(folder, group))
            .collect();
        ClusterFile { groups }
    }

    fn plan_group(self, folder: &Path, group: u8) -> GroupEntry {
        let name = char::from(b'a' + group).to_string();
        let base = self.base_port + PORTS_PER_GROUP * u16::from(group);
        let brokers = (0..self.replicas)
            .map(|ordinal| {
                let broker = format!("{name}-{ordinal}");
                let port = base + PORTS_PER_BROKER * u16::from(ordinal);
                BrokerEntry {
                    pid: None,
                    data_dir: broker_folder(folder, &name, &broker).join("data"),
                    addresses: BrokerAddresses {
                        stomp: loopback(port).to_string(),
                        peers: loopback(port + 1).to_string(),
                        metrics: loopback(port + 2).to_string(),
                    },
                    name: broker,
                }
            })
            .collect();
        GroupEntry { name, brokers }
    }
}

/// Where a broker's files are.
pub(crate) fn broker_folder(folder: &Path, group: &str, broker: &str) -> PathBuf {
    folder.join(group).join(broker)
}

/// Where a group's lease file is.
pub(crate) fn lease_folder(folder: &Path, group: &str) -> PathBuf {
    folder.join(group).join("lease")
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The configuration of one broker. Paths are relative to its file, so that the folder can be
/// moved.
pub(crate) fn broker_config(group: &GroupEntry, ordinal: usize, settings: &Settings) -> Config {
    let broker = &group.brokers[ordinal];
    let parse = |address: &str| {
        address
            .parse()
            .expect("made by plan_group or read by check_file")
    };
    Config {
        broker_name: broker.name.clone(),
        group: group.name.clone(),
        ordinal: u8::try_from(ordinal).expect("at most 7 replicas"),
        data_dir: "data".into(),
        addresses: Addresses {
            stomp: parse(&broker.addresses.stomp),
            peers: parse(&broker.addresses.peers),
            metrics: parse(&broker.addresses.metrics),
        },
        kubernetes: None,
        election: Election {
            lease_dir: "../lease".into(),
            lease_duration_seconds: 6,
        },
        members: group
            .brokers
            .iter()
            .map(|member| Member {
                name: member.name.clone(),
                peers: member.addresses.peers.clone(),
            })
            .collect(),
        journal: settings.journal.clone(),
        system_usage: SystemUsage::default(),
        transports: Transports::default(),
        auth: Auth::default(),
        tls: Tls::default(),
        timing: settings.timing.clone(),
        testing: settings.testing,
    }
}

/// Addresses of which something else listens now.
pub(crate) fn busy_addresses(cluster: &ClusterFile) -> Vec<String> {
    cluster
        .brokers()
        .flat_map(|broker| {
            let addresses = &broker.addresses;
            [&addresses.stomp, &addresses.peers, &addresses.metrics]
        })
        .filter(|address| std::net::TcpListener::bind(address.as_str()).is_err())
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        groups: 2,
        replicas: 3,
        base_port: 20_000,
    };

    #[test]
    fn ports_follow_the_documented_rule() {
        let cluster = SHAPE.check().unwrap().plan(Path::new("/d"));
        let broker = &cluster.groups[1].brokers[2];
        assert_eq!(broker.name, "b-2");
        assert_eq!(broker.data_dir, Path::new("/d/b/b-2/data"));
        assert_eq!(broker.addresses.stomp, "127.0.0.1:20120");
        assert_eq!(broker.addresses.peers, "127.0.0.1:20121");
        assert_eq!(broker.addresses.metrics, "127.0.0.1:20122");
    }

    #[test]
    fn only_odd_groups_are_allowed() {
        for replicas in [1, 3, 5, 7] {
            assert!(Shape { replicas, ..SHAPE }.check().is_ok());
        }
        for replicas in [0, 2, 4, 6, 8] {
            let error = Shape { replicas, ..SHAPE }.check().unwrap_err();
            assert_eq!(error, ShapeError::Replicas(replicas));
            assert!(error.to_string().contains("1, 3, 5 and 7"));
        }
    }

    #[test]
    fn ports_stay_out_of_the_kernels_range() {
        let last_fit = Shape {
            base_port: 32_767 - 122,
            ..SHAPE
        };
        assert!(last_fit.check().is_ok());
        let over = Shape {
            base_port: 32_767 - 121,
            ..SHAPE
        };
        assert_eq!(
            over.check(),
            Err(ShapeError::Ports {
                base: 32_646,
                last: 32_768
            })
        );
        assert!(
            Shape {
                base_port: 80,
                ..SHAPE
            }
            .check()
            .is_err()
        );
        assert!(
            Shape {
                groups: 27,
                ..SHAPE
            }
            .check()
            .is_err()
        );
        assert!(Shape { groups: 0, ..SHAPE }.check().is_err());
    }

    #[test]
    fn every_brokers_configuration_is_valid() {
        let cluster = SHAPE.plan(Path::new("/d"));
        for group in &cluster.groups {
            for ordinal in 0..3 {
                let config = broker_config(group, ordinal, &Settings::default());
                let file = Path::new("/d/a/a-0/broker.toml");
                let read = Config::parse(&config.to_toml(), file).unwrap();
                assert_eq!(read.broker_name, group.brokers[ordinal].name);
                assert_eq!(read.data_dir, Path::new("/d/a/a-0/data"));
            }
        }
    }

    #[test]
    fn a_port_in_use_is_found() {
        let cluster = SHAPE.plan(Path::new("/d"));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let mut broker = cluster.groups[0].brokers[0].clone();
        broker.addresses.peers = address.clone();
        broker.addresses.stomp = "127.0.0.1:0".into();
        broker.addresses.metrics = "127.0.0.1:0".into();
        let one = ClusterFile {
            groups: vec![GroupEntry {
                name: "a".into(),
                brokers: vec![broker],
            }],
        };
        assert_eq!(busy_addresses(&one), [address]);
    }
}
