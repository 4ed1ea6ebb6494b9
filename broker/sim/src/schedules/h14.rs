//! H14: four candidates stand at once while the Lease store is slow, so that every one of them is
//! pre-voted against the dead master and meets the others at the Lease. One of them must win soon.

use std::time::Duration;

use crate::stage::{Judged, Stage};

pub(super) fn h14_a_duel_of_candidates_ends(stage: &mut Stage) -> Judged {
    let mut master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage
        .world
        .set_lease_latency(Duration::from_millis(40), Duration::from_millis(90));
    for _ in 0..4 {
        stage.power_cut(master);
        let dead = master;
        let begin = stage.world.now();
        master = stage.master(Some(dead))?;
        let took = stage.world.now().since(begin);
        stage.must(
            took < Duration::from_secs(8),
            "a master within eight seconds",
        )?;
        stage.produce(1)?;
        stage.start(dead);
        stage.in_step()?;
    }
    stage.finish()
}
