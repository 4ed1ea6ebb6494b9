//! H19: somebody edits the epochs in the Lease to 2^64-1. They are damage, not a floor.

use crate::stage::{Judged, Stage};

pub(super) fn h19_an_absurd_epoch_in_the_lease_is_ignored(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.kill(master);
    stage.world.lease.edit(|record| {
        record.epoch = u64::MAX;
        record.master_epoch = u64::MAX;
    });
    let next = stage.master(None)?;
    stage.must(next != master, "another leads")?;
    let epoch = stage.world.nodes[next]
        .machine()
        .map(|m| m.promise().epoch.0);
    stage.must(
        epoch.is_some_and(|epoch| epoch < 1_000),
        "its epoch is an ordinary one",
    )?;
    stage.until("the Lease is mended", |world| {
        world.lease.current().record.epoch < 1_000
    })?;
    stage.start(master);
    stage.produce(2)?;
    stage.finish()
}
