//! Images of our own, written as OCI archives: the sandbox's and a busybox for tests of the cluster itself.
//!
//! No registry is asked for anything. The images of the broker and the operator are made by `tools/image`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::debian;
use crate::parts::{self, Part, sha256};

/// Name of the image that holds a pod's namespaces.
pub const PAUSE: &str = "docker.io/tandemmq-e2e/pause:1";
/// Name of the image with a shell for tests.
pub const BUSYBOX: &str = "docker.io/tandemmq-e2e/busybox:1";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Files of the archives of [`PAUSE`] and [`BUSYBOX`].
pub fn own() -> Result<[PathBuf; 2]> {
    let busybox = debian::packages()?.join("bin/busybox");
    let stamp = sha256(&fs::read(&busybox).with_context(|| busybox.display().to_string())?);
    let part = Part {
        name: "images",
        made_of: &[&stamp, PAUSE, BUSYBOX],
    };
    let folder = parts::finished(&part, |_, out| {
        let sleep = ["/bin/busybox", "sleep", "2147483647"];
        archive(
            &out.join("pause.tar"),
            PAUSE,
            &sleep,
            &[(&busybox, "bin/busybox")],
        )?;
        let files: Vec<(&Path, &str)> = ["bin/busybox", "bin/sh"]
            .map(|to| (busybox.as_path(), to))
            .to_vec();
        archive(
            &out.join("busybox.tar"),
            BUSYBOX,
            &["/bin/busybox", "sh"],
            &files,
        )
    })?;
    Ok([folder.join("pause.tar"), folder.join("busybox.tar")])
}

/// Writes an OCI archive of one layer with the given files.
fn archive(
    to: &Path,
    name: &str,
    entrypoint: &[&str],
    files: &[(impl AsRef<Path>, &str)],
) -> Result<()> {
    let layer = layer(files)?;
    let mut blobs = Vec::new();
    let mut blob = |bytes: Vec<u8>, media_type: &str| -> Value {
        let hash = sha256(&bytes);
        let said = json!({"mediaType": media_type, "digest": format!("sha256:{hash}"), "size": bytes.len()});
        blobs.push((format!("blobs/sha256/{hash}"), bytes));
        said
    };
    let layer = blob(layer, LAYER);
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = blob(config.to_string().into_bytes(), CONFIG);
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let mut manifest = blob(manifest.to_string().into_bytes(), MANIFEST);
    manifest["annotations"] = json!({"io.containerd.image.name": name});
    blobs.push((
        "index.json".into(),
        json!({"schemaVersion": 2, "manifests": [manifest]})
            .to_string()
            .into_bytes(),
    ));
    blobs.push((
        "oci-layout".into(),
        json!({"imageLayoutVersion": "1.0.0"})
            .to_string()
            .into_bytes(),
    ));

    let mut out =
        tar::Builder::new(fs::File::create(to).with_context(|| to.display().to_string())?);
    for (path, bytes) in &blobs {
        append(&mut out, path, tar::EntryType::Regular, 0o644, bytes)?;
    }
    out.into_inner()?.sync_all()?;
    Ok(())
}

fn layer(files: &[(impl AsRef<Path>, &str)]) -> Result<Vec<u8>> {
    let mut out = tar::Builder::new(Vec::new());
    let mut folders = BTreeSet::from(["tmp"]);
    folders.extend(
        files
            .iter()
            .filter_map(|(_, to)| to.rsplit_once('/').map(|(folder, _)| folder)),
    );
    for folder in folders {
        let mode = if folder == "tmp" { 0o1777 } else { 0o755 };
        append(&mut out, folder, tar::EntryType::Directory, mode, &[])?;
    }
    for (from, to) in files {
        let bytes = fs::read(from).with_context(|| from.as_ref().display().to_string())?;
        append(&mut out, to, tar::EntryType::Regular, 0o755, &bytes)?;
    }
    Ok(out.into_inner()?)
}

fn append<W: std::io::Write>(
    out: &mut tar::Builder<W>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    Ok(out.append_data(&mut header, path, bytes)?)
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}
