//! `up`: whole groups on this machine, until Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cli::show::LiveBlock;
use crate::cli::show::say;
use crate::cli::{CliError, CliResult, cluster_list, parse_duration, show, whole};
use crate::config::{Testing, TestingDisk};
use crate::supervisor::observe::{ClusterView, observe};
use crate::supervisor::plan::{BASE_PORT_DEFAULT, GROUPS_MAX, Settings};
use crate::supervisor::{OpenError, Opened, Options, Supervisor, SupervisorEvent, Wanted, open};

/// Between two looks at the brokers.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Options of `up`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq up --dir ./cluster\n  tandemmq up --dir ./cluster --groups 2 --replicas 3 --base-port 21000\n\nPorts: base + 10 x broker + {0 stomp, 1 peers, 2 metrics}, 100 more for each further group.\nDIR/cluster.json says which processes run; DIR/<group>/<broker>/broker.toml may be edited\nbetween two runs; the log is broker.log beside it. Started again on the same folder, it resumes\nwhat is there."
)]
pub(super) struct Args {
    /// Folder of the cluster; made if it is not there, resumed if it holds one
    #[arg(long, value_name = "DIR", default_value = "tandemmq-cluster")]
    dir: PathBuf,
    /// Groups, not connected with each other yet [default: 1, or what DIR holds]
    #[arg(long, value_name = "N", value_parser = whole::<u8>(1..=GROUPS_MAX.into()))]
    groups: Option<u8>,
    /// Brokers of each group: 1, 3, 5 or 7 [default: 3, or what DIR holds]
    #[arg(long, value_name = "N", value_parser = parse_replicas)]
    replicas: Option<u8>,
    /// First port [default: 20000, or what DIR holds]
    #[arg(long, value_name = "PORT", value_parser = whole::<u16>(1_024..=32_767))]
    base_port: Option<u16>,
    /// A broker process that dies is started again after this
    #[arg(long, default_value = "2s", value_parser = parse_duration, value_name = "TIME")]
    restart_delay: Duration,
    /// What the journals of new brokers lie on: for tests of the broker itself
    #[arg(
        long,
        hide = true,
        value_enum,
        default_value = "durable",
        value_name = "DISK"
    )]
    testing_disk: TestingDisk,
}

/// Runs the groups.
pub(super) async fn run(args: Args) -> CliResult {
    let opened = open_folder(&args)?;
    say!("{}", first_line(&opened));
    if opened.cluster.groups.len() > 1 {
        say!("The groups are not connected yet: a message stays in the group it was sent to.");
    }
    let dir = opened.folder.display().to_string();
    say!("Brokers: tandemmq cluster-list --dir {dir}   Stop: Ctrl-C");
    let mut end = std::pin::pin!(crate::cli::interrupted());
    let options = Options {
        restart_delay: args.restart_delay,
    };
    let (supervisor, events) = Supervisor::start(opened, options);
    let mut screen = Screen::new();
    tokio::select! {
        () = screen.run(&supervisor, events) => {}
        () = &mut end => {}
    }
    say!("Stopping all brokers.");
    supervisor.stop().await;
    say!("All brokers have stopped. The same command resumes them.");
    Ok(ExitCode::SUCCESS)
}

/// Which numbers are allowed, and why, is said where the whole shape is checked.
fn parse_replicas(text: &str) -> Result<u8, String> {
    text.parse()
        .map_err(|_| "allowed are 1, 3, 5 and 7".to_owned())
}

fn open_folder(args: &Args) -> Result<Opened, CliError> {
    let wanted = Wanted {
        groups: args.groups,
        replicas: args.replicas,
        base_port: args.base_port,
        settings: Settings {
            testing: Testing {
                disk: args.testing_disk,
            },
            ..Settings::default()
        },
    };
    match open(&args.dir, &wanted) {
        Ok(opened) => Ok(opened),
        Err(error @ (OpenError::Io { .. } | OpenError::File(_))) => Err(error.into()),
        Err(error) => Err(CliError::Usage(error.to_string())),
    }
}

fn first_line(opened: &Opened) -> String {
    let verb = if opened.resumed {
        "Resuming"
    } else {
        "Starting"
    };
    let groups = opened.cluster.groups.len();
    let brokers = opened.cluster.brokers().count();
    let first = opened.cluster.brokers().next();
    let stomp = first.map_or_else(
        || format!("127.0.0.1:{BASE_PORT_DEFAULT}"),
        |broker| broker.addresses.stomp.clone(),
    );
    let dir = opened.folder.display();
    format!("{verb} {groups} group(s), {brokers} brokers, in {dir}; STOMP from {stomp} on.")
}

/// What the user sees: a block that is redrawn on a terminal, lines of changes elsewhere.
struct Screen {
    block: Option<LiveBlock>,
    last: Vec<String>,
}

impl Screen {
    fn new() -> Self {
        let block = LiveBlock::is_possible().then(LiveBlock::default);
        Self {
            block,
            last: Vec::new(),
        }
    }

    async fn run(&mut self, supervisor: &Supervisor, mut events: mpsc::Receiver<SupervisorEvent>) {
        let mut look = tokio::time::interval(LOOK_PAUSE);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = events.recv() => self.line(&describe_event(&event, supervisor)),
                _ = look.tick() => {
                    let view = observe(&supervisor.cluster()).await;
                    self.show(&view);
                }
            }
        }
    }

    fn show(&mut self, view: &ClusterView) {
        let before = std::mem::replace(&mut self.last, summary(view));
        for line in self
            .last
            .clone()
            .iter()
            .filter(|line| !before.contains(line))
        {
            self.line(line);
        }
        if let Some(block) = &mut self.block {
            block.draw(&show::lines_of(&cluster_list::table_of(view)));
        }
    }

    fn line(&mut self, text: &str) {
        let line = format!("{} {text}", clock_text());
        match &mut self.block {
            Some(block) => block.print_above(&line),
            None => say!("{line}"),
        }
    }
}

/// What changes seldom, one line each: roles and reasons, no offsets.
fn summary(view: &ClusterView) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &view.groups {
        match group.master_view() {
            Some(master) => lines.push(format!(
                "group {}: master {} in epoch {}, clients at {}",
                group.name,
                master.entry.name,
                master.epoch.unwrap_or_default(),
                master.entry.addresses.stomp,
            )),
            None => lines.push(format!("group {}: no master", group.name)),
        }
        for broker in &group.brokers {
            let reason = match broker.reason.is_empty() {
                true => String::new(),
                false => format!(": {}", broker.reason),
            };
            lines.push(format!("{} {}{reason}", broker.entry.name, broker.role));
        }
    }
    lines
}

fn describe_event(event: &SupervisorEvent, supervisor: &Supervisor) -> String {
    match event {
        SupervisorEvent::Started { broker, pid } => format!("{broker} started, process {pid}"),
        SupervisorEvent::Ended {
            broker,
            status,
            restart_in,
        } => {
            let again = match restart_in {
                Some(delay) => format!("; it is started again in {delay:?}"),
                None => String::new(),
            };
            // A signal says enough; an exit code does not.
            let log = match status.code() {
                Some(_) => supervisor.last_log_line(broker),
                None => None,
            };
            let log = log.map(|line| format!("\n         its log ends with: {line}"));
            format!(
                "{broker} ended ({status}){again}{}",
                log.unwrap_or_default()
            )
        }
        SupervisorEvent::Trouble { text } => text.clone(),
    }
}

/// Time of the day in UTC.
fn clock_text() -> String {
    let seconds = crate::cli::load::wall_clock().as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}
