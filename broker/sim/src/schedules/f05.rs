//! F5: a master leads a log with records of an older epoch that only it has, and a slave catches
//! up with them. The acks of that catch-up commit nothing before the own EpochStart is on a
//! quorum; a later master that never saw them may cut them.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn f5_acks_of_a_catch_up_commit_nothing_by_themselves(stage: &mut Stage) -> Judged {
    let first = stage.master(None)?;
    let (one, two) = (stage.others(first)[0], stage.others(first)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let common = stage.offsets(first).appended;
    stage.frames(Kind::Append, first, None, Verdict::Hold);
    // Large, so that each travels alone and the EpochStart behind them apart.
    stage.offer_large(2, 1_200_000);
    stage.until("the first alone has more", |world| {
        world.nodes[first]
            .machine()
            .is_some_and(|m| m.offsets().synced.0 >= common.0 + 2)
    })?;
    let alone = stage.offsets(first).synced;
    stage.kill(first);
    stage.frames_pass();
    // It leads again with one of them; acks travel, but what follows the old records does not.
    stage.kill(two);
    stage.frames(Kind::Append, first, None, Verdict::Hold);
    stage.frames(Kind::PreVote, one, None, Verdict::Drop);
    stage.start(first);
    stage.until("it leads again", |world| {
        world.nodes[first]
            .machine()
            .is_some_and(|m| m.offsets().appended > alone)
    })?;
    stage.bring_up_to(first, one, alone)?;
    stage.must(
        stage.offsets(one).synced == alone && stage.offsets(first).committed <= common,
        "catching up commits nothing by itself",
    )?;
    stage.kill(first);
    stage.frames_pass();
    stage.start(two);
    stage.master(None)?;
    stage.produce(2)?;
    stage.start(first);
    stage.finish()
}
