//! TLS of the command-line tools: the broker's certificate must lead to a CA of `--ca-file`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::files::authorities;
use super::provider;
use crate::socket::Socket;

/// Which brokers a tool believes; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ToolTls(Arc<ClientConfig>);

// === impl ToolTls ===

impl ToolTls {
    /// Believes what a CA of this file has signed.
    pub(crate) fn new(ca_file: &Path) -> anyhow::Result<Self> {
        let (roots, _) = authorities(ca_file)?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS12, &TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// The handshake; `address` is the `host:port` that was dialled.
    pub(crate) async fn connect(&self, address: &str, stream: TcpStream) -> io::Result<Socket> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(Arc::clone(&self.0));
        let (stream, session) = connector.connect(name, stream).await?.into_inner();
        Ok(Socket::tls(stream, session.into()))
    }
}
