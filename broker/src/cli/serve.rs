//! `serve`: one broker in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{CliError, CliResult};
use crate::config::Config;

/// Options of `serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq serve --print-config > broker.toml    a commented configuration to start from\n  tandemmq serve --config broker.toml\n  tandemmq serve --config broker.toml --print-config    what that file means, all defaults filled in"
)]
pub(super) struct Args {
    /// The broker's configuration
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    config: Option<PathBuf>,
    /// Print the configuration and end
    #[arg(long)]
    print_config: bool,
    /// End when stdin ends, so that this broker does not outlive the program that started it
    #[arg(long)]
    exit_with_stdin: bool,
}

/// Serves until SIGTERM or Ctrl-C.
pub(super) fn run(args: Args) -> CliResult {
    let Some(file) = &args.config else {
        print!("{}", Config::commented_default());
        return Ok(ExitCode::SUCCESS);
    };
    let config = Config::load(file).map_err(|error| CliError::Usage(error.to_string()))?;
    if args.print_config {
        print!("{}", config.to_toml());
        return Ok(ExitCode::SUCCESS);
    }
    crate::runtime::serve(config)?;
    Ok(ExitCode::SUCCESS)
}
