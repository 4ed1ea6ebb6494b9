//! Row 12: a slave that the log has left behind gets a checkpoint; whatever is killed meanwhile.

use crate::oracle::Violation;
use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

/// A slave is away while the log moves on without it. Gives the master and that slave.
fn leave_one_behind(stage: &mut Stage) -> Result<(usize, usize), Violation> {
    stage.world.make_journals_small();
    leave_behind(stage)
}

fn leave_behind(stage: &mut Stage) -> Result<(usize, usize), Violation> {
    let master = stage.master(None)?;
    let behind = stage.others(master)[0];
    stage.produce(3)?;
    stage.in_step()?;
    let end = stage.offsets(behind).appended;
    stage.kill(behind);
    for _ in 0..40 {
        stage.offer_large(10, 1_000);
        stage.pass(300)?;
        if stage.log_start(master) > end {
            return Ok((master, behind));
        }
    }
    stage.must(false, "the log of the master begins behind the slave's end")?;
    Ok((master, behind))
}

fn installs(stage: &Stage) -> u64 {
    stage.world.counts().installs
}

pub(super) fn r12_a_slave_far_behind_gets_a_checkpoint_while_producers_go_on(
    stage: &mut Stage,
) -> Judged {
    let (_, behind) = leave_one_behind(stage)?;
    stage.start(behind);
    for _ in 0..10 {
        stage.offer_large(3, 500);
        stage.pass(50)?;
    }
    stage.in_step()?;
    stage.must(installs(stage) > 0, "it installed a checkpoint")?;
    stage.finish()
}

pub(super) fn r12_a_slave_that_dies_at_any_step_of_the_transfer_resumes(
    stage: &mut Stage,
) -> Judged {
    let (master, behind) = leave_one_behind(stage)?;
    let steps = [Kind::Offer, Kind::CheckpointPiece, Kind::Survivors];
    for kind in steps {
        for cut in [false, true] {
            stage.frames(kind, master, behind, Verdict::Copy);
            stage.start(behind);
            let seen = stage
                .world
                .wait_for(std::time::Duration::from_secs(3), |world| {
                    world.kept().iter().any(|kept| kept.peek.kind == kind)
                });
            // Everything may be dead by now: then there are no survivors to ask for.
            stage.must(seen || kind == Kind::Survivors, "the transfer gets there")?;
            if cut {
                stage.power_cut(behind);
            } else {
                stage.kill(behind);
            }
            stage.frames_pass();
        }
    }
    // Inside the last step, the switch, by operations of the disk.
    for operations in 1..8 {
        stage.world.nodes[behind].disk.hang();
        stage.start(behind);
        stage.pass(20)?;
        stage.world.let_through(behind, operations);
        stage.pass(500)?;
        stage.power_cut(behind);
        stage.world.unhang_disk(behind);
    }
    stage.start(behind);
    stage.in_step()?;
    stage.finish()
}

pub(super) fn r12_a_master_that_dies_in_the_middle_of_a_transfer_is_followed_by_another(
    stage: &mut Stage,
) -> Judged {
    let (master, behind) = leave_one_behind(stage)?;
    stage.frames(Kind::CheckpointPiece, master, behind, Verdict::Drop);
    stage.start(behind);
    stage.until("pieces are asked for", |world| {
        world.net.outbound(behind, master).is_some()
    })?;
    stage.pass(300)?;
    stage.kill(master);
    stage.frames_pass();
    let next = stage.master(Some(master))?;
    stage.must(
        next != behind,
        "who lacks the beginning of the log does not lead",
    )?;
    stage.in_step()?;
    stage.must(installs(stage) > 0, "it installed the next master's")?;
    stage.start(master);
    stage.finish()
}

/// F15: the snapshot changes under the transfer.
pub(super) fn f15_a_checkpoint_that_is_replaced_in_the_middle_does_no_harm(
    stage: &mut Stage,
) -> Judged {
    let (master, behind) = leave_one_behind(stage)?;
    stage.frames(Kind::CheckpointPiece, master, behind, Verdict::Hold);
    stage.start(behind);
    stage.until("a piece is on its way", |world| !world.kept().is_empty())?;
    // Two checkpoints later the log and the survivors are others.
    for _ in 0..20 {
        stage.offer_large(10, 1_000);
        stage.pass(200)?;
    }
    for frame in stage.world.take_kept(|_| true) {
        stage.world.deliver_kept(&frame);
    }
    stage.frames_pass();
    stage.in_step()?;
    stage.must(installs(stage) > 0, "it installed one of them")?;
    stage.finish()
}

/// H9: the offer that it followed comes again, when it has all that and more.
pub(super) fn r12_a_late_offer_takes_no_record_back(stage: &mut Stage) -> Judged {
    let (master, behind) = leave_one_behind(stage)?;
    stage.frames(Kind::Offer, master, behind, Verdict::Copy);
    stage.start(behind);
    stage.in_step()?;
    stage.produce(5)?;
    stage.in_step()?;
    let (installed, end) = (installs(stage), stage.offsets(behind).synced);
    stage.must(installed > 0, "it installed a checkpoint")?;
    for frame in stage.world.take_kept(|kept| kept.peek.kind == Kind::Offer) {
        stage.world.deliver_kept(&frame);
        stage.pass(1_000)?;
    }
    stage.must(installs(stage) == installed, "nothing is installed again")?;
    stage.must(
        stage.offsets(behind).synced >= end,
        "what it acknowledged stays",
    )?;
    stage.finish()
}

/// At each of the first frames that bring the slave its log, and well into them.
pub(super) fn r12_a_half_synced_slave_never_leads(stage: &mut Stage) -> Judged {
    stage.world.make_journals_small();
    for frames in 1..=6 {
        let (master, behind) = leave_behind(stage)?;
        for kind in [
            Kind::Offer,
            Kind::CheckpointPiece,
            Kind::Survivors,
            Kind::Append,
        ] {
            stage.frames(kind, master, behind, Verdict::Copy);
        }
        stage.start(behind);
        stage.until("so much of the log is on its way", |world| {
            world.kept().len() >= frames
        })?;
        let end = stage.offsets(master).committed;
        stage.kill(master);
        stage.frames_pass();
        let next = stage.master(Some(master))?;
        stage.must(
            stage.offsets(next).synced >= end,
            "who lacks a part of the log does not lead",
        )?;
        stage.in_step()?;
        stage.start(master);
        stage.all_vote()?;
    }
    stage.finish()
}
