//! `serve`: one broker in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{CliError, CliResult};
use crate::config::{Config, Overrides};
use crate::runtime::Stdin;
use crate::telemetry::{self, LogFormat};

/// Options of `serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq serve --print-config > broker.toml    a commented configuration to start from\n  tandemmq serve --config broker.toml\n  tandemmq serve --config broker.toml --print-config    what that file means, all defaults filled in"
)]
pub(super) struct Args {
    /// The broker's configuration
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    config: Option<PathBuf>,
    /// Which of the members this broker is, when one file serves several; wins over the file
    #[arg(long, value_name = "NAME")]
    broker_name: Option<String>,
    /// UID of the pod, as Kubernetes tells it; needed where the file has a section kubernetes
    #[arg(long, value_name = "UID")]
    pod_uid: Option<String>,
    /// Print the configuration and end
    #[arg(long)]
    print_config: bool,
    /// End when stdin ends, so that this broker does not outlive the program that started it
    #[arg(long)]
    exit_with_stdin: bool,
    /// How log lines on stderr look: text or json
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

/// Serves until SIGTERM or Ctrl-C.
pub(super) fn run(args: &Args) -> CliResult {
    let stdin = match args.exit_with_stdin {
        true => Stdin::EndsBroker,
        false => Stdin::Ignored,
    };
    let overrides = Overrides {
        broker_name: args.broker_name.clone(),
        pod_uid: args.pod_uid.clone(),
    };
    let Some(file) = &args.config else {
        print!("{}", Config::commented_default());
        return Ok(ExitCode::SUCCESS);
    };
    let config =
        Config::load_for(file, &overrides).map_err(|error| CliError::Usage(error.to_string()))?;
    if args.print_config {
        print!("{}", config.to_toml());
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init(args.log_format);
    crate::runtime::serve(config, stdin)?;
    Ok(ExitCode::SUCCESS)
}
