//! The rules of the house, checked against `cargo metadata` and the source text.
//!
//! Which package may import which, what a pure crate may reach, licences and origins of everything
//! that is linked, the one place that may prove a commit, the size of files. A rule that is only
//! written down is broken within a month; each of these fails with the name of the culprit.
//!
//! Not here: style that rustfmt and clippy see (`make fmt-check`, `make clippy`), known
//! vulnerabilities (`make deny`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Which of our own packages each package may import. A new package needs a line here.
const IMPORTS: &[(&str, &[&str])] = &[
    ("tandemmq-model", &[]),
    ("tandemmq-wire", &["tandemmq-model"]),
    ("tandemmq-engine", &["tandemmq-model"]),
    ("tandemmq-journal", &["tandemmq-model"]),
    (
        "tandemmq-cluster",
        &["tandemmq-model", "tandemmq-engine", "tandemmq-journal"],
    ),
    ("tandemmq-sim", PURE_BELOW_SIM),
    ("tandemmq", PURE_BELOW_SIM),
    // What operator and broker share is a page: docs/internals/kubernetes.md.
    ("tandemmq-operator", &[]),
    ("e2e", &[]),
    (
        "sim-mutants",
        &[
            "tandemmq-model",
            "tandemmq-wire",
            "tandemmq-engine",
            "tandemmq-journal",
            "tandemmq-cluster",
            "tandemmq-sim",
        ],
    ),
];

const PURE_BELOW_SIM: &[&str] = &[
    "tandemmq-model",
    "tandemmq-wire",
    "tandemmq-engine",
    "tandemmq-journal",
    "tandemmq-cluster",
];

/// Folders of the pure crates below `broker/`.
const PURE: &[&str] = &["model", "wire", "engine", "journal", "cluster", "sim"];

/// Crates that touch the operating system, a clock or real randomness.
const IMPURE: &[&str] = &[
    "async-io",
    "axum",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "k8s-openapi",
    "kube",
    "libc",
    "mio",
    "nix",
    "rand",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
];

/// Licences that may be linked, by their SPDX names.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Lines of one source file. A file that comes near it holds a second noun.
const FILE_LINES_MAX: usize = 900;

// ---------------------------------------------------------------------------------- the graph

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the package lies in a folder of the workspace")
        .to_path_buf()
}

/// The graph for the platform that the tests run on: the lock file also lists what only others use.
fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .other_options(vec![
                "--locked".into(),
                "--filter-platform".into(),
                platform(),
            ])
            .exec()
            .expect("cargo metadata reads the workspace")
    })
}

fn platform() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .current_dir(root())
        .args(arguments)
        .output();
    let out = out.expect("cargo that runs this test can be started again");
    assert!(
        out.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn members() -> Vec<&'static Package> {
    metadata().workspace_packages()
}

/// Everything that is built for `package` itself, its tests left out.
fn built_for(package: &Package) -> BTreeSet<String> {
    let resolve = metadata()
        .resolve
        .as_ref()
        .expect("metadata without --no-deps is resolved");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|n| (&n.id, n)).collect();
    let mut names = BTreeSet::new();
    let mut queue = VecDeque::from([&package.id]);
    while let Some(id) = queue.pop_front() {
        for dep in &nodes[id].deps {
            let built = dep
                .dep_kinds
                .iter()
                .any(|k| k.kind == DependencyKind::Normal);
            if built && names.insert(metadata()[&dep.pkg].name.to_string()) {
                queue.push_back(&dep.pkg);
            }
        }
    }
    names
}

fn foreign() -> impl Iterator<Item = &'static Package> {
    metadata().packages.iter().filter(|p| p.source.is_some())
}

// ------------------------------------------------------------------------------- the source text

/// Every file of the tree that a person wrote, without what is built, fetched or found by fuzzing.
fn files() -> Vec<PathBuf> {
    const SKIPPED: &[&str] = &[".git", "target", "node_modules", "corpus", "artifacts"];
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .expect("a folder of the tree can be listed")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() && !SKIPPED.iter().any(|s| path.ends_with(s)) {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    let all: Vec<_> = files()
        .into_iter()
        .filter(|p| p.extension() == Some("rs".as_ref()))
        .collect();
    assert!(all.len() > 20, "the walk found {} sources only", all.len());
    all
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn pure_files() -> Vec<PathBuf> {
    let roots: Vec<_> = PURE.iter().map(|c| root().join("broker").join(c)).collect();
    rust_files()
        .into_iter()
        .filter(|p| roots.iter().any(|r| p.starts_with(r)))
        .collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Is this file compiled for tests only? Fuzz targets and examples do not ship either.
fn is_test_file(path: &Path) -> bool {
    let path = shown(path);
    path.ends_with("/tests.rs")
        || path.ends_with("/testing.rs")
        || path
            .split('/')
            .any(|part| matches!(part, "tests" | "fuzz" | "examples"))
}

/// What ships of a source: nothing of a test file, else all before its test module.
fn shipped_text(path: &Path) -> String {
    if is_test_file(path) {
        return String::new();
    }
    let text = read(path);
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
        if line == "#[cfg(test)]" && lines.peek().is_some_and(opens) {
            break;
        }
        kept.push_str(line.split("//").next().unwrap_or(line));
        kept.push('\n');
    }
    kept
}

fn none(culprits: Vec<String>, rule: &str) {
    assert!(culprits.is_empty(), "{rule}:\n  {}", culprits.join("\n  "));
}

// ------------------------------------------------------------------------------------- packages

#[test]
fn packages_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let ours: BTreeSet<&str> = members().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(
        ours,
        table.keys().copied().collect(),
        "each package has a line in IMPORTS"
    );
    let mut culprits = Vec::new();
    for package in members() {
        for dep in package
            .dependencies
            .iter()
            .filter(|d| ours.contains(d.name.as_str()))
        {
            let test_of_binary = package.name == "tandemmq"
                && dep.kind == DependencyKind::Development
                && dep.name == "tandemmq-sim";
            if !table[package.name.as_str()].contains(&dep.name.as_str()) && !test_of_binary {
                culprits.push(format!("{} imports {}", package.name, dep.name));
            }
        }
    }
    none(culprits, "an import outside the table");
}

#[test]
fn pure_crates_list_nothing_that_touches_the_outside() {
    let mut culprits = Vec::new();
    for folder in PURE {
        let name = format!("tandemmq-{folder}");
        let package = members().into_iter().find(|p| p.name == name).unwrap();
        let direct = package.dependencies.iter().map(|d| d.name.clone());
        // The simulator's own binary parses arguments, and clap asks the terminal for its width.
        let reached = if *folder == "sim" {
            BTreeSet::new()
        } else {
            built_for(package)
        };
        let all: BTreeSet<String> = direct.chain(reached).collect();
        culprits.extend(
            IMPURE
                .iter()
                .filter(|i| all.contains(**i))
                .map(|i| format!("{name} reaches {i}")),
        );
    }
    none(culprits, "a pure crate reaches the outside");
}

#[test]
fn pure_sources_touch_no_clock_file_socket_or_thread() {
    const BANNED: &[&str] = &[
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
        "std::env",
        "Instant::now",
        "SystemTime",
        "HashMap",
        "HashSet",
        "RandomState",
    ];
    let mut culprits = Vec::new();
    for path in pure_files() {
        // The simulator's binary runs seeds on threads; the library below it does not.
        let shell = shown(&path);
        if shell.starts_with("broker/sim/src/bin/") || shell == "broker/sim/src/main.rs" {
            continue;
        }
        let text = shipped_text(&path);
        culprits.extend(
            BANNED
                .iter()
                .filter(|b| text.contains(**b))
                .map(|b| format!("{shell}: {b}")),
        );
    }
    none(culprits, "a pure crate touches the outside");
}

#[test]
fn every_package_inherits_the_lints_and_forbids_unsafe() {
    let manifest = read(root().join("Cargo.toml"));
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    let strays = members()
        .iter()
        .filter(|p| !read(&p.manifest_path).contains("[lints]\nworkspace = true"))
        .map(|p| p.name.to_string())
        .collect();
    none(strays, "a package without the lints of the workspace");
}

#[test]
fn a_build_of_the_workspace_leaves_the_mutants_out() {
    let metadata = metadata();
    let built: BTreeSet<&PackageId> = metadata.workspace_default_members.iter().collect();
    for package in members() {
        let mutants = package.name == "sim-mutants";
        assert_eq!(
            built.contains(&package.id),
            !mutants,
            "{} in default-members",
            package.name
        );
    }
}

#[test]
fn the_broker_is_built_without_seeded_faults_and_without_the_next_format() {
    let target = platform();
    let tree = |package| {
        cargo(&[
            "tree", "--locked", "--target", &target, "-p", package, "-e", "features",
        ])
    };
    let broker = tree("tandemmq");
    assert!(
        broker.contains("tandemmq-cluster feature \"default\""),
        "the tree shows features"
    );
    assert!(
        !broker.contains("\"mutants\""),
        "seeded faults in the broker:\n{broker}"
    );
    assert!(
        !broker.contains("\"next-format\""),
        "a format that no version has:\n{broker}"
    );
    assert!(tree("sim-mutants").contains("tandemmq-cluster feature \"mutants\""));
}

// ------------------------------------------------------------------------------ what is linked in

#[test]
fn every_linked_crate_has_an_allowed_licence() {
    let refused = foreign()
        .filter(|p| !p.license.as_deref().is_some_and(licence_allowed))
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.license))
        .collect();
    none(refused, "a licence that is not on the list");
}

/// SPDX: OR needs one side, AND both; `WITH` an exception only widens what the licence grants.
fn licence_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any_of(&words, &mut at);
    verdict && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else {
        *at = words.len() + 1; // Not the end: an expression that stops too early is no expression.
        return false;
    };
    *at += 1;
    if *word == "(" {
        let inner = any_of(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return inner && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    LICENCES.contains(word)
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "GPL-2.0 OR MIT",
    ] {
        assert!(licence_allowed(allowed), "{allowed}");
    }
    assert!(licence_allowed("Apache-2.0 WITH LLVM-exception"));
    for refused in [
        "GPL-3.0-only",
        "MIT AND GPL-3.0",
        "",
        "MIT OR",
        "(MIT",
        "MIT Apache-2.0",
    ] {
        assert!(!licence_allowed(refused), "{refused:?}");
    }
}

#[test]
fn every_source_is_crates_io() {
    let odd = foreign()
        .filter(|p| !p.source.as_ref().is_some_and(|s| s.is_crates_io()))
        .map(|p| format!("{} from {:?}", p.name, p.source))
        .collect();
    none(odd, "a package from elsewhere");
    // The lock file also covers the platforms that this test does not run on.
    let lock = read(root().join("Cargo.lock"));
    let only = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let odd = lock
        .lines()
        .filter(|l| l.starts_with("source = ") && *l != only);
    none(
        odd.map(str::to_string).collect(),
        "a locked source from elsewhere",
    );
}

#[test]
fn nothing_links_ring_or_openssl() {
    // The metadata also names what a feature that is off would link; the tree does not.
    let tree = cargo(&[
        "tree",
        "--locked",
        "--workspace",
        "--edges=normal",
        "--prefix=none",
    ]);
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let names: BTreeSet<&str> = names.collect();
    assert!(
        names.contains("rustls"),
        "the tree is not the one that is linked"
    );
    // openssl-probe only knows where systems keep their certificates.
    let linked = names.iter().filter(|name| {
        matches!(**name, "ring" | "native-tls")
            || name.starts_with("openssl") && **name != "openssl-probe"
    });
    none(
        linked.map(|name| (*name).to_owned()).collect(),
        "a banned crate is linked",
    );
}

#[test]
fn one_folder_of_the_broker_knows_kube() {
    let shell = root().join("broker/src");
    let home = shell.join("kubernetes");
    let knows = |path: &PathBuf| {
        let text = read(path);
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let mut words = words.filter(|word| !word.is_empty());
        words.any(|word| word.starts_with("kube::") || word.starts_with("k8s_openapi"))
    };
    let all: Vec<_> = rust_files()
        .into_iter()
        .filter(|p| p.starts_with(&shell))
        .collect();
    let (inside, outside): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| p.starts_with(&home));
    assert!(
        inside.iter().any(knows),
        "the folder that knows kube is another one"
    );
    let odd = outside.iter().filter(|path| knows(path));
    none(
        odd.map(|path| shown(path)).collect(),
        "only broker/src/kubernetes knows kube",
    );
}

#[test]
fn every_direct_dependency_has_its_line_of_reason() {
    let page = read(root().join("docs/dependencies.md"));
    let crates = page.split("## Tools").next().unwrap();
    let told: BTreeSet<&str> = crates
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .collect();
    let ours: BTreeSet<&str> = members().iter().map(|p| p.name.as_str()).collect();
    let used: BTreeSet<&str> = members()
        .iter()
        .flat_map(|p| p.dependencies.iter().map(|d| d.name.as_str()))
        .filter(|name| !ours.contains(name))
        .collect();
    let untold = used
        .difference(&told)
        .map(|n| format!("{n} is used and not explained"));
    let unused = told
        .difference(&used)
        .map(|n| format!("{n} is explained and not used"));
    none(
        untold.chain(unused).collect(),
        "docs/dependencies.md differs from the manifests",
    );
}

// ------------------------------------------------------------------------------------- the source

#[test]
fn one_place_alone_proves_a_commit() {
    let callers: Vec<String> = rust_files()
        .iter()
        .filter(|p| shipped_text(p).contains("proven_by_quorum"))
        .map(|p| shown(p))
        .filter(|p| p != "broker/model/src/committed.rs")
        .collect();
    let strays = callers
        .iter()
        .filter(|p| !(p.starts_with("broker/cluster/src/") && p.ends_with("/quorum.rs")))
        .cloned()
        .collect();
    none(strays, "a commit proven outside the quorum module");
    assert_eq!(callers.len(), 1, "the quorum module calls it: {callers:?}");
}

#[test]
fn every_hole_of_the_protocol_has_a_test_or_a_reason() {
    let page = read(root().join("docs/protocol/README.md"));
    let sources: String = rust_files().iter().map(read).collect();
    let mut culprits = Vec::new();
    for number in 1..=35 {
        let hole = format!("H{number}");
        let Some(row) = page.lines().find(|l| l.starts_with(&format!("| {hole} "))) else {
            culprits.push(format!("{hole} has no row"));
            continue;
        };
        let told = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or("")
            .trim();
        let prefix = format!("h{number}_");
        let names: Vec<&str> = told.split('`').filter(|n| n.starts_with(&prefix)).collect();
        let exists = |name: &&str| sources.contains(&format!("fn {name}("));
        let right = match told.split_once(':').map_or("", |(word, _)| word) {
            "Not yet" => names.is_empty(),
            _ => !names.is_empty() && names.iter().all(exists),
        };
        if !right {
            culprits.push(format!("{hole}: {told}"));
        }
    }
    none(culprits, "a hole whose test is not there");
}

#[test]
fn every_failure_of_others_names_tests_that_exist() {
    let page = read(root().join("docs/internals/bugs-of-others.md"));
    let sources: String = rust_files().iter().map(read).collect();
    let mut culprits = Vec::new();
    for number in [5, 8, 9, 10, 13, 14, 15, 16, 17, 18, 21, 22, 23] {
        let start = format!("| {number} |");
        let Some(row) = page.lines().find(|line| line.starts_with(&start)) else {
            culprits.push(format!("{number} has no row"));
            continue;
        };
        let told = row.trim_end_matches('|').rsplit('|').next().unwrap_or("");
        let told = told.split_once("mutant").map_or(told, |(tests, _)| tests);
        let names: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
        let exists = |name: &&str| sources.contains(&format!("fn {name}("));
        let missing = names.iter().filter(|name| !exists(name));
        culprits.extend(missing.map(|name| format!("{number}: no test {name}")));
        culprits.extend(names.is_empty().then(|| format!("{number} names no test")));
    }
    none(culprits, "a failure of others without a test that exists");
}

#[test]
fn no_source_file_outgrows_its_noun() {
    let long = rust_files()
        .iter()
        .map(|p| (p, read(p).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(p, lines)| format!("{}: {lines} lines", shown(p)))
        .collect();
    none(long, "a file with more than one noun");
}

#[test]
fn every_source_file_opens_by_saying_what_it_is() {
    let silent = rust_files()
        .iter()
        .filter(|p| !read(p).starts_with("//!"))
        .map(|p| shown(p))
        .collect();
    none(silent, "a file that does not open with //!");
}

#[test]
fn nothing_below_the_process_level_sleeps() {
    let asleep = pure_files()
        .iter()
        .filter(|p| {
            let text = read(p);
            text.contains("thread::sleep") || text.contains("time::sleep")
        })
        .map(|p| shown(p))
        .collect();
    none(asleep, "a pure crate sleeps");
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let homes = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
    ];
    let mut culprits = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if homes.iter().any(|home| names_path(line, home)) {
                culprits.push(format!("{}:{}", shown(&path), number + 1));
            }
        }
    }
    none(culprits, "a path of one machine");
}

/// `a/work/b` inside a longer path or an address is nobody's home.
fn names_path(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '}' | '*'))
    })
}
