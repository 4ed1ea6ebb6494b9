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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{founding, group, says};
    use crate::observe::report::Answer;

    const LEASE: &str = "orders-a";
    const ALL: &str = "a/g1/pod0,pod1,pod2,claim0,claim1,claim2";

    /// g1 is confirmed, ordinal 0 adopted it, the volume of ordinal 2 was lost.
    fn stuck() -> GroupSeen {
        let mut it = group(3);
        let g1 = founding("g1", 3);
        says(&mut it, 0, |r| r.adopt(&g1));
        says(&mut it, 1, |_| {});
        says(&mut it, 2, |r| r.member.incarnation = "new".into());
        it.lease.as_mut().unwrap().group = Some(g1);
        it
    }

    fn follow(group: &GroupSeen, known: Option<&Founding>, begun: Option<&str>) -> Outcome {
        decide(group, known, LEASE, &Wish::read("a/g1").unwrap(), begun)
    }

    #[test]
    fn it_begins_by_naming_what_it_may_delete() {
        let out = follow(&stuck(), Some(&founding("g1", 3)), None);
        let wanted = Step::Annotate {
            key: BEGUN,
            to: Some(ALL.into()),
        };
        assert_eq!(out.steps, [wanted]);
    }

    #[test]
    fn it_is_refused_while_a_message_may_be_there() {
        type Edit = fn(&mut GroupSeen);
        let table: [(&str, Edit); 3] = [
            ("orders-a-1 does not answer", |g| {
                g.seats[1].answer = Answer::Silent
            }),
            ("orders-a-0 holds records", |g| {
                says(g, 0, |r| r.offsets.appended = 1)
            }),
            ("orders-a-0 holds records", |g| {
                says(g, 0, |r| r.reigns(1, 0))
            }),
        ];
        for (why, edit) in table {
            let mut it = stuck();
            edit(&mut it);
            let out = follow(&it, Some(&founding("g1", 3)), None);
            assert_eq!(out.steps, [], "{why}");
            let (reason, text) = out.problem.unwrap();
            assert_eq!(reason, Reason::WishRefused);
            assert!(text.contains(why), "{text}");
        }
        let other = follow(&stuck(), Some(&founding("g2", 3)), None);
        assert_eq!(other.problem.unwrap().0, Reason::WishRefused);
    }

    #[test]
    fn each_named_claim_and_pod_is_deleted_and_nothing_made_since() {
        let mut it = stuck();
        it.seats[1].claim.as_mut().unwrap().uid = "newer".into();
        it.seats[1].seen.as_mut().unwrap().uid = "newer".into();
        it.seats[2].seen.as_mut().unwrap().leaving = true;
        let out = follow(&it, Some(&founding("g1", 3)), Some(ALL));
        let names: Vec<&str> = out
            .steps
            .iter()
            .map(|s| match s {
                Step::Delete { name, .. } => name.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["data-orders-a-0", "orders-a-0", "data-orders-a-2"]);
    }

    #[test]
    fn when_all_are_new_and_blank_lease_status_and_wish_go_in_this_order() {
        let mut it = group(3);
        for ordinal in 0..3 {
            says(&mut it, ordinal, |r| {
                r.member.incarnation = format!("new{ordinal}")
            });
            let seat = &mut it.seats[usize::from(ordinal)];
            seat.claim.as_mut().unwrap().uid = "newer".into();
            seat.seen.as_mut().unwrap().uid = "newer".into();
        }
        let g1 = founding("g1", 3);
        it.lease.as_mut().unwrap().group = Some(g1.clone());
        let out = follow(&it, Some(&g1), Some(ALL));
        assert!(
            matches!(
                &out.steps[..],
                [
                    Step::ChangeLease {
                        change: LeaseChange::Clear(_),
                        ..
                    },
                    Step::SetFounding { to: None, .. },
                    Step::Annotate {
                        key: FOUND_ANEW,
                        to: None
                    },
                    Step::Annotate {
                        key: BEGUN,
                        to: None
                    },
                ]
            ),
            "{:?}",
            out.steps
        );
        // One old volume is still there: not yet.
        says(&mut it, 1, |r| r.member.incarnation = "v1".into());
        assert_eq!(follow(&it, Some(&g1), Some(ALL)).steps, []);
    }

    #[test]
    fn a_crash_before_the_wish_is_removed_does_not_begin_again() {
        let out = follow(&stuck(), None, Some(ALL));
        assert!(matches!(
            out.steps[..],
            [
                Step::Annotate {
                    key: FOUND_ANEW,
                    ..
                },
                Step::Annotate { key: BEGUN, .. }
            ]
        ));
    }
}
