//! Row 14: who found damage while nobody could do without it may become master. It hands over once
//! somebody is in step, and is repaired then.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::{Verdict, World};

fn says_damage(world: &World, node: usize) -> bool {
    let machine = world.nodes[node].machine();
    machine.is_some_and(|machine| machine.status().reason == "Damaged")
}

pub(super) fn r14_a_master_that_was_damaged_before_it_led_hands_over(stage: &mut Stage) -> Judged {
    stage.world.make_journals_small();
    let master = stage.master(None)?;
    let (victim, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    let first = stage.checkpoint(victim);
    for _ in 0..20 {
        stage.offer_large(5, 1_000);
        stage.pass(200)?;
    }
    stage.must(stage.checkpoint(victim) > first, "it makes checkpoints")?;
    stage.in_step()?;
    // Without the other one nobody can do without the victim.
    stage.kill(other);
    stage.produce(3)?;
    stage.kill(victim);
    // The older one: no start reads it while the newest is sound.
    stage.world.damage_first(victim, "checkpoint");
    stage.start(victim);
    stage.until("the check of its disk finds the damage", |world| {
        says_damage(world, victim)
    })?;
    stage.kill(master);
    stage.frames(Kind::PreVote, other, None, Verdict::Drop);
    stage.start(other);
    let next = stage.master(Some(master))?;
    stage.must(next == victim, "its log is the better one of the two")?;
    stage.frames_pass();
    stage.start(master);
    stage.until("it has handed over and is repaired", |world| {
        world.out_of_step().is_none() && !says_damage(world, victim)
    })?;
    stage.must(
        stage.world.counts().set_asides > 0,
        "the damaged log was set aside",
    )?;
    stage.finish()
}
