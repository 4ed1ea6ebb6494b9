//! What a pod says of itself: `GET http://<pod IP>:9404/status`.
//!
//! Only what the contract page lists is read, and what is missing reads as nothing: a broker of
//! another version adds keys. An answer that names another broker is no answer: an address is
//! given to another pod soon after its pod is gone.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::api::Founding;

/// The port of `/status`.
const PORT: u16 = 9404;
/// The limit of one question: a pod on a lost node must not make the status late.
const LIMIT: Duration = Duration::from_secs(1);
/// The most that is read of one answer: it grows with the destinations.
const MOST_BYTES: usize = 4 << 20;

/// What came back from one pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Nothing, or nothing of use.
    Silent,
    /// The process lives and knows no volume yet.
    Waiting {
        /// The broker's own word for it.
        reason: String,
    },
    /// Its status.
    Says(Box<Report>),
}

impl Answer {
    /// The status, if there is one.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Says(report) => Some(report),
            Self::Silent | Self::Waiting { .. } => None,
        }
    }
}

/// The part of `/status` that the operator reads.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The broker, which is the pod.
    pub broker_name: String,
    /// master, slave or candidate.
    pub role: String,
    /// It serves clients.
    pub serving: bool,
    /// It is a master that serves or a slave in step.
    pub ready: bool,
    /// The epoch it has promised.
    pub epoch: u64,
    /// Who its volume is.
    pub member: Identity,
    /// The group its volume has adopted.
    pub group_id: Option<String>,
    /// The same with its list; null while blank.
    pub founding: Option<Founding>,
    /// clean, needsRepair, learner or dataLoss.
    pub log_state: String,
    /// Of its journal.
    pub offsets: Offsets,
    /// Whom it follows.
    pub master: Option<Follows>,
    /// Why it is not ready, in one word.
    pub reason: String,
    /// The same as a sentence.
    pub message: String,
    /// The group as it sees it.
    pub members: Vec<Peer>,
}

/// A member: its place and its volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Its place in the group.
    pub ordinal: u8,
    /// Drawn when the volume was formatted.
    pub incarnation: String,
}

/// Places in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Offsets {
    /// Records written.
    pub appended: u64,
    /// Records on the disk.
    pub synced: u64,
}

/// The master that a broker follows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Follows {
    /// Its epoch.
    pub epoch: u64,
    /// Its pod.
    pub name: String,
}

/// What one broker knows of another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Peer {
    /// The pod.
    pub name: String,
    /// There is a link.
    pub connected: bool,
    /// Records behind the master.
    pub lag: Option<u64>,
    /// It counts for the quorum and holds what is committed.
    pub in_sync: bool,
    /// Why not.
    pub reason: String,
}

impl Report {
    /// Its volume belongs to no group yet, and is formatted.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.founding.is_none() && self.group_id.is_none() && !self.member.incarnation.is_empty()
    }

    /// Itself as a founding lists it: `<ordinal>/<incarnation>`.
    #[must_use]
    pub fn listed_as(&self) -> String {
        format!("{}/{}", self.member.ordinal, self.member.incarnation)
    }

    /// It holds records: of some master, therefore of an election that was unanimous.
    #[must_use]
    pub const fn holds_records(&self) -> bool {
        self.offsets.appended > 0
    }

    /// It says that it reigns and serves clients.
    #[must_use]
    pub fn claims_to_serve(&self) -> bool {
        self.role == "master" && self.serving
    }
}

/// Asks pods.
#[derive(Clone)]
pub struct Poller {
    client: reqwest::Client,
}

impl Poller {
    /// A poller with its limits.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(LIMIT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client })
    }

    /// The answer of the pod `name` at `ip`. Never an error: a pod that does not answer is a fact.
    pub async fn ask(&self, name: &str, ip: &str) -> Answer {
        match self.fetch(ip).await {
            Ok(body) => read(name, &body),
            Err(error) => {
                tracing::trace!(pod = name, error = format!("{error:#}"), "no answer");
                Answer::Silent
            }
        }
    }

    async fn fetch(&self, ip: &str) -> anyhow::Result<Vec<u8>> {
        let ip: IpAddr = ip.parse()?;
        let url = format!("http://{}/status", std::net::SocketAddr::new(ip, PORT));
        let mut response = self.client.get(url).send().await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            anyhow::ensure!(body.len() + chunk.len() <= MOST_BYTES, "an answer too long");
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Reads an answer. It is a `WaitingForVolume` when it names no broker.
fn read(name: &str, body: &[u8]) -> Answer {
    match serde_json::from_slice::<Report>(body) {
        Ok(report) if report.broker_name == name => Answer::Says(Box::new(report)),
        Ok(report) if report.broker_name.is_empty() && !report.reason.is_empty() => {
            Answer::Waiting {
                reason: report.reason,
            }
        }
        Ok(_) | Err(_) => Answer::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_the_keys_of_the_contract() {
        let body = br#"{"brokerName":"orders-a-1","role":"slave","serving":false,"ready":true,"epoch":7,
            "member":{"ordinal":1,"incarnation":"ab"},"groupId":"g","founding":{"id":"g","incarnations":["1/ab"]},
            "logState":"clean","offsets":{"appended":9,"synced":8,"committed":8,"applied":8},
            "master":{"epoch":7,"name":"orders-a-0"},"reason":"","message":"","new":1,
            "members":[{"name":"orders-a-0","member":null,"connected":true,"matched":9,"lag":null,"inSync":true,"reason":""}]}"#;
        let Answer::Says(report) = read("orders-a-1", body) else {
            panic!("not read");
        };
        assert_eq!(report.listed_as(), "1/ab");
        assert!(!report.is_blank());
        assert!(report.holds_records());
        assert_eq!(report.master.unwrap().name, "orders-a-0");
        assert!(report.members[0].in_sync);
    }

    #[test]
    fn the_answer_of_another_pod_at_this_address_is_none() {
        assert_eq!(
            read("orders-a-1", br#"{"brokerName":"orders-a-2"}"#),
            Answer::Silent
        );
        assert_eq!(read("orders-a-1", b"<html>"), Answer::Silent);
    }

    #[test]
    fn a_pod_without_a_volume_says_what_it_waits_for() {
        let body = br#"{"reason":"WaitingForVolume","message":"no PVC yet"}"#;
        let reason = "WaitingForVolume".to_owned();
        assert_eq!(read("orders-a-1", body), Answer::Waiting { reason });
    }

    #[test]
    fn a_volume_that_is_not_formatted_is_not_blank() {
        assert!(!Report::default().is_blank());
    }
}
