//! H32 and rows 13, 15d: a volume is listed as a voter only once it is clean on its own disk. Listed
//! before, it could restart as a learner that its log wants a vote of: a group that grows from one
//! would wait for that vote for ever.

use tandemmq_journal::LogState;

use crate::stage::{Judged, Stage};

pub(super) fn h32_a_learner_is_listed_only_once_it_is_clean_on_its_disk(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    let place = stage.others(master)[0];
    stage.produce(5)?;
    stage.in_step()?;
    let before = stage.generation(master);
    stage.world.wipe(place);
    stage.world.nodes[place].disk.hang();
    stage.start(place);
    let state = |stage: &Stage| stage.world.log_state(place);
    let mut learned = 0;
    for _ in 0..60 {
        stage.world.let_through(place, 1);
        stage.pass(100)?;
        if state(stage) == Some(LogState::Clean) && learned > 0 {
            break;
        }
        learned += u32::from(state(stage) == Some(LogState::Learner));
        stage.must(
            stage.generation(master) == before,
            "it is not listed while its disk does not call it clean",
        )?;
    }
    stage.must(
        learned > 1,
        "it was a learner for some operations of its disk",
    )?;
    stage.world.unhang_disk(place);
    stage.all_vote()?;
    stage.must(stage.generation(master) > before, "it is listed then")?;
    stage.finish()
}
