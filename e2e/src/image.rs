//! Images, packed by `tools/image`; no registry is asked for anything.
//!
//! Two of our own, of the static busybox: the one that holds a pod's namespaces, and one with a shell for
//! tests of the cluster itself. And those of the product, of the binaries that lie beside this program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::{self, Part};
use crate::{debian, run};

/// Name of the image that holds a pod's namespaces.
pub const PAUSE: &str = "docker.io/tandemmq-e2e/pause:1";
/// Name of the image with a shell for tests.
pub const BUSYBOX: &str = "docker.io/tandemmq-e2e/busybox:1";
/// The broker's image, as the chart names it.
pub const BROKER: &str = "docker.io/tandemmq/broker:0.1.0";
/// The broker's image under another name: what a new version looks like to Kubernetes.
pub const BROKER_AGAIN: &str = "docker.io/tandemmq/broker:0.1.0-again";
/// The broker's build that understands one more format of the journal.
pub const BROKER_NEXT: &str = "docker.io/tandemmq/broker:0.2.0-next";
/// The operator's image, as the chart names it.
pub const OPERATOR: &str = "docker.io/tandemmq/operator:0.1.0";

const PAUSE_SCRIPT: &str = "#!/bin/sh\nexec sleep 2147483647\n";

/// The tree of the project.
pub fn tree() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package lies in a folder of the tree")
}

/// Archives of [`PAUSE`] and [`BUSYBOX`].
pub fn own() -> Result<[PathBuf; 2]> {
    let busybox = debian::packages()?.join("bin/busybox");
    let part = Part {
        name: "images",
        made_of: &[&sum(&busybox)?, &packer()?, PAUSE, BUSYBOX, PAUSE_SCRIPT],
    };
    let folder = parts::finished(&part, |work, out| {
        let root = work.join("root");
        fs::create_dir_all(root.join("bin"))?;
        for name in ["busybox", "sh", "sleep"] {
            fs::copy(&busybox, root.join("bin").join(name))?;
        }
        pack(&root, &out.join("busybox.tar"), BUSYBOX, "/bin/busybox")?;
        let pause = root.join("bin/pause");
        fs::write(&pause, PAUSE_SCRIPT)?;
        fs::set_permissions(&pause, fs::Permissions::from_mode(0o755))?;
        pack(&root, &out.join("pause.tar"), PAUSE, "/bin/pause")
    })?;
    Ok([folder.join("pause.tar"), folder.join("busybox.tar")])
}

/// Archives of [`BROKER`] and [`OPERATOR`], of the binaries beside this program.
pub fn product() -> Result<[PathBuf; 2]> {
    Ok([
        of_binary("tandemmq", "image-broker", BROKER)?,
        of_binary("tandemmq-operator", "image-operator", OPERATOR)?,
    ])
}

/// Archives of [`BROKER_AGAIN`] and [`BROKER_NEXT`], for rolls.
pub fn more() -> Result<[PathBuf; 2]> {
    Ok([
        of_binary("tandemmq", "image-broker-again", BROKER_AGAIN)?,
        of_binary("tandemmq-next", "image-broker-next", BROKER_NEXT)?,
    ])
}

/// An image of one of our binaries under a name of its own: for tests of a roll to another image.
pub fn of_binary(binary: &str, part: &str, name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("path of this program")?;
    let file = this.with_file_name(binary);
    if !file.is_file() {
        bail!(
            "{}: build it first with: cargo build --locked --release -p {binary}",
            file.display()
        );
    }
    let script = tree().join("tools/rootfs.sh");
    let rules = fs::read_to_string(&script).with_context(|| script.display().to_string())?;
    let part = Part {
        name: part,
        made_of: &[&sum(&file)?, &packer()?, &rules, name],
    };
    let folder = parts::finished(&part, |work, out| {
        let root = work.join("root");
        run::output(Command::new(&script).arg(&file).arg(&root))?;
        pack(
            &root,
            &out.join("image.tar"),
            name,
            &format!("/usr/bin/{binary}"),
        )
    })?;
    Ok(folder.join("image.tar"))
}

fn pack(root: &Path, to: &Path, name: &str, entrypoint: &str) -> Result<()> {
    let mut command = Command::new(tree().join("tools/image"));
    run::output(command.arg(root).arg(to).args([name, entrypoint])).map(|_| ())
}

fn packer() -> Result<String> {
    let script = tree().join("tools/image");
    fs::read_to_string(&script).with_context(|| script.display().to_string())
}

fn sum(file: &Path) -> Result<String> {
    run::output(Command::new("sha256sum").arg(file))
}
