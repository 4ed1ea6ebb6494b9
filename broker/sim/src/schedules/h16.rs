//! H16: the Lease store is away for many times the Lease's duration. An expired Lease allows
//! nothing by itself: no candidate may skip the pre-vote, and a healthy master serves on.

use crate::stage::{Judged, Stage};

pub(super) fn h16_an_expired_lease_unseats_nobody(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.world.set_lease_away(1);
    let reigns = stage.world.counts().reigns;
    for _ in 0..6 {
        stage.pass(5_000)?;
        stage.produce(1)?;
    }
    stage.world.set_lease_away(0);
    stage.pass(5_000)?;
    stage.produce(1)?;
    stage.must(
        stage.world.counts().reigns == reigns,
        "the same master all the while",
    )?;
    stage.must(
        stage.world.master() == Some(master),
        "it is still the first one",
    )?;
    stage.finish()
}
