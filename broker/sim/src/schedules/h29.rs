//! H29: a slave promised a candidate that died at once. It refuses its master for ever, unless
//! the refusal makes the master stand again above that promise.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

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
