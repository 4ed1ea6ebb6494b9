//! H24 and row 5: a Fetch is served only by a member that is still bound by its ballot, and clean,
//! at the moment of reading. A candidate must not build its log from what a later master wrote, nor
//! from a log that lost its end.

use tandemmq_journal::LogState;

use crate::oracle::Violation;
use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::{Kept, Verdict};

/// The members of a run in which one that is behind stands, and its Fetches are held.
struct Fetching {
    master: usize,
    behind: usize,
    server: usize,
    fetches: Vec<Kept>,
}

/// One slave misses the last records, the master dies, and that slave stands: it has to fetch.
fn let_one_fetch(stage: &mut Stage) -> Result<Fetching, Violation> {
    let master = stage.master(None)?;
    let (behind, server) = (stage.others(master)[0], stage.others(master)[1]);
    stage.produce(1)?;
    stage.in_step()?;
    stage.frames(Kind::Append, master, behind, Verdict::Hold);
    stage.produce(3)?;
    // The durable mark of the server moves over what it acknowledged.
    stage.pass(1_500)?;
    stage.frames(Kind::PreVote, server, None, Verdict::Drop);
    stage.frames(Kind::Fetch, behind, None, Verdict::Hold);
    stage.kill(master);
    stage.until("the candidate that is behind asks for records", |world| {
        world
            .kept()
            .iter()
            .any(|kept| kept.peek.kind == Kind::Fetch)
    })?;
    let fetches = stage.world.take_kept(|kept| kept.peek.kind == Kind::Fetch);
    Ok(Fetching {
        master,
        behind,
        server,
        fetches,
    })
}

/// Delivers the held Fetches; true when one of them is answered.
fn is_served(stage: &mut Stage, fetching: &Fetching) -> Result<bool, Violation> {
    let (behind, server) = (fetching.behind, fetching.server);
    stage.until("the two are linked again", |world| {
        world.net.outbound(behind, server).is_some() && world.net.outbound(server, behind).is_some()
    })?;
    stage.pass(5)?;
    stage.frames(Kind::Fetched, server, behind, Verdict::Copy);
    for frame in fetching.fetches.iter().filter(|kept| kept.to == server) {
        stage.world.deliver_kept(frame);
    }
    stage.pass(200)?;
    let ballots: Vec<_> = fetching
        .fetches
        .iter()
        .map(|fetch| fetch.peek.ballot)
        .collect();
    Ok(stage
        .world
        .kept()
        .iter()
        .any(|kept| kept.peek.kind == Kind::Fetched && ballots.contains(&kept.peek.ballot)))
}

/// The server promised another, in whose epoch it got more records.
pub(super) fn h24_a_fetch_of_a_ballot_that_was_left_is_not_served(stage: &mut Stage) -> Judged {
    let fetching = let_one_fetch(stage)?;
    stage.isolate(fetching.behind);
    stage.frames_pass();
    stage.start(fetching.master);
    let next = stage.master(Some(fetching.behind))?;
    stage.must(
        next != fetching.behind,
        "another one leads in a later epoch",
    )?;
    stage.produce(1)?;
    stage.rejoin(fetching.behind);
    let served = is_served(stage, &fetching)?;
    stage.must(!served, "a Fetch of a ballot that was left is not served")?;
    stage.finish()
}

/// The server restarts after its promise, and finds the end of its journal damaged.
pub(super) fn h24_a_member_that_found_damage_serves_no_fetch(stage: &mut Stage) -> Judged {
    let fetching = let_one_fetch(stage)?;
    stage.kill(fetching.server);
    stage.world.damage_end(fetching.server);
    stage.start(fetching.server);
    stage.until(
        "the server starts with its promise and a damaged log",
        |world| {
            world.nodes[fetching.server]
                .machine()
                .is_some_and(|m| m.log_state() != LogState::Clean)
        },
    )?;
    stage.frames(Kind::Fetch, fetching.behind, None, Verdict::Drop);
    let served = is_served(stage, &fetching)?;
    stage.must(!served, "a damaged log is not handed out as the better one")?;
    stage.must(stage.world.master().is_none(), "nobody reigns with it")?;
    stage.start(fetching.master);
    stage.finish()
}
