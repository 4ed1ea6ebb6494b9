//! H7: a volume goes back to a crash-consistent snapshot of the same incarnation. Its promise and
//! the records it acknowledged are forgotten; its peers remember them, and it must not vote.

use tandemmq_journal::LogState;

use crate::stage::{Judged, Stage};

pub(super) fn h7_a_rolled_back_volume_is_recognised_and_does_not_vote(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    let (victim, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let snapshot = stage.world.nodes[victim].disk.snapshot();
    // Acknowledged by master and victim alone.
    stage.kill(other);
    stage.produce(5)?;
    stage.start(other);
    stage.in_step()?;
    stage.kill(other);
    stage.produce(5)?;
    // What the peers heard is on their disks at most a second later.
    stage.start(other);
    stage.in_step()?;
    stage.pass(2_500)?;
    stage.kill(victim);
    stage.world.roll_back_to(victim, &snapshot);
    stage.kill(master);
    stage.start(victim);
    // Victim and the other one are a majority, but only one of them has a vote.
    stage.pass(12_000)?;
    stage.must(stage.world.master().is_none(), "the forgetful member helps nobody to reign")?;
    stage.start(master);
    stage.master(None)?;
    stage.until("the victim knows what it is", |world| {
        world.nodes[victim].machine().is_some_and(|m| m.log_state() == LogState::DataLoss)
    })?;
    stage.finish()
}
