//! H10: the last batch was acknowledged and is damaged before the durable mark has moved over it.
//! At the next start it looks like a torn tail and is cut; the peers' memory must keep the member
//! from voting without it.

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
    stage.frames(Kind::Append, master, other, Verdict::Hold);
    stage.produce(1)?;
    let acknowledged = stage.offsets(victim).synced;
    stage.kill(victim);
    stage.world.damage_end(victim);
    stage.start(victim);
    stage.until("the victim has heard what it acknowledged", |world| {
        world.nodes[victim]
            .machine()
            .is_some_and(|m| m.log_state() != LogState::Clean)
    })?;
    stage.must(
        stage.offsets(victim).appended < acknowledged,
        "the damaged batch was taken for a torn tail",
    )?;
    // Without the master the two others are a majority, of which one has no vote.
    stage.kill(master);
    stage.frames_pass();
    stage.pass(12_000)?;
    stage.must(
        stage.world.master().is_none(),
        "nobody reigns without the acknowledged batch",
    )?;
    stage.start(master);
    stage.master(None)?;
    stage.finish()
}
