//! The configuration of one broker: a TOML file, checked whole before anything starts.
//!
//! Keys are camelCase and use ActiveMQ's and Kubernetes' words; an unknown key is an error. The
//! text of `config/default.toml` is the reference of every key and is a working configuration.
//! Relative paths count from the folder of the file.
//!
//! An error names the file, the line, the key, what is wrong and what is allowed; the process then
//! exits with 2. Not here: opening what the configuration names.

mod locate;
mod size;
mod tls;
mod validate;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use size::ByteSize;
pub(crate) use tls::{PeersTls, Tls, TransportTls};

/// One broker's whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// This broker's name; one of `members`.
    #[serde(default)]
    pub(crate) broker_name: String,
    /// The group's name, part of every message id.
    pub(crate) group: String,
    /// 0-based place of this broker in `members`; left out, it is where `broker_name` stands.
    #[serde(default = "ordinal_by_name")]
    pub(crate) ordinal: u8,
    /// Folder of the journal, the promise and the identity.
    pub(crate) data_dir: PathBuf,
    /// Where this broker listens.
    pub(crate) addresses: Addresses,
    /// Where the Lease and the volume's name are, when Kubernetes has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kubernetes: Option<Kubernetes>,
    /// How masters are chosen.
    #[serde(default)]
    pub(crate) election: Election,
    /// All brokers of the group in the order of their ordinals.
    pub(crate) members: Vec<Member>,
    /// The journal's limits.
    #[serde(default)]
    pub(crate) journal: Journal,
    /// Memory limits.
    #[serde(default)]
    pub(crate) system_usage: SystemUsage,
    /// The client protocols.
    #[serde(default)]
    pub(crate) transports: Transports,
    /// Who may connect.
    #[serde(default)]
    pub(crate) auth: Auth,
    /// Encryption of what is not a client port.
    #[serde(default)]
    pub(crate) tls: Tls,
    /// Times of the group's protocol.
    #[serde(default)]
    pub(crate) timing: Timing,
    /// For tests of the broker itself; not in `config/default.toml`, and only written when it says
    /// something.
    #[serde(default, skip_serializing_if = "Testing::is_default")]
    pub(crate) testing: Testing,
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Addresses {
    /// STOMP clients; listens only while this broker is master.
    pub(crate) stomp: SocketAddr,
    /// The other brokers of the group.
    pub(crate) peers: SocketAddr,
    /// `/healthz`, `/readyz`, `/metrics`, `/status`; read only.
    pub(crate) metrics: SocketAddr,
}

/// How masters are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Election {
    /// The folder of the lease file, shared by all brokers of the group; empty on Kubernetes.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(crate) lease_dir: PathBuf,
    /// Seconds; renewed every third of it.
    #[serde(default = "default_lease_duration_seconds")]
    pub(crate) lease_duration_seconds: u64,
}

/// The objects of this broker in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kubernetes {
    /// Namespace of all of them.
    pub(crate) namespace: String,
    /// The group's Lease.
    pub(crate) lease: String,
    /// The pod's UID, from the command line: part of the Lease's holder.
    #[serde(skip)]
    pub(crate) pod_uid: String,
}

/// What the command line says of this process; it wins over the file, which all pods share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// `--broker-name`.
    pub(crate) broker_name: Option<String>,
    /// `--pod-uid`.
    pub(crate) pod_uid: Option<String>,
}

/// One broker of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its peers address, `host:port`.
    pub(crate) peers: String,
}

/// The journal's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Journal {
    /// Bytes the journal may take on disk; none: as much as the disk has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<ByteSize>,
    /// Bytes of one segment file.
    pub(crate) segment_bytes: ByteSize,
    /// Kept free of producers' messages, so that consumers can go on at the limit.
    pub(crate) reserve_bytes: ByteSize,
    /// Bytes of log kept for a broker that lags or is away; beyond it, it gets a checkpoint.
    pub(crate) retain_bytes: ByteSize,
}

/// Memory limits, in ActiveMQ's word for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SystemUsage {
    /// Bytes of non-persistent messages.
    pub(crate) memory_limit: ByteSize,
}

/// The client protocols.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Transports {
    /// STOMP 1.0, 1.1, 1.2.
    pub(crate) stomp: Transport,
}

/// Limits of one client protocol; names are those of ActiveMQ's transport options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Transport {
    /// Connections served at once; one above gets an ERROR and is closed.
    pub(crate) maximum_connections: u32,
    /// Bytes of one frame.
    pub(crate) max_frame_size: ByteSize,
    /// The port speaks TLS; none: plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TransportTls>,
}

/// Who may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Auth {
    /// A file of `user:password` lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) users_file: Option<PathBuf>,
    /// Everybody may connect, on whatever address. Loopback needs no such permission.
    pub(crate) anonymous: bool,
}

/// Times of the group's protocol; none of them is needed for safety.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Timing {
    /// Between two heartbeats of a master.
    pub(crate) heartbeat_ms: u64,
    /// Silence after which a master is no longer heard.
    pub(crate) suspicion_ms: u64,
    /// Without a quorum's answer for so long a master stops accepting and dispatching.
    pub(crate) quorum_hold_ms: u64,
    /// A disk operation out for longer makes a master stand down.
    pub(crate) disk_stall_ms: u64,
    /// A hand-over takes at most this long.
    pub(crate) handover_max_ms: u64,
    /// A call of the lease store takes at most this long.
    pub(crate) lease_timeout_ms: u64,
    /// Between two checks of a MiB of the disk for damage.
    pub(crate) scrub_ms: u64,
}

/// What tests of the broker itself need. Never for a broker that is to keep anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Testing {
    /// What the journal lies on.
    pub(crate) disk: TestingDisk,
}

/// What the journal lies on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TestingDisk {
    /// Files, as always.
    #[default]
    Durable,
    /// Files that lose what is not synced when the process is killed, and that do what
    /// `dataDir/testing.faults` says.
    Volatile,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The file.
    pub(crate) file: PathBuf,
    /// 1-based line, where one can be named.
    pub(crate) line: Option<usize>,
    /// The key, empty when the file as a whole is meant.
    pub(crate) key: String,
    /// What is wrong and what is allowed.
    pub(crate) text: String,
}

// === impl Config ===

impl Config {
    /// The reference of all keys with their defaults, for `serve --print-config`.
    pub(crate) const fn commented_default() -> &'static str {
        include_str!("config/default.toml")
    }

    /// Reads and checks a file.
    pub(crate) fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::load_for(file, &Overrides::default())
    }

    /// The same for the process that the command line describes.
    pub(crate) fn load_for(file: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.to_owned(),
            line: None,
            key: String::new(),
            text: format!("cannot read the configuration: {error}"),
        })?;
        Self::parse_for(&text, file, overrides)
    }

    /// Checks a text; `file` is named in errors, and relative paths count from its folder.
    #[cfg(test)]
    pub(crate) fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        Self::parse_for(text, file, &Overrides::default())
    }

    fn parse_for(text: &str, file: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| ConfigError {
            file: file.to_owned(),
            line: error.span().map(|span| locate::line_of(text, span.start)),
            key: String::new(),
            // toml's own text shows the line with a mark under the place.
            text: error.to_string().trim_end().to_owned(),
        })?;
        config.take(overrides);
        validate::check(&config).map_err(|problem| ConfigError {
            file: file.to_owned(),
            line: locate::find_line(text, &problem.key),
            key: problem.key,
            text: problem.text,
        })?;
        config.resolve_paths(file.parent().unwrap_or_else(|| Path::new("")));
        Ok(config)
    }

    /// The same configuration as a file's text.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a TOML form, and paths here are UTF-8")
    }

    fn take(&mut self, overrides: &Overrides) {
        if let Some(name) = &overrides.broker_name {
            self.broker_name.clone_from(name);
            self.ordinal = ORDINAL_BY_NAME;
        }
        if let (Some(kubernetes), Some(uid)) = (&mut self.kubernetes, &overrides.pod_uid) {
            kubernetes.pod_uid.clone_from(uid);
        }
        if self.ordinal == ORDINAL_BY_NAME {
            let place = self
                .members
                .iter()
                .position(|member| member.name == self.broker_name);
            self.ordinal = place
                .and_then(|place| place.try_into().ok())
                .unwrap_or(ORDINAL_BY_NAME);
        }
    }

    fn resolve_paths(&mut self, folder: &Path) {
        self.data_dir = folder.join(&self.data_dir);
        if !is_empty(&self.election.lease_dir) {
            self.election.lease_dir = folder.join(&self.election.lease_dir);
        }
        if let Some(users) = &mut self.auth.users_file {
            *users = folder.join(&*users);
        }
        self.tls.resolve_paths(folder);
        if let Some(tls) = &mut self.transports.stomp.tls {
            tls.resolve_paths(folder);
        }
    }
}

// === impl defaults ===

const fn default_lease_duration_seconds() -> u64 {
    6
}

/// No group has so many members: the ordinal is the place of the name.
const ORDINAL_BY_NAME: u8 = u8::MAX;

const fn ordinal_by_name() -> u8 {
    ORDINAL_BY_NAME
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Default for Election {
    fn default() -> Self {
        Self {
            lease_dir: PathBuf::new(),
            lease_duration_seconds: default_lease_duration_seconds(),
        }
    }
}

impl Testing {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            max_bytes: None,
            segment_bytes: ByteSize(64 << 20),
            reserve_bytes: ByteSize(64 << 20),
            retain_bytes: ByteSize(512 << 20),
        }
    }
}

impl Default for SystemUsage {
    fn default() -> Self {
        Self {
            memory_limit: ByteSize(256 << 20),
        }
    }
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            maximum_connections: 1_000,
            max_frame_size: ByteSize(tandemmq_model::limits::FRAME_BYTES_MAX as u64),
            tls: None,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            suspicion_ms: 1_000,
            quorum_hold_ms: 800,
            disk_stall_ms: 2_000,
            handover_max_ms: 5_000,
            lease_timeout_ms: 1_000,
            scrub_ms: 250,
        }
    }
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.text)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
