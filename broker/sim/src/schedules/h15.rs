//! H15: the Lease says that another holds it, in a higher epoch. That makes nobody master and
//! unmakes nobody: the reigning master serves on and takes the Lease back.

use crate::stage::{Judged, Stage};

pub(super) fn h15_a_stolen_lease_makes_and_unmakes_no_master(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    let holder = stage.world.lease.current().record.holder.clone();
    let (reigns, epoch) = (
        stage.world.counts().reigns,
        stage.world.lease.current().record.epoch,
    );
    stage.world.lease.steal("b-9_0_0", epoch + 1);
    stage.produce(3)?;
    stage.until("the master takes the Lease back", |world| {
        world.lease.current().record.holder == holder
    })?;
    stage.produce(1)?;
    stage.must(
        stage.world.counts().reigns == reigns,
        "nobody else ever reigned",
    )?;
    stage.must(
        stage.world.lease.current().record.epoch > epoch,
        "the floor of epochs is never lowered",
    )?;
    // The next election goes above the epoch that was only ever written.
    stage.kill(master);
    let next = stage.master(None)?;
    let reigns = stage.world.nodes[next]
        .machine()
        .map(|m| m.promise().epoch.0);
    stage.must(
        reigns.is_some_and(|reigns| reigns > epoch + 1),
        "its epoch is above the floor",
    )?;
    stage.start(master);
    stage.finish()
}
