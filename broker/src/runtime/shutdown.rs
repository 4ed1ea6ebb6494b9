//! What makes a broker end: SIGTERM, SIGINT, or the end of stdin.
//!
//! The first one asks the machine for a hand-over. A second signal ends the process at once, and
//! so does the time limit: the machine has its own, shorter one, so something is stuck then.

use std::io::Read;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::events::{NodeEvent, NodeSender};

/// Exit code after a second signal: the shell's 128 + SIGINT.
const EXIT_IMPATIENT: i32 = 130;

/// Exit code when the hand-over did not end in time.
const EXIT_STUCK: i32 = 1;

/// Waits for what ends the broker.
pub(super) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
    /// Answers at the end of stdin; none when stdin does not matter.
    stdin: Option<oneshot::Receiver<()>>,
    limit: Duration,
}

/// Whether the end of stdin ends the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// A parent holds the other end of that pipe; when it dies, its brokers must not stay behind.
    EndsBroker,
    /// It may be anything.
    Ignored,
}

// === impl Shutdown ===

impl Shutdown {
    /// Catches signals from now on. After the first wish to end, `limit` is the time for it.
    pub(super) fn new(stdin: Stdin, limit: Duration) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin: match stdin {
                Stdin::EndsBroker => Some(watch_stdin()?),
                Stdin::Ignored => None,
            },
            limit,
        })
    }

    /// Tells the node task of the first wish to end, then ends the process if it does not.
    pub(super) async fn run(mut self, events: NodeSender) {
        let stdin = self.stdin.take();
        let why = tokio::select! {
            why = self.signal() => why,
            () = end_of(stdin) => "stdin ended, its parent is gone",
        };
        // The node task may have ended by itself.
        let _ = events.send(NodeEvent::Shutdown { why });
        let limit = self.limit;
        tokio::select! {
            why = self.signal() => {
                tracing::warn!(why, "a second signal: the process ends without a hand-over");
                std::process::exit(EXIT_IMPATIENT);
            }
            () = tokio::time::sleep(limit) => {
                tracing::error!(?limit, "the hand-over did not end in time: the process ends");
                std::process::exit(EXIT_STUCK);
            }
        }
    }

    /// Waits for SIGTERM or SIGINT.
    pub(super) async fn signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn end_of(stdin: Option<oneshot::Receiver<()>>) {
    match stdin {
        // An error means that the thread is gone, and it goes only at the end.
        Some(ended) => drop(ended.await),
        None => std::future::pending().await,
    }
}

fn watch_stdin() -> std::io::Result<oneshot::Receiver<()>> {
    let (sender, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            let mut bytes = [0; 64];
            let mut stdin = std::io::stdin().lock();
            // What comes is thrown away; an error ends it like the end.
            while stdin.read(&mut bytes).is_ok_and(|count| count > 0) {}
            // The process may be ending already.
            let _ = sender.send(());
        })?;
    Ok(ended)
}
