//! H6 and row 6: a candidate adopts a log in which the voters are others than in its own. Its quorum
//! is one of the adopted log's voters: a quorum of those it knew before may consist of volumes that
//! were replaced since, and miss what their successors acknowledged.

use tandemmq_journal::LogState;

use crate::oracle::Violation;
use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::volume::Volume;
use crate::world::Verdict;

/// The volume in that place is lost and another one joins; `last` gets the joint record and nothing
/// after it. Gives the old volume.
fn replace(
    stage: &mut Stage,
    master: usize,
    place: usize,
    last: usize,
) -> Result<Volume, Violation> {
    let before = stage.generation(master);
    stage.kill(place);
    let old = stage.world.nodes[place].disk.snapshot();
    stage.world.wipe(place);
    stage.start(place);
    stage.until("the joint record is on its way", |world| {
        world.generation(last) > before
    })?;
    stage.frames(Kind::Append, master, last, Verdict::Drop);
    stage.until("the final record is in the log", |world| {
        world.generation(master) == before + 2 && world.log_state(place) == Some(LogState::Clean)
    })?;
    Ok(old)
}

pub(super) fn h6_the_adopted_logs_voters_judge_the_candidate(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let others = stage.others(master);
    let (second, third, fourth, fifth) = (others[0], others[1], others[2], others[3]);
    stage.produce(3)?;
    stage.in_step()?;
    // The fifth volume is replaced: the third member knows the first step, the fourth none.
    stage.frames(Kind::Append, master, fourth, Verdict::Drop);
    let old_fifth = replace(stage, master, fifth, third)?;
    stage.produce(1)?;
    // Then the fourth: the second member knows the first step of that.
    stage.world.clear_rules();
    stage.frames(Kind::Append, master, third, Verdict::Drop);
    let old_fourth = replace(stage, master, fourth, second)?;
    stage.produce(5)?;
    // Those three have it. The old volumes come back, and with second and third member they are a
    // majority of the voters that the third one knows.
    let mut new = Vec::new();
    for node in [master, fourth, fifth] {
        stage.kill(node);
        new.push(stage.world.nodes[node].disk.snapshot());
    }
    stage.world.roll_back_to(fourth, &old_fourth);
    stage.world.roll_back_to(fifth, &old_fifth);
    stage.frames_pass();
    stage.start(fourth);
    stage.start(fifth);
    stage.pass(12_000)?;
    stage.must(
        stage.world.master().is_none(),
        "four without the last records have no master",
    )?;
    for (node, disk) in [fourth, fifth].into_iter().zip(&new[1..]) {
        stage.kill(node);
        stage.world.roll_back_to(node, disk);
        stage.start(node);
    }
    stage.start(master);
    stage.all_vote()?;
    stage.finish()
}
