//! A roll from a version that understands format 1 of the journal to one that understands 2, member
//! by member, and what cannot be rolled back.

use tandemmq_cluster::Formats;
use tandemmq_journal::{JournalConfig, RecoverError, recover};

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::trace::Detail;
use crate::world::{Verdict, World};

fn formats(world: &World, node: usize) -> Option<Formats> {
    let machine = world.nodes[node].machine()?;
    Some(machine.status().formats)
}

/// All who run write in that format.
fn written_by_all(world: &World, format: u16) -> bool {
    let mut running = (0..world.nodes.len()).filter_map(|node| formats(world, node));
    running.all(|formats| formats.written == format)
}

/// Ends a member and starts it as a version that understands up to that format.
fn restart_as(stage: &mut Stage, node: usize, format_max: u16) {
    stage.kill(node);
    stage.world.nodes[node].play_version(format_max);
    stage.start(node);
}

/// A group of three that runs the older version.
fn older_group() -> Result<(Stage, usize), crate::oracle::Violation> {
    let mut stage = Stage::new(3, Detail::Hash);
    for node in 0..3 {
        restart_as(&mut stage, node, 1);
    }
    let master = stage.master(None)?;
    stage.produce(5)?;
    stage.all_vote()?;
    stage.must(written_by_all(&stage.world, 1), "a group begins with 1")?;
    Ok((stage, master))
}

/// The same after all were rolled to the newer one.
fn rolled_group() -> Result<Stage, crate::oracle::Violation> {
    let (mut stage, _) = older_group()?;
    for node in 0..3 {
        restart_as(&mut stage, node, 2);
        stage.all_vote()?;
    }
    Ok(stage)
}

/// The master says of that member why it gets nothing.
fn until_older_version(stage: &mut Stage, master: usize, member: usize) -> Judged {
    stage.until("the master says that it is of an older version", |world| {
        let machine = world.nodes[master].machine();
        machine.is_some_and(|machine| machine.status().members[member].reason == "OlderVersion")
    })
}

fn judged(script: impl FnOnce() -> Judged) {
    if let Err(violation) = script() {
        panic!("{violation}");
    }
}

#[test]
fn format_is_raised_once_the_last_member_was_rolled() {
    judged(|| {
        let (mut stage, master) = older_group()?;
        for slave in stage.others(master) {
            restart_as(&mut stage, slave, 2);
            stage.all_vote()?;
            stage.produce(5)?;
            stage.in_step()?;
            stage.must(written_by_all(&stage.world, 1), "one understands only 1")?;
        }
        restart_as(&mut stage, master, 2);
        stage.all_vote()?;
        stage.produce(5)?;
        stage.in_step()?;
        stage.must(written_by_all(&stage.world, 2), "all understand 2")?;
        stage.finish()
    });
}

#[test]
fn member_that_is_away_keeps_the_format_where_it_is() {
    judged(|| {
        let (mut stage, master) = older_group()?;
        let away = stage.others(master)[0];
        let other = stage.others(master)[1];
        stage.kill(away);
        restart_as(&mut stage, other, 2);
        stage.in_step()?;
        restart_as(&mut stage, master, 2);
        stage.master(None)?;
        stage.produce(20)?;
        stage.must(written_by_all(&stage.world, 1), "one is away")?;
        stage.world.nodes[away].play_version(2);
        stage.start(away);
        stage.all_vote()?;
        stage.produce(5)?;
        stage.in_step()?;
        stage.must(written_by_all(&stage.world, 2), "all understand 2")?;
        stage.finish()
    });
}

#[test]
fn what_a_member_said_before_it_went_away_counts_no_more() {
    judged(|| {
        let (mut stage, first) = older_group()?;
        for slave in stage.others(first) {
            restart_as(&mut stage, slave, 2);
            stage.all_vote()?;
        }
        stage.kill(first);
        let master = stage.master(Some(first))?;
        stage.world.nodes[first].play_version(2);
        stage.start(first);
        stage.until("the master has heard that it understands 2", |world| {
            let status = world.nodes[master]
                .machine()
                .map(|machine| machine.status());
            status.is_some_and(|status| status.members[first].in_sync)
        })?;
        stage.kill(first);
        stage.produce(5)?;
        stage.world.nodes[first].play_version(1);
        stage.start(first);
        stage.all_vote()?;
        stage.in_step()?;
        stage.must(written_by_all(&stage.world, 1), "it went back in time")?;
        stage.finish()
    });
}

#[test]
fn raised_format_is_not_rolled_back() {
    judged(|| {
        let mut stage = rolled_group()?;
        stage.produce(5)?;
        stage.in_step()?;
        let master = stage.master(None)?;
        let back = stage.others(master)[0];
        stage.kill(back);
        let volume = stage.world.nodes[back].disk.snapshot();
        let older = JournalConfig {
            format_max: 1,
            ..stage.world.nodes[back].journal_config()
        };
        let refused = recover(&volume, &older).unwrap_err();
        let (found, understood) = (2, 1);
        assert_eq!(refused, RecoverError::Newer { found, understood });
        // The others go on, and the newer version of it joins them as if nothing had been.
        stage.produce(5)?;
        stage.must(written_by_all(&stage.world, 2), "never lowered")?;
        stage.start(back);
        stage.all_vote()?;
        stage.finish()
    });
}

#[test]
fn older_version_on_a_blank_volume_gets_nothing_of_a_greater_format() {
    judged(|| {
        let mut stage = rolled_group()?;
        stage.produce(5)?;
        stage.in_step()?;
        let master = stage.master(None)?;
        let old = stage.others(master)[0];
        stage.world.wipe(old);
        stage.world.nodes[old].play_version(1);
        stage.start(old);
        until_older_version(&mut stage, master, old)?;
        stage.produce(20)?;
        stage.pass(3_000)?;
        stage.must(
            stage.offsets(old).appended.0 == 0,
            "it was sent nothing that it cannot read",
        )?;
        restart_as(&mut stage, old, 2);
        stage.all_vote()?;
        stage.finish()
    });
}

/// It missed the first batch of the greater format, so the older version starts; then the newer one
/// is started again, and its Hello is all that its master needs to go on.
#[test]
fn older_version_behind_the_raise_waits_and_the_newer_one_catches_up_at_once() {
    judged(|| {
        let mut stage = rolled_group()?;
        let master = stage.master(None)?;
        let late = stage.others(master)[0];
        stage.frames(Kind::Append, master, late, Verdict::Drop);
        stage.produce(5)?;
        stage.must(
            formats(&stage.world, master).is_some_and(|formats| formats.written == 2),
            "all understood 2",
        )?;
        stage.kill(late);
        stage.frames_pass();
        stage.world.nodes[late].play_version(1);
        stage.start(late);
        until_older_version(&mut stage, master, late)?;
        stage.produce(5)?;
        stage.must(
            formats(&stage.world, late).is_some_and(|formats| formats.written == 1),
            "it has nothing that it cannot read",
        )?;
        restart_as(&mut stage, late, 2);
        stage.pass(1_000)?;
        let machine = stage.world.nodes[master].machine();
        let in_sync = machine.is_some_and(|machine| machine.status().members[late].in_sync);
        stage.must(in_sync, "its master goes on at once")?;
        stage.finish()
    });
}
