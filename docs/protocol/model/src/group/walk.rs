//! Random runs at bounds that no search could finish. Weak: 22 million such steps missed a commit by
//! counting that the exhaustive search finds at depth 15.

use std::time::Instant;

use super::Model;
use super::state::State;
use crate::explore::Names;

/// Steps of one run: more than any violation needs that the exhaustive search found.
const STEPS_MAX: usize = 150;

/// xorshift64; the same runs every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// True when no run of the time allowed broke anything.
pub fn walk(model: &Model, seconds: u64) -> bool {
    let start = Instant::now();
    let mut dice = Dice(0xC0FFEE | 1);
    let (mut runs, mut steps, mut useful) = (0_u64, 0_u64, 0_u64);
    while start.elapsed().as_secs() < seconds {
        let mut state = model.founded();
        let mut run = Vec::new();
        let crashes = dice.below(8);
        for _ in 0..STEPS_MAX {
            let mut next = Vec::new();
            model.steps(&state, &mut |name, to| next.push((name, to)), Names::Wanted);
            let Some(place) = pick(&mut dice, crashes, &next) else {
                continue;
            };
            let (name, to) = next.swap_remove(place);
            run.push(name);
            state = to;
            steps += 1;
            if let Some(what) = model.broken(&state) {
                println!("VIOLATED {what} after {runs} runs\n  {}", run.join("\n  "));
                return false;
            }
        }
        runs += 1;
        useful += u64::from(state.truth.n >= 3);
    }
    println!(
        "{runs} random runs, {steps} steps, {useful} runs with 3 or more committed records: \
         no violation"
    );
    true
}

/// Crashes and new candidates are rarer than they are possible.
fn pick(dice: &mut Dice, crashes: usize, next: &[(String, State)]) -> Option<usize> {
    if next.is_empty() {
        return None;
    }
    (0..16)
        .map(|_| dice.below(next.len()))
        .collect::<Vec<_>>()
        .into_iter()
        .find(|place| {
            let name = &next[*place].0;
            if name.contains("crashes") {
                dice.below(8) < crashes / 2
            } else {
                !name.contains("stands") || dice.below(8) == 0
            }
        })
}
