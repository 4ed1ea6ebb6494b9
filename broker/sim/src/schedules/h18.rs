//! H18, accepted for now: the Lease store is away when the master is lost. Nobody may stand without
//! a swap, so the group holds and says why; once the store is back it elects by itself.

use tandemmq_cluster::Role;

use crate::stage::{Judged, Stage};
use crate::world::World;

pub(super) fn h18_without_a_lease_store_a_lost_master_is_replaced_when_it_is_back(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.world.set_lease_away(1);
    stage.produce(1)?;
    stage.kill(master);
    let left = stage.others(master);
    let says = |world: &World, node: usize| {
        world.nodes[node]
            .machine()
            .is_some_and(|m| m.status().reason == "LeaseUnavailable")
    };
    stage.until("all who are left say what is missing", |world| {
        left.iter().all(|node| says(world, *node))
    })?;
    for _ in 0..20 {
        stage.pass(1_000)?;
        let slaves = left
            .iter()
            .all(|node| stage.world.nodes[*node].role() == Role::Slave);
        stage.must(slaves, "nobody stands without the Lease store")?;
    }
    let before = stage.world.counts().reigns;
    stage.world.set_lease_away(0);
    stage.master(Some(master))?;
    stage.must(
        stage.world.counts().reigns == before + 1,
        "one election was enough",
    )?;
    stage.produce(1)?;
    stage.in_step()?;
    let missed = left.iter().any(|node| says(&stage.world, *node));
    stage.must(!missed, "nobody says any more that the store is away")?;
    stage.start(master);
    stage.finish()
}
