//! Proves that the naive model bites: every seeded fault is caught, and the figure says how soon.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where it finds something unexpected"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "shares its bench with the tests"
)]

#[path = "../engine/bench.rs"]
mod bench;
#[path = "../engine/random.rs"]
mod random;

use std::panic;

use tandemmq_engine::mutants::{self, Mutant};

/// Seeds that a fault may take; the rarest takes a few dozen.
const SEEDS_MAX: u64 = 400;

#[test]
fn every_seeded_fault_is_caught() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let caught: Vec<(Mutant, Option<u64>)> = Mutant::ALL
        .into_iter()
        .map(|mutant| {
            mutants::set(Some(mutant));
            (
                mutant,
                (1..=SEEDS_MAX)
                    .find(|seed| panic::catch_unwind(|| random::run(*seed, 500)).is_err()),
            )
        })
        .collect();
    mutants::set(None);
    panic::set_hook(hook);
    for (mutant, seed) in &caught {
        println!("{mutant:?} caught by seed {seed:?}");
    }
    assert!(caught.iter().all(|(_, seed)| seed.is_some()), "{caught:?}");
}
