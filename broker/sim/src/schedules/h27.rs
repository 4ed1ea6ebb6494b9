//! H27, as far as it can occur without replaced volumes: the Lease is deleted at every moment of
//! the founding. Whatever becomes of the founding, two groups never serve.

use crate::stage::{Judged, Stage};

pub(super) fn h27_a_lease_deleted_while_founding_founds_one_group(stage: &mut Stage) -> Judged {
    stage.until("a group is proposed", |world| {
        let record = &world.lease.current().record;
        record.group_proposal.is_some() || record.group.is_some()
    })?;
    stage.world.lease.delete();
    stage.until("a group is named again, or somebody serves", |world| {
        world.lease.current().record.group.is_some() || world.master().is_some()
    })?;
    stage.world.lease.delete();
    stage.pass(500)?;
    let master = stage.master(None)?;
    stage.produce(3)?;
    let group = stage.world.nodes[master].machine().and_then(|m| m.status().group_id);
    for node in stage.others(master) {
        let other = stage.world.nodes[node].machine().and_then(|m| m.status().group_id);
        stage.must(other == group, "all are of one group")?;
    }
    stage.finish()
}
