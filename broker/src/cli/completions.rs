//! `completions`: scripts for shells.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::{Cli, CliResult};

/// Options of `completions`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq completions bash > ~/.local/share/bash-completion/completions/tandemmq\n  tandemmq completions zsh > ~/.zfunc/_tandemmq"
)]
pub(super) struct Args {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &Args) -> CliResult {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "tandemmq",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}
