//! H3, Raft's figure 8: a record of an old epoch reaches a majority, but no EpochStart above it
//! does. Another member with a later epoch in its log may still cut it away, so it must not count.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h3_records_of_an_older_epoch_are_not_committed_by_counting(
    stage: &mut Stage,
) -> Judged {
    let first = stage.master(None)?;
    let (second, third) = (stage.others(first)[0], stage.others(first)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let common = stage.offsets(first).appended;
    // Epoch 1: x is on the first member only. It is larger than what one Append carries beside
    // another batch, so that x and what follows it travel apart.
    stage.frames(Kind::Append, first, None, Verdict::Hold);
    stage.offer_large(1, 1_200_000);
    stage.until("x is on the first master's disk", |world| {
        world.nodes[first]
            .machine()
            .is_some_and(|m| m.offsets().synced > common)
    })?;
    let x = stage.offsets(first).appended;
    stage.kill(first);
    stage.world.clear_rules();
    stage.world.take_kept(|_| true);
    // Epoch 2: the second or third leads, its EpochStart reaches nobody.
    stage.frames(Kind::Append, second, None, Verdict::Hold);
    stage.frames(Kind::Append, third, None, Verdict::Hold);
    stage.until("another has an EpochStart on its disk", |world| {
        [second, third].iter().any(|node| {
            world.nodes[*node]
                .machine()
                .is_some_and(|m| m.offsets().synced > common)
        })
    })?;
    let rival = if stage.offsets(second).synced > common {
        second
    } else {
        third
    };
    let voter = if rival == second { third } else { second };
    stage.kill(rival);
    stage.world.clear_rules();
    stage.world.take_kept(|_| true);
    // Epoch 3: the first leads again and brings x to the voter; its EpochStart does not arrive.
    stage.start(first);
    stage.frames(Kind::Append, first, voter, Verdict::Hold);
    stage.frames(Kind::PreVote, voter, None, Verdict::Drop);
    stage.until("the first leads again", |world| {
        world.nodes[first]
            .machine()
            .is_some_and(|m| m.offsets().appended > x)
    })?;
    stage.bring_up_to(first, voter, x)?;
    stage.must(
        stage.offsets(voter).synced == x,
        "the voter has x and nothing above it",
    )?;
    stage.pass(100)?;
    stage.must(
        stage.offsets(first).committed < x,
        "x is on two disks and not committed",
    )?;
    // The rival comes back: its log is the better one.
    stage.kill(first);
    stage.world.clear_rules();
    stage.world.take_kept(|_| true);
    stage.start(rival);
    let next = stage.master(None)?;
    stage.must(
        next == rival || next == voter,
        "one of the two others leads",
    )?;
    stage.produce(2)?;
    stage.start(first);
    stage.finish()
}
