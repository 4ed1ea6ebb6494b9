//! H20: the master is stopped for 20 s while another takes over and its consumers take messages.
//! When it goes on it must neither confirm nor hand out anything before it knows better.

use crate::stage::{Judged, Stage};

pub(super) fn h20_a_zombie_master_hands_out_nothing(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(5)?;
    stage.in_step()?;
    // Sends wait in its sockets when it stops.
    stage.offer(5);
    stage.world.pause(master);
    let next = stage.master(Some(master))?;
    stage.pass(20_000)?;
    let deliveries = stage.world.counts().deliveries;
    let committed = stage.offsets(master).committed;
    stage.world.resume(master);
    stage.pass(50)?;
    stage.must(
        stage.world.counts().deliveries == deliveries,
        "the zombie hands out nothing",
    )?;
    stage.until("the zombie is a slave", |world| {
        world.nodes[master].role() == tandemmq_cluster::Role::Slave
    })?;
    stage.must(
        stage.offsets(master).committed <= committed.max(stage.offsets(next).committed),
        "it commits nothing of its own",
    )?;
    stage.finish()
}
