//! H27, as far as it can occur without replaced volumes: the Lease is deleted at every moment of
//! the founding. Whatever becomes of the founding, two groups never serve.

use tandemmq_cluster::lease::LeaseRecord;

use crate::lease::RestoredRevision;
use crate::stage::{Judged, Stage};

pub(super) fn h27_a_lease_deleted_while_founding_founds_one_group(stage: &mut Stage) -> Judged {
    stage.until("a group is proposed", |world| {
        let record = &world.lease.current().record;
        record.group_proposal.is_some() || record.group.is_some()
    })?;
    stage.world.lease.delete();
    stage.until("the founding goes on", |world| {
        world.lease.current().record.group.is_some()
    })?;
    // Some have adopted the group, some not, and nothing names it any more. Nobody may reign
    // without all of the founding list, so whoever is blank keeps the group from serving.
    stage.world.lease.delete();
    stage.pass(8_000)?;
    stage.must(
        stage.world.master().is_none(),
        "no group serves without all its founders",
    )?;
    let same = |record: &LeaseRecord| record.group.is_some();
    let restored = stage.world.lease.restore(0, RestoredRevision::Fresh, same);
    stage.must(restored, "the backup of the Lease names the group")?;
    let master = stage.master(None)?;
    stage.produce(3)?;
    let group = stage.world.nodes[master]
        .machine()
        .and_then(|m| m.status().group_id);
    for node in stage.others(master) {
        let other = stage.world.nodes[node]
            .machine()
            .and_then(|m| m.status().group_id);
        stage.must(other == group, "all are of one group")?;
    }
    stage.finish()
}
