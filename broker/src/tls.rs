//! TLS: which certificates this broker shows and which it believes.
//!
//! rustls with the aws-lc-rs provider, named wherever a configuration is made: no provider is
//! installed for the process. What comes from files is read again when they change (`reload`).
//!
//! ```text
//! files ──> reload::Reloader ──> Current<Links>   ──> peers: both sides verified, TLS 1.3
//!                            └─> Current<Port>    ──> clients: this side only, TLS 1.2 and 1.3
//!                            └─> Current<UserTable>   (not TLS, but the same care for files)
//! ```
//!
//! Not here: bytes after a handshake (`socket`).

pub(crate) mod clients;
pub(crate) mod files;
pub(crate) mod peers;
pub(crate) mod reload;
pub(crate) mod tool;

#[cfg(test)]
pub(crate) mod testing;

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The cryptography of every configuration.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A failed handshake in words that say what to look at.
pub(crate) fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(Error::InvalidMessage(_)) => {
            format!("the other side does not speak TLS here ({error})")
        }
        Some(Error::AlertReceived(_)) => {
            format!("the other side refuses this broker's certificate or TLS version ({error})")
        }
        Some(Error::InvalidCertificate(_)) => {
            format!("the other side's certificate is not accepted ({error})")
        }
        Some(Error::NoCertificatesPresented) => "the other side shows no certificate".to_owned(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the other side ended the handshake; it may not speak TLS here".to_owned()
        }
        Some(_) | None => error.to_string(),
    }
}

/// A TLS failure as one of the socket.
pub(crate) fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
