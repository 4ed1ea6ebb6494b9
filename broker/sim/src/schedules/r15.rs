//! Rows 13 and 15d: a blank volume in the place of a lost one becomes a voter, and the lost one
//! never again.

use tandemmq_model::MemberId;

use crate::stage::{Judged, Stage};
use crate::world::World;

fn member(world: &World, node: usize) -> Option<MemberId> {
    let machine = world.nodes[node].machine()?;
    Some(machine.status().member)
}

pub(super) fn r15_a_wiped_slave_is_replaced_and_the_next_loss_is_survived(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    let (lost, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(5)?;
    stage.in_step()?;
    let before = member(&stage.world, lost);
    stage.world.wipe(lost);
    stage.start(lost);
    stage.all_vote()?;
    stage.must(
        member(&stage.world, lost) != before,
        "it is another member than the lost one",
    )?;
    // Its disk makes the quorum, then its vote does.
    stage.kill(other);
    stage.produce(5)?;
    stage.start(other);
    stage.all_vote()?;
    stage.kill(master);
    let next = stage.master(Some(master))?;
    stage.produce(5)?;
    stage.start(master);
    stage.all_vote()?;
    stage.must(next == lost || next == other, "one of the two left reigns")?;
    stage.finish()
}

/// The place is another volume's now. The old one is sent everything and has everything, but a
/// member is added only as a learner that was blank: what the old one is, nobody knows.
pub(super) fn r15_a_volume_that_was_replaced_is_not_taken_back(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let place = stage.others(master)[0];
    stage.produce(5)?;
    stage.in_step()?;
    stage.kill(place);
    let old = stage.world.nodes[place].disk.snapshot();
    stage.world.wipe(place);
    stage.start(place);
    stage.all_vote()?;
    stage.kill(place);
    let new = stage.world.nodes[place].disk.snapshot();
    stage.world.roll_back_to(place, &old);
    stage.start(place);
    for _ in 0..2 {
        stage.produce(5)?;
        stage.pass(4_000)?;
        let votes = |world: &World| {
            world.nodes[place]
                .machine()
                .is_some_and(|machine| machine.is_voter())
        };
        stage.must(!votes(&stage.world), "the old volume is no voter")?;
        stage.must(stage.world.master() == Some(master), "it disturbs nobody")?;
        // Once more, by a master who does not know it.
        stage.kill(place);
        stage.start(place);
    }
    stage.kill(place);
    stage.world.roll_back_to(place, &new);
    stage.start(place);
    stage.all_vote()?;
    stage.finish()
}
