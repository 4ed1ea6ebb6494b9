//! H25 and rows 4, 14: a slave acknowledged a record and then lost it to damage. Its log counts for
//! nothing until it is whole again up to its master's last record: what it knows to be committed may
//! end before that, and with a peer that never had the record it would be a majority without it.

use tandemmq_journal::LogState;

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h25_a_damaged_member_has_no_vote_below_its_masters_end(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (victim, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    // Acknowledged by master and victim alone.
    stage.frames(Kind::Append, master, other, Verdict::Drop);
    stage.produce(2)?;
    let acknowledged = stage.offsets(victim).synced;
    // Its durable mark moves over all this: the damage is known as such.
    stage.pass(2_500)?;
    stage.kill(victim);
    stage.world.damage_end(victim);
    // It hears its master, and gets none of the records back.
    stage.frames(Kind::Append, master, victim, Verdict::Drop);
    stage.frames(Kind::Offer, master, victim, Verdict::Drop);
    stage.start(victim);
    let state = |stage: &Stage| stage.world.log_state(victim);
    stage.until("the damage is found", |world| {
        world.log_state(victim) == Some(LogState::NeedsRepair)
    })?;
    stage.pass(1_500)?;
    stage.must(
        state(stage) == Some(LogState::NeedsRepair),
        "it lacks what its master has, whatever is committed",
    )?;
    stage.must(
        stage.offsets(victim).synced < acknowledged,
        "the victim lacks what it acknowledged",
    )?;
    stage.kill(master);
    stage.frames_pass();
    stage.pass(12_000)?;
    stage.must(
        stage.world.master().is_none(),
        "the two without the records have no master",
    )?;
    stage.start(master);
    stage.all_vote()?;
    stage.finish()
}
