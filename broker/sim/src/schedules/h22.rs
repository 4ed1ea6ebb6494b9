//! H22: a group of one broker loses its volume. The Lease still names the group, so the blank volume
//! founds no other beside it: it stays down and says so, until the volume is put back.

use crate::stage::{Judged, Stage};

pub(super) fn h22_a_single_broker_that_lost_its_volume_does_not_found_anew(
    stage: &mut Stage,
) -> Judged {
    stage.master(None)?;
    stage.produce(3)?;
    let group = stage.world.lease.current().record.group.clone();
    stage.must(group.is_some(), "the Lease names the group")?;
    stage.kill(0);
    let volume = stage.world.nodes[0].disk.snapshot();
    stage.world.wipe(0);
    stage.start(0);
    stage.until("it knows that it is not of the group", |world| {
        world.nodes[0]
            .machine()
            .is_some_and(|m| m.status().reason == "VolumeNotInGroup")
    })?;
    stage.pass(15_000)?;
    stage.must(
        stage.world.master().is_none(),
        "a blank volume does not reign in the group's name",
    )?;
    let record = &stage.world.lease.current().record;
    stage.must(
        record.group == group && record.group_proposal.is_none(),
        "the Lease names the same group still, and no other is proposed",
    )?;
    // The lost volume is found again.
    stage.kill(0);
    stage.world.roll_back_to(0, &volume);
    stage.start(0);
    stage.master(None)?;
    stage.finish()
}
