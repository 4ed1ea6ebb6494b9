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
        world.nodes[slave].machine().is_some_and(|m| m.offsets().appended > before)
    })?;
    let first = stage.offsets(slave).appended;
    stage.offer(1);
    stage.until("y is behind it", |world| {
        world.nodes[slave].machine().is_some_and(|m| m.offsets().appended > first)
            || world.nodes[master].machine().is_some_and(|m| m.offsets().appended > first)
    })?;
    // The slave no longer hears the master, but its acks would still arrive.
    stage.cut(master, slave);
    stage.frames(Kind::Append, other, None, Verdict::Hold);
    stage.frames(Kind::Promised, slave, None, Verdict::Copy);
    stage.until("the slave promised another", |world| {
        world.nodes[slave].machine().is_some_and(|m| m.promise().member.ordinal as usize == other)
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

/// The master's own fdatasync of x ends after it promised another; one slave has x already.
pub(super) fn h2_a_master_does_not_count_itself_after_promising_another(
    stage: &mut Stage,
) -> Judged {
    let master = stage.master(None)?;
    let (slave, other) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(3)?;
    stage.in_step()?;
    // One slave gets x and says so, late; the other hears nothing of x and stands.
    stage.frames(Kind::Ack, slave, master, Verdict::Hold);
    stage.cut(master, other);
    stage.world.nodes[master].disk.hang();
    let before = stage.offsets(slave).synced;
    stage.offer(1);
    stage.until("the slave has x on its disk", |world| {
        world.nodes[slave].machine().is_some_and(|m| m.offsets().synced > before)
    })?;
    // The slave dies with x; master and the other one are the next quorum.
    stage.until("the ack of x is held", |world| !world.kept().is_empty())?;
    let acks = stage.world.take_kept(|kept| kept.peek.kind == Kind::Ack);
    stage.part(slave, other);
    stage.world.rule(crate::world::Rule {
        from: Some(other),
        to: Some(master),
        kind: Some(Kind::Append),
        verdict: Verdict::Hold,
    });
    stage.until("the master promised another", |world| {
        world.nodes[master].machine().is_some_and(|m| m.promise().member.ordinal as usize == other)
    })?;
    for ack in &acks {
        stage.world.deliver_kept(ack);
    }
    stage.world.unhang_disk(master);
    stage.pass(500)?;
    stage.must(
        stage.offsets(master).committed <= before,
        "the old master commits nothing any more",
    )?;
    stage.heal(master, other);
    stage.heal(slave, other);
    stage.heal(other, slave);
    stage.finish()
}
