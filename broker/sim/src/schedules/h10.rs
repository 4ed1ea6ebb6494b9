//! H10: the last batch is acknowledged and then damaged, before the durable mark is moved over it.
//! Recovery cannot tell it from a torn tail and cuts it. The peers remember the ack, and the member
//! must not vote: with a peer that never had the batch it would be a majority without it.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h10_an_acknowledged_batch_that_is_damaged_costs_the_vote(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    let (victim, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    // The mark moves over all this, and will not move again for a second.
    stage.pass(2_500)?;
    // Acknowledged by master and victim alone; the other one hears of it with the next heartbeats.
    stage.frames(Kind::Append, master, other, Verdict::Hold);
    stage.produce(1)?;
    let acknowledged = stage.offsets(victim).synced;
    stage.must(
        stage.offsets(other).appended < acknowledged,
        "the other one lacks what was acknowledged",
    )?;
    stage.pass(400)?;
    stage.kill(victim);
    stage.world.damage_end(victim);
    stage.kill(master);
    stage.frames_pass();
    // Alone it cannot know: this is the torn tail of a process that was killed while it wrote.
    stage.isolate(victim);
    stage.start(victim);
    stage.until("the victim runs again", |world| {
        world.nodes[victim].is_alive()
    })?;
    let state = stage.world.log_state(victim);
    stage.must(
        state == Some(LogState::Clean),
        "beyond the durable mark it looks like a torn tail",
    )?;
    stage.must(
        stage.offsets(victim).appended < acknowledged,
        "recovery cut the damaged batch",
    )?;
    // Victim and the other one are a majority, but only one of them has a vote.
    stage.rejoin(victim);
    stage.pass(12_000)?;
    stage.must(
        stage.world.master().is_none(),
        "the two without the batch have no master",
    )?;
    stage.until("the victim knows what it is", |world| {
        world.log_state(victim) == Some(LogState::DataLoss)
    })?;
    stage.start(master);
    stage.master(None)?;
    stage.finish()
}
