//! Certificates and keys in PEM files.
//!
//! Bounded: a file beyond `FILE_BYTES_MAX` is not read. An error names the file and never shows
//! what is in it.

use std::path::Path;

use anyhow::{Context, bail};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Bytes of one file. A chain takes a few thousand; a bundle of every public CA, 200,000.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A certificate chain and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The own certificate first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub(crate) key: PrivateKeyDer<'static>,
}

// === impl Identity ===

impl Identity {
    /// Reads both files.
    pub(crate) fn read(cert_file: &Path, key_file: &Path) -> anyhow::Result<Self> {
        let chain = certificates(cert_file)?;
        let pem = read(key_file)?;
        // The parser's own error may repeat a part of the file.
        let Ok(key) = PrivateKeyDer::from_pem_slice(&pem) else {
            bail!("{}: no private key in PEM form in it", key_file.display());
        };
        Ok(Self { chain, key })
    }

    /// The end of the own certificate's time, in seconds since 1970.
    pub(crate) fn not_after(&self) -> anyhow::Result<i64> {
        not_after(&self.chain[0])
    }
}

/// All certificates of a file; at least one.
pub(crate) fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            bail!("{}: no certificate in PEM form in it", file.display())
        }
        Ok(certificates) => Ok(certificates),
        Err(_) => bail!("{}: a certificate in it is no valid PEM", file.display()),
    }
}

/// The CAs of a file, one or more, and when the last of them ends: during a renewal the old one
/// is there beside the new one, and its end is of no interest.
pub(crate) fn authorities(file: &Path) -> anyhow::Result<(RootCertStore, i64)> {
    let mut roots = RootCertStore::empty();
    let mut last = i64::MIN;
    for certificate in certificates(file)? {
        last = last.max(not_after(&certificate).with_context(|| file.display().to_string())?);
        roots
            .add(certificate)
            .with_context(|| format!("{}: a certificate in it is no CA", file.display()))?;
    }
    Ok((roots, last))
}

/// The end of a certificate's time, in seconds since 1970.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> anyhow::Result<i64> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).context("a certificate that cannot be parsed")?;
    Ok(parsed.validity().not_after.timestamp())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let reading = || format!("cannot read {}", file.display());
    let bytes = std::fs::metadata(file).with_context(reading)?.len();
    if bytes > FILE_BYTES_MAX {
        bail!(
            "{}: it has {bytes} bytes; allowed are {FILE_BYTES_MAX}",
            reading()
        );
    }
    std::fs::read(file).with_context(reading)
}
