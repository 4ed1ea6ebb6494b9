//! Options of the commands that only look: a folder of `up`, or metrics ports.

use std::path::PathBuf;

use clap::Args;

use crate::cli::CliError;
use crate::supervisor::cluster_file::{BrokerAddresses, BrokerEntry, ClusterFile, GroupEntry};
use crate::supervisor::observe::{ClusterView, observe};
use crate::supervisor::status_client;

/// The first broker of `up`, as it starts without options.
const URL_DEFAULT: &str = "127.0.0.1:20002";

/// Whom to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    /// Folder of `tandemmq up`: asks all its brokers
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub(crate) dir: Option<PathBuf>,
    /// Metrics port of a broker, host:port or http://host:port; may be repeated
    #[arg(long, value_name = "URL", value_parser = parse_url, default_value = URL_DEFAULT)]
    pub(crate) url: Vec<String>,
}

impl StatusArgs {
    /// Asks.
    pub(crate) async fn observe(&self) -> Result<ClusterView, CliError> {
        let cluster = match &self.dir {
            Some(dir) => ClusterFile::read(dir)?,
            None => self.cluster_of_urls().await?,
        };
        Ok(observe(&cluster).await)
    }

    /// A cluster file of what these brokers say about themselves and of each other.
    async fn cluster_of_urls(&self) -> Result<ClusterFile, CliError> {
        let mut cluster = ClusterFile { groups: Vec::new() };
        for url in &self.url {
            let status = status_client::fetch(url).await?;
            let entry = BrokerEntry {
                name: status.broker_name.clone(),
                pid: Some(status.pid),
                // A status does not say where a broker keeps its files.
                data_dir: PathBuf::new(),
                addresses: BrokerAddresses {
                    stomp: status.addresses.stomp.clone(),
                    peers: status.addresses.peers.clone(),
                    metrics: url.clone(),
                },
            };
            match cluster
                .groups
                .iter_mut()
                .find(|group| group.name == status.group)
            {
                Some(group) => group.brokers.push(entry),
                None => {
                    let name = status.group.clone();
                    cluster.groups.push(GroupEntry {
                        name,
                        brokers: vec![entry],
                    });
                }
            }
        }
        Ok(cluster)
    }
}

fn parse_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").unwrap_or(text);
    let address = rest.split_once('/').map_or(rest, |(address, _)| address);
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 && !address.starts_with(':') => Ok(address.to_owned()),
        _ => Err("allowed are host:port and http://host:port of a broker's metrics port".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_metrics_ports_are_reduced_to_their_address() {
        let expected = Ok("127.0.0.1:9404".to_owned());
        assert_eq!(parse_url("127.0.0.1:9404"), expected);
        assert_eq!(parse_url("http://127.0.0.1:9404"), expected);
        assert_eq!(parse_url("http://127.0.0.1:9404/status"), expected);
        for wrong in ["", "a", ":1", "a:0", "https://a:1", "a:b"] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
