//! A group's part of the status: each member, the master, the quorum; and what is wrong with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::{GroupStatus, MemberStatus, Quorum, Reason};
use crate::decide::master::{Master, master_of};
use crate::observe::GroupSeen;
use crate::observe::pod::Seat;
use crate::observe::report::Report;

/// The status of a group, given the one before. Founding and roll are kept from it.
#[must_use]
pub fn status_of(group: &GroupSeen, before: Option<&GroupStatus>, now: Timestamp) -> GroupStatus {
    let master = master_of(group);
    let name = master.map(|m| m.seat.pod.clone());
    let epoch = master.map(|m| m.report.epoch);
    let kept = before.filter(|b| name.is_some() && b.master == name && b.epoch == epoch);
    let since = kept.and_then(|b| b.master_since.clone());
    let members: Vec<MemberStatus> = group.seats.iter().map(|s| member(s, master)).collect();
    let have = members.iter().filter(|m| m.in_sync).count();
    GroupStatus {
        name: group.name.clone(),
        founding: before.and_then(|b| b.founding.clone()),
        master_since: name.is_some().then(|| since.unwrap_or(Time(now))),
        master: name,
        // While there is none, the last one's: so that it is not news when the same comes back.
        epoch: epoch.or_else(|| before.and_then(|b| b.epoch)),
        replicas: group.replicas,
        quorum: Quorum {
            needed: group.quorum() as u8,
            have: have as u8,
        },
        image: image_of(group),
        members,
        roll: before.and_then(|b| b.roll.clone()),
    }
}

fn member(seat: &Seat, master: Option<Master<'_>>) -> MemberStatus {
    let report = seat.report();
    let peer = master.and_then(|m| m.report.members.iter().find(|p| p.name == seat.pod));
    let is_master = master.is_some_and(|m| m.seat.pod == seat.pod);
    let in_sync = match master {
        Some(_) => is_master || peer.is_some_and(|p| p.in_sync),
        // While there is none a broker goes by the last one, for a time.
        None => report.is_some_and(|r| r.ready),
    };
    let reason = match report {
        None => seat.why_silent(),
        Some(_) if in_sync => String::new(),
        Some(report) if !report.reason.is_empty() => report.reason.clone(),
        Some(_) => peer.map(|p| p.reason.clone()).unwrap_or_default(),
    };
    MemberStatus {
        pod: seat.pod.clone(),
        role: report.map(|r| r.role.clone()),
        epoch: report.map(|r| r.epoch),
        offset: report.map(|r| r.offsets.synced),
        lag: if is_master {
            Some(0)
        } else {
            peer.and_then(|p| p.lag)
        },
        in_sync,
        reason,
    }
}

fn image_of(group: &GroupSeen) -> Option<String> {
    let spec = group.stateful_set.as_ref()?.spec.as_ref()?;
    let pod = spec.template.spec.as_ref()?;
    let broker = pod.containers.iter().find(|c| c.name == "broker")?;
    broker.image.clone()
}

/// What is wrong with a founded group that should work, the worst first.
#[must_use]
pub fn problem_of(group: &GroupSeen, status: &GroupStatus) -> Option<(Reason, String)> {
    if status.master.is_none() {
        return Some(without_master(group, status));
    }
    let away = missing(status);
    if away.is_empty() {
        return None;
    }
    let foreign = group
        .seats
        .iter()
        .any(|s| s.report().is_some_and(|r| r.reason == "VolumeForeign"));
    let reason = if foreign {
        Reason::VolumeForeign
    } else {
        Reason::MembersMissing
    };
    Some((
        reason,
        format!("group {}: not in sync: {}", group.name, away.join(", ")),
    ))
}

fn without_master(group: &GroupSeen, status: &GroupStatus) -> (Reason, String) {
    let away: Vec<String> = group
        .seats
        .iter()
        .filter(|s| s.report().is_none())
        .map(|s| format!("{} ({})", s.pod, s.why_silent()))
        .collect();
    let answering = group.seats.len() - away.len();
    if answering < group.quorum() {
        let text = format!(
            "group {}: {answering} of {} members answer and {} are needed: missing {}",
            group.name,
            group.replicas,
            group.quorum(),
            away.join(", ")
        );
        return (Reason::QuorumLost, text);
    }
    if let Some(text) = majority_lost(group, status) {
        return (Reason::MajorityLost, text);
    }
    let behind = missing(status);
    let text = if behind.is_empty() {
        format!("group {}: a master is being elected", group.name)
    } else {
        format!("group {}: no master: {}", group.name, behind.join(", "))
    };
    (Reason::ElectionPending, text)
}

/// So many volumes are blank that those with the group's records are no majority any more.
fn majority_lost(group: &GroupSeen, status: &GroupStatus) -> Option<String> {
    let founding = status.founding.as_ref()?;
    let count = |f: &dyn Fn(&Report) -> bool| {
        let reports = group.seats.iter().filter_map(Seat::report);
        reports.filter(|r| f(r)).count()
    };
    let blank = count(&|r| r.is_blank());
    let sound: Vec<&Seat> = group
        .seats
        .iter()
        .filter(|s| {
            s.report().is_some_and(|r| {
                r.group_id.as_ref() == Some(&founding.id)
                    && r.log_state == "clean"
                    && r.holds_records()
            })
        })
        .collect();
    let survivor = sound
        .iter()
        .max_by_key(|s| s.report().map(|r| (r.epoch, r.offsets.synced)))?;
    (blank > usize::from(group.replicas) - group.quorum()).then(|| {
        format!(
            "group {}: {blank} of {} volumes are new and empty: no majority holds the messages. \
             Bring the old volumes back; if they are lost, annotate this object with \
             tandemmq.io/recover-group={}/{}/{} to go on with what the survivor holds",
            group.name, group.replicas, group.name, survivor.pod, founding.id
        )
    })
}

/// The members that are not in sync, with the reason of each.
#[must_use]
pub fn missing(status: &GroupStatus) -> Vec<String> {
    let out = status.members.iter().filter(|m| !m.in_sync);
    out.map(|m| match m.reason.as_str() {
        "" => m.pod.clone(),
        reason => format!("{} ({reason})", m.pod),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{founding, group, healthy, says, sync};
    use crate::observe::report::Answer;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_healthy_group_tells_master_members_and_quorum() {
        let it = healthy();
        let status = status_of(&it, None, at(9));
        assert_eq!(status.master.as_deref(), Some("orders-a-0"));
        assert_eq!(status.epoch, Some(4));
        assert_eq!(status.master_since, Some(Time(at(9))));
        assert_eq!(status.quorum, Quorum { needed: 2, have: 3 });
        assert!(
            status
                .members
                .iter()
                .all(|m| m.in_sync && m.reason.is_empty())
        );
        assert_eq!(problem_of(&it, &status), None);
        // The same master later: since the same time. Another epoch: a new time.
        let later = status_of(&it, Some(&status), at(60));
        assert_eq!(later.master_since, Some(Time(at(9))));
        let mut again = it;
        says(&mut again, 0, |r| r.reigns(6, 0));
        says(&mut again, 1, |r| r.follows(6, 0));
        let newer = status_of(&again, Some(&status), at(60));
        assert_eq!(newer.master_since, Some(Time(at(60))));
    }

    #[test]
    fn a_dead_slave_is_named_with_kubernetes_own_reason() {
        let mut it = healthy();
        sync(&mut it, 0, &[1]);
        it.seats[2].answer = Answer::Silent;
        it.seats[2].seen.as_mut().unwrap().trouble = Some("CrashLoopBackOff".into());
        let status = status_of(&it, None, at(0));
        assert_eq!(status.quorum.have, 2);
        assert_eq!(missing(&status), ["orders-a-2 (CrashLoopBackOff)"]);
        let (reason, text) = problem_of(&it, &status).unwrap();
        assert_eq!(reason, Reason::MembersMissing);
        assert!(text.contains("orders-a-2 (CrashLoopBackOff)"), "{text}");
    }

    #[test]
    fn two_of_three_down_is_a_lost_quorum_that_names_both() {
        let mut it = healthy();
        it.seats[1].answer = Answer::Silent;
        it.seats[2].answer = Answer::Silent;
        it.seats[2].seen = None;
        says(&mut it, 0, |r| r.serving = false);
        let status = status_of(&it, None, at(0));
        let (reason, text) = problem_of(&it, &status).unwrap();
        assert_eq!(reason, Reason::QuorumLost);
        assert!(
            text.contains("orders-a-1 (NotAnswering), orders-a-2 (NoPod)"),
            "{text}"
        );
    }

    #[test]
    fn blank_volumes_beside_one_survivor_are_a_lost_majority_with_the_way_out() {
        let mut it = group(3);
        let g1 = founding("g1", 3);
        says(&mut it, 0, |r| {
            r.adopt(&g1);
            r.offsets.appended = 5;
        });
        says(&mut it, 1, |r| r.member.incarnation = "new1".into());
        says(&mut it, 2, |r| r.member.incarnation = "new2".into());
        let mut status = status_of(&it, None, at(0));
        status.founding = Some(g1);
        let (reason, text) = problem_of(&it, &status).unwrap();
        assert_eq!(reason, Reason::MajorityLost);
        assert!(text.contains("recover-group=a/orders-a-0/g1"), "{text}");
    }
}
