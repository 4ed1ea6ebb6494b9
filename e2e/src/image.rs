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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const NAME: &str = "example.org/broker:1";

    /// The root of this test program, as that of a broker would be made, and its archive.
    struct Packed {
        folder: PathBuf,
        program: String,
    }

    impl Packed {
        fn new(test: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("e2e-image-{test}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let this = std::env::current_exe().unwrap();
            let program = this.file_name().unwrap().to_string_lossy().into_owned();
            let packed = Self { folder, program };
            let script = tree().join("tools/rootfs.sh");
            run::output(Command::new(script).arg(&this).arg(packed.root())).unwrap();
            pack(
                &packed.root(),
                &packed.archive(),
                NAME,
                &packed.entrypoint(),
            )
            .unwrap();
            packed
        }

        fn root(&self) -> PathBuf {
            self.folder.join("root")
        }

        fn archive(&self) -> PathBuf {
            self.folder.join("image.tar")
        }

        fn entrypoint(&self) -> String {
            format!("/usr/bin/{}", self.program)
        }

        /// A file of the archive, unpacked beside it.
        fn member(&self, name: &str) -> PathBuf {
            let to = self.folder.join("layout");
            fs::create_dir_all(&to).unwrap();
            run::output(
                Command::new("tar")
                    .arg("-xf")
                    .arg(self.archive())
                    .arg("-C")
                    .arg(&to),
            )
            .unwrap();
            to.join(name)
        }

        /// The blob that a descriptor names, after a look at its digest and size.
        fn blob(&self, descriptor: &Value) -> PathBuf {
            let digest = descriptor["digest"].as_str().unwrap();
            let hex = digest.strip_prefix("sha256:").unwrap();
            let file = self.member(&format!("blobs/sha256/{hex}"));
            assert_eq!(sum(&file).unwrap().split(' ').next(), Some(hex));
            assert_eq!(descriptor["size"], fs::metadata(&file).unwrap().len());
            file
        }

        fn json(&self, file: &Path) -> Value {
            serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
        }
    }

    impl Drop for Packed {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn the_same_folder_gives_the_same_bytes() {
        let packed = Packed::new("same");
        let once = fs::read(packed.archive()).unwrap();
        // Another time of every file, another order of making them.
        let copy = packed.folder.join("copy");
        run::output(Command::new("cp").arg("-r").arg(packed.root()).arg(&copy)).unwrap();
        run::output(
            Command::new("touch")
                .arg("-d")
                .arg("2001-01-01")
                .arg(copy.join("etc/passwd")),
        )
        .unwrap();
        let again = packed.folder.join("again.tar");
        fs::set_permissions(copy.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        pack(&copy, &again, NAME, &packed.entrypoint()).unwrap();
        assert!(once == fs::read(&again).unwrap());
        fs::write(copy.join("etc/passwd"), "other").unwrap();
        pack(&copy, &again, NAME, &packed.entrypoint()).unwrap();
        assert!(once != fs::read(&again).unwrap());
    }

    #[test]
    fn every_part_of_an_image_is_found_by_its_digest() {
        let packed = Packed::new("digest");
        let layout = packed.json(&packed.member("oci-layout"));
        assert_eq!(layout["imageLayoutVersion"], "1.0.0");
        let index = packed.json(&packed.member("index.json"));
        let named = &index["manifests"][0];
        assert_eq!(named["annotations"]["io.containerd.image.name"], NAME);
        let manifest = packed.json(&packed.blob(named));
        let config = packed.json(&packed.blob(&manifest["config"]));
        assert_eq!(config["config"]["User"], "10001:10001");
        assert_eq!(
            config["config"]["Entrypoint"][0],
            packed.entrypoint().as_str()
        );
        packed.blob(&manifest["layers"][0]);
        // The layer is not compressed, so its two digests are one.
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            manifest["layers"][0]["digest"]
        );
    }

    #[test]
    fn a_root_holds_the_program_its_libraries_and_names_and_no_shell() {
        let packed = Packed::new("root");
        let listed = run::output(
            Command::new("find")
                .arg(packed.root())
                .args(["!", "-type", "d", "-printf", "%P\n"]),
        )
        .unwrap();
        let (libraries, others): (BTreeSet<&str>, BTreeSet<&str>) =
            listed.lines().partition(|file| file.contains(".so"));
        let program = format!("usr/bin/{}", packed.program);
        let expected = [
            "etc/group",
            "etc/nsswitch.conf",
            "etc/passwd",
            program.as_str(),
        ];
        assert_eq!(others, BTreeSet::from(expected));
        for part in ["libc.so", "libnss_files", "libnss_dns", "ld-linux"] {
            assert!(
                libraries.iter().any(|l| l.contains(part)),
                "{part}: {libraries:?}"
            );
        }
        // It is whole: the program runs with nothing but this. `--list` of a test program ends at once.
        let loader = libraries.iter().find(|l| l.contains("ld-linux")).unwrap();
        let folders: BTreeSet<String> = libraries
            .iter()
            .filter_map(|l| {
                packed
                    .root()
                    .join(l)
                    .parent()
                    .map(|f| f.display().to_string())
            })
            .collect();
        let path: Vec<String> = folders.into_iter().collect();
        let mut command = Command::new(packed.root().join(loader));
        command.args(["--inhibit-cache", "--library-path", &path.join(":")]);
        let said = run::output(command.arg(packed.root().join(&program)).arg("--list")).unwrap();
        assert!(said.contains(": test"), "{said}");
    }
}
