//! H33 and rows 14, 18: a slave acknowledged what was never committed, and lost it to damage. Whole
//! again by a later master's log, it lacks that record for ever, and the old master remembers its
//! ack: the cut mark, stored with the word clean, says that the record was taken away rightly.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h33_a_repaired_member_is_not_accused_of_what_was_never_committed(
    stage: &mut Stage,
) -> Judged {
    let old = stage.master(None)?;
    let others = stage.others(old);
    let victim = others[0];
    stage.produce(3)?;
    stage.in_step()?;
    // Two of five have these: acknowledged by the victim, committed by nobody.
    for node in &others[1..] {
        stage.frames(Kind::Append, old, *node, Verdict::Drop);
    }
    let before = stage.offsets(victim).synced;
    let end = stage.world.nodes[victim].disk.log_end();
    stage.give_up_the_lost();
    stage.offer(4);
    stage.until("the victim has them on its disk", |world| {
        world.nodes[victim]
            .machine()
            .is_some_and(|machine| machine.offsets().synced.0 >= before.0 + 4)
    })?;
    let acknowledged = stage.offsets(victim).synced;
    // Its durable mark moves over it, and the old master writes down what it was told.
    stage.pass(2_500)?;
    stage.must(
        stage.offsets(old).committed < acknowledged,
        "they are not committed",
    )?;
    stage.kill(old);
    stage.kill(victim);
    // All of them are lost, so that nothing is left for the new master to take away.
    stage.world.damage_behind(victim, &end);
    stage.frames_pass();
    let new = stage.master(Some(old))?;
    stage.start(victim);
    stage.until("the damage is found", |world| {
        world.log_state(victim) == Some(LogState::NeedsRepair)
    })?;
    let clean = |world: &crate::world::World| world.log_state(victim) == Some(LogState::Clean);
    stage.until("the victim is whole again", clean)?;
    let end = stage.offsets(new).appended;
    stage.must(
        end <= acknowledged,
        "by a log that is no longer than its own was",
    )?;
    stage.start(old);
    stage.until("the old master is a slave", |world| {
        world.nodes[old].machine().is_some_and(|machine| {
            machine.role() == tandemmq_cluster::Role::Slave && machine.offsets().synced >= end
        })
    })?;
    stage.pass(2_000)?;
    stage.must(clean(&stage.world), "it is clean")?;
    stage.must(
        stage.world.counts().joins == 0,
        "nobody accuses it, or it would have come back as another volume",
    )?;
    stage.in_step()?;
    stage.finish()
}
