//! H22: a group of one loses its volume. While the Lease knows the group, the blank volume is a
//! stranger to it and stays down: an empty queue would be a silent loss.

use crate::stage::{Judged, Stage};

pub(super) fn h22_a_single_broker_that_lost_its_volume_does_not_found_anew(
    stage: &mut Stage,
) -> Judged {
    let only = stage.master(None)?;
    stage.produce(3)?;
    stage.world.wipe(only);
    stage.start(only);
    stage.pass(15_000)?;
    stage.must(
        stage.world.nodes[only].is_alive(),
        "it runs, and says what is wrong",
    )?;
    stage.must(
        stage.world.master().is_none(),
        "it does not reign over nothing",
    )?;
    let reigns = stage.world.counts().reigns;
    stage.must(
        reigns == 1,
        "ports were opened once, while the volume was there",
    )
}
