//! H28: the Lease names another group than the members' own. They are strangers to it: they must
//! not stand, or two groups would serve one name in turn.

use tandemmq_model::GroupId;

use crate::stage::{Judged, Stage};

pub(super) fn h28_members_of_another_group_than_the_leases_stay_strangers(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    let own = stage.world.lease.current().record.group.clone();
    for node in 0..3 {
        stage.kill(node);
    }
    stage.world.lease.edit(|record| {
        if let Some(group) = &mut record.group {
            group.id = GroupId(0xF0F0);
        }
        record.holder = String::new();
    });
    for node in 0..3 {
        stage.start(node);
    }
    stage.pass(12_000)?;
    stage.must(
        stage.world.master().is_none(),
        "nobody stands for a foreign name",
    )?;
    // Once the Lease is mended they are members again, from their next start on.
    stage.world.lease.edit(|record| record.group = own);
    for node in 0..3 {
        stage.kill(node);
        stage.start(node);
    }
    stage.master(None)?;
    stage.must(
        stage.offsets(master).appended.0 > 0,
        "nothing was thrown away meanwhile",
    )?;
    stage.finish()
}
