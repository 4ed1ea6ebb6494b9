//! A group of real processes, broken on purpose under load and judged by the checker.
//!
//! `tandemmq chaos` does the breaking and the judging and exits with 1 when a rule was broken; this
//! test chooses how much. `KILLS=100` is the full run of `make chaos`; without it a short one.

use std::process::Command;

/// Faults of one run.
struct Dose {
    kills: u32,
    stop_master: &'static str,
    kill_all: u32,
}

/// From this many kills on it is the full run.
const FULL_KILLS: u32 = 100;

fn dose() -> Dose {
    let kills = std::env::var("KILLS").ok().map_or(5, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("KILLS is {text:?}: a number is needed"))
    });
    if kills >= FULL_KILLS {
        Dose {
            kills,
            stop_master: "20s",
            kill_all: 20,
        }
    } else {
        Dose {
            kills,
            stop_master: "5s",
            kill_all: 3,
        }
    }
}

#[test]
fn acknowledged_messages_survive_kills_stops_and_the_death_of_all() {
    let dose = dose();
    let status = Command::new(env!("CARGO_BIN_EXE_tandemmq"))
        .args(["chaos", "--kills", &dose.kills.to_string()])
        .args(["--stop-master", dose.stop_master])
        .args(["--power-cut-all", &dose.kill_all.to_string()])
        .status()
        .expect("the binary starts");
    assert!(status.success(), "a rule was broken, see above: {status}");
}

#[test]
fn a_demo_loses_nothing() {
    let status = Command::new(env!("CARGO_BIN_EXE_tandemmq"))
        .arg("demo")
        .status()
        .expect("the binary starts");
    assert!(
        status.success(),
        "the demo lost something, see above: {status}"
    );
}
