//! The command `e2e`: a real Kubernetes for tests, brought up, tried and removed.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use e2e::cluster::{self, Cluster, Settings};
use e2e::go::{self, KUBERNETES_DEFAULT};
use e2e::layout::Layout;
use e2e::scenario::{self, Counts};
use e2e::{debian, image, product, provisioner, run, say, up};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about, version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build Kubernetes, CoreDNS and Helm and fetch the rest, into the cache.
    Build {
        /// Version of Kubernetes.
        #[arg(long, default_value = KUBERNETES_DEFAULT)]
        kubernetes: String,
    },
    /// Bring a cluster up and leave it.
    Up {
        #[command(flatten)]
        wanted: Wanted,
        /// Keep what is there when bringing it up fails.
        #[arg(long)]
        keep: bool,
    },
    /// Remove a cluster, or what a crashed run left of it.
    Down {
        #[command(flatten)]
        which: Which,
        /// Exit with this code when all is removed.
        #[arg(long, hide = true, default_value_t = 0)]
        exit_code: u8,
    },
    /// List the scenarios with their claims.
    ListScenarios,
    /// Bring a cluster up, run scenarios on it, remove it. With E2E_KUBECONFIG: on that cluster.
    Run {
        #[command(flatten)]
        wanted: Wanted,
        /// Run only these, in the order of the list.
        #[arg(long, value_name = "NAME", num_args = 1..)]
        only: Vec<String>,
        /// How often repeatable things are done.
        #[arg(long, value_enum, default_value_t = Counts::Short)]
        counts: Counts,
        /// Leave the cluster as it is at the end.
        #[arg(long)]
        keep: bool,
        /// Use the cluster of that name that is up already, as it is, and leave it.
        #[arg(long)]
        there: bool,
    },
    /// Run kubectl on a cluster that is up.
    Kubectl {
        #[command(flatten)]
        which: Which,
        /// Words for kubectl.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Run helm on a cluster that is up.
    Helm {
        #[command(flatten)]
        which: Which,
        /// Words for helm.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Run a program of this machine in the cluster's network, with the cluster's DNS.
    Client {
        #[command(flatten)]
        which: Which,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<OsString>,
    },
    /// Bring OCI archives onto all nodes of a cluster that is up.
    Load {
        #[command(flatten)]
        which: Which,
        /// Archives, as `tools/image` writes them.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Bring images and chart of this tree onto a cluster that is up.
    Install {
        #[command(flatten)]
        which: Which,
    },
    /// Make volumes for claims; started by `up`.
    #[command(hide = true)]
    Provision {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args)]
struct Which {
    /// Name of the cluster; clusters of different names live side by side.
    #[arg(long, default_value = "default")]
    name: String,
}

#[derive(Args)]
struct Wanted {
    #[command(flatten)]
    which: Which,
    /// Number of nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u32,
    /// Version of Kubernetes.
    #[arg(long, default_value = KUBERNETES_DEFAULT)]
    kubernetes: String,
    /// Leave restart back-off, node leases, DNS caches and sync periods as users have them.
    #[arg(long)]
    kubelet_defaults: bool,
}

impl Wanted {
    fn settings(&self) -> Settings {
        Settings {
            nodes: self.nodes,
            kubernetes: self.kubernetes.clone(),
            kubelet_defaults: self.kubelet_defaults,
        }
    }
}

fn main() -> ExitCode {
    say::begin();
    match act(Cli::parse().action) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<ExitCode> {
    match action {
        Action::Build { kubernetes } => build(&kubernetes)?,
        Action::Up { wanted, keep } => {
            let layout = Layout::of(&wanted.which.name)?;
            let _lock = cluster::lock(&layout)?;
            let mut guard = Guard::new(&layout, keep)?;
            up::up(&layout, &wanted.settings())?;
            guard.keep = true;
            let name = &layout.name;
            say::line(format!(
                "use it: e2e kubectl --name {name} get pods -A; e2e client --name {name} PROGRAM"
            ));
        }
        Action::Down { which, exit_code } => {
            up::down_locked(&Layout::of(&which.name)?)?;
            return Ok(ExitCode::from(exit_code));
        }
        Action::ListScenarios => {
            for scenario in scenario::chosen(&[], Counts::Full)? {
                println!("{:<24} {}", scenario.name, scenario.claim);
            }
        }
        Action::Run {
            wanted,
            only,
            counts,
            keep,
            there,
        } => match there {
            true => run_there(&wanted, &only, counts)?,
            false => run_scenarios(&wanted, &only, counts, keep)?,
        },
        Action::Kubectl { which, words } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            run::shown(&mut open(&which)?.kubectl_command(&words)?)?;
        }
        Action::Helm { which, words } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            print!("{}", open(&which)?.helm(&words)?);
        }
        Action::Client { which, words } => {
            let [program, arguments @ ..] = words.as_slice() else {
                bail!("a program is needed")
            };
            run::shown(open(&which)?.client_command(program)?.args(arguments))?;
        }
        Action::Load { which, archives } => open(&which)?.load_images(&archives)?,
        Action::Install { which } => {
            let cluster = open(&which)?;
            say::timed("images and chart", || product::install(&cluster))?;
        }
        Action::Provision { which } => provisioner::serve(&Cluster::open(&which.name)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn build(version: &str) -> Result<()> {
    say::timed("all parts of a cluster", || {
        debian::packages()?;
        go::kubernetes(version)?;
        go::coredns(version)?;
        go::helm()?;
        image::own().map(|_| ())
    })
}

fn open(which: &Which) -> Result<Cluster> {
    match Cluster::given()? {
        Some(given) => Ok(given),
        None => Cluster::open(&which.name),
    }
}

fn run_there(wanted: &Wanted, only: &[String], counts: Counts) -> Result<()> {
    let chosen = scenario::chosen(only, counts)?;
    let cluster = open(&wanted.which)?;
    scenario::run_all(&cluster, &chosen, counts, &scenario::reports(&cluster)?)
}

fn run_scenarios(wanted: &Wanted, only: &[String], counts: Counts, keep: bool) -> Result<()> {
    let chosen = scenario::chosen(only, counts)?;
    if let Some(given) = Cluster::given()? {
        say::timed("images and chart", || product::install(&given))?;
        return scenario::run_all(&given, &chosen, counts, &scenario::reports(&given)?);
    }
    let layout = Layout::of(&wanted.which.name)?;
    let _lock = cluster::lock(&layout)?;
    let _guard = Guard::new(&layout, keep)?;
    let cluster = up::up(&layout, &wanted.settings())?;
    say::timed("images and chart", || product::install(&cluster))?;
    scenario::run_all(&cluster, &chosen, counts, &scenario::reports(&cluster)?)
}

/// Removes the cluster when it is dropped, also by a panic, and when the process is told to end.
struct Guard {
    layout: Layout,
    keep: bool,
}

impl Guard {
    fn new(layout: &Layout, keep: bool) -> Result<Self> {
        if !keep {
            remove_on_signals(layout.name.clone())?;
        }
        Ok(Self {
            layout: layout.clone(),
            keep,
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = up::down(&self.layout) {
            eprintln!("e2e: the cluster is not removed: {error:#}");
        }
    }
}

/// On SIGINT, SIGTERM or SIGHUP this process becomes `e2e down`: whatever it was just making ends
/// there, and nothing is made while things are removed.
fn remove_on_signals(name: String) -> Result<()> {
    const INTERRUPTED: &str = "130";
    let program = std::env::current_exe().context("path of this program")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime.block_on(async {
            let signals = [
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
            ]
            .map(signal);
            let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
                return;
            };
            if ready.send(()).is_err() {
                return;
            }
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            say::line("told to end, removing the cluster");
            let mut down = Command::new(program);
            let error = down
                .args(["down", "--name", &name, "--exit-code", INTERRUPTED])
                .exec();
            eprintln!("e2e: the cluster is not removed: {error}");
            std::process::exit(1);
        });
    });
    is_ready.recv().context("no handler for signals")
}
