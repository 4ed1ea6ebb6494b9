//! Row 16, links: the Hello of a process that is dead arrives on its old connection after the one of
//! its successor, and that connection ends then. Nobody can tell which of two processes is the later
//! one; so whoever loses its place is told, by the end of its connection, and comes again.

use std::time::Duration;

use crate::net::Ending;
use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::{Kept, Verdict};

/// The way is so slow for the old process; the next one needs less to start and to dial.
const SLOW: Duration = Duration::from_millis(600);

pub(super) fn a_late_hello_of_a_dead_process_takes_no_link_away(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let slave = stage.others(master)[0];
    stage.produce(3)?;
    stage.in_step()?;
    let hellos = |kept: &Kept| kept.peek.kind == Kind::Hello;
    stage.frames(Kind::Hello, master, slave, Verdict::Copy);
    stage.world.break_link(master, slave, Ending::Closed);
    stage.pass(5)?;
    stage.world.net.delay(master, slave, SLOW);
    stage.until("a Hello is on its way", |world| {
        world.kept().iter().any(hellos)
    })?;
    let old = stage.world.take_kept(hellos);
    let old = old.first().and_then(|kept| kept.conn);
    // Its successor is to lead: the others do not stand.
    for node in stage.others(master) {
        stage.frames(Kind::PreVote, node, None, Verdict::Drop);
    }
    // The process dies, and the way is fast again: the next one's Hello overtakes.
    stage.kill(master);
    stage.world.net.delay(master, slave, Duration::ZERO);
    stage.start(master);
    stage.until("the next process has said Hello", |world| {
        world.kept().iter().any(hellos)
    })?;
    stage.pass(5)?;
    let open = |stage: &Stage| old.is_some_and(|conn| stage.world.net.is_open(conn));
    stage.must(open(stage), "the first Hello has not arrived yet")?;
    stage.pass(1_000)?;
    stage.must(!open(stage), "it has, and its connection has ended")?;
    let next = stage.master(None)?;
    stage.must(next == master, "the process that came again leads")?;
    stage.produce(3)?;
    stage.in_step()?;
    stage.finish()
}
