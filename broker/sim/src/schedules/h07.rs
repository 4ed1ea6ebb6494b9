//! H7: a volume goes back to a crash-consistent snapshot of the same incarnation. Its promise and
//! the records it acknowledged are forgotten; its peers remember them, and it must not vote.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h7_a_rolled_back_volume_is_recognised_and_does_not_vote(stage: &mut Stage) -> Judged {
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
    stage.must(
        stage.world.master().is_none(),
        "the forgetful member helps nobody to reign",
    )?;
    stage.start(master);
    stage.master(None)?;
    stage.until("the victim knows what it is", |world| {
        world.log_state(victim) == Some(LogState::DataLoss)
    })?;
    stage.finish()
}

/// The other side of the same rule: a slave acknowledged records that were never committed, a later
/// master made it cut them, and its peers still remember the ack. Its cut mark clears it.
pub(super) fn h7_a_slave_that_had_to_cut_is_not_accused(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (slave, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let before = stage.offsets(slave).synced;
    // The master's own disk hangs: what the slave acknowledges is on one disk only.
    stage.frames(Kind::Append, master, other, Verdict::Hold);
    stage.world.nodes[master].disk.hang();
    stage.offer(1);
    stage.until("the first one is out to the master's disk", |world| {
        world.nodes[slave]
            .machine()
            .is_some_and(|m| m.offsets().synced > before)
    })?;
    stage.offer(8);
    stage.pass(100)?;
    stage.world.let_through(master, 1);
    stage.until("the slave has acknowledged what nobody else has", |world| {
        world.nodes[slave]
            .machine()
            .is_some_and(|m| m.offsets().synced.0 >= before.0 + 9)
    })?;
    let acknowledged = stage.offsets(slave).synced;
    // The other one hears of the ack with the next heartbeats, and stores it within a second.
    stage.pass(1_500)?;
    stage.power_cut(master);
    stage.kill(slave);
    stage.frames_pass();
    stage.world.unhang_disk(master);
    stage.start(master);
    let next = stage.master(None)?;
    stage.must(
        stage.offsets(next).appended < acknowledged,
        "the new log is the shorter one",
    )?;
    // It is made to cut; then it is asked for its promise again and again.
    stage.start(slave);
    stage.in_step()?;
    stage.must(
        stage.offsets(slave).synced < acknowledged,
        "the slave had to cut",
    )?;
    let next = stage.master(None)?;
    stage.kill(next);
    stage.master(Some(next))?;
    stage.start(next);
    stage.in_step()?;
    stage.finish()
}
