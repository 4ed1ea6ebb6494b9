//! Election and replication: the same protocol as `Group.tla`, action by action, with the same
//! reductions, so that the two can be compared by their count of distinct states.
//!
//! On top, each off by default: checkpoints and compaction, damaged journals, two Config changes, and
//! the question whether a quorum that is up can always get a master again.

mod checkpoint;
mod codec;
mod election;
mod faults;
mod invariants;
mod join;
mod live;
mod mutations;
mod quorum;
mod replication;
mod rollback;
mod state;
mod steps;
pub mod walk;

use crate::args::Args;
use crate::explore::{Names, Out, Spec};
use codec::Renaming;
use mutations::Mutations;
use state::State;

/// Bounds of a search, and what it looks at.
#[derive(Clone)]
pub struct Model {
    members: usize,
    epochs: usize,
    /// Client records.
    values: u8,
    /// How often the Lease, a register, may fall back; None: no Lease at all.
    lease_faults: Option<u8>,
    reconfig: bool,
    /// How many Config changes may be made.
    changes: u8,
    compactions: u8,
    damages: u8,
    /// Row 15d: the voters of later Configs are blank at first.
    joins: bool,
    /// Row 19: member 0 alone is the group, the others are added one by one.
    grows: bool,
    /// How often member 2 is rolled back in place (row 18).
    rollbacks: u8,
    mutations: Mutations,
    /// Interchangeable members; the first one changes nothing.
    renamings: Vec<Renaming>,
    /// Judged by the damage alone, not by the inner invariants.
    hard: bool,
    /// Ask of every state: can each quorum that is up get a master again?
    live: bool,
    /// A master may step down at any moment.
    stepdown: bool,
    /// Rows 1 and 17 as guards of that question.
    prevote: bool,
    /// The first election, with an empty log, needs everybody.
    unanimous: bool,
    /// Acks are remembered for ever.
    witness: bool,
    /// Of the question after a hand-over: only to a member that is in step.
    in_step: bool,
    /// Inside the question whether a lost member comes back: Configs are changed.
    rejoins: bool,
    /// Inside that question: the members that are up, and its fresh epoch (0: not such a search).
    up: u32,
    goal: usize,
}

impl Model {
    /// Command, members, epochs, records, then options.
    pub fn new(args: &Args) -> Self {
        let changes = args.option_number("changes");
        let grows = args.has("grow");
        let rollbacks = args.option_number("rollback").unwrap_or(0) as u8;
        let joins = grows || args.has("join") || rollbacks > 0;
        let reconfig = args.has("reconfig") || changes.is_some() || joins;
        let members = if reconfig && !grows {
            args.number(1).max(4)
        } else {
            args.number(1)
        };
        let mutations = Mutations::new(args);
        let changes = match (grows, mutations.twoatonce) {
            (true, false) => members as u8 - 1,
            _ => changes.unwrap_or(1) as u8,
        };
        let interchangeable = match (reconfig, changes) {
            _ if args.has("nosym") || grows => 0,
            (false, _) => members,
            (true, 1) => 2,
            (true, _) => 0,
        };
        Self {
            members,
            epochs: args.number(2),
            values: args.number(3) as u8,
            lease_faults: args.option_number("lease").map(|faults| faults as u8),
            reconfig,
            changes,
            compactions: args.option_number("ck").unwrap_or(0) as u8,
            damages: args.option_number("corr").unwrap_or(0) as u8,
            joins,
            grows,
            rollbacks,
            mutations,
            renamings: codec::renamings(members, interchangeable),
            hard: args.has("hard"),
            live: args.command() == "live",
            stepdown: args.has("stepdown"),
            prevote: args.has("prevote"),
            unanimous: args.has("unanimous"),
            witness: args.has("witness"),
            in_step: args.has("instep"),
            rejoins: false,
            up: !0,
            goal: 0,
        }
    }

    fn is_up(&self, member: usize) -> bool {
        self.up >> member & 1 == 1
    }
}

impl Spec for Model {
    type State = State;
    const SEEN: &'static [&'static str] = invariants::SEEN;

    fn first(&self) -> State {
        self.founded()
    }

    fn successors(&self, state: &State, out: Out<'_, State>, names: Names) {
        self.steps(state, out, names);
    }

    fn violated(&self, state: &State) -> Option<&'static str> {
        self.broken(state)
    }

    fn seen(&self, state: &State, hits: &mut [u64]) {
        self.count_seen(state, hits);
    }

    fn canonical(&self, state: &State, best: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        self.bytes(state, &self.renamings[0], best);
        for renaming in &self.renamings[1..] {
            self.bytes(state, renaming, scratch);
            if *scratch < *best {
                std::mem::swap(scratch, best);
            }
        }
    }

    fn decode(&self, bytes: &[u8]) -> State {
        self.read(bytes)
    }
}
