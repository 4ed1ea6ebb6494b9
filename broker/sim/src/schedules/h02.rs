//! H2: a promise ends every right under the older ballot, also that of an fdatasync which is
//! running. Once for a slave's ack, once for the master's own vote.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::Verdict;

/// The slave has x in flight to its disk when it promises another; its tail is told without x.
pub(super) fn h2_no_ack_by_an_fdatasync_that_ends_after_the_promise(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (slave, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let before = stage.offsets(slave).appended;
    stage.cut(master, other);
    stage.world.nodes[slave].disk.hang();
    // Two batches: the first one's fdatasync is out when the second is appended.
    stage.offer(1);
    stage.until("x is on its way to the slave's disk", |world| {
        world.nodes[slave]
            .machine()
            .is_some_and(|m| m.offsets().appended > before)
    })?;
    let first = stage.offsets(slave).appended;
    stage.offer(1);
    stage.until("y is behind it", |world| {
        world.nodes[slave]
            .machine()
            .is_some_and(|m| m.offsets().appended > first)
            || world.nodes[master]
                .machine()
                .is_some_and(|m| m.offsets().appended > first)
    })?;
    // The slave no longer hears the master, but its acks would still arrive.
    stage.cut(master, slave);
    stage.frames(Kind::Append, other, None, Verdict::Hold);
    stage.frames(Kind::Promised, slave, None, Verdict::Copy);
    stage.until("the slave promised another", |world| {
        world.nodes[slave]
            .machine()
            .is_some_and(|m| m.promise().member.ordinal as usize == other)
    })?;
    for _ in 0..6 {
        stage.world.let_through(slave, 1);
        stage.pass(20)?;
    }
    stage.world.unhang_disk(slave);
    stage.pass(2_000)?;
    stage.heal(master, other);
    stage.heal(master, slave);
    stage.finish()
}

/// A slave that promised another acknowledges that one's records to that one: the old master, which
/// has other records at those offsets and hears the slave still, must not take them for its own.
pub(super) fn h2_acks_under_a_new_promise_do_not_count_for_the_old_master(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    let before = stage.offsets(master).committed;
    stage.frames(Kind::Append, master, None, Verdict::Hold);
    stage.offer(3);
    stage.until("the old master alone has three more", |world| {
        world.nodes[master]
            .machine()
            .is_some_and(|m| m.offsets().synced.0 >= before.0 + 3)
    })?;
    for other in stage.others(master) {
        stage.cut(master, other);
    }
    // It hears answers, and nothing that would make it step down.
    for kind in [Kind::PromiseReq, Kind::Heartbeat, Kind::Append] {
        stage.frames(kind, None, master, Verdict::Drop);
    }
    stage.master(Some(master))?;
    stage.pass(200)?;
    stage.must(
        stage.offsets(master).committed == before,
        "the old master commits nothing",
    )?;
    stage.finish()
}

/// The master's own fdatasync of x ends after it promised another; a slave has x already.
pub(super) fn h2_a_master_does_not_count_itself_after_promising_another(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    let (slave, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    let before = stage.offsets(slave).synced;
    // x is on the slave's disk, its ack is late; it is not on the master's own disk yet.
    stage.frames(Kind::Append, master, other, Verdict::Hold);
    stage.frames(Kind::Ack, slave, master, Verdict::Hold);
    stage.world.nodes[master].disk.hang();
    stage.offer(1);
    stage.until("the slave has x on its disk", |world| {
        world.nodes[slave]
            .machine()
            .is_some_and(|m| m.offsets().synced > before)
    })?;
    let acks = stage.world.take_kept(|kept| kept.peek.kind == Kind::Ack);
    stage.must(!acks.is_empty(), "the ack of x is held")?;
    // The other one stands with the slave's pre-vote; its request reaches the master alone.
    stage.frames(Kind::PreVote, slave, None, Verdict::Drop);
    stage.frames(Kind::PromiseReq, other, slave, Verdict::Drop);
    stage.cut(master, slave);
    stage.cut(master, other);
    stage.until("the master promised another", |world| {
        world.nodes[master]
            .machine()
            .is_some_and(|m| m.promise().member.ordinal as usize == other)
    })?;
    for ack in &acks {
        stage.world.deliver_kept(ack);
    }
    stage.world.unhang_disk(master);
    stage.pass(50)?;
    stage.must(
        stage.offsets(master).committed <= before,
        "the old master commits nothing any more",
    )?;
    stage.heal(master, other);
    stage.heal(master, slave);
    stage.finish()
}
