//! One broker as a process: starts what is around the machine, in the right order, and ends it.
//!
//! ```text
//! socket task -- bytes --> wire::Session -- Command --> (bounded) --+
//!    ^                                                              v
//!    +-------- Deliver, Reply <----------------------------- node_task: NodeMachine
//!                                     disk_thread, reader <---> |  |  | <--> lease thread
//!                                       peer_link (out), peer_listener (in)
//! ```
//!
//! All tasks share one thread: what came in over many sockets meanwhile reaches the node task as one
//! turn, and a receipt costs no switch between threads. With two worker threads a message cost a
//! quarter more CPU, and nothing was faster. Threads of their own have what blocks: the disk, reads
//! of the journal, the Lease.
//!
//! One task owns the machine; every other task or thread speaks to it over channels. A panic
//! anywhere ends the process: the others must not go on without the one that failed.

pub(crate) mod clock;
mod conn;
mod disk_thread;
mod events;
mod listener;
mod node_config;
mod node_task;
mod outgoing;
mod peer_link;
mod peer_listener;
#[cfg(test)]
mod peer_tls_tests;
mod ports;
mod publish;
mod reader;
mod said;
mod shutdown;
mod start;
mod users;
mod volume;

pub(crate) use node_config::journal_config;
pub(crate) use publish::StatusReader;
pub(crate) use shutdown::Stdin;

use std::time::Duration;

use anyhow::Context;

use crate::config::Config;
use crate::kubernetes;

/// What still runs after the node task has ended is given this long: threads in a system call.
const LEFTOVERS_MAX: Duration = Duration::from_millis(200);

/// Runs one broker until it is told to end. An error is for people: why it could not start.
pub(crate) fn serve(config: Config, stdin: Stdin) -> anyhow::Result<()> {
    abort_on_panic();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let kube = config.kubernetes.as_ref().map(|_| kubernetes::runtime());
    let kube = kube.transpose()?;
    let handle = kube.as_ref().map(|kube| kube.handle().clone());
    let result = runtime.block_on(start::run(config, stdin, handle));
    runtime.shutdown_timeout(LEFTOVERS_MAX);
    if let Some(kube) = kube {
        kube.shutdown_timeout(LEFTOVERS_MAX);
    }
    result
}

/// A panic in any thread or task ends the process, after it was logged.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        tracing::error!(%panic, "the process ends: a part of it failed");
        std::process::abort();
    }));
}

/// Each connection is a file; the soft limit is 1,024 on many machines.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        tracing::warn!(%error, ?current, "cannot raise the limit of open files");
    }
}
