//! H29: a slave promised a candidate that died at once. It refuses its master for ever, unless
//! the refusal makes the master stand again above that promise.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::{Verdict, World};

pub(super) fn h29_a_promise_to_a_dead_candidate_is_outbid(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (slave, candidate) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    // Both slaves lose the master for a moment; the candidate's request reaches the slave only.
    stage.frames(Kind::PromiseReq, None, master, Verdict::Drop);
    stage.frames(Kind::Promised, None, None, Verdict::Drop);
    stage.cut(master, slave);
    stage.cut(master, candidate);
    stage.until("one slave promised the other", |world| {
        let promised = |node: usize, of: usize| {
            world.nodes[node]
                .machine()
                .is_some_and(|m| m.promise().member.ordinal as usize == of)
        };
        promised(slave, candidate) || promised(candidate, slave)
    })?;
    let dead = if stage.world.nodes[slave]
        .machine()
        .is_some_and(|m| m.promise().member.ordinal as usize == candidate)
    {
        candidate
    } else {
        slave
    };
    stage.kill(dead);
    stage.world.clear_rules();
    stage.heal(master, slave);
    stage.heal(master, candidate);
    stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.start(dead);
    stage.finish()
}

/// H29, where who promised has no vote.
pub(super) fn h29_a_learner_that_promised_a_dead_candidate_is_outbid(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let others = stage.others(master);
    let learner = others[3];
    stage.produce(3)?;
    stage.in_step()?;
    stage.world.wipe(learner);
    stage.frames(Kind::Append, master, learner, Verdict::Drop);
    stage.start(learner);
    stage.until("the learner learns", |world| {
        world.log_state(learner) == Some(LogState::Learner)
    })?;
    stage.pass(300)?;
    // The three others lose the master for a moment; what a candidate asks reaches the learner only.
    for node in [master, others[0], others[1], others[2]] {
        stage.frames(Kind::PromiseReq, None, node, Verdict::Drop);
        stage.frames(Kind::Heartbeat, None, node, Verdict::Drop);
    }
    for node in &others[..3] {
        stage.cut(master, *node);
    }
    let promised = move |world: &World| {
        let machine = world.nodes[learner].machine()?;
        let owner = usize::from(machine.promise().member.ordinal);
        (owner != master).then_some(owner)
    };
    stage.until("the learner promised a candidate", |world| {
        promised(world).is_some()
    })?;
    let dead = promised(&stage.world).unwrap_or(master);
    stage.kill(dead);
    stage.world.clear_rules();
    for node in &others[..3] {
        stage.heal(master, *node);
    }
    stage.master(None)?;
    stage.produce(3)?;
    // The dead one would refuse, too, if it were back.
    stage.until("the learner votes", |world| {
        world.nodes[learner]
            .machine()
            .is_some_and(|machine| machine.is_voter() && machine.log_state() == LogState::Clean)
    })?;
    stage.start(dead);
    stage.finish()
}
