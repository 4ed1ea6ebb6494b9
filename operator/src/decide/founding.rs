//! Who the group is (protocol row 15, the operator's part): confirm a founding once, keep it in
//! two places, and drop one only when it can never have had a master.
//!
//! The rules, and why two groups never give receipts under one name:
//!
//! 1. A broker adopts only what the Lease's `group` names, and the first election of a group is
//!    unanimous: *every* listed incarnation must have adopted it. So of two foundings that share a
//!    listed incarnation at most one ever has a master, for a volume adopts once.
//! 2. `group` is written only after the status names the same founding, and the status is written
//!    by compare-and-swap from "none": so there is one founding at a time.
//! 3. A Lease without a founding, or with another one than the status, gets the status's. A status
//!    without one gets the Lease's, else the one that the members report. Members that report
//!    different ones: never guess.
//! 4. A proposal is confirmed only while every listed incarnation is reported *now* by its own pod
//!    as blank, else it is removed. (Not for safety: a list with a volume that is gone would never
//!    be unanimous.)
//! 5. A confirmed founding is dropped by itself only if **all** pods of the group answer and say
//!    blank, one listed incarnation is still among them, and one is replaced by another. The one
//!    that is still there is blank: it never adopted, so the unanimous first election has not
//!    been. The one that is gone is gone with its volume: so it never will be. Some broker may yet
//!    adopt the founding from an old read of the Lease; that founding stays without an election,
//!    and by rule 1 the next one lists the incarnation that is still there, or that one is gone
//!    as well. First the Lease is cleared, then the status; in between the same picture leads to
//!    the same second step.
//! 6. In every other case in which a listed volume was lost before the first election the operator
//!    cannot know that no receipt was ever given: it says `FoundingStuck`, and a person decides
//!    (`anew`).
//!
//! A Lease that names another founding than the status is put right first, then judged.
//!
//! Not here: the recovery of a group whose majority is lost (`recover`).

use crate::api::{Founding, Reason};
use crate::decide::step::{LeaseChange, Note, Step};
use crate::observe::GroupSeen;
use crate::observe::pod::Seat;
use crate::observe::report::Report;

/// What is to be done and said about a group's founding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Changes, in order.
    pub steps: Vec<Step>,
    /// Why there is no group yet, or none that can have a master.
    pub problem: Option<(Reason, String)>,
    /// Events.
    pub notes: Vec<Note>,
}

/// Decides about the founding of `group`, whose status names `known`. `lease_name`: its Lease.
#[must_use]
pub fn decide(group: &GroupSeen, known: Option<&Founding>, lease_name: &str) -> Outcome {
    let Some(lease) = &group.lease else {
        // Whoever makes the Lease writes the status's founding into it.
        return Outcome::default();
    };
    let change = |change| Step::ChangeLease {
        lease: lease_name.into(),
        change,
    };
    let Some(known) = known else {
        return found_or_restore(group, &change);
    };
    let agree = !lease.damaged && lease.group.as_ref().is_none_or(|g| g == known);
    if agree && is_void(group, known) {
        return drop_founding(group, known, lease_name);
    }
    let mut outcome = Outcome::default();
    if !agree || lease.group.is_none() || lease.proposal_text.is_some() {
        outcome
            .steps
            .push(change(LeaseChange::Found(known.clone())));
    }
    outcome.problem = stuck(group, known);
    outcome
}

/// The status names no founding: take the one that is known elsewhere, else judge the proposal.
fn found_or_restore(group: &GroupSeen, change: &dyn Fn(LeaseChange) -> Step) -> Outcome {
    let lease = group.lease.clone().unwrap_or_default();
    if let Some(founding) = &lease.group {
        return restore(group, founding);
    }
    let known = reported(group);
    match known.as_slice() {
        [] => {}
        [founding] => return restore(group, founding),
        [..] => return differ(group),
    }
    let Some(text) = &lease.proposal_text else {
        return Outcome {
            problem: Some((Reason::Founding, waits_for(group))),
            ..Outcome::default()
        };
    };
    let objection = match &lease.proposal {
        None => Some("it cannot be read".to_owned()),
        Some(proposal) => objection(group, proposal),
    };
    match (objection, lease.proposal) {
        (None, Some(founding)) => confirm(group, founding, change),
        (objection, _) => Outcome {
            steps: vec![change(LeaseChange::DropProposal(text.clone()))],
            problem: Some((
                Reason::Founding,
                format!(
                    "a proposed founding is not confirmed: {}",
                    objection.unwrap_or_default()
                ),
            )),
            notes: vec![],
        },
    }
}

fn confirm(group: &GroupSeen, founding: Founding, change: &dyn Fn(LeaseChange) -> Step) -> Outcome {
    let text = format!("group {} is founded as {}", group.name, founding.id);
    Outcome {
        notes: vec![Note::normal(
            Reason::GroupFounded,
            founding.id.clone(),
            text,
        )],
        steps: vec![
            set(group, None, Some(founding.clone())),
            change(LeaseChange::Found(founding)),
        ],
        problem: Some((
            Reason::Founding,
            "the volumes are about to become one group".into(),
        )),
    }
}

fn restore(group: &GroupSeen, founding: &Founding) -> Outcome {
    Outcome {
        steps: vec![set(group, None, Some(founding.clone()))],
        ..Outcome::default()
    }
}

fn drop_founding(group: &GroupSeen, known: &Founding, lease_name: &str) -> Outcome {
    let text = format!(
        "group {}: the founding {} was adopted by no volume and lists one that is gone; \
         the group is founded anew",
        group.name, known.id
    );
    Outcome {
        steps: forget(group, known, lease_name),
        problem: Some((Reason::Founding, text.clone())),
        notes: vec![Note::normal(
            Reason::FoundingReplaced,
            known.id.clone(),
            text,
        )],
    }
}

/// First the Lease, so that nobody adopts what is being forgotten; then the status.
pub(super) fn forget(group: &GroupSeen, known: &Founding, lease_name: &str) -> Vec<Step> {
    let named = group.lease.as_ref().is_some_and(|l| l.group.is_some());
    let clear = named.then(|| Step::ChangeLease {
        lease: lease_name.into(),
        change: LeaseChange::Clear(known.clone()),
    });
    let status = set(group, Some(known.clone()), None);
    clear.into_iter().chain([status]).collect()
}

fn differ(group: &GroupSeen) -> Outcome {
    let said: Vec<String> = group
        .seats
        .iter()
        .filter_map(|s| Some(format!("{} says {}", s.pod, fit(s)?.founding.as_ref()?.id)))
        .collect();
    let text = format!(
        "status and Lease name no group and the volumes belong to different ones ({}): \
         write the right one into the Lease's annotation tandemmq.io/group",
        said.join(", ")
    );
    Outcome {
        problem: Some((Reason::GroupsDiffer, text)),
        ..Outcome::default()
    }
}

fn set(group: &GroupSeen, from: Option<Founding>, to: Option<Founding>) -> Step {
    Step::SetFounding {
        group: group.name.clone(),
        from,
        to,
    }
}

/// The foundings that members with a volume of this place report, each once.
fn reported(group: &GroupSeen) -> Vec<Founding> {
    let mut all: Vec<Founding> = Vec::new();
    for founding in group.seats.iter().filter_map(|s| fit(s)?.founding.clone()) {
        if !all.contains(&founding) {
            all.push(founding);
        }
    }
    all
}

/// The report of a member that is no stranger here: its volume is that of its claim.
fn fit(seat: &Seat) -> Option<&Report> {
    seat.report().filter(|r| r.reason != "VolumeForeign")
}

/// Why this proposal cannot be confirmed now.
fn objection(group: &GroupSeen, proposal: &Founding) -> Option<String> {
    if proposal.incarnations.len() != usize::from(group.replicas) {
        return Some(format!(
            "it lists {} volumes and the group has {} members",
            proposal.incarnations.len(),
            group.replicas
        ));
    }
    group.seats.iter().find_map(|seat| {
        let Some(report) = seat.report() else {
            return Some(format!(
                "{} does not answer ({})",
                seat.pod,
                seat.why_silent()
            ));
        };
        if !report.is_blank() {
            return Some(format!("{} is not blank", seat.pod));
        }
        let listed = is_listed(seat, proposal);
        (!listed).then(|| format!("{} has another volume than the listed one", seat.pod))
    })
}

/// The seat's pod reports the incarnation that the founding lists for this ordinal.
fn is_listed(seat: &Seat, founding: &Founding) -> bool {
    seat.report().is_some_and(|report| {
        report.member.ordinal == seat.ordinal && founding.incarnations.contains(&report.listed_as())
    })
}

/// Rule 5: it has had no first election and never will.
fn is_void(group: &GroupSeen, known: &Founding) -> bool {
    let all_blank = !group.seats.is_empty()
        && group.seats.len() == usize::from(group.replicas)
        && group
            .seats
            .iter()
            .all(|s| s.report().is_some_and(Report::is_blank));
    let here = group.seats.iter().filter(|s| is_listed(s, known)).count();
    all_blank && here > 0 && here < known.incarnations.len()
}

/// Rule 6: a listed volume was replaced by a blank one, and nobody holds a record.
fn stuck(group: &GroupSeen, known: &Founding) -> Option<(Reason, String)> {
    let reports: Option<Vec<&Report>> = group.seats.iter().map(Seat::report).collect();
    let reports = reports?;
    if reports
        .iter()
        .any(|r| r.holds_records() || r.claims_to_serve())
    {
        return None;
    }
    let replaced: Vec<&str> = group
        .seats
        .iter()
        .filter(|s| s.report().is_some_and(Report::is_blank) && !is_listed(s, known))
        .map(|s| s.pod.as_str())
        .collect();
    if replaced.is_empty() {
        return None;
    }
    Some((
        Reason::FoundingStuck,
        format!(
            "group {}: the volume of {} was replaced before the first election, which needs every \
             volume of the founding. No member holds a message. If no old volume can be brought \
             back: annotate this object with tandemmq.io/found-anew={}/{}",
            group.name,
            replaced.join(", "),
            group.name,
            known.id
        ),
    ))
}

/// What a group without a proposal waits for.
fn waits_for(group: &GroupSeen) -> String {
    let silent: Vec<String> = group
        .seats
        .iter()
        .filter(|s| s.report().is_none())
        .map(|s| format!("{} ({})", s.pod, s.why_silent()))
        .collect();
    if silent.is_empty() {
        format!(
            "group {}: its first broker is about to propose a founding",
            group.name
        )
    } else {
        format!(
            "group {}: founding waits for {}",
            group.name,
            silent.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{founding, group, healthy, says};
    use crate::observe::report::Answer;

    const LEASE: &str = "orders-a";

    /// Three blank pods that all answer.
    fn blank() -> GroupSeen {
        let mut it = group(3);
        (0..3).for_each(|o| says(&mut it, o, |_| {}));
        it
    }

    fn propose(group: &mut GroupSeen, founding: &Founding) {
        let lease = group.lease.as_mut().unwrap();
        lease.proposal = Some(founding.clone());
        lease.proposal_text = Some(serde_json::to_string(founding).unwrap());
    }

    fn lease_steps(outcome: &Outcome) -> Vec<&LeaseChange> {
        let all = outcome.steps.iter();
        all.filter_map(|s| match s {
            Step::ChangeLease { change, .. } => Some(change),
            _ => None,
        })
        .collect()
    }

    fn status_steps(outcome: &Outcome) -> Vec<(Option<&str>, Option<&str>)> {
        let all = outcome.steps.iter();
        all.filter_map(|s| match s {
            Step::SetFounding { from, to, .. } => Some((from.as_ref(), to.as_ref())),
            _ => None,
        })
        .map(|(from, to)| (from.map(|f| f.id.as_str()), to.map(|f| f.id.as_str())))
        .collect()
    }

    fn reason(outcome: &Outcome) -> Option<Reason> {
        outcome.problem.as_ref().map(|(reason, _)| *reason)
    }

    #[test]
    fn a_proposal_that_all_listed_pods_bear_out_is_confirmed_status_first() {
        let mut it = blank();
        let g1 = founding("g1", 3);
        propose(&mut it, &g1);
        let out = decide(&it, None, LEASE);
        assert!(matches!(
            &out.steps[..],
            [Step::SetFounding { from: None, to: Some(a), .. },
             Step::ChangeLease { change: LeaseChange::Found(b), .. }] if *a == g1 && *b == g1
        ));
        assert_eq!(out.notes[0].reason, Reason::GroupFounded);
    }

    #[test]
    fn a_proposal_is_removed_for_each_thing_that_speaks_against_it() {
        type Edit = fn(&mut GroupSeen);
        let table: [(&str, Edit); 5] = [
            ("does not answer", |g| g.seats[2].answer = Answer::Silent),
            ("is not blank", |g| {
                says(g, 1, |r| r.adopt(&founding("old", 3)))
            }),
            ("another volume", |g| {
                says(g, 1, |r| r.member.incarnation = "new".into())
            }),
            ("lists 2 volumes", |g| propose(g, &founding("g1", 2))),
            ("cannot be read", |g| {
                g.lease.as_mut().unwrap().proposal = None
            }),
        ];
        for (why, edit) in table {
            let mut it = blank();
            propose(&mut it, &founding("g1", 3));
            edit(&mut it);
            let out = decide(&it, None, LEASE);
            if why == "is not blank" {
                // What a member reports is the group; the proposal goes with the next look.
                assert_eq!(status_steps(&out), [(None, Some("old"))]);
                continue;
            }
            assert!(
                matches!(lease_steps(&out)[..], [LeaseChange::DropProposal(_)]),
                "{why}"
            );
            assert_eq!(status_steps(&out), [], "{why}");
            let (_, text) = out.problem.unwrap();
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn without_a_proposal_it_says_whom_it_waits_for() {
        let mut it = blank();
        it.seats[1].answer = Answer::Silent;
        it.seats[1].seen.as_mut().unwrap().trouble = Some("Unschedulable".into());
        let out = decide(&it, None, LEASE);
        assert_eq!(out.steps, []);
        assert!(
            out.problem
                .unwrap()
                .1
                .contains("orders-a-1 (Unschedulable)")
        );
    }

    #[test]
    fn a_lost_status_gets_the_leases_founding_and_without_one_the_members() {
        let mut it = healthy();
        assert_eq!(
            status_steps(&decide(&it, None, LEASE)),
            [(None, Some("g1"))]
        );
        it.lease.as_mut().unwrap().group = None;
        assert_eq!(
            status_steps(&decide(&it, None, LEASE)),
            [(None, Some("g1"))]
        );
    }

    #[test]
    fn a_stranger_does_not_say_who_the_group_is() {
        let mut it = blank();
        says(&mut it, 1, |r| {
            r.adopt(&founding("other", 3));
            r.reason = "VolumeForeign".into();
        });
        assert_eq!(status_steps(&decide(&it, None, LEASE)), []);
    }

    #[test]
    fn two_groups_among_the_members_are_never_guessed_at() {
        let mut it = blank();
        says(&mut it, 0, |r| r.adopt(&founding("g1", 3)));
        says(&mut it, 1, |r| r.adopt(&founding("g2", 3)));
        let out = decide(&it, None, LEASE);
        assert_eq!(out.steps, []);
        assert_eq!(reason(&out), Some(Reason::GroupsDiffer));
    }

    #[test]
    fn the_status_wins_over_an_empty_and_over_another_lease() {
        let g1 = founding("g1", 3);
        for of_lease in [None, Some(founding("g2", 3))] {
            let mut it = healthy();
            it.lease.as_mut().unwrap().group = of_lease;
            let out = decide(&it, Some(&g1), LEASE);
            assert_eq!(lease_steps(&out), [&LeaseChange::Found(g1.clone())]);
            assert_eq!(status_steps(&out), []);
        }
        let out = decide(&healthy(), Some(&g1), LEASE);
        assert_eq!(out, Outcome::default(), "agreement is nothing to do");
    }

    /// All blank, confirmed as g1, and the volume of ordinal 2 was replaced.
    fn void() -> GroupSeen {
        let mut it = blank();
        it.lease.as_mut().unwrap().group = Some(founding("g1", 3));
        says(&mut it, 2, |r| r.member.incarnation = "new".into());
        it
    }

    #[test]
    fn a_founding_that_can_never_be_elected_is_dropped_lease_first() {
        let g1 = founding("g1", 3);
        let it = void();
        let out = decide(&it, Some(&g1), LEASE);
        assert!(matches!(
            out.steps[..],
            [
                Step::ChangeLease {
                    change: LeaseChange::Clear(_),
                    ..
                },
                Step::SetFounding { to: None, .. }
            ]
        ));
        // Killed in between: the second step follows again.
        let mut half = it;
        half.lease.as_mut().unwrap().group = None;
        let out = decide(&half, Some(&g1), LEASE);
        assert_eq!(status_steps(&out), [(Some("g1"), None)]);
        assert_eq!(lease_steps(&out), [] as [&LeaseChange; 0]);
    }

    #[test]
    fn a_founding_stays_while_anything_may_still_come_of_it_or_came() {
        type Edit = fn(&mut GroupSeen);
        let table: [(&str, Edit); 4] = [
            ("one is silent", |g| g.seats[0].answer = Answer::Silent),
            ("one adopted", |g| {
                says(g, 0, |r| r.adopt(&founding("g1", 3)))
            }),
            ("nobody listed is left", |g| {
                for o in 0..3 {
                    says(g, o, |r| r.member.incarnation = format!("new{o}"));
                }
            }),
            ("all listed are there", |g| {
                says(g, 2, |r| r.member.incarnation = "v2".into())
            }),
        ];
        for (why, edit) in table {
            let mut it = void();
            edit(&mut it);
            let out = decide(&it, Some(&founding("g1", 3)), LEASE);
            assert_eq!(status_steps(&out), [], "{why}");
        }
    }

    #[test]
    fn a_listed_volume_lost_before_the_first_election_is_stuck_with_the_way_out() {
        let g1 = founding("g1", 3);
        let mut it = void();
        says(&mut it, 0, |r| r.adopt(&g1));
        let out = decide(&it, Some(&g1), LEASE);
        let (reason, text) = out.problem.unwrap();
        assert_eq!(reason, Reason::FoundingStuck);
        assert!(text.contains("tandemmq.io/found-anew=a/g1"), "{text}");
        // With a record somewhere there was an election: a lost volume is then rebuilt.
        says(&mut it, 0, |r| r.offsets.appended = 1);
        assert_eq!(decide(&it, Some(&g1), LEASE).problem, None);
    }
}
