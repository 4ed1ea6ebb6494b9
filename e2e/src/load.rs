//! Real clients under load, in a process of their own that a scenario steers: `clients/load.py`.
//!
//! Commands go to its stdin, answers come from its stdout, a line each. Dropping it ends it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The clients of one run.
pub struct Load {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// How far they are.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Counts {
    /// Receipts.
    pub acknowledged: u64,
    /// Messages read.
    pub received: u64,
    /// Errors.
    pub refused: u64,
    /// Connections opened.
    pub connections: u64,
    /// Clients that have one now.
    pub connected: u64,
}

/// What happened since the last `mark`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Since {
    /// Receipts.
    pub acknowledged: u64,
    /// Errors.
    pub refused: u64,
    /// Connections opened: each means that one was lost.
    pub opened: u64,
    /// The longest time without any receipt, in milliseconds.
    pub longest_ms: f64,
    /// Receipts a second.
    pub rate: f64,
}

/// The checker's word at the end.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    /// One sentence for each broken rule.
    pub violations: Vec<String>,
    /// Totals by name.
    pub totals: std::collections::BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Progress {
    ok: bool,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Deserialize)]
struct First {
    ms: Option<f64>,
}

#[derive(Deserialize)]
struct Nothing {}

impl Load {
    /// Takes over a started `load.py`, whose stdin and stdout are pipes.
    pub fn new(mut child: Child) -> anyhow::Result<Self> {
        let commands = child.stdin.take().context("the load has no stdin")?;
        let answers = child.stdout.take().context("the load has no stdout")?;
        Ok(Self {
            child,
            commands: Some(commands),
            answers: BufReader::new(answers),
        })
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &str) -> anyhow::Result<T> {
        let commands = self.commands.as_mut().context("the load was ended")?;
        writeln!(commands, "{command}").context("the load has ended by itself")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(
            !line.is_empty(),
            "the load ended by itself at \"{command}\""
        );
        serde_json::from_str(&line)
            .with_context(|| format!("the load answered \"{command}\" with {}", line.trim()))
    }

    /// How far they are.
    pub fn counts(&mut self) -> anyhow::Result<Counts> {
        self.ask("counts")
    }

    /// Waits until so many more messages were acknowledged and received.
    pub fn progress(&mut self, messages: u64, within: Duration) -> anyhow::Result<Counts> {
        let Progress { ok, counts } =
            self.ask(&format!("progress {messages} {}", within.as_secs()))?;
        if !ok {
            bail!(
                "within {within:?} clients did not get {messages} more receipts and messages: {counts:?}"
            );
        }
        Ok(counts)
    }

    /// Begins a measurement.
    pub fn mark(&mut self) -> anyhow::Result<()> {
        self.ask::<Nothing>("mark").map(drop)
    }

    /// From `mark` to the first receipt on a connection that was opened after it.
    pub fn first_receipt(&mut self, within: Duration) -> anyhow::Result<Duration> {
        let First { ms } = self.ask(&format!("first {}", within.as_secs()))?;
        let ms = ms.with_context(|| format!("no receipt on a new connection within {within:?}"))?;
        Ok(Duration::from_secs_f64(ms / 1_000.0))
    }

    /// What happened since `mark`.
    pub fn since(&mut self) -> anyhow::Result<Since> {
        self.ask("since")
    }

    /// Ends the load; an error when the checker found anything.
    pub fn judge(mut self) -> anyhow::Result<Verdict> {
        let verdict: Verdict = self.ask("stop 120")?;
        if !verdict.violations.is_empty() {
            bail!(
                "the checker found:\n  {}\n  totals: {:?}",
                verdict.violations.join("\n  "),
                verdict.totals
            );
        }
        Ok(verdict)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The end of its stdin ends it; a hung one is killed.
        self.commands = None;
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // It may have ended just now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
