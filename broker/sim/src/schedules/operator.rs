//! Row 15 where somebody outside confirms: brokers propose, and neither confirm nor clear. The script
//! is the operator.

use tandemmq_cluster::Confirmation;
use tandemmq_journal::Founding;

use crate::oracle::Violation;
use crate::seeds::Plan;
use crate::stage::{Judged, Stage};

pub(super) fn a_proposal_waits_for_the_operator_and_is_founded_by_it(stage: &mut Stage) -> Judged {
    let proposal = proposed(stage)?;
    stage.pass(5_000)?;
    let record = stage.world.lease.current().record.clone();
    stage.must(record.group.is_none(), "nobody confirms but the operator")?;
    stage.must(record.group_proposal == proposal, "and it stays as it was")?;
    for node in 0..3 {
        let message = stage.world.nodes[node]
            .machine()
            .map(|m| m.status().message);
        stage.must(
            message.is_some_and(|text| text.contains("operator")),
            "every blank member says whom it waits for",
        )?;
    }
    confirm(stage);
    stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.finish()
}

/// H30 there: a listed volume is lost. Brokers leave the proposal, the operator clears it.
pub(super) fn h30_a_dead_proposal_is_left_for_the_operator_to_clear(stage: &mut Stage) -> Judged {
    let proposal = proposed(stage)?;
    stage.world.wipe(1);
    stage.start(1);
    stage.pass(5_000)?;
    let left = stage.world.lease.current().record.group_proposal == proposal;
    stage.must(
        left,
        "a broker does not clear it: the operator may have confirmed it elsewhere",
    )?;
    stage
        .world
        .lease
        .edit(|record| record.group_proposal = None);
    stage.until("another list is proposed", |world| {
        let record = &world.lease.current().record;
        record.group_proposal.is_some() && record.group_proposal != proposal
    })?;
    confirm(stage);
    stage.master(None)?;
    stage.produce(3)?;
    stage.finish()
}

fn confirm(stage: &mut Stage) {
    stage.world.lease.edit(|record| {
        record.group = record.group_proposal.take();
    });
}

/// A world where the operator confirms, until a group is proposed.
fn proposed(stage: &mut Stage) -> Result<Option<Founding>, Violation> {
    let plan = Plan {
        confirmation: Confirmation::ByOperator,
        ..stage.world.plan.clone()
    };
    *stage = Stage::of(plan, stage.world.trace().detail());
    stage.until("a group is proposed", |world| {
        world.lease.current().record.group_proposal.is_some()
    })?;
    Ok(stage.world.lease.current().record.group_proposal.clone())
}
