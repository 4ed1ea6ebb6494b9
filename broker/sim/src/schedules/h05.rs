//! H5: an old master comes back with a record of its own that nobody else has, synced. It is not a
//! copy of what the new master put at that offset.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h5_a_divergent_synced_tail_is_not_acknowledged(stage: &mut Stage) -> Judged {
    let old = stage.master(None)?;
    let (one, two) = (stage.others(old)[0], stage.others(old)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let common = stage.offsets(old).appended;
    stage.frames(Kind::Append, old, None, Verdict::Hold);
    // More than the new master will have committed, so that to take them for its records would
    // commit some.
    stage.offer(5);
    stage.until("the old master alone has five more", |world| {
        world.nodes[old]
            .machine()
            .is_some_and(|m| m.offsets().synced.0 >= common.0 + 5)
    })?;
    stage.isolate(old);
    stage.world.clear_rules();
    stage.world.take_kept(|_| true);
    let new = stage.master(Some(old))?;
    let third = if new == one { two } else { one };
    stage.produce(2)?;
    // Now the third is away: whether the next one commits is up to the old master's ack.
    stage.kill(third);
    stage.frames(Kind::Append, new, old, Verdict::Hold);
    stage.rejoin(old);
    let committed = stage.offsets(new).committed;
    stage.offer(4);
    stage.pass(1_500)?;
    stage.must(
        stage.offsets(new).committed == committed,
        "nothing is committed with a log that was never compared",
    )?;
    stage.start(third);
    stage.finish()
}
