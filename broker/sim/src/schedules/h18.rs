//! H18: the Lease store is away and the master dies. The group holds: there is no swap, so there is
//! no master, until the store is back.

use crate::stage::{Judged, Stage};

pub(super) fn h18_without_a_lease_store_a_lost_master_is_replaced_when_it_is_back(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.world.set_lease_away(1);
    stage.kill(master);
    stage.pass(15_000)?;
    stage.must(stage.world.master().is_none(), "no swap, no master")?;
    stage.world.set_lease_away(0);
    let next = stage.master(None)?;
    stage.must(next != master, "another one leads")?;
    stage.produce(2)?;
    stage.start(master);
    stage.finish()
}
