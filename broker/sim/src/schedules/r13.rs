//! Rows 13, 15d and 18: lost volumes are replaced, old ones stay out, a majority is never lost
//! silently.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn r13_a_wiped_master_comes_back_as_a_new_voter(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(5)?;
    stage.in_step()?;
    stage.world.wipe(master);
    stage.start(master);
    stage.master(Some(master))?;
    stage.produce(3)?;
    stage.all_vote()?;
    stage.must(stage.world.counts().joins > 0, "it joined as a learner")?;
    stage.finish()
}

/// Killed at each frame of the join.
pub(super) fn r13_a_learner_that_dies_at_any_step_of_its_join_joins(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let lost = stage.others(master)[0];
    stage.produce(5)?;
    stage.in_step()?;
    stage.world.wipe(lost);
    for kind in [Kind::Join, Kind::Append, Kind::Heartbeat] {
        stage.frames(kind, master, lost, Verdict::Copy);
        stage.start(lost);
        stage.until("the join gets there", |world| {
            world.kept().iter().any(|kept| kept.peek.kind == kind)
        })?;
        stage.pass(2)?;
        stage.kill(lost);
        stage.frames_pass();
    }
    stage.start(lost);
    stage.all_vote()?;
    stage.finish()
}

/// Before the joint record is committed, and after it, before the final one.
pub(super) fn r13_a_master_that_dies_between_joint_and_final_leaves_no_split(
    stage: &mut Stage,
) -> Judged {
    for committed in [false, true] {
        let master = stage.master(None)?;
        let (lost, other) = (stage.others(master)[0], stage.others(master)[1]);
        stage.produce(3)?;
        stage.in_step()?;
        let generation = stage.generation(master);
        stage.world.wipe(lost);
        stage.start(lost);
        if committed {
            stage.until("the joint record is in the log", |world| {
                world.generation(master) > generation
            })?;
        } else {
            stage.until("the learner learns", |world| {
                world.log_state(lost) == Some(LogState::Learner)
            })?;
            stage.frames(Kind::Ack, None, master, Verdict::Drop);
            stage.frames(Kind::HeartbeatReply, None, master, Verdict::Drop);
            stage.pass(150)?;
        }
        stage.kill(master);
        stage.frames_pass();
        stage.start(master);
        stage.master(None)?;
        stage.all_vote()?;
        stage.must(stage.generation(other) > generation, "the change is done")?;
    }
    stage.finish()
}

/// A change of voters counts once a majority of the old ones has it, too: an old volume that comes
/// back makes a majority with the one that knows of no change, and none of their records may be lost
/// by that.
pub(super) fn r13_a_new_voter_and_its_master_are_no_majority_of_the_old_ones(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    let (place, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(5)?;
    stage.in_step()?;
    stage.kill(place);
    let old = stage.world.nodes[place].disk.snapshot();
    // The other one hears its master, and gets no record any more.
    stage.frames(Kind::Append, master, other, Verdict::Drop);
    stage.world.wipe(place);
    stage.start(place);
    stage.until("the new volume has all that is committed", |world| {
        world.log_state(place) == Some(LogState::Clean)
    })?;
    let before = stage.acknowledged();
    stage.offer(5);
    stage.pass(2_000)?;
    stage.must(
        stage.acknowledged() == before,
        "nothing is acknowledged that the old voters do not have",
    )?;
    // The old volume is put back. It and the one that heard nothing are a majority of the old ones.
    stage.kill(master);
    stage.kill(place);
    stage.world.roll_back_to(place, &old);
    stage.frames_pass();
    stage.start(place);
    stage.master(Some(master))?;
    stage.produce(5)?;
    stage.start(master);
    stage.all_vote()?;
    stage.finish()
}
