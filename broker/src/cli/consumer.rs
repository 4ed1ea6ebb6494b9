//! `consumer`: receives messages, with the option names of ActiveMQ's tool.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::ProgressBar;
use serde::Serialize;
use tandemmq_wire::stomp::Frame;
use tokio::sync::watch;

use crate::cli::connect_args::ConnectArgs;
use crate::cli::destination::DestinationArg;
use crate::cli::show::say;
use crate::cli::{COUNT_MAX, CliResult, load, parse_duration, show, whole};
use crate::stomp_client::ClientError;
use crate::stomp_client::receiver::{self, Ack, AckReceipts, End, Plan, Sink};

/// Options of `consumer`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq consumer --messageCount 10000\n  tandemmq consumer --destination queue://ORDERS --timeout 5s --ackMode client\n  tandemmq consumer --brokerUrl 'failover:(tcp://a:61613,tcp://b:61613)' --print\n\nThe default mode, client-individual, loses nothing when the master is killed; a message may then\ncome twice, with redelivered:true. Exit code 0: as many as asked for came."
)]
pub(super) struct Args {
    /// Where to receive from: queue://NAME or topic://NAME
    #[arg(long, default_value = "queue://TEST")]
    destination: DestinationArg,
    /// Messages of each thread
    #[arg(long = "messageCount", alias = "message-count", default_value_t = 1_000, value_name = "N",
          value_parser = whole::<u64>(1..=COUNT_MAX))]
    message_count: u64,
    /// Pause after each message, in milliseconds or with a unit
    #[arg(long, default_value = "0", value_parser = parse_duration)]
    sleep: Duration,
    /// Consumers at once, each with its own connection
    #[arg(long = "parallelThreads", alias = "parallel-threads", default_value_t = 1, value_name = "N",
          value_parser = whole::<u32>(1..=1_000))]
    parallel_threads: u32,
    /// How to acknowledge
    #[arg(
        long = "ackMode",
        alias = "ack-mode",
        default_value = "client-individual",
        value_enum,
        ignore_case = true,
        value_name = "MODE"
    )]
    ack_mode: AckMode,
    /// Messages on their way to this consumer at once [default: the broker's]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=65_536))]
    prefetch: Option<u32>,
    /// End when no message came for so long [default: wait for ever]
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    timeout: Option<Duration>,
    /// Print each message's body
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// Print the totals as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// STOMP's words and ActiveMQ's.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AckMode {
    #[value(alias = "AUTO_ACKNOWLEDGE")]
    Auto,
    #[value(alias = "CLIENT_ACKNOWLEDGE")]
    Client,
    #[value(alias = "INDIVIDUAL_ACKNOWLEDGE")]
    ClientIndividual,
}

/// The figures at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    requested: u64,
    received: u64,
    /// Of these, flagged `redelivered:true`.
    redelivered: u64,
    failovers: u64,
    body_bytes: u64,
    seconds: f64,
    rate: f64,
}

struct Messages {
    bar: ProgressBar,
    print: bool,
    totals: Totals,
    /// The rate counts from the first message on.
    first: Option<Instant>,
    last: Option<Instant>,
}

/// Receives.
pub(super) async fn run(args: Args) -> CliResult {
    let requested = args.message_count * u64::from(args.parallel_threads);
    let bar = load::progress(requested, "received");
    let stop = load::stop_on_signal();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..args.parallel_threads {
        let mut failover = args.connect.failover()?;
        let plan = args.plan();
        let mut messages = Messages::new(bar.clone(), args.print);
        let mut stop: watch::Receiver<bool> = stop.clone();
        tasks.spawn_local(async move {
            let end = receiver::receive_all(&mut failover, &plan, &mut messages, &mut stop).await;
            (messages, end)
        });
    }
    let mut all = Messages::new(bar.clone(), false);
    let mut failure = None;
    let mut complete = true;
    for (messages, end) in tasks.join_all().await {
        all.add(&messages);
        complete &= matches!(end, Ok(End::Count));
        failure = failure.or_else(|| end.err());
    }
    bar.finish_and_clear();
    let totals = all.finish(requested);
    totals.print(&args);
    match failure {
        Some(error) => Err(error.into()),
        None if complete => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::FAILURE),
    }
}

impl Args {
    fn plan(&self) -> Plan {
        Plan {
            destination: self.destination.header(),
            ack: match self.ack_mode {
                AckMode::Auto => Ack::Auto,
                AckMode::Client => Ack::Client,
                AckMode::ClientIndividual => Ack::Individual,
            },
            receipts: AckReceipts::AtTheEnd,
            prefetch: self.prefetch,
            count: Some(self.message_count),
            idle: self.timeout,
            pause: self.sleep,
        }
    }
}

impl Totals {
    fn print(&self, args: &Args) {
        if args.json {
            say!(
                "{}",
                serde_json::to_string(self).expect("numbers have a JSON form")
            );
            return;
        }
        say!(
            "{} messages from {}: {} received, {} of them redelivered in {:.2} s, {} msg/s",
            show::thousands(self.requested),
            args.destination,
            show::thousands(self.received),
            show::thousands(self.redelivered),
            self.seconds,
            show::thousands(self.rate as u64),
        );
        if self.failovers > 0 {
            say!(
                "{} times a connection was lost and found again",
                self.failovers
            );
        }
    }
}

impl Messages {
    fn new(bar: ProgressBar, print: bool) -> Self {
        Self {
            bar,
            print,
            totals: Totals::default(),
            first: None,
            last: None,
        }
    }

    fn add(&mut self, one: &Self) {
        self.totals.received += one.totals.received;
        self.totals.redelivered += one.totals.redelivered;
        self.totals.failovers += one.totals.failovers;
        self.totals.body_bytes += one.totals.body_bytes;
        self.first = [self.first, one.first].into_iter().flatten().min();
        self.last = self.last.max(one.last);
    }

    fn finish(self, requested: u64) -> Totals {
        let time = match (self.first, self.last) {
            (Some(first), Some(last)) => last - first,
            _ => Duration::ZERO,
        };
        Totals {
            requested,
            seconds: time.as_secs_f64(),
            rate: show::rate(self.totals.received, time),
            ..self.totals
        }
    }
}

impl Sink for Messages {
    fn received(&mut self, frame: &Frame) {
        self.first.get_or_insert_with(Instant::now);
        self.last = Some(Instant::now());
        self.totals.received += 1;
        self.totals.redelivered += u64::from(frame.get("redelivered") == Some("true"));
        self.totals.body_bytes += frame.body.len() as u64;
        self.bar.inc(1);
        if self.print {
            let body = String::from_utf8_lossy(&frame.body);
            self.bar.suspend(|| say!("{body}"));
        }
    }

    fn refused(&mut self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn lost(&mut self, error: &ClientError) {
        self.totals.failovers += 1;
        self.bar
            .suspend(|| eprintln!("{error}; looking for another broker"));
    }
}
