//! F1: the master is killed after each of its effects in turn, while it commits: between the disk
//! operation and the frames of one batch, between a commit and its receipts.

use crate::stage::{Judged, Stage};

/// A send of three messages is some forty effects of the master, the heartbeats around it included.
const EFFECTS: u32 = 48;

pub(super) fn f1_a_master_killed_after_any_effect_loses_nothing(stage: &mut Stage) -> Judged {
    kill_after_each_effect(stage)
}

/// Between any two records of a transaction, and around its COMMIT.
pub(super) fn f1_a_transaction_is_whole_or_nothing_wherever_its_master_dies(
    stage: &mut Stage,
) -> Judged {
    stage.send_in_transactions(3);
    kill_after_each_effect(stage)
}

fn kill_after_each_effect(stage: &mut Stage) -> Judged {
    for effects in 0..EFFECTS {
        let master = stage.master(None)?;
        let run = stage.world.nodes[master].run();
        stage.offer(3);
        stage.world.nodes[master].die_after(effects);
        stage.until("the master died and started again", |world| {
            world.nodes[master].run() > run && world.nodes[master].is_alive()
        })?;
        stage.master(None)?;
        stage.in_step()?;
    }
    stage.finish()
}
