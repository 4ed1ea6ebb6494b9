//! The parts that Debian has: etcd, containerd, runc, network plugins, a static busybox.
//!
//! They are downloaded and unpacked into the cache, never installed: an installation would start services
//! and change the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::{self, Part};
use crate::{go, run};

const PACKAGES: &[&str] = &[
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "etcd-server",
    "runc",
];

/// Programs that the packages must have brought, below the part's folder.
const PROGRAMS: &[&str] = &[
    "bin/busybox",
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/ctr",
    "usr/bin/etcd",
    "usr/lib/cni/bridge",
    "usr/lib/cni/host-local",
    "usr/lib/cni/loopback",
    "usr/lib/cni/portmap",
    "usr/sbin/runc",
];

/// Downloads and unpacks all packages.
pub fn packages() -> Result<PathBuf> {
    let part = Part {
        name: "debian",
        made_of: &[&PACKAGES.join(" "), &PROGRAMS.join(" ")],
    };
    parts::finished(&part, |work, out| {
        for tool in ["apt-get", "dpkg-deb"] {
            go::on_path(tool).with_context(|| {
                format!(
                    "{tool} is missing: etcd, containerd and runc are taken from Debian's packages"
                )
            })?;
        }
        download(work)?;
        unpack(work, out)?;
        check(out)
    })
}

fn download(work: &Path) -> Result<()> {
    let fetch = || {
        run::output(
            Command::new("apt-get")
                .current_dir(work)
                .args(["--quiet", "download"])
                .args(PACKAGES),
        )
    };
    if fetch().is_ok() {
        return Ok(());
    }
    // The lists of packages may be absent or older than the mirror.
    run::output(Command::new("apt-get").args(["--quiet", "update"]))?;
    fetch().map(|_| ())
}

fn unpack(work: &Path, out: &Path) -> Result<()> {
    for file in fs::read_dir(work)?.flatten().map(|e| e.path()) {
        if file.extension().is_some_and(|e| e == "deb") {
            run::output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(out))?;
        }
    }
    Ok(())
}

/// A package that was split or renamed, or a library that is missing, shall be found here.
fn check(out: &Path) -> Result<()> {
    for program in PROGRAMS {
        let file = out.join(program);
        if !file.is_file() {
            bail!(
                "Debian's packages {} hold no {program}",
                PACKAGES.join(", ")
            );
        }
        // A static program has no libraries, which ldd calls a failure.
        let libraries = run::raw(Command::new("ldd").arg(&file), None)?;
        let text = String::from_utf8_lossy(&libraries.stdout).into_owned();
        if let Some(line) = text.lines().find(|l| l.contains("not found")) {
            bail!("{program} needs a library that is missing: {}", line.trim());
        }
    }
    Ok(())
}
