//! H30: a listed volume dies between the proposal of a group and its confirmation. The proposal
//! must be cleared, or the unanimous first election could never be held.

use crate::stage::{Judged, Stage};

pub(super) fn h30_a_proposal_whose_volume_died_is_cleared(stage: &mut Stage) -> Judged {
    stage.until("a group is proposed and not confirmed", |world| {
        let record = &world.lease.current().record;
        record.group_proposal.is_some() && record.group.is_none()
    })?;
    let dead = 1;
    let proposal = stage.world.lease.current().record.group_proposal.clone();
    stage.world.wipe(dead);
    stage.pass(50)?;
    stage.must(
        stage.world.lease.current().record.group.is_none(),
        "nothing is confirmed while a listed volume does not answer",
    )?;
    stage.start(dead);
    stage.master(None)?;
    let group = stage.world.lease.current().record.group.clone();
    stage.must(
        group.is_some() && group != proposal,
        "another list was confirmed",
    )?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.finish()
}
