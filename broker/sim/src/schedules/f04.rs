//! F4: one power cut and well-placed pauses, so that the member that restarted is part of the
//! first quorum. Whatever it lost was never acknowledged by it.

use crate::stage::{Judged, Stage};

pub(super) fn f4_a_power_cut_member_in_the_first_quorum_loses_nothing(stage: &mut Stage) -> Judged {
    let mut master = stage.master(None)?;
    for _ in 0..4 {
        let (one, two) = (stage.others(master)[0], stage.others(master)[1]);
        stage.produce(5)?;
        stage.world.pause(two);
        stage.produce(5)?;
        stage.offer(5);
        stage.pass(2)?;
        // The one that has acknowledged loses its power; the master stops.
        stage.power_cut(one);
        stage.world.pause(master);
        stage.start(one);
        stage.world.resume(two);
        let next = stage.master(Some(master))?;
        stage.pass(500)?;
        stage.world.resume(master);
        stage.in_step()?;
        master = next;
    }
    stage.finish()
}
