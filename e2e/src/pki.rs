//! Certificates and kubeconfigs of a cluster, made anew each time it is brought up.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

use crate::layout::{API_SERVICE, CONTROL_PLANE, Layout, node_address, node_name};

/// Programs that talk to the API server, and whom their certificates name (organisation, common name).
const CLIENTS: &[(&str, &str, &str)] = &[
    ("admin", "system:masters", "admin"),
    ("controller-manager", "", "system:kube-controller-manager"),
    ("scheduler", "", "system:kube-scheduler"),
    ("proxy", "", "system:kube-proxy"),
    ("dns", "system:masters", "coredns"),
    ("provisioner", "system:masters", "provisioner"),
];

/// Names by which the API server is called.
const API_NAMES: &[&str] = &[
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    CONTROL_PLANE,
    API_SERVICE,
];

/// Writes all of them into the cluster's folder.
pub fn make(layout: &Layout, nodes: u32) -> Result<()> {
    let folder = layout.pki();
    fs::create_dir_all(&folder)?;
    let authority = Authority::new()?;
    fs::write(folder.join("ca.crt"), &authority.pem)?;
    let accounts = KeyPair::generate()?;
    secret(&folder.join("accounts.key"), &accounts.serialize_pem())?;
    fs::write(folder.join("accounts.pub"), accounts.public_key_pem())?;

    let names: Vec<String> = API_NAMES.iter().map(|n| (*n).to_owned()).collect();
    authority.issue(&folder, "apiserver", "", "kube-apiserver", names)?;
    for (file, organisation, name) in CLIENTS {
        authority.issue(&folder, file, organisation, name, Vec::new())?;
        kubeconfig(&folder, file)?;
    }
    for node in 1..=nodes {
        let file = format!("kubelet-{node}");
        let names = vec![node_name(node), node_address(node)];
        authority.issue(
            &folder,
            &file,
            "system:nodes",
            &format!("system:node:{}", node_name(node)),
            names,
        )?;
        kubeconfig(&folder, &file)?;
    }
    Ok(())
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "e2e");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    fn issue(
        &self,
        folder: &Path,
        file: &str,
        organisation: &str,
        name: &str,
        names: Vec<String>,
    ) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !organisation.is_empty() {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organisation);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
        secret(&folder.join(format!("{file}.key")), &key.serialize_pem())
    }
}

/// JSON is YAML.
fn kubeconfig(folder: &Path, file: &str) -> Result<()> {
    let path = |name: String| folder.join(name).display().to_string();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {
            "server": format!("https://{CONTROL_PLANE}:6443"), "certificate-authority": path("ca.crt".into())}}],
        "users": [{"name": "e2e", "user": {
            "client-certificate": path(format!("{file}.crt")), "client-key": path(format!("{file}.key"))}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
    });
    secret(&folder.join(format!("{file}.conf")), &config.to_string())
}

fn secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).with_context(|| path.display().to_string())?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o600),
    )?)
}
