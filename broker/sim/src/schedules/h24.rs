//! H24 and row 5: a Fetch is served only by a member that is still bound by its ballot, and clean,
//! at the moment of reading. A candidate must not build its log from what a later master wrote.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::{Rule, Verdict};

pub(super) fn h24_a_fetch_of_a_ballot_that_was_left_is_not_served(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    let (behind, server) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(1)?;
    stage.in_step()?;
    // One slave misses the last records: as a candidate it will have to fetch them.
    stage.frames(Kind::Append, master, behind, Verdict::Hold);
    stage.produce(3)?;
    stage.world.rule(Rule {
        from: Some(server),
        to: None,
        kind: Some(Kind::PreVote),
        verdict: Verdict::Drop,
    });
    stage.frames(Kind::Fetch, behind, None, Verdict::Hold);
    stage.kill(master);
    let fetch = |world: &crate::world::World| {
        world
            .kept()
            .iter()
            .any(|kept| kept.peek.kind == Kind::Fetch)
    };
    stage.until("the candidate that is behind asks for records", fetch)?;
    let fetches = stage.world.take_kept(|kept| kept.peek.kind == Kind::Fetch);
    // The server promises another, in whose epoch it gets more records.
    stage.isolate(behind);
    stage.frames_pass();
    stage.start(master);
    let next = stage.master(Some(behind))?;
    stage.produce(1)?;
    stage.must(next != behind, "another one leads in a later epoch")?;
    stage.frames(Kind::Fetched, server, behind, Verdict::Copy);
    stage.rejoin(behind);
    stage.until("the two are linked again", |world| {
        world.net.outbound(behind, server).is_some() && world.net.outbound(server, behind).is_some()
    })?;
    stage.pass(5)?;
    for frame in fetches.iter().filter(|kept| kept.to == server) {
        stage.world.deliver_kept(frame);
    }
    stage.pass(200)?;
    let served = fetches.iter().any(|fetch| {
        let answers = |kept: &&crate::world::Kept| {
            kept.peek.kind == Kind::Fetched && kept.peek.ballot == fetch.peek.ballot
        };
        stage.world.kept().iter().any(|kept| answers(&kept))
    });
    stage.must(!served, "a Fetch of a ballot that was left is not served")?;
    stage.finish()
}
