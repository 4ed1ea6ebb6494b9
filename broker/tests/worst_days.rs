//! A group's worst days, in real processes under load: volumes that are lost, rolled back, swapped,
//! damaged, full, slow; power cuts; a slave that was away for long.
//!
//! `tandemmq chaos` does the breaking and the judging and exits with 1 when a rule was broken; each
//! test is one of its phases and chooses how much. `WORST_DAYS=full` is the run of `make
//! worst-days`; without it a short one.

use std::process::Command;

/// The counts of one run.
struct Dose {
    power_cuts: &'static str,
    wipes: &'static str,
    joins: &'static str,
    roll_backs: &'static str,
    roll_back_age: &'static str,
    bit_flips: &'static str,
    stall: &'static str,
    full: &'static str,
    lag_messages: &'static str,
    kills_during_catch_up: &'static str,
}

const SHORT: Dose = Dose {
    power_cuts: "10",
    wipes: "2",
    joins: "1",
    roll_backs: "2",
    roll_back_age: "5s",
    bit_flips: "40",
    stall: "5s",
    full: "14s",
    lag_messages: "20000",
    kills_during_catch_up: "2",
};

const FULL: Dose = Dose {
    power_cuts: "500",
    wipes: "20",
    joins: "10",
    roll_backs: "20",
    roll_back_age: "2m",
    bit_flips: "2000",
    stall: "10s",
    full: "30s",
    lag_messages: "1000000",
    kills_during_catch_up: "10",
};

fn dose() -> Dose {
    match std::env::var("WORST_DAYS").as_deref() {
        Ok("full") => FULL,
        Ok(other) => panic!("WORST_DAYS is {other:?}: only \"full\" is known"),
        Err(_) => SHORT,
    }
}

fn chaos(options: &[&str]) {
    let status = Command::new(env!("CARGO_BIN_EXE_tandemmq"))
        .arg("chaos")
        .args(options)
        .status()
        .expect("the binary starts");
    assert!(status.success(), "a rule was broken, see above: {status}");
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    chaos(&["--power-cuts", dose().power_cuts]);
}

#[test]
fn a_wiped_member_comes_back_as_another_one() {
    chaos(&["--wipe", dose().wipes]);
}

#[test]
fn a_new_member_gets_every_byte_of_the_largest_messages() {
    chaos(&["--join-large", dose().joins]);
}

#[test]
fn a_rolled_back_member_never_counts_and_comes_back_as_another_one() {
    chaos(&["--roll-back", dose().roll_backs]);
    chaos(&["--roll-back", "2", "--roll-back-age", dose().roll_back_age]);
}

#[test]
fn swapped_volumes_serve_nobody_and_say_which_to_swap_back() {
    chaos(&["--swap"]);
}

#[test]
fn a_lost_majority_forms_nothing_and_is_recovered_by_one_command() {
    chaos(&["--wipe-majority"]);
}

#[test]
fn flipped_bits_are_repaired_or_change_nothing() {
    chaos(&["--bit-flips", dose().bit_flips]);
}

#[test]
fn a_disk_that_hangs_stops_nobody_else() {
    chaos(&["--stall-disk", dose().stall]);
}

#[test]
fn a_disk_that_is_full_stops_nobody_else() {
    chaos(&["--full-disk", dose().full]);
}

#[test]
fn a_failed_fdatasync_ends_its_process_and_nothing_else() {
    chaos(&["--eio"]);
}

#[test]
fn journals_at_their_limit_take_messages_again_once_drained() {
    chaos(&["--enospc"]);
}

#[test]
fn a_slave_that_was_away_for_long_catches_up() {
    chaos(&["--lag-messages", dose().lag_messages]);
}

#[test]
fn a_slave_killed_while_it_catches_up_goes_on() {
    let Dose {
        kills_during_catch_up: kills,
        lag_messages,
        ..
    } = dose();
    // It falls behind by as much again while it is killed.
    let lag = lag_messages.parse::<u64>().expect("a number") / 2;
    let options = ["--kill-during-catch-up", kills, "--catch-up-lag"];
    chaos(&[&options[..], &[&lag.max(20_000).to_string()]].concat());
}
