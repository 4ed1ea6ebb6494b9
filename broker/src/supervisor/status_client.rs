//! Asking a broker's metrics port for `/status`, or for one figure of `/metrics`.
//!
//! A plain HTTP/1.1 GET: one request a connection, the whole answer, with a time limit and a limit
//! on its size. Fields that this version does not know are ignored, those that are missing have
//! defaults, so that tools and brokers of neighbouring versions understand each other.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A broker that says nothing for so long counts as down: it answers in milliseconds or never.
pub(crate) const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of an answer. 10,000 destinations with 300 bytes each fit.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What a broker answers between its start and the opening of its journal.
const STARTING: &[u8] = b"HTTP/1.1 503";

/// `/status` of one broker.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BrokerStatus {
    /// Its name.
    pub(crate) broker_name: String,
    /// Its group.
    pub(crate) group: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) addresses: StatusAddresses,
    /// `master`, `slave` or `candidate`.
    pub(crate) role: String,
    /// Promised epoch; a master's own.
    pub(crate) epoch: u64,
    /// Takes clients.
    pub(crate) serving: bool,
    /// In sync, or master.
    pub(crate) ready: bool,
    /// Who its volume is.
    pub(crate) member: MemberIdStatus,
    /// Its group's id; none while its volume is blank.
    pub(crate) group_id: Option<String>,
    /// May its log be trusted: `clean`, or why not.
    pub(crate) log_state: String,
    /// How far its journal is.
    pub(crate) offsets: StatusOffsets,
    /// A short word, or empty.
    pub(crate) reason: String,
    /// A sentence about it.
    pub(crate) message: String,
    /// The last master it heard, itself if it is one.
    pub(crate) master: Option<MasterStatus>,
    /// The group's brokers as it sees them.
    pub(crate) members: Vec<MemberStatus>,
    /// Whole checks of its files for damage since it started.
    pub(crate) disk_checks: u64,
    /// Digest of what the engine holds at `applied`, in hexadecimal.
    pub(crate) state_digest: String,
    /// Destinations.
    pub(crate) destinations: Vec<DestinationStatus>,
}

/// Where a broker listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct StatusAddresses {
    /// Clients.
    pub(crate) stomp: String,
    /// The other brokers.
    pub(crate) peers: String,
}

/// Who a volume is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct MemberIdStatus {
    /// Place in the group.
    pub(crate) ordinal: u8,
    /// Random number of the volume's formatting.
    pub(crate) incarnation: String,
}

/// The four offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StatusOffsets {
    /// Written.
    pub(crate) appended: u64,
    /// On its disk.
    pub(crate) synced: u64,
    /// On a quorum's disks.
    pub(crate) committed: u64,
    /// In its engine.
    pub(crate) applied: u64,
}

/// Who is master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct MasterStatus {
    /// Its epoch.
    pub(crate) epoch: u64,
    /// Its name.
    pub(crate) name: String,
}

/// One broker of the group as another one sees it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct MemberStatus {
    /// Its name.
    pub(crate) name: String,
    /// Who its volume is; none while nothing is known of it.
    pub(crate) member: Option<MemberIdStatus>,
    /// The teller has a connection to it.
    pub(crate) connected: bool,
    /// Records behind the master; only the master knows.
    pub(crate) lag: Option<u64>,
    /// In step.
    pub(crate) in_sync: bool,
    /// Why not.
    pub(crate) reason: String,
}

/// One destination's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DestinationStatus {
    /// Its name.
    pub(crate) name: String,
    /// `queue`, `topic`, …
    pub(crate) kind: String,
    /// Messages in it.
    pub(crate) depth: u64,
    /// Subscriptions.
    pub(crate) consumers: u64,
    /// Delivered, not acknowledged.
    pub(crate) in_flight: u64,
    /// Arrived.
    pub(crate) enqueued: u64,
    /// Acknowledged.
    pub(crate) dequeued: u64,
    /// Deliveries.
    pub(crate) dispatched: u64,
    /// Expired.
    pub(crate) expired: u64,
    /// Moved to the dead letter queue.
    pub(crate) dead_lettered: u64,
}

/// Why there is no status. Retryable: the broker may come back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// It runs, but its journal is not open yet.
    #[error("it is starting")]
    Starting,
    /// Nothing listens, or the connection broke.
    #[error("no answer from {address}: {error}")]
    Io {
        /// Who was asked.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It listens but says nothing.
    #[error("no answer from {0} within {STATUS_TIMEOUT:?}")]
    Timeout(String),
    /// It says something else.
    #[error("{address} is no metrics port of a broker: {text}")]
    Answer {
        /// Who was asked.
        address: String,
        /// What it said.
        text: String,
    },
}

/// The status of the broker whose metrics port that is.
pub(crate) async fn fetch(address: &str) -> Result<BrokerStatus, StatusError> {
    let body = fetch_page(address, "/status").await?;
    serde_json::from_slice(&body).map_err(|error| StatusError::Answer {
        address: address.to_owned(),
        text: error.to_string(),
    })
}

/// One counter or gauge without labels of `/metrics`, such as `tandemmq_epoch`.
pub(crate) async fn fetch_metric(address: &str, name: &str) -> Result<u64, StatusError> {
    let body = fetch_page(address, "/metrics").await?;
    let found = metric_of(&String::from_utf8_lossy(&body), name);
    found.ok_or_else(|| StatusError::Answer {
        address: address.to_owned(),
        text: format!("its page has no {name}"),
    })
}

async fn fetch_page(address: &str, path: &str) -> Result<Vec<u8>, StatusError> {
    let answer = match tokio::time::timeout(STATUS_TIMEOUT, get(address, path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return Err(StatusError::Io {
                address: address.to_owned(),
                error,
            });
        }
        Err(_) => return Err(StatusError::Timeout(address.to_owned())),
    };
    if answer.starts_with(STARTING) {
        return Err(StatusError::Starting);
    }
    let body = body_of(&answer).map_err(|text| StatusError::Answer {
        address: address.to_owned(),
        text,
    });
    Ok(body?.to_vec())
}

fn metric_of(page: &str, name: &str) -> Option<u64> {
    let mut lines = page.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    value.trim().parse().ok()
}

async fn get(address: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(answer)
}

/// The body of a 200 answer that ends with its connection.
fn body_of(answer: &[u8]) -> Result<&[u8], String> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| "it does not speak HTTP".to_owned())?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.lines().next().unwrap_or_default().to_owned();
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return Err(format!("it answers {status:?}"));
    }
    if head.to_ascii_lowercase().contains("transfer-encoding") {
        return Err("it answers in chunks".into());
    }
    Ok(&answer[end + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_and_without_new_fields() {
        let text = r#"{"brokerName":"a-0","role":"master","epoch":3,"serving":true,"later":[1],
            "offsets":{"appended":4,"synced":3,"committed":2,"applied":1},
            "members":[{"name":"a-1","lag":2,"inSync":true}],
            "destinations":[{"name":"Q","kind":"queue","depth":7,"inFlight":1}]}"#;
        let status: BrokerStatus = serde_json::from_str(text).unwrap();
        assert_eq!((status.role.as_str(), status.epoch), ("master", 3));
        assert_eq!(status.offsets.committed, 2);
        assert_eq!(status.members[0].lag, Some(2));
        assert_eq!(status.destinations[0].in_flight, 1);
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let page = "# HELP tandemmq_x\ntandemmq_x_more 1\ntandemmq_x 2\n# EOF\n";
        assert_eq!(metric_of(page, "tandemmq_x"), Some(2));
        assert_eq!(metric_of(page, "tandemmq_y"), None);
    }

    #[test]
    fn only_a_whole_200_answer_counts() {
        assert_eq!(
            body_of(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{}"),
            Ok(&b"{}"[..])
        );
        assert!(
            body_of(b"HTTP/1.1 503 No\r\n\r\n{}")
                .unwrap_err()
                .contains("503")
        );
        assert!(body_of(b"CONNECTED\n\n").is_err());
        assert!(body_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}").is_err());
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error_at_once() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        drop(port);
        assert!(matches!(fetch(&address).await, Err(StatusError::Io { .. })));
    }
}
