//! `producer`: sends messages, with the option names of ActiveMQ's tool.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::ProgressBar;
use serde::Serialize;
use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;

use crate::cli::connect_args::ConnectArgs;
use crate::cli::destination::DestinationArg;
use crate::cli::show::say;
use crate::cli::{COUNT_MAX, CliResult, load, parse_duration, show, whole};
use crate::stomp_client::sender::{self, Plan, Source, Unknown, WINDOW_MAX};
use crate::stomp_client::{ClientError, body_of};

/// A broker that commits nothing for so long has lost its quorum or its disk; another may be
/// better.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of `producer`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq producer --messageCount 10000 --messageSize 1024 --window 256\n  tandemmq producer --destination topic://NEWS --persistent false\n  tandemmq producer --brokerUrl 'failover:(tcp://a:61613,tcp://b:61613)?randomize=false' \\\n      --user orders --password-file ./password\n\nA message counts as acknowledged when its RECEIPT came. One whose connection broke before is\nunknown: it arrived once or not at all. Exit code 0: all were acknowledged."
)]
pub(super) struct Args {
    /// Where to send: queue://NAME or topic://NAME
    #[arg(long, default_value = "queue://TEST")]
    destination: DestinationArg,
    /// Messages of each thread
    #[arg(
        long = "messageCount",
        alias = "message-count",
        default_value_t = 1_000,
        value_name = "N",
        value_parser = whole::<u64>(0..=COUNT_MAX)
    )]
    message_count: u64,
    /// Bytes of each message; 0: a short text
    #[arg(long = "messageSize", alias = "message-size", default_value_t = 0, value_name = "BYTES",
          value_parser = whole::<u32>(0..=10_000_000))]
    message_size: u32,
    /// Pause after each message, in milliseconds or with a unit
    #[arg(long, default_value = "0", value_parser = parse_duration)]
    sleep: Duration,
    /// Replicate each message to a quorum's disks before it is acknowledged
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    persistent: bool,
    /// Producers at once, each with its own connection
    #[arg(long = "parallelThreads", alias = "parallel-threads", default_value_t = 1, value_name = "N",
          value_parser = whole::<u32>(1..=1_000))]
    parallel_threads: u32,
    /// Sends without a receipt at once, on each connection
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = whole::<u32>(1..=WINDOW_MAX as u64))]
    window: u32,
    /// Time to live, in milliseconds or with a unit; 0: for ever
    #[arg(long = "msgTTL", alias = "msg-ttl", default_value = "0", value_parser = parse_duration)]
    msg_ttl: Duration,
    /// Send again what is unknown after a failover: the queue may then hold it twice
    #[arg(long)]
    resend: bool,
    /// Print the totals as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The figures at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    /// Messages asked for.
    requested: u64,
    /// Of these, written at least once.
    sent: u64,
    acknowledged: u64,
    unknown: u64,
    refused: u64,
    /// Sends repeated after a loss.
    resent: u64,
    /// Connections lost.
    failovers: u64,
    body_bytes: u64,
    seconds: f64,
    /// Acknowledged messages a second.
    rate: f64,
}

/// One producer's messages.
struct Messages {
    destination: String,
    persistent: &'static str,
    body: Option<Bytes>,
    ttl: Duration,
    bar: ProgressBar,
    totals: Totals,
    highest: u64,
}

/// Sends.
pub(super) async fn run(args: Args) -> CliResult {
    let requested = args.message_count * u64::from(args.parallel_threads);
    let bar = load::progress(requested, "sent");
    let stop = load::stop_on_signal();
    let begun = Instant::now();
    let mut totals = Totals::default();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..args.parallel_threads {
        let mut failover = args.connect.failover()?;
        let plan = args.plan();
        let mut messages = Messages::new(&args, bar.clone());
        let mut stop: watch::Receiver<bool> = stop.clone();
        tasks.spawn_local(async move {
            let result = sender::send_all(&mut failover, &plan, &mut messages, &mut stop).await;
            (messages.totals, result)
        });
    }
    let mut failure = None;
    for (one, result) in tasks.join_all().await {
        totals.add(&one);
        failure = failure.or_else(|| result.err());
    }
    bar.finish_and_clear();
    totals.requested = requested;
    totals.finish(begun.elapsed(), args.message_size);
    totals.print(&args);
    match failure {
        Some(error) => Err(error.into()),
        None if totals.acknowledged == requested => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::FAILURE),
    }
}

// === impl Args ===

impl Args {
    const fn plan(&self) -> Plan {
        Plan {
            count: Some(self.message_count),
            window: self.window as usize,
            pause: self.sleep,
            receipt_timeout: RECEIPT_TIMEOUT,
            unknown: if self.resend {
                Unknown::Resend
            } else {
                Unknown::Leave
            },
        }
    }
}

// === impl Totals ===

impl Totals {
    fn add(&mut self, one: &Self) {
        self.sent += one.sent;
        self.acknowledged += one.acknowledged;
        self.unknown += one.unknown;
        self.refused += one.refused;
        self.resent += one.resent;
        self.failovers += one.failovers;
    }

    fn finish(&mut self, time: Duration, message_size: u32) {
        self.seconds = time.as_secs_f64();
        self.rate = show::rate(self.acknowledged, time);
        self.body_bytes = self.acknowledged * u64::from(message_size);
    }

    fn print(&self, args: &Args) {
        if args.json {
            say!(
                "{}",
                serde_json::to_string(self).expect("numbers have a JSON form")
            );
            return;
        }
        say!(
            "{} messages to {}: {} sent, {} acknowledged, {} unknown, {} refused in {:.2} s, {} msg/s",
            show::thousands(self.requested),
            args.destination,
            show::thousands(self.sent),
            show::thousands(self.acknowledged),
            show::thousands(self.unknown),
            show::thousands(self.refused),
            self.seconds,
            show::thousands(self.rate as u64),
        );
        if self.resent > 0 {
            say!(
                "{} sends were repeated; the queue may hold duplicates",
                self.resent
            );
        }
        if self.failovers > 0 {
            say!(
                "{} times a connection was lost and found again",
                self.failovers
            );
        }
    }
}

// === impl Messages ===

impl Messages {
    fn new(args: &Args, bar: ProgressBar) -> Self {
        Self {
            destination: args.destination.header(),
            persistent: if args.persistent { "true" } else { "false" },
            body: (args.message_size > 0).then(|| body_of(args.message_size as usize)),
            ttl: args.msg_ttl,
            bar,
            totals: Totals::default(),
            highest: 0,
        }
    }
}

impl Source for Messages {
    fn frame(&mut self, sequence: u64) -> Frame {
        let mut frame = Frame::new("SEND")
            .header("destination", self.destination.clone())
            .header("persistent", self.persistent);
        if !self.ttl.is_zero() {
            frame = frame.header(
                "expires",
                (load::wall_clock() + self.ttl).as_millis().to_string(),
            );
        }
        match &self.body {
            Some(body) => frame.body(body.clone()),
            None => frame.text(format!("Message: {sequence}")),
        }
    }

    fn written(&mut self, sequence: u64) {
        if sequence > self.highest {
            self.highest = sequence;
            self.totals.sent += 1;
        } else {
            self.totals.resent += 1;
        }
    }

    fn acknowledged(&mut self, _sequence: u64) {
        self.totals.acknowledged += 1;
        self.bar.inc(1);
    }

    fn refused(&mut self, sequence: u64, text: &str) {
        if self.totals.refused == 0 {
            self.bar
                .suspend(|| eprintln!("message {sequence} was refused: {text}"));
        }
        self.totals.refused += 1;
        self.bar.inc(1);
    }

    fn unknown(&mut self, _sequence: u64) {
        self.totals.unknown += 1;
        self.bar.inc(1);
    }

    fn lost(&mut self, error: &ClientError) {
        self.totals.failovers += 1;
        self.bar
            .suspend(|| eprintln!("{error}; looking for another broker"));
    }
}
