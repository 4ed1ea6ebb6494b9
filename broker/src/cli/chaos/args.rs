//! The options of `chaos`, and which phases they ask for.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::chaos::phase::Phase;
use crate::cli::{parse_duration, whole};

/// Options of `chaos`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq chaos\n  tandemmq chaos --kills 100 --stop-master 20s --power-cut-all 20\n  tandemmq chaos --power-cuts 500 --rate 200\n  tandemmq chaos --wipe 20 --roll-back 20 --swap --wipe-majority\n  tandemmq chaos --bit-flips 2000\n  tandemmq chaos --stall-disk 10s --full-disk 10s --eio --enospc\n  tandemmq chaos --lag-messages 1000000 --kill-during-catch-up 10\n\nWithout any phase: --kills 10 --stop-master 20s --power-cut-all 3.\nExit code 0: no rule was broken. 1: some rule was broken; the folder is kept and named."
)]
pub(in crate::cli) struct Args {
    /// Times to kill the master with SIGKILL
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0..=10_000))]
    kills: Option<u32>,
    /// Stop the master with SIGSTOP for so long, then let it go on; 0: not at all
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    stop_master: Option<Duration>,
    /// Times to kill all brokers at once
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0..=10_000))]
    power_cut_all: Option<u32>,
    /// Times to kill one, two or all brokers whose disks lose what was not synced
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u32>(0..=100_000))]
    power_cuts: u32,
    /// Times to kill a slave or the master, in turn, and to delete its folder
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u32>(0..=10_000))]
    wipe: u32,
    /// Times to wipe a slave while messages of 10 MiB are queued and arrive, and to compare hashes
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u32>(0..=10_000))]
    join_large: u32,
    /// Times to bring an older copy of a member's folder back, a slave's or the master's in turn
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u32>(0..=10_000))]
    roll_back: u32,
    /// How old the copy is at least, that comes back
    #[arg(long, default_value = "0", value_parser = parse_duration, value_name = "TIME")]
    roll_back_age: Duration,
    /// Swap the folders of two members, then swap them back
    #[arg(long)]
    swap: bool,
    /// Delete the folders of two of three, then recover from the third
    #[arg(long)]
    wipe_majority: bool,
    /// Bits to flip in the files of one member at a time
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u32>(0..=1_000_000))]
    bit_flips: u32,
    /// Let the disk of a slave, then of the master, hang for so long
    #[arg(long, default_value = "0", value_parser = parse_duration, value_name = "TIME")]
    stall_disk: Duration,
    /// Let the disk of a slave, then of the master, be full for so long
    #[arg(long, default_value = "0", value_parser = parse_duration, value_name = "TIME")]
    full_disk: Duration,
    /// Let an fdatasync of a slave, then of the master, fail
    #[arg(long)]
    eio: bool,
    /// Fill the journals up to journal.maxBytes, drain the queue, go on
    #[arg(long)]
    enospc: bool,
    /// Messages to send while a slave is away; then measure the producers while it catches up
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u64>(0..=100_000_000))]
    lag_messages: u64,
    /// Times to kill that slave while it catches up
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u32>(0..=1_000))]
    kill_during_catch_up: u32,
    /// Messages that the slave is behind then
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = whole::<u64>(1..=100_000_000))]
    catch_up_lag: u64,
    /// Use this folder and leave it behind [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Messages a second of each of the two busy producers
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = whole::<u32>(1..=10_000))]
    pub(super) rate: u32,
    /// Seed of the choices (which broker, which bit) [default: a random one, printed]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
}

// === impl Args ===

impl Args {
    /// What is to be done, in this order.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let mut phases = self.worst_days();
        // The old options have defaults of their own only where nothing else was asked for.
        let alone = phases.is_empty();
        let or = |given: Option<u32>, default| given.unwrap_or(if alone { default } else { 0 });
        let stop = Duration::from_secs(if alone { 20 } else { 0 });
        let first = [
            Phase::KillMaster {
                times: or(self.kills, 10),
            },
            Phase::StopMaster {
                time: self.stop_master.unwrap_or(stop),
            },
            Phase::KillAll {
                times: or(self.power_cut_all, 3),
            },
        ];
        phases.splice(0..0, first);
        phases.retain(|phase| !phase.is_empty());
        phases
    }

    fn worst_days(&self) -> Vec<Phase> {
        let mut phases = vec![
            Phase::PowerCuts {
                times: self.power_cuts,
            },
            Phase::Wipe { times: self.wipe },
            Phase::JoinLarge {
                times: self.join_large,
            },
            Phase::RollBack {
                times: self.roll_back,
                age: self.roll_back_age,
            },
            Phase::BitFlips {
                flips: self.bit_flips,
            },
            Phase::StallDisk {
                time: self.stall_disk,
            },
            Phase::FullDisk {
                time: self.full_disk,
            },
            Phase::Lag {
                messages: self.lag_messages,
            },
            Phase::KillDuringCatchUp {
                times: self.kill_during_catch_up,
                messages: self.catch_up_lag,
            },
        ];
        let switches = [
            (self.swap, Phase::Swap),
            (self.wipe_majority, Phase::WipeMajority),
            (self.eio, Phase::FailSync),
            (self.enospc, Phase::JournalFull),
        ];
        let wanted = switches.into_iter().filter(|(wanted, _)| *wanted);
        phases.extend(wanted.map(|(_, phase)| phase));
        phases.retain(|phase| !phase.is_empty());
        phases
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn names(options: &[&str]) -> Vec<&'static str> {
        let line = Line::parse_from(std::iter::once(&"chaos").chain(options));
        line.args
            .phases()
            .iter()
            .map(|phase| phase.name())
            .collect()
    }

    #[test]
    fn the_defaults_hold_only_where_nothing_else_is_asked_for() {
        assert_eq!(names(&[]), ["kill master", "stop master", "kill all"]);
        assert_eq!(names(&["--kills", "0"]), ["stop master", "kill all"]);
        assert_eq!(names(&["--wipe", "2"]), ["wipe"]);
        assert_eq!(names(&["--swap", "--kills", "2"]), ["kill master", "swap"]);
        let none = ["--kills", "0", "--stop-master", "0", "--power-cut-all", "0"];
        assert_eq!(names(&none), [""; 0]);
    }
}
