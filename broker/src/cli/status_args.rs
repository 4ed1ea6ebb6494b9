//! Options of the commands that only look: a folder of `up`, or metrics ports.

use std::path::PathBuf;

use clap::Args;

use crate::cli::CliError;
use crate::supervisor::cluster_file::ClusterFile;
use crate::supervisor::hearsay::observe_urls;
use crate::supervisor::observe::{ClusterView, observe};

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
        match &self.dir {
            Some(dir) => Ok(observe(&ClusterFile::read(dir)?).await),
            None => Ok(observe_urls(&self.url).await?),
        }
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
