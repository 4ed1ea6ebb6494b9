//! TLS of a client port: this side shows a certificate, the client logs in with a password.
//!
//! TLS 1.2 and 1.3. The time of a handshake is limited by the caller, which holds the place among
//! the unauthenticated connections meanwhile.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::files::Identity;
use super::provider;
use super::reload::{CertificateEnd, Current, Loaded, Reloader};
use crate::config::TransportTls;
use crate::socket::Socket;

/// The certificate of a client port; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ClientTls {
    port: Current<Arc<ServerConfig>>,
}

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files, now and whenever they change.
    pub(crate) fn open(config: &TransportTls, reloader: &mut Reloader) -> anyhow::Result<Self> {
        let files: Vec<PathBuf> = config.files().map(Into::into).into();
        let config = config.clone();
        let port = reloader.open("transports.stomp.tls", files, move || read(&config))?;
        Ok(Self { port })
    }

    /// The handshake of an accepted connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Socket> {
        let acceptor = TlsAcceptor::from(Arc::clone(&*self.port.get()));
        let (stream, session) = acceptor.accept(stream).await?.into_inner();
        Ok(Socket::tls(stream, session.into()))
    }
}

fn read(config: &TransportTls) -> anyhow::Result<Loaded<Arc<ServerConfig>>> {
    let identity = Identity::read(&config.cert_file, &config.key_file)?;
    let ends = vec![CertificateEnd::new("stomp", identity.not_after()?)];
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12, &TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .context("the certificate and its key")?;
    Ok(Loaded {
        content: Arc::new(server),
        ends,
    })
}
