//! A roll: pods of an old revision are replaced, one at a time, slaves first, the master last.
//!
//! ```text
//!             every member in sync
//! Replacing ------------------------> Waiting (the new pod comes up, is Ready and in sync)
//!     ^------------ next slave ----------'  '-- 2 minutes: Stuck, until it is in sync
//! HandingOver: only the master is left: `promote-to` an updated slave; it becomes a slave and is
//!     replaced as one. After 30 s it is deleted as it is: SIGTERM hands over, too.
//! ```
//! A pod is deleted only while every member is in sync: so a roll takes one copy away, never two,
//! and a quorum stays. One exception: a pod of an old revision that fails (it crashes, its image
//! cannot be pulled) and is not in sync counts for nothing already; it may be replaced whatever
//! the others do. That is how changing a broken spec back helps.
//!
//! The state lies in the status (`roll`): phase, pod and since when. One group of a cluster rolls
//! at a time; `turn` says whose turn it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::{GroupStatus, Reason, RollPhase, RollStatus};
use crate::decide::step::{LeaseChange, Note, Step};
use crate::observe::GroupSeen;
use crate::observe::child::Kind;
use crate::observe::pod::Seat;

/// Seconds after which a wait is a stuck roll.
const PATIENCE: i64 = 120;
/// Seconds for a planned hand-over before SIGTERM has to do it.
const HAND_OVER: i64 = 30;

/// What a roll does now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Roll {
    /// At most one change.
    pub steps: Vec<Step>,
    /// Where it is.
    pub state: Option<RollStatus>,
    /// Why it does not go on, or that it goes on.
    pub problem: Option<(Reason, String)>,
    /// Events.
    pub notes: Vec<Note>,
}

/// Whether some pod is of another revision than the StatefulSet's, or a roll is not finished.
#[must_use]
pub fn is_due(group: &GroupSeen, status: &GroupStatus) -> bool {
    status.roll.is_some() || target(group).is_some_and(|t| !outdated(group, &t).is_empty())
}

/// Decides the next step of a group whose turn it is. `status`: as it is now, with the roll of
/// before. `lease`: the name of the group's Lease.
#[must_use]
pub fn decide(group: &GroupSeen, status: &GroupStatus, lease: &str, now: Timestamp) -> Roll {
    let Some(target) = target(group) else {
        // The StatefulSet controller has not looked at the new spec yet.
        return Roll {
            state: status.roll.clone(),
            ..Roll::default()
        };
    };
    let it = Look {
        group,
        status,
        now,
        before: status.roll.as_ref().filter(|r| r.revision == target),
        old: outdated(group, &target),
        target,
    };
    if it.old.is_empty() && status.roll.is_none() {
        return Roll::default();
    }
    let mut roll = it.next(lease);
    if it.before.is_none() && roll.state.is_some() {
        let text = format!("group {}: pods are rolled to {}", group.name, it.target);
        let note = Note::normal(Reason::RollStarted, it.target, text);
        roll.notes.insert(0, note);
    }
    roll
}

/// The revision that all pods shall have, once the StatefulSet controller has seen the spec.
fn target(group: &GroupSeen) -> Option<String> {
    let set = group.stateful_set.as_ref()?;
    let status = set.status.as_ref()?;
    let seen = status.observed_generation >= set.metadata.generation;
    status.update_revision.clone().filter(|_| seen)
}

fn outdated<'a>(group: &'a GroupSeen, target: &str) -> Vec<&'a Seat> {
    let old = |s: &&Seat| s.seen.as_ref().is_some_and(|p| p.revision != target);
    group.seats.iter().filter(old).collect()
}

struct Look<'a> {
    group: &'a GroupSeen,
    status: &'a GroupStatus,
    now: Timestamp,
    before: Option<&'a RollStatus>,
    old: Vec<&'a Seat>,
    target: String,
}

impl Look<'_> {
    fn next(&self, lease: &str) -> Roll {
        if let Some(useless) = self.old.iter().find(|s| self.is_useless(s)) {
            return self.replace(useless);
        }
        if let Some(behind) = self.group.seats.iter().find(|s| !self.is_in_step(s)) {
            return self.wait(behind);
        }
        let Some(master) = self.status.master.as_deref() else {
            return self.hold(None, format!("group {} has no master", self.group.name));
        };
        if self.old.is_empty() {
            return self.finish();
        }
        // The highest first, as a StatefulSet does it.
        match self.old.iter().rev().find(|s| s.pod != master) {
            Some(slave) => self.replace(slave),
            None => self.replace_master(lease),
        }
    }

    /// Its process lives, Kubernetes and the broker call it ready, the master has it in sync.
    fn is_in_step(&self, seat: &Seat) -> bool {
        let lives = seat.seen.as_ref().is_some_and(|p| !p.leaving && p.ready);
        lives && seat.report().is_some_and(|r| r.ready) && self.member_in_sync(seat)
    }

    fn member_in_sync(&self, seat: &Seat) -> bool {
        let member = self.status.members.iter().find(|m| m.pod == seat.pod);
        member.is_some_and(|m| m.in_sync)
    }

    fn is_useless(&self, seat: &Seat) -> bool {
        let fails = seat
            .seen
            .as_ref()
            .is_some_and(|p| p.is_failing() && !p.leaving);
        fails && seat.report().is_none() && !self.member_in_sync(seat)
    }

    fn replace(&self, seat: &Seat) -> Roll {
        let uid = seat.seen.as_ref().map(|p| p.uid.clone());
        let delete = uid.map(|uid| Step::Delete {
            kind: Kind::Pod,
            name: seat.pod.clone(),
            uid,
        });
        let text = format!("group {}: {} is replaced", self.group.name, seat.pod);
        Roll {
            steps: delete.into_iter().collect(),
            state: Some(self.state(RollPhase::Replacing, Some(&seat.pod), "")),
            problem: Some((Reason::Rolling, text)),
            notes: vec![],
        }
    }

    fn replace_master(&self, lease: &str) -> Roll {
        let master = self.old[0];
        let heir = self.group.seats.iter().find(|s| s.pod != master.pod);
        let Some(heir) = heir else {
            return self.replace(master);
        };
        let state = self.state(RollPhase::HandingOver, Some(&master.pod), "");
        if self.age(&state) > HAND_OVER {
            return Roll {
                // It stays this phase until the pod is gone: the time must not start again.
                state: Some(state),
                ..self.replace(master)
            };
        }
        let asked = self
            .group
            .lease
            .as_ref()
            .and_then(|l| l.promote_to.as_ref());
        let ask = (asked != Some(&heir.pod)).then(|| Step::ChangeLease {
            lease: lease.into(),
            change: LeaseChange::Promote(heir.pod.clone()),
        });
        let text = format!(
            "group {}: {} hands over to {}",
            self.group.name, master.pod, heir.pod
        );
        Roll {
            steps: ask.into_iter().collect(),
            state: Some(state),
            problem: Some((Reason::Rolling, text)),
            notes: vec![],
        }
    }

    fn wait(&self, seat: &Seat) -> Roll {
        let member = self.status.members.iter().find(|m| m.pod == seat.pod);
        let reason = member.map(|m| m.reason.clone()).unwrap_or_default();
        let why = match reason.as_str() {
            "" => format!("{} is not in sync", seat.pod),
            reason => format!("{} is not in sync: {reason}", seat.pod),
        };
        self.hold(Some(&seat.pod), why)
    }

    fn hold(&self, pod: Option<&str>, why: String) -> Roll {
        let mut state = self.state(RollPhase::Waiting, pod, &why);
        if self.age(&state) <= PATIENCE {
            let text = format!("group {}: {why}", self.group.name);
            return Roll {
                state: Some(state),
                problem: Some((Reason::Rolling, text)),
                ..Roll::default()
            };
        }
        let text = format!("group {}: the roll does not go on: {why}", self.group.name);
        let news = self.before.is_none_or(|b| b.phase != RollPhase::Stuck);
        let note = Note::warning(Reason::RollStuck, self.target.clone(), text.clone());
        state.phase = RollPhase::Stuck;
        Roll {
            steps: vec![],
            state: Some(state),
            problem: Some((Reason::RollStuck, text)),
            notes: news.then_some(note).into_iter().collect(),
        }
    }

    fn finish(&self) -> Roll {
        let text = format!("group {}: all pods are at {}", self.group.name, self.target);
        Roll {
            notes: vec![Note::normal(
                Reason::RollFinished,
                self.target.clone(),
                text,
            )],
            ..Roll::default()
        }
    }

    /// The state with the time since when it has been so. Stuck is a wait that took too long, and a
    /// wait for one pod and then for another is one wait: nothing was replaced meanwhile.
    fn state(&self, phase: RollPhase, pod: Option<&str>, reason: &str) -> RollStatus {
        let same = self.before.filter(|b| {
            let was = match b.phase {
                RollPhase::Stuck => RollPhase::Waiting,
                other => other,
            };
            was == phase && (phase == RollPhase::Waiting || b.pod.as_deref() == pod)
        });
        RollStatus {
            revision: self.target.clone(),
            phase,
            pod: pod.map(Into::into),
            since: same.map_or(Time(self.now), |b| b.since.clone()),
            reason: reason.into(),
        }
    }

    fn age(&self, state: &RollStatus) -> i64 {
        self.now.as_second() - state.since.0.as_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::members::status_of;
    use crate::decide::testing::{healthy, says, stateful_set, sync};
    use crate::observe::report::Answer;

    /// A roll of a healthy group from r1 to r2.
    struct Table {
        group: GroupSeen,
        status: Option<GroupStatus>,
        second: i64,
    }

    impl Table {
        fn new() -> Self {
            let mut group = healthy();
            group.stateful_set = Some(stateful_set("r2"));
            Self {
                group,
                status: None,
                second: 0,
            }
        }

        fn look(&mut self, after: i64) -> Roll {
            self.second += after;
            let now = Timestamp::from_second(self.second).unwrap();
            let mut status = status_of(&self.group, self.status.as_ref(), now);
            let roll = decide(&self.group, &status, "orders-a", now);
            status.roll = roll.state.clone();
            self.status = Some(status);
            roll
        }

        fn gone(&mut self, ordinal: usize) {
            self.group.seats[ordinal].answer = Answer::Silent;
            self.group.seats[ordinal].seen = None;
            let others: Vec<u8> = [1, 2]
                .into_iter()
                .filter(|o| usize::from(*o) != ordinal)
                .collect();
            sync(&mut self.group, 0, &others);
        }

        fn renewed(&mut self, ordinal: usize) {
            let fresh = healthy().seats[ordinal].clone();
            self.group.seats[ordinal] = fresh;
            let pod = self.group.seats[ordinal].seen.as_mut().unwrap();
            pod.revision = "r2".into();
            pod.uid = format!("new{ordinal}");
            sync(&mut self.group, 0, &[1, 2]);
        }
    }

    fn deleted(roll: &Roll) -> Option<&str> {
        match roll.steps.as_slice() {
            [Step::Delete { name, .. }] => Some(name),
            [] => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn slaves_are_replaced_first_and_the_master_hands_over_last() {
        let mut it = Table::new();
        let first = it.look(0);
        assert_eq!(deleted(&first), Some("orders-a-2"));
        assert_eq!(first.notes[0].reason, Reason::RollStarted);
        it.gone(2);
        assert_eq!(it.look(2).steps, []);
        it.renewed(2);
        assert_eq!(deleted(&it.look(5)), Some("orders-a-1"));
        it.gone(1);
        assert_eq!(it.look(2).steps, []);
        it.renewed(1);
        let ask = it.look(5);
        let promote = LeaseChange::Promote("orders-a-1".into());
        assert!(matches!(&ask.steps[..], [Step::ChangeLease { change, .. }] if *change == promote));
        // Asked: it is not asked again before the Lease has lost the wish.
        it.group.lease.as_mut().unwrap().promote_to = Some("orders-a-1".into());
        assert_eq!(it.look(2).steps, []);
        // Another master: the old one is a slave as any.
        says(&mut it.group, 0, |r| {
            r.role = "slave".into();
            r.serving = false;
            r.follows(5, 1);
        });
        says(&mut it.group, 1, |r| r.reigns(5, 1));
        says(&mut it.group, 2, |r| r.follows(5, 1));
        sync(&mut it.group, 1, &[0, 2]);
        assert_eq!(deleted(&it.look(2)), Some("orders-a-0"));
        it.group.seats[0].seen.as_mut().unwrap().revision = "r2".into();
        let last = it.look(9);
        assert_eq!(last.state, None);
        assert_eq!(last.notes[0].reason, Reason::RollFinished);
    }

    #[test]
    fn nothing_is_deleted_while_a_member_is_out_of_sync_and_the_roll_says_which() {
        let mut it = Table::new();
        sync(&mut it.group, 0, &[1]);
        assert_eq!(it.look(0).steps, []);
        let stuck = it.look(PATIENCE + 1);
        let (reason, text) = stuck.problem.unwrap();
        assert_eq!(reason, Reason::RollStuck);
        assert!(text.contains("orders-a-2"), "{text}");
        assert_eq!(stuck.notes.len(), 1);
        // It is said once.
        assert_eq!(it.look(2).notes, []);
        // In sync again: it goes on by itself.
        sync(&mut it.group, 0, &[1, 2]);
        assert_eq!(deleted(&it.look(2)), Some("orders-a-2"));
    }

    #[test]
    fn a_failing_new_pod_stops_the_roll_and_the_old_spec_replaces_it() {
        let mut it = Table::new();
        it.look(0);
        it.gone(2);
        it.look(2);
        it.group.seats[2] = healthy().seats[2].clone();
        it.group.seats[2].answer = Answer::Silent;
        let pod = it.group.seats[2].seen.as_mut().unwrap();
        pod.revision = "r2".into();
        pod.ready = false;
        pod.trouble = Some("ImagePullBackOff".into());
        let stuck = it.look(PATIENCE + 1);
        assert_eq!(stuck.steps, [], "no second pod is taken");
        assert!(stuck.problem.unwrap().1.contains("ImagePullBackOff"));
        // The spec is changed back: the failing pod is now the outdated one, and useless.
        it.group.stateful_set = Some(stateful_set("r1"));
        let back = it.look(2);
        assert_eq!(deleted(&back), Some("orders-a-2"));
    }

    #[test]
    fn a_master_that_does_not_hand_over_is_deleted_after_half_a_minute() {
        let mut it = Table::new();
        it.renewed(1);
        it.renewed(2);
        assert_eq!(it.look(0).state.unwrap().phase, RollPhase::HandingOver);
        it.group.lease.as_mut().unwrap().promote_to = Some("orders-a-1".into());
        assert_eq!(it.look(HAND_OVER).steps, []);
        assert_eq!(deleted(&it.look(1)), Some("orders-a-0"));
        // The picture is old: the same pod again, which is harmless.
        assert_eq!(deleted(&it.look(1)), Some("orders-a-0"));
    }

    #[test]
    fn a_pod_that_the_master_still_counts_and_kubernetes_does_not_is_waited_for() {
        let mut it = Table::new();
        it.look(0);
        it.group.seats[2].seen.as_mut().unwrap().leaving = true;
        assert_eq!(it.look(1).steps, []);
        it.renewed(2);
        it.group.seats[2].seen.as_mut().unwrap().ready = false;
        assert_eq!(it.look(1).steps, []);
    }

    #[test]
    fn a_single_broker_is_just_replaced() {
        let mut it = Table::new();
        it.group.replicas = 1;
        it.group.seats.truncate(1);
        says(&mut it.group, 0, |r| r.members.clear());
        assert_eq!(deleted(&it.look(0)), Some("orders-a-0"));
    }

    #[test]
    fn a_spec_that_the_controller_has_not_seen_yet_starts_nothing() {
        let mut it = Table::new();
        let set = it.group.stateful_set.as_mut().unwrap();
        set.metadata.generation = Some(2);
        assert_eq!(it.look(0), Roll::default());
    }
}
