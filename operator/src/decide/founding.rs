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
