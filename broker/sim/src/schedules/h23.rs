//! H23 and row 12: an old master has more records than the new one's checkpoint, all of them its own
//! that nobody acknowledged. The new one's log does not begin early enough to find where they part.
//! The length of a log says nothing: judged by offset and epoch, it installs, and keeps no suffix.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h23_a_longer_stale_log_gets_the_checkpoint(stage: &mut Stage) -> Judged {
    stage.world.make_journals_small();
    let old = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    let common = stage.offsets(old).committed;
    // It appends as much as it is sent, and nobody else gets it.
    stage.frames(Kind::Append, old, None, Verdict::Drop);
    stage.give_up_the_lost();
    stage.offer(60);
    stage.until("the old master appends what it is sent", move |world| {
        world.nodes[old]
            .machine()
            .is_some_and(|machine| machine.offsets().synced.0 >= common.0 + 60)
    })?;
    stage.kill(old);
    stage.frames_pass();
    let new = stage.master(Some(old))?;
    for _ in 0..40 {
        if stage.log_start(new) > common {
            break;
        }
        stage.offer_large(2, 4_000);
        stage.pass(200)?;
    }
    stage.must(
        stage.log_start(new) > common,
        "the log of the new master begins behind what both have",
    )?;
    let before = stage.world.counts().installs;
    stage.start(old);
    stage.until("the old master runs again", |world| {
        world.nodes[old].is_alive()
    })?;
    stage.must(
        stage.offsets(old).appended > stage.checkpoint(new),
        "its stale log reaches beyond the checkpoint of the new one",
    )?;
    stage.in_step()?;
    stage.must(
        stage.world.counts().installs > before,
        "it installed the checkpoint",
    )?;
    stage.finish()
}
