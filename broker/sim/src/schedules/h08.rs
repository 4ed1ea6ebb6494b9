//! H8: two of three volumes are lost, and the Lease with them. The two blank members are a
//! majority of the places, but a founded group never forms again from empty volumes.

use crate::stage::{Judged, Stage};

pub(super) fn h8_a_majority_of_empty_volumes_founds_nothing(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    for node in stage.others(master) {
        stage.world.wipe(node);
    }
    stage.kill(master);
    stage.world.lease.delete();
    for node in stage.others(master) {
        stage.start(node);
    }
    stage.pass(10_000)?;
    stage.must(
        stage.world.master().is_none(),
        "two blank members have no master",
    )?;
    stage.start(master);
    stage.pass(15_000)?;
    stage.must(
        stage.world.master().is_none(),
        "nor have they with the third one's data",
    )?;
    let reigns = stage.world.counts().reigns;
    stage.must(reigns == 1, "ports were opened once, by the first master")
}

/// The other half of the same rule: with an empty log a majority is not enough to lead. One founder
/// is away before the first election, and whatever it may have, nobody reigns without its answer.
pub(super) fn h8_the_first_election_needs_every_founder(stage: &mut Stage) -> Judged {
    stage.until("the group is confirmed", |world| {
        world.lease.current().record.group.is_some()
    })?;
    stage.kill(2);
    stage.pass(8_000)?;
    stage.must(
        stage.world.master().is_none(),
        "two of three founders do not elect",
    )?;
    stage.start(2);
    stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.finish()
}
