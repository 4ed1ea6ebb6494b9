//! Certificates for this package's tests, made as they are needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::files;
use super::peers::PeerTls;
use super::reload::Reloader;
use crate::config::{PeersTls, TransportTls};
use crate::metrics::Metrics;

/// The name of the group under test.
pub(crate) const GROUP: &str = "a.orders.default.tandemmq.internal";

/// The name of another group of the same CA.
pub(crate) const OTHER_GROUP: &str = "b.orders.default.tandemmq.internal";

/// A CA.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes `cert.pem` and `key.pem`, valid for that name.
    pub(crate) fn issue(&self, name: &str, folder: &Path) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// Writes all that a broker of that group needs.
    pub(crate) fn issue_peers(&self, name: &str, folder: &Path) -> PeersTls {
        self.issue(name, folder);
        std::fs::write(folder.join("ca.pem"), self.pem()).unwrap();
        PeersTls {
            cert_file: folder.join("cert.pem"),
            key_file: folder.join("key.pem"),
            ca_file: folder.join("ca.pem"),
            name: name.to_owned(),
        }
    }
}

/// A client port's files in a folder that `issue` has filled.
pub(crate) fn port_files(folder: &Path) -> TransportTls {
    TransportTls {
        cert_file: folder.join("cert.pem"),
        key_file: folder.join("key.pem"),
    }
}

/// Files that are read once.
pub(crate) fn peer_tls(config: &PeersTls) -> PeerTls {
    PeerTls::open(config, &mut reloader()).unwrap()
}

/// Looks only when it is told to.
pub(crate) fn reloader() -> Reloader {
    Reloader::new(Arc::new(Metrics::new()))
}

/// A client of those versions that shows the certificate of a folder, or none.
pub(crate) fn client(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    shown: Option<&Path>,
) -> Arc<ClientConfig> {
    let folder = crate::testing::TempDir::new();
    let ca: PathBuf = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (roots, _): (RootCertStore, _) = files::authorities(&ca).unwrap();
    let config = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(folder) => {
            let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
            let identity = files::Identity::read(&cert, &key).unwrap();
            config
                .with_client_auth_cert(identity.chain, identity.key)
                .unwrap()
        }
    };
    Arc::new(config)
}
