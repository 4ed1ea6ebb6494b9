//! Certificates of the links between brokers: a CA for each cluster, a certificate for each group.
//!
//! ```text
//! ca.crt, ca.key              who signs now. ca.crt also holds the CAs that may still be met
//! next-ca.crt, next-ca.key    who will sign; every pod learns it from ca.crt first
//! G.crt, G.key                group G's certificate, signed by ca.key
//! ```
//! A CA is renewed in three steps, each long enough after the one before that every pod has read it:
//! the next CA is trusted, then it signs, then the old one is forgotten. Who signs whom and since when
//! is read from the certificates themselves, so the steps follow from the Secret and the time alone.
//!
//! Not here: reading the files again, which the brokers do within seconds.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use time::OffsetDateTime;

use crate::api::BrokerCluster;

use super::{metadata, name_of, names};

/// Contents of a Secret.
pub type Data = BTreeMap<String, ByteString>;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a CA is good.
const CA_DAYS: i32 = 3_650;
/// A CA with less than this left gets a successor.
const CA_RENEW_DAYS: i32 = 365;
/// How long a group's certificate is good.
const LEAF_DAYS: i32 = 365;
/// One with less than this left is made anew: a third.
const LEAF_RENEW_DAYS: i32 = 122;
/// A new CA has been trusted for so long before it signs, and an old one is trusted for so long after
/// it signed last. The kubelet brings a changed Secret to pods within minutes.
const SPREAD_DAYS: i32 = 2;
/// Certificates begin so long before now: clocks of nodes differ.
const BACKDATE_DAYS: i32 = 1;

/// `C-peers` with that content.
pub fn secret(cluster: &BrokerCluster, data: Data) -> Secret {
    Secret {
        metadata: metadata(cluster, None, names::peers(name_of(cluster))),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// What the Secret shall hold; none when what it holds is good.
///
/// # Errors
/// When the Secret holds a CA that cannot be read: nothing is thrown away that pods may still use.
pub fn renewed(
    cluster: &BrokerCluster,
    current: Option<&Data>,
    now: Timestamp,
) -> anyhow::Result<Option<Data>> {
    let mut data = current.cloned().unwrap_or_default();
    renew_ca(cluster, &mut data, now)?;
    let signer = Signer::read(&data)?;
    for group in &cluster.spec.groups {
        renew_leaf(cluster, &group.name, &signer, &mut data, now)?;
    }
    Ok((current != Some(&data)).then_some(data))
}

/// When a certificate of the Secret begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Validity {
    from: Timestamp,
    until: Timestamp,
}

/// The CA that signs now.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

fn renew_ca(cluster: &BrokerCluster, data: &mut Data, now: Timestamp) -> anyhow::Result<()> {
    if !data.contains_key("ca.crt") && !data.contains_key("ca.key") {
        let (certificate, key) = new_ca(cluster, now)?;
        put(data, "ca.crt", certificate);
        put(data, "ca.key", key);
        return Ok(());
    }
    let own = first_certificate(text(data, "ca.crt")?).context("ca.crt")?;
    let until = validity(&own)?.until;
    match data.get("next-ca.crt") {
        None if until < now + DAY * CA_RENEW_DAYS => {
            let (certificate, key) = new_ca(cluster, now)?;
            let trusted = format!("{}{certificate}", text(data, "ca.crt")?);
            put(data, "ca.crt", trusted);
            put(data, "next-ca.crt", certificate);
            put(data, "next-ca.key", key);
        }
        None => {
            let groups = cluster.spec.groups.iter().map(|group| group.name.as_str());
            forget_old(data, &groups.collect::<Vec<_>>(), now)?;
        }
        Some(_) => {
            let next = text(data, "next-ca.crt")?.to_owned();
            let since = validity(&first_certificate(&next)?)?.from + DAY * BACKDATE_DAYS;
            if now >= since + DAY * SPREAD_DAYS {
                let old = text(data, "ca.crt")?.replace(&next, "");
                put(data, "ca.crt", format!("{next}{old}"));
                let key = text(data, "next-ca.key")?.to_owned();
                data.remove("next-ca.key");
                put(data, "ca.key", key);
                data.remove("next-ca.crt");
            }
        }
    }
    Ok(())
}

/// A CA that signs no more is forgotten when the one that signs has signed for long enough.
fn forget_old(data: &mut Data, groups: &[&str], now: Timestamp) -> anyhow::Result<()> {
    let all = text(data, "ca.crt")?.to_owned();
    let own = first_certificate(&all)?;
    // It was trusted for SPREAD_DAYS before it signed.
    let mut signs_since = validity(&own)?.from + DAY * (BACKDATE_DAYS + SPREAD_DAYS);
    // An operator that was away for days has signed with it only now: pods may still have what the old
    // one signed.
    for group in groups {
        let leaf = text(data, &format!("{group}.crt")).and_then(validity);
        signs_since = leaf.map_or(now, |leaf| signs_since.max(leaf.from + DAY * BACKDATE_DAYS));
    }
    if all.len() > own.len() && now >= signs_since + DAY * SPREAD_DAYS {
        put(data, "ca.crt", own);
    }
    Ok(())
}

fn renew_leaf(
    cluster: &BrokerCluster,
    group: &str,
    signer: &Signer,
    data: &mut Data,
    now: Timestamp,
) -> anyhow::Result<()> {
    let (crt, key) = (format!("{group}.crt"), format!("{group}.key"));
    let name = names::peers_dns(cluster, group);
    let good = data.contains_key(&key)
        && text(data, &crt).is_ok_and(|pem| is_good(pem, &name, signer, now));
    if !good {
        let (certificate, secret) = new_leaf(&name, signer, now)?;
        put(data, &crt, certificate);
        put(data, &key, secret);
    }
    Ok(())
}

/// Signed by the CA that signs now, for the name, and good for a while.
fn is_good(pem: &str, name: &str, signer: &Signer, now: Timestamp) -> bool {
    let parsed = || -> anyhow::Result<bool> {
        let der = der_of(pem)?;
        let ca_der = &signer.certificate;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der)?;
        let (_, ca) = x509_parser::parse_x509_certificate(ca_der)?;
        let names = certificate.subject_alternative_name()?;
        let named = names.is_some_and(|names| {
            let mut all = names.value.general_names.iter();
            all.any(|found| matches!(found, x509_parser::prelude::GeneralName::DNSName(found) if *found == name))
        });
        let signed = certificate.verify_signature(Some(ca.public_key())).is_ok();
        let until = validity(pem)?.until;
        Ok(named && signed && until >= now + DAY * LEAF_RENEW_DAYS)
    };
    parsed().unwrap_or(false)
}

// === making ===

fn new_ca(cluster: &BrokerCluster, now: Timestamp) -> anyhow::Result<(String, String)> {
    let mut params = params(now, CA_DAYS)?;
    let name = format!("TandemMQ peers of {}", names::peers_dns(cluster, "all"));
    params.distinguished_name.push(DnType::CommonName, name);
    // Two CAs of one cluster must not have one name, or a chain could be looked for at the wrong one.
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, now.as_second().to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn new_leaf(name: &str, signer: &Signer, now: Timestamp) -> anyhow::Result<(String, String)> {
    let mut params = params(now, LEAF_DAYS)?;
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.to_owned().try_into()?)];
    params
        .distinguished_name
        .push(DnType::CommonName, "TandemMQ peer");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Each end of a link is the server of one connection and the client of the other.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, &signer.issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn params(now: Timestamp, days: i32) -> anyhow::Result<CertificateParams> {
    let at = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.as_second());
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|error| anyhow!("no random bytes: {error}"))?;
    serial[0] &= 0x7f; // A serial number is positive.
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = at(now - DAY * BACKDATE_DAYS)?;
    params.not_after = at(now + DAY * days)?;
    Ok(params)
}

// === reading ===

impl Signer {
    fn read(data: &Data) -> anyhow::Result<Self> {
        let reading = "the Secret's CA cannot be read: repair it, or delete the Secret to have a new one made";
        let pem = first_certificate(text(data, "ca.crt")?).context(reading)?;
        let key = KeyPair::from_pem(text(data, "ca.key")?).context(reading)?;
        Ok(Self {
            certificate: der_of(&pem)?,
            issuer: Issuer::from_ca_cert_pem(&pem, key).context(reading)?,
        })
    }
}

fn text<'a>(data: &'a Data, key: &str) -> anyhow::Result<&'a str> {
    let bytes = data
        .get(key)
        .with_context(|| format!("the Secret has no {key}"))?;
    std::str::from_utf8(&bytes.0).with_context(|| format!("{key} of the Secret is no text"))
}

fn put(data: &mut Data, key: &str, text: String) {
    data.insert(key.to_owned(), ByteString(text.into_bytes()));
}

/// The first certificate of a bundle, with its line end.
fn first_certificate(bundle: &str) -> anyhow::Result<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let end = bundle.find(END).context("no certificate in it")? + END.len();
    Ok(format!("{}\n", &bundle[..end]))
}

fn der_of(pem: &str) -> anyhow::Result<Vec<u8>> {
    let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map_err(|error| anyhow!("no certificate in PEM: {error}"))?;
    Ok(parsed.contents)
}

fn validity(pem: &str) -> anyhow::Result<Validity> {
    let der = der_of(pem)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der)?;
    let validity = certificate.validity();
    Ok(Validity {
        from: Timestamp::from_second(validity.not_before.timestamp())?,
        until: Timestamp::from_second(validity.not_after.timestamp())?,
    })
}

#[cfg(test)]
mod tests;
