//! H17: SIGTERM while the third member is down. The target needs the old master's vote: it stays
//! until its successor's EpochStart is committed.

use crate::stage::{Judged, Stage};

pub(super) fn h17_a_resigning_master_votes_for_its_successor(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (target, third) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    stage.kill(third);
    stage.pass(200)?;
    stage.world.shut_down(master);
    let next = stage.master(Some(master))?;
    stage.must(next == target, "the only other member takes over")?;
    // The old one leaves once it is not needed; it starts again by itself in this world.
    stage.until("the old master left", |world| world.nodes[master].run() > 1)?;
    stage.start(third);
    stage.finish()
}
