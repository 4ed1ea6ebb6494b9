//! The phases: what each does to the group, on which disks, and what came of it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::chance::Chance;
use crate::checker::Verdict;
use crate::cli::chaos::load::Load;
use crate::cli::chaos::trial::Trial;
use crate::cli::chaos::{
    bit_flips, catch_up, disk_trouble, join_large, journal_full, kill, lag, power_cuts, roll_back,
    stop, swap, wipe, wipe_majority,
};
use crate::cli::show;
use crate::config::{ByteSize, Journal, Testing, TestingDisk, Timing};
use crate::supervisor::local_group::LocalGroup;
use crate::supervisor::plan::Settings;

/// Small segments, so that minutes of a load see what months do at 64 MiB: rolling, recycling,
/// checkpoints, many files.
const SEGMENT_BYTES: u64 = 1 << 20;

/// The least reserve that a broker takes.
const RESERVE_BYTES: u64 = 8 << 20;

/// Little log is kept for a slave that lags, so that one does get a checkpoint.
const RETAIN_BYTES: u64 = 8 << 20;

/// Between two checks of a MiB for damage: a whole check takes a second or less, not minutes.
const SCRUB_MS: u64 = 10;

/// `journal.maxBytes` of the phase that fills it: some seconds of a fast producer.
const FULL_BYTES: u64 = 48 << 20;

/// What to do to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// SIGKILL of the master.
    KillMaster { times: u32 },
    /// SIGSTOP of the master, SIGCONT after this time.
    StopMaster { time: Duration },
    /// SIGKILL of all brokers.
    KillAll { times: u32 },
    /// SIGKILL of any of them, on disks that lose what was not synced.
    PowerCuts { times: u32 },
    /// A member loses its volume.
    Wipe { times: u32 },
    /// A slave loses its volume while the largest messages are queued and arrive.
    JoinLarge { times: u32 },
    /// A member gets an older state of its volume back.
    RollBack { times: u32, age: Duration },
    /// Two members get each other's volume.
    Swap,
    /// Two of three lose their volumes.
    WipeMajority,
    /// Bits of a member's files turn over.
    BitFlips { flips: u32 },
    /// A member's disk hangs.
    StallDisk { time: Duration },
    /// A member's disk is full.
    FullDisk { time: Duration },
    /// A member's fdatasync fails.
    FailSync,
    /// All journals reach their limit.
    JournalFull,
    /// A slave that was away catches up.
    Lag { messages: u64 },
    /// The same, killed on the way.
    KillDuringCatchUp { times: u32, messages: u64 },
}

/// What came of it.
pub(super) struct PhaseResult {
    pub(super) name: &'static str,
    pub(super) faults: u32,
    pub(super) verdict: Verdict,
    /// From each fault to the next receipt.
    pub(super) outages: Vec<Duration>,
    /// What must not happen beside the checker's rules: processes that ended by themselves, clients
    /// that gave up, members that did not come back. Each fails the phase.
    pub(super) surprises: Vec<String>,
}

/// What a phase measured.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) outages: Vec<Duration>,
    pub(super) surprises: Vec<String>,
}

// === impl Phase ===

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KillMaster { .. } => "kill master",
            Self::StopMaster { .. } => "stop master",
            Self::KillAll { .. } => "kill all",
            Self::PowerCuts { .. } => "power cuts",
            Self::Wipe { .. } => "wipe",
            Self::JoinLarge { .. } => "join large",
            Self::RollBack { .. } => "roll back",
            Self::Swap => "swap",
            Self::WipeMajority => "wipe majority",
            Self::BitFlips { .. } => "bit flips",
            Self::StallDisk { .. } => "stall disk",
            Self::FullDisk { .. } => "full disk",
            Self::FailSync => "fail sync",
            Self::JournalFull => "journal full",
            Self::Lag { .. } => "lag",
            Self::KillDuringCatchUp { .. } => "kill catch-up",
        }
    }

    /// Faults of the phase, for the table.
    const fn faults(self) -> u32 {
        match self {
            Self::KillMaster { times }
            | Self::KillAll { times }
            | Self::PowerCuts { times }
            | Self::Wipe { times }
            | Self::JoinLarge { times }
            | Self::RollBack { times, .. }
            | Self::KillDuringCatchUp { times, .. } => times,
            Self::BitFlips { flips } => flips,
            Self::StallDisk { .. } | Self::FullDisk { .. } | Self::FailSync => 2,
            Self::StopMaster { .. }
            | Self::Swap
            | Self::WipeMajority
            | Self::JournalFull
            | Self::Lag { .. } => 1,
        }
    }

    /// Nothing was asked for.
    pub(super) const fn is_empty(self) -> bool {
        match self {
            Self::StopMaster { time } | Self::StallDisk { time } | Self::FullDisk { time } => {
                time.is_zero()
            }
            Self::Lag { messages } => messages == 0,
            _ => self.faults() == 0,
        }
    }

    /// What is about to happen.
    pub(super) fn title(self) -> String {
        match self {
            Self::KillMaster { times } => {
                format!("SIGKILL of the master, {times} times, under load")
            }
            Self::StopMaster { time } => {
                format!("SIGSTOP of the master for {time:?}, then SIGCONT")
            }
            Self::KillAll { times } => format!("SIGKILL of all brokers at once, {times} times"),
            Self::PowerCuts { times } => {
                format!("power cuts of one, two or all brokers, {times} times")
            }
            Self::Wipe { times } => format!("a member's volume is wiped, {times} times"),
            Self::JoinLarge { times } => {
                format!("a slave's volume is wiped under messages of 10 MiB, {times} times")
            }
            Self::RollBack { times, age } => {
                let least = if age.is_zero() {
                    "a moment"
                } else {
                    &show::duration(age)
                };
                format!("a member's volume is rolled back by {least} and more, {times} times")
            }
            Self::Swap => "two members' volumes are swapped, then swapped back".into(),
            Self::WipeMajority => "two of three volumes are wiped, the third recovers".into(),
            Self::BitFlips { flips } => format!("{flips} bits flip in one member at a time"),
            Self::StallDisk { time } => {
                format!("a disk hangs for {time:?}, a slave's, the master's")
            }
            Self::FullDisk { time } => {
                format!("a disk is full for {time:?}, a slave's, the master's")
            }
            Self::FailSync => "an fdatasync fails, a slave's, the master's".into(),
            Self::JournalFull => "all journals reach journal.maxBytes".into(),
            Self::Lag { messages } => format!("a slave is away for {messages} messages"),
            Self::KillDuringCatchUp { times, messages } => {
                format!(
                    "a slave that is {messages} messages behind is killed {times} times on its way"
                )
            }
        }
    }

    /// The disks and journals it needs; none: those that every group has by default, so that such
    /// phases share one.
    pub(super) fn settings(self) -> Option<Settings> {
        let disk = match self {
            Self::KillMaster { .. } | Self::StopMaster { .. } | Self::KillAll { .. } => {
                return None;
            }
            Self::PowerCuts { .. }
            | Self::StallDisk { .. }
            | Self::FullDisk { .. }
            | Self::FailSync => TestingDisk::Volatile,
            _ => TestingDisk::Durable,
        };
        let max_bytes = (self == Self::JournalFull).then_some(ByteSize(FULL_BYTES));
        Some(Settings {
            journal: Journal {
                max_bytes,
                segment_bytes: ByteSize(SEGMENT_BYTES),
                reserve_bytes: ByteSize(RESERVE_BYTES),
                retain_bytes: ByteSize(RETAIN_BYTES),
            },
            timing: Timing {
                scrub_ms: SCRUB_MS,
                ..Timing::default()
            },
            testing: Testing { disk },
        })
    }
}

impl PhaseResult {
    /// No rule broken, nothing unexpected.
    pub(super) fn is_good(&self) -> bool {
        self.verdict.is_good() && self.surprises.is_empty()
    }
}

/// How a phase is run.
pub(super) struct How<'a> {
    /// Messages a second of each busy producer.
    pub(super) rate: u32,
    /// Choices.
    pub(super) chance: Chance,
    /// Steps are printed.
    pub(super) verbose: bool,
    /// The cluster's folder, for tools that are called by hand.
    pub(super) folder: &'a Path,
}

/// Runs one phase: load, faults, the end of the load, the judgement.
pub(super) async fn run(
    phase: Phase,
    how: How<'_>,
    group: &mut LocalGroup,
) -> anyhow::Result<PhaseResult> {
    let load = Load::start(phase.name(), how.rate, group)?;
    load.wait_until_running().await?;
    let mut trial = Trial::new(how, group, load);
    let broken = break_it(phase, &mut trial).await;
    let (load, mut measured) = trial.end();
    broken.with_context(|| format!("phase {:?}; the load: {}", phase.name(), load.describe()))?;
    let verdict = load.finish(group, &mut measured.surprises).await?;
    measured.surprises.extend(group.unexpected_ends());
    Ok(PhaseResult {
        name: phase.name(),
        faults: phase.faults(),
        verdict,
        outages: measured.outages,
        surprises: measured.surprises,
    })
}

async fn break_it(phase: Phase, trial: &mut Trial<'_>) -> anyhow::Result<()> {
    match phase {
        Phase::KillMaster { times } => kill::master(trial, times).await,
        Phase::StopMaster { time } => stop::master(trial, time).await,
        Phase::KillAll { times } => kill::all(trial, times).await,
        Phase::PowerCuts { times } => power_cuts::run(trial, times).await,
        Phase::Wipe { times } => wipe::run(trial, times).await,
        Phase::JoinLarge { times } => join_large::run(trial, times).await,
        Phase::RollBack { times, age } => roll_back::run(trial, times, age).await,
        Phase::Swap => swap::run(trial).await,
        Phase::WipeMajority => wipe_majority::run(trial).await,
        Phase::BitFlips { flips } => bit_flips::run(trial, flips).await,
        Phase::StallDisk { time } => disk_trouble::stall(trial, time).await,
        Phase::FullDisk { time } => disk_trouble::full(trial, time).await,
        Phase::FailSync => disk_trouble::fail_sync(trial).await,
        Phase::JournalFull => journal_full::run(trial).await,
        Phase::Lag { messages } => lag::run(trial, messages).await,
        Phase::KillDuringCatchUp { times, messages } => catch_up::run(trial, times, messages).await,
    }
}
