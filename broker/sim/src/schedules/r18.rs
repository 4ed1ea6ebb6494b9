//! Row 18, H34: a volume that is accused may hold the only second copy of what is committed. It is
//! set aside when a quorum without it says so *now*.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::{Verdict, World};

pub(super) fn h34_old_acks_set_no_volume_aside(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (accused, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let snapshot = stage.world.nodes[accused].disk.snapshot();
    stage.produce(5)?;
    stage.in_step()?;
    stage.pass(2_500)?;
    stage.kill(accused);
    stage.world.roll_back_to(accused, &snapshot);
    // The other one has acknowledged everything, and is not heard any more; its link stays.
    stage.frames(Kind::HeartbeatReply, other, master, Verdict::Drop);
    stage.frames(Kind::Ack, other, master, Verdict::Drop);
    stage.start(accused);
    let state = move |world: &World| world.log_state(accused);
    stage.until("it knows what it is", |world| {
        state(world) == Some(LogState::DataLoss)
    })?;
    stage.pass(700)?;
    stage.must(
        stage.world.master() == Some(master),
        "the master still reigns",
    )?;
    stage.must(
        state(&stage.world) == Some(LogState::DataLoss),
        "the accused volume is in its place while nobody answers that he does without it",
    )?;
    stage.world.clear_rules();
    stage.until("it is set aside, and comes back as another one", |world| {
        world.out_of_step().is_none()
    })?;
    stage.finish()
}
