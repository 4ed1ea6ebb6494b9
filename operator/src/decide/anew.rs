//! `tandemmq.io/found-anew=<group>/<id>`: a person gives a founding up that cannot have its first
//! election (`FoundingStuck`). All volumes of the group are deleted and it is founded again.
//!
//! It is refused while a member holds a record or serves: then there was an election, and messages
//! may be there. To begin, **every** member must answer and hold nothing: one that is silent could
//! hold something. That moment is then kept, for the pods go away one after the other: the
//! annotation `tandemmq.io/found-anew-begun=<group>/<id>/<uid>,<uid>…` names the claims and pods
//! of that moment, and only those are deleted, each by its UID.
//!
//! ```text
//! asked --all answer, none holds a record--> begun --listed claims and pods deleted-->
//!   every pod answers blank with a volume that the founding does not list -->
//!   Lease cleared --> status cleared --> annotations removed
//! ```
//! Each state is read off again from what is observed, after a crash too.

use crate::api::{Founding, Reason};
use crate::decide::founding::{Outcome, forget};
use crate::decide::step::{LeaseChange, Note, Step};
use crate::observe::GroupSeen;
use crate::observe::child::Kind;

/// The wish.
pub const FOUND_ANEW: &str = "tandemmq.io/found-anew";
/// The objects that it may delete, once it has begun.
pub const BEGUN: &str = "tandemmq.io/found-anew-begun";

/// A wish of a person, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The group.
    pub group: String,
    /// The founding that is given up.
    pub id: String,
}

impl Wish {
    /// Reads `<group>/<id>`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (group, id) = text.split_once('/')?;
        let good = !group.is_empty() && !id.is_empty() && !id.contains('/');
        good.then(|| Self {
            group: group.into(),
            id: id.into(),
        })
    }
}

/// Follows the wish for `group`. `begun`: the annotation of that name.
///
/// None: the wish is not about the founding that the status names.
#[must_use]
pub fn decide(
    group: &GroupSeen,
    known: Option<&Founding>,
    lease_name: &str,
    wish: &Wish,
    begun: Option<&str>,
) -> Outcome {
    let prefix = format!("{}/{}/", wish.group, wish.id);
    let listed: Option<Vec<&str>> = begun
        .and_then(|b| b.strip_prefix(&prefix))
        .map(|uids| uids.split(',').filter(|u| !u.is_empty()).collect());
    match (known.filter(|k| k.id == wish.id), listed) {
        (None, Some(_)) => end(),
        (None, None) => refused(wish, "the group's status names no such founding"),
        (Some(_), None) => begin(group, wish, &prefix),
        (Some(known), Some(uids)) => go_on(group, known, lease_name, &uids),
    }
}

fn begin(group: &GroupSeen, wish: &Wish, prefix: &str) -> Outcome {
    for seat in &group.seats {
        let Some(report) = seat.report() else {
            return refused(
                wish,
                &format!("{} does not answer: it may hold messages", seat.pod),
            );
        };
        if report.holds_records() || report.claims_to_serve() {
            return refused(wish, &format!("{} holds records of the group", seat.pod));
        }
    }
    let pods = group
        .seats
        .iter()
        .filter_map(|s| Some(s.seen.as_ref()?.uid.as_str()));
    let claims = group
        .seats
        .iter()
        .filter_map(|s| Some(s.claim.as_ref()?.uid.as_str()));
    let uids: Vec<&str> = pods.chain(claims).collect();
    Outcome {
        steps: vec![Step::Annotate {
            key: BEGUN,
            to: Some(format!("{prefix}{}", uids.join(","))),
        }],
        problem: Some((Reason::Founding, "the group is being founded anew".into())),
        notes: vec![Note::warning(
            Reason::FoundingReplaced,
            wish.id.clone(),
            format!(
                "group {}: founded anew as asked; its volumes are deleted",
                wish.group
            ),
        )],
    }
}

fn go_on(group: &GroupSeen, known: &Founding, lease_name: &str, uids: &[&str]) -> Outcome {
    let mut outcome = Outcome {
        problem: Some((Reason::Founding, "the group is being founded anew".into())),
        ..Outcome::default()
    };
    // The claim first: it goes when its pod does, so the next pod finds a new one.
    for seat in &group.seats {
        if let Some(claim) = &seat.claim
            && uids.contains(&claim.uid.as_str())
            && !claim.leaving
        {
            outcome
                .steps
                .push(delete(Kind::PersistentVolumeClaim, &claim.name, &claim.uid));
        }
        if let Some(pod) = &seat.seen
            && uids.contains(&pod.uid.as_str())
            && !pod.leaving
        {
            outcome.steps.push(delete(Kind::Pod, &seat.pod, &pod.uid));
        }
    }
    let all_new = group.seats.iter().all(|seat| {
        seat.report()
            .is_some_and(|r| r.is_blank() && !known.incarnations.contains(&r.listed_as()))
    });
    if outcome.steps.is_empty() && all_new && !group.seats.is_empty() {
        let lease = group.lease.clone().unwrap_or_default();
        if lease.damaged || lease.group.is_some_and(|g| g != *known) {
            // Put right first: only the founding that was judged is ever cleared.
            outcome.steps.push(Step::ChangeLease {
                lease: lease_name.into(),
                change: LeaseChange::Found(known.clone()),
            });
        } else {
            outcome.steps.extend(forget(group, known, lease_name));
            outcome.steps.extend(end().steps);
        }
    }
    outcome
}

fn delete(kind: Kind, name: &str, uid: &str) -> Step {
    Step::Delete {
        kind,
        name: name.into(),
        uid: uid.into(),
    }
}

/// The wish first: `begun` alone does nothing, the wish alone would begin again.
fn end() -> Outcome {
    let remove = |key| Step::Annotate { key, to: None };
    Outcome {
        steps: vec![remove(FOUND_ANEW), remove(BEGUN)],
        ..Outcome::default()
    }
}

fn refused(wish: &Wish, why: &str) -> Outcome {
    Outcome {
        problem: Some((
            Reason::WishRefused,
            format!("{FOUND_ANEW}={}/{} is refused: {why}", wish.group, wish.id),
        )),
        ..Outcome::default()
    }
}
