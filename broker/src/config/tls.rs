//! `[tls.peers]` and `[transports.….tls]`: where certificates and keys lie.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::DnsName;

/// TLS of what is not a client port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// Links between the brokers of the group; none: plain, and on loopback only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers: Option<PeersTls>,
}

/// TLS of the links between the brokers of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PeersTls {
    /// The own certificate, and what leads from it to the CA; PEM.
    pub(crate) cert_file: PathBuf,
    /// Its key; PEM.
    pub(crate) key_file: PathBuf,
    /// One or more CAs; PEM.
    pub(crate) ca_file: PathBuf,
    /// The DNS name that every certificate of this group holds, and no other group's.
    pub(crate) name: String,
}

/// TLS of a client port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TransportTls {
    /// The certificate, and what leads from it to the CA; PEM.
    pub(crate) cert_file: PathBuf,
    /// Its key; PEM.
    pub(crate) key_file: PathBuf,
}

// === impl Tls ===

impl Tls {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        if let Some(peers) = &mut self.peers {
            for file in [
                &mut peers.cert_file,
                &mut peers.key_file,
                &mut peers.ca_file,
            ] {
                *file = folder.join(&*file);
            }
        }
    }
}

// === impl PeersTls ===

impl PeersTls {
    /// All files.
    pub(crate) fn files(&self) -> [&Path; 3] {
        [&self.cert_file, &self.key_file, &self.ca_file]
    }

    /// What is wrong with `name`.
    pub(super) fn name_problem(&self) -> Option<String> {
        let refused = DnsName::try_from(self.name.as_str()).is_err();
        refused.then(|| {
            format!(
                "\"{}\" is no DNS name; allowed is one that the certificates of this group hold, such as a.orders.default.tandemmq.internal",
                self.name
            )
        })
    }
}

// === impl TransportTls ===

impl TransportTls {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        for file in [&mut self.cert_file, &mut self.key_file] {
            *file = folder.join(&*file);
        }
    }

    /// Both files.
    pub(crate) fn files(&self) -> [&Path; 2] {
        [&self.cert_file, &self.key_file]
    }
}
