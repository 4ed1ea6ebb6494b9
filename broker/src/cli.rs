//! The command line: one program for brokers, their supervisor and the tools around them.
//!
//! A wrong option says what is wrong, where, and what is allowed, and ends with 2; a command that
//! could not do its work ends with 1. What a command prints for people goes to stdout, what went
//! wrong to stderr, and `--json` is an interface for scripts.
//!
//! Not here: what a broker does (`runtime`), how processes are kept running (`supervisor`).

mod bench;
pub(crate) mod broker_url;
mod browse;
mod chaos;
mod cluster_list;
mod completions;
mod connect_args;
mod consumer;
mod demo;
mod destination;
mod dstat;
mod journal;
mod judged;
mod load;
mod producer;
mod promote;
mod purge;
mod recover;
mod serve;
mod show;
mod soak;
mod status_args;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Bad options and bad configuration.
pub(crate) const EXIT_USAGE: u8 = 2;

/// TandemMQ: a message broker in master/slave groups that lose nothing they acknowledged.
#[derive(Debug, Parser)]
#[command(
    name = "tandemmq",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(
    after_help = "Start here:\n  tandemmq demo                     a group, a killed master, nothing lost\n  tandemmq up --dir ./cluster       a group on this machine until Ctrl-C\n  tandemmq producer --messageCount 1000\n  tandemmq consumer --messageCount 1000"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one broker from its configuration file.
    Serve(serve::Args),
    /// Run whole groups on this machine until Ctrl-C.
    Up(up::Args),
    /// Show in under a minute that a killed master loses nothing.
    Demo(demo::Args),
    /// Send messages.
    Producer(producer::Args),
    /// Receive messages.
    Consumer(consumer::Args),
    /// Show the messages of a queue and leave them there.
    Browse(browse::Args),
    /// Remove all messages of a queue.
    Purge(purge::Args),
    /// Show depth, consumers, in and out of each destination.
    Dstat(dstat::Args),
    /// Show groups, masters, slaves and their lag.
    ClusterList(cluster_list::Args),
    /// Make a broker the master of its group.
    Promote(promote::Args),
    /// Check or print the journal of a stopped broker.
    Journal(journal::Args),
    /// Make a group of the one volume that is left of it, after the loss of a majority.
    Recover(recover::Args),
    /// Measure rates, latencies and failover of a group on this machine.
    Bench(bench::Args),
    /// Break a local group on purpose under load and judge what its clients saw.
    Chaos(chaos::Args),
    /// Hold a local group under full load for long and judge memory, disk and latency.
    Soak(soak::Args),
    /// Print a script that completes this program's options in a shell.
    Completions(completions::Args),
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The user asked for something that is not allowed; the text says what is.
    Usage(String),
    /// It did not work.
    Failed(anyhow::Error),
}

/// What a command returns: its exit code, or why it has none of its own.
pub(crate) type CliResult = Result<ExitCode, CliError>;

impl<E: Into<anyhow::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Does what the arguments say.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed to stdout and are no error; nothing helps against a
            // closed terminal.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Up(args) => block_on(up::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Producer(args) => block_on(producer::run(args)),
        Command::Consumer(args) => block_on(consumer::run(args)),
        Command::Browse(args) => block_on(browse::run(args)),
        Command::Purge(args) => block_on(purge::run(args)),
        Command::Dstat(args) => block_on(dstat::run(args)),
        Command::ClusterList(args) => block_on(cluster_list::run(args)),
        Command::Promote(args) => block_on(promote::run(args)),
        Command::Journal(args) => journal::run(&args),
        Command::Recover(args) => block_on(recover::run(args)),
        Command::Bench(args) => block_on(bench::run(args)),
        Command::Chaos(args) => block_on(chaos::run(args)),
        Command::Soak(args) => block_on(soak::run(args)),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(CliError::Usage(text)) => {
            eprintln!("error: {text}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(CliError::Failed(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The tools share a machine with the brokers they drive: one thread is enough for them.
fn block_on(command: impl Future<Output = CliResult>) -> CliResult {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime?, command)
}

/// Waits for Ctrl-C, SIGTERM or SIGHUP.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let mut streams = Vec::new();
    for kind in kinds {
        // Without a handler the signal ends the process, and with it all brokers.
        streams.extend(signal(kind));
    }
    std::future::poll_fn(|context| {
        match streams
            .iter_mut()
            .any(|stream| stream.poll_recv(context).is_ready())
        {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

/// Messages that one command sends, receives or shows; more are a typing error, and years of work.
pub(crate) const COUNT_MAX: u64 = 1_000_000_000;

/// Parses whole numbers of the command line within a range.
pub(crate) fn whole<T: TryFrom<u64>>(
    range: std::ops::RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        let (least, greatest) = (range.start(), range.end());
        number.ok_or_else(|| format!("allowed are whole numbers from {least} to {greatest}"))
    }
}

/// Parses durations of the command line: `2s`, `500ms`, `1m`, or milliseconds without a unit.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let allowed = "allowed are 500ms, 2s, 1m, or a number of milliseconds";
    let number: u64 = number.parse().map_err(|_| allowed.to_owned())?;
    let millis = match unit {
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    // A day: longer pauses are typing errors.
    match millis {
        Some(millis) if millis <= 86_400_000 => Ok(std::time::Duration::from_millis(millis)),
        _ => Err(allowed.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(
                help.contains("tandemmq "),
                "{} shows no example",
                command.get_name()
            );
        }
    }

    #[test]
    fn whole_numbers_outside_their_range_name_the_range() {
        let parse = whole::<u8>(1..=26);
        assert_eq!(parse("26"), Ok(26));
        for text in ["", "0", "27", "-1", "1.5", "x", "99999999999999999999999"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, "allowed are whole numbers from 1 to 26", "{text}");
        }
        assert!(
            whole::<u8>(0..=300)("256").is_err(),
            "it must also fit its type"
        );
    }

    #[test]
    fn durations_are_read_with_their_units() {
        use std::time::Duration;
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_millis(7)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
        for text in ["", "s", "1h", "-1", "1.5s", "99999999999999999999", "2d"] {
            assert!(
                parse_duration(text).unwrap_err().contains("allowed"),
                "{text}"
            );
        }
    }
}
