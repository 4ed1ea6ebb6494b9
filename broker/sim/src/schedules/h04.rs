//! H4: an Append of long ago arrives a second time, over a connection that its sender gave up. It
//! must change nothing: cutting what it does not carry would lose acknowledged records.

use std::time::Duration;

use crate::net::Ending;
use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

pub(super) fn h4_a_late_doubled_append_cuts_nothing(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (slave, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(1)?;
    stage.in_step()?;
    stage.frames(Kind::Append, master, slave, Verdict::Copy);
    stage.produce(2)?;
    stage.until("an Append with records was seen", |world| {
        world.kept().iter().any(|kept| kept.peek.batches > 0)
    })?;
    stage.world.clear_rules();
    // What follows is on the master and this slave alone.
    stage.frames(Kind::Append, master, other, Verdict::Hold);
    stage.produce(3)?;
    let acknowledged = stage.offsets(slave).synced;
    // The old connection lives on beside the new one; the copies come out of it.
    let ending = Ending::Lingers {
        linger: Duration::from_secs(2),
        copies: 0,
    };
    stage.world.break_link(master, slave, ending);
    let copies = stage
        .world
        .take_kept(|kept| kept.to == slave && kept.peek.batches > 0);
    stage.must(!copies.is_empty(), "there is an Append to repeat")?;
    for copy in &copies {
        stage.world.deliver_kept(copy);
    }
    stage.pass(5)?;
    stage.kill(master);
    stage.frames_pass();
    stage.must(
        stage.offsets(slave).synced >= acknowledged,
        "the slave still has what it acknowledged",
    )?;
    let next = stage.master(None)?;
    stage.must(next != master, "another leads")?;
    stage.start(master);
    stage.finish()
}
