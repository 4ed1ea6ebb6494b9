//! `tandemmq.io/recover-group=<group>/<survivor>/<old id>`: a group whose majority of volumes is
//! lost goes on with one survivor, under a new id (protocol row 19). Acknowledged messages may be
//! lost by it, so only a person may ask for it, and the Event says `DataLoss`.
//!
//! ```text
//! asked --no master, survivor clean in the old group, no sound majority-->
//!   status = {new id, [survivor]} --> Lease = the same, and `recover` -->
//!   survivor's pod deleted, until it reports the new id --> Event, annotation removed
//! ```
//! The first write is the decision; each further step is read off again from what is observed: a
//! status with one incarnation, that of the survivor's ordinal, under another id than the old one
//! is a recovery that has begun. The others join the new group as blank members do.

use crate::api::{Founding, Reason};
use crate::decide::founding::Outcome;
use crate::decide::step::{LeaseChange, Note, Step};
use crate::observe::GroupSeen;
use crate::observe::child::Kind;
use crate::observe::lease::Recover;
use crate::observe::pod::Seat;

/// The annotation.
pub const RECOVER_GROUP: &str = "tandemmq.io/recover-group";

/// The wish of a person, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The group.
    pub group: String,
    /// The pod that goes on.
    pub survivor: String,
    /// The id that is given up.
    pub old: String,
}

impl Wish {
    /// Reads `<group>/<survivor>/<old id>`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [group, survivor, old] if parts.iter().all(|p| !p.is_empty()) => Some(Self {
                group: (*group).into(),
                survivor: (*survivor).into(),
                old: (*old).into(),
            }),
            _ => None,
        }
    }
}

/// Follows the wish. `fresh_id`: the id to take when it begins.
#[must_use]
pub fn decide(
    group: &GroupSeen,
    known: Option<&Founding>,
    lease_name: &str,
    wish: &Wish,
    fresh_id: &str,
) -> Outcome {
    let Some(seat) = group.seats.iter().find(|s| s.pod == wish.survivor) else {
        return refused(wish, &format!("the group has no pod {}", wish.survivor));
    };
    match known {
        Some(known) if known.id == wish.old => {
            begin(group, known, lease_name, seat, wish, fresh_id)
        }
        Some(known) if is_begun(known, seat) => go_on(group, known, lease_name, seat, wish),
        Some(known) => refused(wish, &format!("the group's id is {}", known.id)),
        None => refused(wish, "the group's status names no founding"),
    }
}

/// The status names the survivor alone.
fn is_begun(known: &Founding, seat: &Seat) -> bool {
    let prefix = format!("{}/", seat.ordinal);
    matches!(known.incarnations.as_slice(), [only] if only.starts_with(&prefix))
}

fn begin(
    group: &GroupSeen,
    known: &Founding,
    lease_name: &str,
    seat: &Seat,
    wish: &Wish,
    fresh_id: &str,
) -> Outcome {
    if let Some(why) = objection(group, seat, wish) {
        return refused(wish, &why);
    }
    let listed = seat.report().map(|r| r.listed_as());
    let new = Founding {
        id: fresh_id.into(),
        incarnations: listed.into_iter().collect(),
    };
    let mut steps = vec![Step::SetFounding {
        group: group.name.clone(),
        from: Some(known.clone()),
        to: Some(new.clone()),
    }];
    steps.push(tell(&new, lease_name, wish));
    steps.extend(restart(seat));
    under_way(wish, steps)
}

/// Why this group needs no recovery, or not with this survivor.
fn objection(group: &GroupSeen, survivor: &Seat, wish: &Wish) -> Option<String> {
    if let Some(master) = group
        .seats
        .iter()
        .find(|s| s.report().is_some_and(|r| r.claims_to_serve()))
    {
        return Some(format!("{} is master and serves", master.pod));
    }
    let Some(report) = survivor.report() else {
        return Some(format!("{} does not answer", survivor.pod));
    };
    // A restored snapshot or another's volume says the old id too, and has no vote.
    let kept_out = |reason: &str| matches!(reason, "VolumeForeign" | "VolumeSwapped");
    if kept_out(&report.reason) {
        return Some(format!(
            "{} has another's volume ({})",
            survivor.pod, report.reason
        ));
    }
    let in_group = |s: &Seat| {
        s.report().is_some_and(|r| {
            r.group_id.as_deref() == Some(&wish.old)
                && r.log_state == "clean"
                && !kept_out(&r.reason)
        })
    };
    if !in_group(survivor) {
        return Some(format!(
            "{} is no sound member of {}: it says group {} and log {}",
            survivor.pod,
            wish.old,
            report.group_id.as_deref().unwrap_or("none"),
            report.log_state
        ));
    }
    let sound: Vec<&str> = group
        .seats
        .iter()
        .filter(|s| in_group(s))
        .map(|s| s.pod.as_str())
        .collect();
    (sound.len() >= group.quorum()).then(|| {
        format!(
            "a majority answers and is sound ({}): it elects a master by itself",
            sound.join(", ")
        )
    })
}

fn go_on(
    group: &GroupSeen,
    known: &Founding,
    lease_name: &str,
    seat: &Seat,
    wish: &Wish,
) -> Outcome {
    let said = seat.report().and_then(|r| r.group_id.clone());
    if said.as_deref() == Some(&known.id) {
        return finish(group, known, wish);
    }
    let lease = group.lease.clone().unwrap_or_default();
    if lease.group.as_ref() != Some(known) || lease.recover.as_ref() != Some(&record(known, wish)) {
        return under_way(wish, vec![tell(known, lease_name, wish)]);
    }
    // It answers for the old group: it started before it could read what the Lease says now.
    let restarts = said.is_some().then(|| restart(seat)).flatten();
    under_way(wish, restarts.into_iter().collect())
}

fn finish(group: &GroupSeen, known: &Founding, wish: &Wish) -> Outcome {
    let text = format!(
        "group {}: recovered by hand from {} alone, as {}; messages that only the lost members \
         held are lost",
        group.name, wish.survivor, known.id
    );
    Outcome {
        steps: vec![Step::Annotate {
            key: RECOVER_GROUP,
            to: None,
        }],
        problem: None,
        notes: vec![Note::warning(Reason::DataLoss, known.id.clone(), text)],
    }
}

fn record(known: &Founding, wish: &Wish) -> Recover {
    Recover {
        survivor: wish.survivor.clone(),
        from: wish.old.clone(),
        to: known.id.clone(),
    }
}

fn tell(known: &Founding, lease_name: &str, wish: &Wish) -> Step {
    Step::ChangeLease {
        lease: lease_name.into(),
        change: LeaseChange::Recover(known.clone(), record(known, wish)),
    }
}

fn restart(seat: &Seat) -> Option<Step> {
    let pod = seat.seen.as_ref().filter(|p| !p.leaving)?;
    Some(Step::Delete {
        kind: Kind::Pod,
        name: seat.pod.clone(),
        uid: pod.uid.clone(),
    })
}

fn under_way(wish: &Wish, steps: Vec<Step>) -> Outcome {
    let text = format!("group {} goes on with {} alone", wish.group, wish.survivor);
    Outcome {
        steps,
        problem: Some((Reason::DataLoss, text)),
        notes: vec![],
    }
}

fn refused(wish: &Wish, why: &str) -> Outcome {
    Outcome {
        problem: Some((
            Reason::WishRefused,
            format!(
                "{RECOVER_GROUP}={}/{}/{} is refused: {why}",
                wish.group, wish.survivor, wish.old
            ),
        )),
        ..Outcome::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{founding, group, healthy, says};

    const LEASE: &str = "orders-a";

    /// Member 1 survived; 0 and 2 have new, blank volumes.
    fn lost() -> GroupSeen {
        let mut it = group(3);
        let g1 = founding("g1", 3);
        for ordinal in [0, 2] {
            says(&mut it, ordinal, |r| {
                r.member.incarnation = format!("new{ordinal}")
            });
        }
        says(&mut it, 1, |r| {
            r.adopt(&g1);
            r.offsets.appended = 9;
        });
        it.lease.as_mut().unwrap().group = Some(g1);
        it
    }

    fn new() -> Founding {
        Founding {
            id: "g2".into(),
            incarnations: vec!["1/v1".into()],
        }
    }

    fn follow(group: &GroupSeen, known: &Founding) -> Outcome {
        let wish = Wish::read("a/orders-a-1/g1").unwrap();
        decide(group, Some(known), LEASE, &wish, "g2")
    }

    fn told() -> Recover {
        Recover {
            survivor: "orders-a-1".into(),
            from: "g1".into(),
            to: "g2".into(),
        }
    }

    #[test]
    fn status_then_lease_then_the_survivors_pod() {
        let out = follow(&lost(), &founding("g1", 3));
        assert!(
            matches!(
                &out.steps[..],
                [
                    Step::SetFounding { from: Some(old), to: Some(to), .. },
                    Step::ChangeLease { change: LeaseChange::Recover(founding, recover), .. },
                    Step::Delete { kind: Kind::Pod, uid, .. },
                ] if old.id == "g1" && *to == new() && *founding == new() && *recover == told() && uid == "pod1"
            ),
            "{:?}",
            out.steps
        );
    }

    #[test]
    fn each_step_follows_again_after_a_crash_and_the_event_comes_last() {
        let mut it = lost();
        let out = follow(&it, &new());
        assert!(
            matches!(&out.steps[..], [Step::ChangeLease { .. }]),
            "the Lease is behind"
        );
        let lease = it.lease.as_mut().unwrap();
        lease.group = Some(new());
        let out = follow(&it, &new());
        assert!(
            matches!(&out.steps[..], [Step::ChangeLease { .. }]),
            "`recover` is missing"
        );
        it.lease.as_mut().unwrap().recover = Some(told());
        let out = follow(&it, &new());
        assert!(
            matches!(&out.steps[..], [Step::Delete { .. }]),
            "it answers for the old group"
        );
        it.seats[1].seen.as_mut().unwrap().leaving = true;
        assert_eq!(follow(&it, &new()).steps, []);
        says(&mut it, 1, |r| r.adopt(&new()));
        let out = follow(&it, &new());
        assert!(matches!(out.steps[..], [Step::Annotate { to: None, .. }]));
        assert_eq!(out.notes[0].reason, Reason::DataLoss);
        assert!(out.notes[0].warning);
    }

    #[test]
    fn it_is_refused_while_the_group_can_help_itself_or_the_survivor_cannot() {
        type Edit = fn(&mut GroupSeen);
        let table: [(&str, Edit); 4] = [
            ("is master and serves", |g| says(g, 1, |r| r.reigns(4, 1))),
            ("no sound member", |g| {
                says(g, 1, |r| r.log_state = "needsRepair".into())
            }),
            ("no sound member", |g| {
                says(g, 1, |r| r.adopt(&founding("g0", 3)))
            }),
            ("a majority answers", |g| {
                says(g, 0, |r| r.adopt(&founding("g1", 3)))
            }),
        ];
        for (why, edit) in table {
            let mut it = lost();
            edit(&mut it);
            let out = follow(&it, &founding("g1", 3));
            assert_eq!(out.steps, [], "{why}");
            let (reason, text) = out.problem.unwrap();
            assert_eq!(reason, Reason::WishRefused);
            assert!(text.contains(why), "{text}");
        }
        assert_eq!(follow(&healthy(), &founding("g1", 3)).steps, []);
        let other = founding("g9", 3);
        assert!(
            follow(&lost(), &other)
                .problem
                .unwrap()
                .1
                .contains("the group's id is g9")
        );
    }

    #[test]
    fn restored_snapshot_is_no_survivor_and_counts_for_no_majority() {
        let g1 = founding("g1", 3);
        for reason in ["VolumeForeign", "VolumeSwapped"] {
            let mut it = lost();
            says(&mut it, 1, |r| r.reason = reason.into());
            let out = follow(&it, &g1);
            assert_eq!(out.steps, [], "{reason}: nothing may be written");
        }
        // Two that are kept out do not keep the third from going on.
        let mut it = lost();
        for ordinal in [0, 2] {
            says(&mut it, ordinal, |r| {
                r.adopt(&g1);
                r.reason = "VolumeForeign".into();
            });
        }
        assert!(!follow(&it, &g1).steps.is_empty());
    }

    #[test]
    fn a_wish_has_three_parts() {
        for text in ["a/orders-a-1", "a//g1", "a/b/c/d", ""] {
            assert_eq!(Wish::read(text), None, "{text}");
        }
    }
}
