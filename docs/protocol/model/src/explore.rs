//! Breadth-first search over any model here: every reachable state, the shortest way to a violation.
//!
//! A state is remembered by a 64-bit mix of its canonical bytes (two states in 1e8 meet with a chance
//! below 3e-4), together with the state it was first reached from, so that a violation can be told as
//! a run. Members may be renamed between two lines of such a run.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

/// What `successors` is given to report a step to: its name and where it leads.
pub type Out<'a, S> = &'a mut dyn FnMut(String, S);

/// Building a name for each of 1e8 steps would take longer than the search.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Wanted,
    Skipped,
}

pub trait Spec {
    type State;
    /// What a search must reach, or the model is asleep.
    const SEEN: &'static [&'static str];
    fn first(&self) -> Self::State;
    fn successors(&self, state: &Self::State, out: Out<'_, Self::State>, names: Names);
    fn violated(&self, state: &Self::State) -> Option<&'static str>;
    fn seen(&self, state: &Self::State, hits: &mut [u64]);
    /// The least bytes over all renamings of interchangeable members, into `best`.
    fn canonical(&self, state: &Self::State, best: &mut Vec<u8>, scratch: &mut Vec<u8>);
    fn decode(&self, bytes: &[u8]) -> Self::State;
}

/// How a search ended.
pub struct Outcome {
    distinct: usize,
    generated: u64,
    depth: usize,
    seconds: f64,
    end: End,
    seen: String,
    run: Vec<String>,
}

#[derive(Clone, Copy)]
enum End {
    Violated(&'static str),
    Complete,
    /// Every run of at most so many steps was looked at.
    CutOff(usize),
}

impl Outcome {
    pub fn violated(&self) -> Option<&'static str> {
        if let End::Violated(what) = self.end {
            Some(what)
        } else {
            None
        }
    }

    /// One line: counts and verdict.
    pub fn line(&self) -> String {
        let verdict = match self.end {
            End::Violated(what) => format!("VIOLATED {what}"),
            End::Complete => "complete, no violation".to_string(),
            End::CutOff(steps) => {
                format!("stopped at the limit, no violation (every run of <= {steps} steps)")
            }
        };
        format!(
            "{} distinct, {} generated, depth {}, {:.1} s: {verdict}",
            self.distinct, self.generated, self.depth, self.seconds
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line())?;
        if self.violated().is_none() {
            write!(f, "\n  seen: {}", self.seen)?;
        }
        for (number, step) in self.run.iter().enumerate() {
            write!(f, "\n  {:2}. {step}", number + 1)?;
        }
        Ok(())
    }
}

/// 64-bit mix of some bytes.
pub fn mix(bytes: &[u8]) -> u64 {
    let mut hash = 0x9E37_79B9_7F4A_7C15_u64 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0x94D0_49BB_1331_11EB);
        hash ^= hash >> 32;
    }
    hash
}

/// The keys are hashes already.
#[derive(Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed")
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// State to the state it was first reached from; 0 for the first one.
type Parents = HashMap<u64, u64, BuildHasherDefault<Same>>;

/// States of one depth, one after the other: length, bytes.
#[derive(Default)]
struct Level(Vec<u8>);

impl Level {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u16).to_le_bytes());
        self.0.extend(bytes);
    }

    fn at(&self, place: usize) -> &[u8] {
        let length = usize::from(u16::from_le_bytes([self.0[place], self.0[place + 1]]));
        &self.0[place + 2..place + 2 + length]
    }
}

/// Visits every reachable state of `spec`, until one is violated or a bound is met.
pub fn check<M: Spec>(spec: &M, seconds: u64, states: usize) -> Outcome {
    let start = Instant::now();
    let (mut best, mut scratch) = (Vec::new(), Vec::new());
    spec.canonical(&spec.first(), &mut best, &mut scratch);
    let mut parents = Parents::default();
    parents.insert(mix(&best), 0);
    let mut level = Level::default();
    level.push(&best);
    let (mut generated, mut depth, mut hits) = (1, 1, vec![0; M::SEEN.len()]);
    let mut broken: Option<(&'static str, u64)> = None;
    let mut whole = true;
    'search: while !level.0.is_empty() {
        let mut next = Level::default();
        let mut place = 0;
        while place < level.0.len() {
            let bytes = level.at(place);
            place += 2 + bytes.len();
            let from = mix(bytes);
            let mut visit = |_, state: M::State| {
                generated += 1;
                spec.canonical(&state, &mut best, &mut scratch);
                let key = mix(&best);
                let Entry::Vacant(entry) = parents.entry(key) else {
                    return;
                };
                entry.insert(from);
                if broken.is_none() {
                    broken = spec.violated(&state).map(|what| (what, key));
                }
                spec.seen(&state, &mut hits);
                next.push(&best);
            };
            spec.successors(&spec.decode(bytes), &mut visit, Names::Skipped);
            if broken.is_some() {
                break 'search;
            }
            if start.elapsed().as_secs() > seconds || parents.len() > states {
                whole = false;
                break 'search;
            }
        }
        depth += 1;
        level = next;
    }
    let end = match broken {
        Some((what, _)) => End::Violated(what),
        None if whole => End::Complete,
        None => End::CutOff(depth - 1),
    };
    let seen = M::SEEN
        .iter()
        .zip(&hits)
        .map(|(name, count)| format!("{name} {count}"));
    Outcome {
        distinct: parents.len(),
        generated,
        depth,
        seconds: start.elapsed().as_secs_f64(),
        end,
        seen: seen.collect::<Vec<_>>().join(", "),
        run: broken.map_or_else(Vec::new, |(_, key)| run_to(spec, &parents, key)),
    }
}

/// The steps that lead to a state, found again by following the parents from the first state.
fn run_to<M: Spec>(spec: &M, parents: &Parents, mut key: u64) -> Vec<String> {
    let mut chain = vec![key];
    while let Some(&parent) = parents.get(&key).filter(|parent| **parent != 0) {
        chain.push(parent);
        key = parent;
    }
    chain.reverse();
    let (mut best, mut scratch) = (Vec::new(), Vec::new());
    spec.canonical(&spec.first(), &mut best, &mut scratch);
    let mut bytes = best.clone();
    let mut run = Vec::new();
    for wanted in &chain[1..] {
        let mut hit = None;
        let mut visit = |name, state: M::State| {
            if hit.is_none() {
                spec.canonical(&state, &mut best, &mut scratch);
                if mix(&best) == *wanted {
                    hit = Some((name, best.clone()));
                }
            }
        };
        spec.successors(&spec.decode(&bytes), &mut visit, Names::Wanted);
        let (name, next) = hit.expect("a state has the successors it had before");
        run.push(name);
        bytes = next;
    }
    run
}
