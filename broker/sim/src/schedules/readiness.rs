//! Readiness: what Kubernetes takes members in and out of Services by. A group that elects must not
//! lose all of them at once, and one without a quorum must not look ready for ever.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

/// Longer than a slave stays ready without a master.
const MILLIS_WITHOUT_MASTER: u64 = 16_000;

pub(super) fn a_slave_stays_ready_through_an_election_and_not_for_long_without(
    stage: &mut Stage,
) -> Judged {
    let first = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.pass(500)?;
    let slaves = stage.others(first);
    for node in 0..3 {
        stage.must(is_ready(stage, node), "a member in step is ready")?;
    }
    stage.kill(first);
    for _ in 0..200 {
        stage.pass(5)?;
        for node in &slaves {
            stage.must(is_ready(stage, *node), "an election makes no slave unready")?;
        }
    }
    let second = stage.master(Some(first))?;
    let last = slaves[usize::from(slaves[0] == second)];
    stage.kill(second);
    stage.pass(5_000)?;
    stage.must(is_ready(stage, last), "it stays ready for a while")?;
    stage.pass(MILLIS_WITHOUT_MASTER)?;
    stage.must(
        !is_ready(stage, last),
        "without a quorum it is not ready for long",
    )?;
    stage.finish()
}

pub(super) fn a_slave_that_is_behind_a_reigning_master_is_not_ready(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    let slave = stage.others(master)[0];
    // It was in step a moment ago: only the master that it hears tells it otherwise.
    stage.frames(Kind::Append, master, slave, Verdict::Drop);
    stage.produce(20)?;
    stage.pass(3_000)?;
    stage.must(
        !is_ready(stage, slave),
        "it hears a master and lacks what it has",
    )?;
    stage.frames_pass();
    stage.in_step()?;
    stage.pass(500)?;
    stage.must(is_ready(stage, slave), "it has caught up")?;
    stage.finish()
}

fn is_ready(stage: &Stage, node: usize) -> bool {
    let machine = stage.world.nodes[node].machine();
    machine.is_some_and(|machine| machine.status().ready)
}
