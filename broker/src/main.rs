//! The TandemMQ binary: arguments go to `cli`, a broker runs in `runtime`.

mod chance;
mod checker;
mod cli;
mod config;
mod election;
mod http;
mod kubernetes;
mod metrics;
mod runtime;
mod socket;
mod stomp_client;
mod storage;
mod supervisor;
mod telemetry;
#[cfg(test)]
mod testing;
mod tls;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
