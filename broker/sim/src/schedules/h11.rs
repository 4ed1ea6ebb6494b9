//! H11: an fdatasync fails, the process aborts, and the page cache still shows the tail. A second
//! fdatasync would succeed without writing it, so recovery writes the unsure tail again.

use crate::stage::{Judged, Stage};

pub(super) fn h11_what_a_failed_fdatasync_lost_is_written_again(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (victim, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let run = stage.world.nodes[victim].run();
    stage.world.nodes[victim].disk.fail_next_sync();
    stage.offer(4);
    stage.until("the victim aborted and started again", |world| {
        world.nodes[victim].run() > run && world.nodes[victim].is_alive()
    })?;
    stage.in_step()?;
    stage.must(
        stage.world.counts().aborts == 1,
        "a failed fdatasync ends the process",
    )?;
    // From here the victim's disk is one of the two that hold what is acknowledged.
    stage.kill(other);
    stage.produce(4)?;
    stage.power_cut(victim);
    stage.power_cut(master);
    stage.start(other);
    stage.start(victim);
    stage.master(None)?;
    stage.start(master);
    stage.finish()
}
