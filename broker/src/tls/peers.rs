//! Links between the brokers of a group: TLS 1.3, both sides verified.
//!
//! Either end checks that the other certificate leads to one of the CAs **and** is valid for the
//! group's name. One CA may sign the certificates of many groups: without the name a broker of
//! another group could acknowledge what it never stored.
//!
//! Sessions are never resumed: a resumed one would be judged by the CAs and the time of an earlier
//! handshake. Nothing is decoded before a handshake is complete.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::client::{Resumption, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{
    NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::files::{Identity, authorities};
use super::provider;
use super::reload::{CertificateEnd, Current, Loaded, Reloader};
use crate::config::PeersTls;
use crate::socket::Socket;

/// A handshake takes at most this long.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The certificates of the group's links; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PeerTls {
    name: ServerName<'static>,
    links: Current<Links>,
}

/// What one reading of the files gave.
#[derive(Debug)]
struct Links {
    dialler: Arc<ClientConfig>,
    acceptor: Arc<ServerConfig>,
}

/// Lets in whose certificate leads to a CA and names the group.
#[derive(Debug)]
struct GroupMembers {
    chain: Arc<dyn ClientCertVerifier>,
    name: ServerName<'static>,
}

// === impl PeerTls ===

impl PeerTls {
    /// Reads the files, now and whenever they change.
    pub(crate) fn open(config: &PeersTls, reloader: &mut Reloader) -> anyhow::Result<Self> {
        let name = ServerName::try_from(config.name.clone()).context("tls.peers.name")?;
        let files: Vec<PathBuf> = config.files().map(Into::into).into();
        let (config, group) = (config.clone(), name.clone());
        let links = reloader.open("tls.peers", files, move || Links::read(&config, &group))?;
        Ok(Self { name, links })
    }

    /// The dialling side's handshake.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<Socket> {
        let connector = TlsConnector::from(Arc::clone(&self.links.get().dialler));
        let handshake = connector.connect(self.name.clone(), stream);
        let (stream, session) = limited(handshake).await?.into_inner();
        Ok(Socket::tls(stream, session.into()))
    }

    /// The accepting side's handshake.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Socket> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.links.get().acceptor));
        let (stream, session) = limited(acceptor.accept(stream)).await?.into_inner();
        Ok(Socket::tls(stream, session.into()))
    }
}

async fn limited<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let Ok(done) = timeout(HANDSHAKE_TIMEOUT, handshake).await else {
        let text = format!("the TLS handshake took longer than {HANDSHAKE_TIMEOUT:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    };
    done
}

// === impl Links ===

impl Links {
    fn read(config: &PeersTls, name: &ServerName<'static>) -> anyhow::Result<Loaded<Self>> {
        let identity = Identity::read(&config.cert_file, &config.key_file)?;
        let (roots, authority_ends) = authorities(&config.ca_file)?;
        let own = ParsedCertificate::try_from(&identity.chain[0])
            .context(config.cert_file.display().to_string())?;
        verify_server_name(&own, name).with_context(|| {
            format!(
                "{}: the certificate is not valid for tls.peers.name {}",
                config.cert_file.display(),
                config.name
            )
        })?;
        let ends = vec![
            CertificateEnd::new("peers", identity.not_after()?),
            CertificateEnd::new("peers-ca", authority_ends),
        ];
        let roots = Arc::new(roots);
        let content = Self {
            acceptor: acceptor(&identity, &roots, name)?,
            dialler: dialler(identity, roots)?,
        };
        Ok(Loaded { content, ends })
    }
}

fn dialler(identity: Identity, roots: Arc<RootCertStore>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain, identity.key)
        .context("the certificate and its key")?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn acceptor(
    identity: &Identity,
    roots: &Arc<RootCertStore>,
    name: &ServerName<'static>,
) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .context("the CAs")?;
    let members = GroupMembers {
        chain,
        name: name.clone(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(members))
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .context("the certificate and its key")?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

// === impl GroupMembers ===

impl ClientCertVerifier for GroupMembers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, &self.name)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
