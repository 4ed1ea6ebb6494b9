//! Row 8: an ack counts when its sender's log is clean, as the ack itself says. A member that found
//! damage at its start says how far it is, so that it is sent the rest; its first ack may come before
//! anything else that tells of the damage, and must not count.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn r8_acks_of_a_damaged_member_do_not_count(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (victim, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    // Its durable mark moves over all this: the damage is known as such.
    stage.pass(2_500)?;
    stage.kill(victim);
    stage.world.damage_end(victim);
    // Nothing but acks comes from it, and none from the other one.
    stage.frames(Kind::HeartbeatReply, victim, master, Verdict::Drop);
    stage.frames(Kind::Ack, other, master, Verdict::Drop);
    stage.frames(Kind::HeartbeatReply, other, master, Verdict::Drop);
    stage.start(victim);
    let before = stage.acknowledged();
    stage.offer(5);
    stage.until("the damaged member acknowledges", |world| {
        world.nodes[victim].machine().is_some_and(|machine| {
            machine.log_state() == LogState::NeedsRepair && machine.offsets().synced.0 > 0
        })
    })?;
    stage.pass(100)?;
    stage.must(
        stage.acknowledged() == before,
        "nothing is acknowledged that only the master and a damaged member have",
    )?;
    stage.frames_pass();
    stage.all_vote()?;
    stage.finish()
}
