//! H13: the master's disk hangs while its process and its network live. Nothing can be committed
//! with it; it must say that it is no valid master, and another must take over.

use crate::stage::{Judged, Stage};

pub(super) fn h13_a_master_whose_disk_hangs_is_replaced(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.world.nodes[master].disk.hang();
    stage.offer(2);
    let next = stage.master(Some(master))?;
    stage.must(next != master, "another one leads")?;
    stage.produce(2)?;
    stage.world.unhang_disk(master);
    stage.finish()
}

/// A group of one has nobody to replace it: it must serve again by itself once its disk moves.
pub(super) fn h13_a_single_broker_serves_again_when_its_disk_moves(stage: &mut Stage) -> Judged {
    let only = stage.master(None)?;
    stage.produce(3)?;
    stage.world.nodes[only].disk.hang();
    stage.offer(1);
    stage.until("it is no master any more", |world| world.master().is_none())?;
    stage.pass(500)?;
    stage.world.unhang_disk(only);
    stage.master(None)?;
    stage.produce(1)?;
    stage.finish()
}
