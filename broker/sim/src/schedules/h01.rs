//! H1: a CAS with epoch e; the Lease is deleted; another CAS with epoch e. A voter that would
//! grant by the number alone would make two masters of e. The promise names the ballot.

use crate::peek::Kind;
use crate::stage::{Judged, Stage};
use crate::world::{Rule, Verdict};

pub(super) fn h1_two_candidates_of_one_epoch_never_both_reign(stage: &mut Stage) -> Judged {
    let master = stage.master(None)?;
    stage.produce(3)?;
    stage.in_step()?;
    // The first candidate gets its pre-vote and its Lease; its requests for promises do not leave.
    stage.frames(Kind::PromiseReq, None, None, Verdict::Hold);
    stage.kill(master);
    stage.until("a candidate asks for promises", |world| {
        !world.kept().is_empty()
    })?;
    let first = stage.world.kept()[0].from;
    let epoch = stage.world.kept()[0]
        .peek
        .ballot
        .expect("a PromiseReq has one")
        .epoch;
    // From here on nothing of the first is heard, and it hears nothing; its links stay up.
    stage.world.clear_rules();
    stage.world.rule(Rule {
        from: Some(first),
        to: None,
        kind: None,
        verdict: Verdict::Drop,
    });
    stage.world.rule(Rule {
        from: None,
        to: Some(first),
        kind: None,
        verdict: Verdict::Drop,
    });
    stage.world.lease.delete();
    // The second stands without knowing of the first: it takes the same epoch.
    let second = stage.master(None)?;
    stage.must(second != first, "the silent candidate cannot reign")?;
    let reigns = stage.world.nodes[second]
        .machine()
        .map(|m| m.promise().epoch);
    stage.must(
        reigns == Some(epoch),
        "the second master reigns in the first one's epoch",
    )?;
    stage.produce(3)?;
    stage.world.clear_rules();
    let requests = stage
        .world
        .take_kept(|kept| kept.peek.kind == Kind::PromiseReq);
    for request in requests
        .iter()
        .filter(|kept| kept.to != second && kept.to != master)
    {
        stage.world.deliver_kept(request);
    }
    stage.pass(3_000)?;
    stage.start(master);
    stage.finish()
}
