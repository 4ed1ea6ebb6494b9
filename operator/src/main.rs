//! The operator's program.

use clap::Parser;
use tandemmq_operator::cli::Cli;

fn main() -> anyhow::Result<()> {
    Cli::parse().run()
}
