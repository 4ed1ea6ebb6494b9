//! What to do: a pure function of what is observed.
//!
//! No clock, no API, no randomness: they come in as arguments, so that every rule is a table in a
//! test. Nothing time-critical depends on the operator: brokers elect by themselves.
//!
//! The rules, one file each: `children` (objects and whose they are), `drift` (is an object as
//! wished), `founding`, `anew`, `recover` (who a group is), `master`, `members`, `conditions`
//! (what the status says), `labels`, `roll`, `delete_group`.

pub mod anew;
pub mod children;
pub mod conditions;
pub mod delete_group;
pub mod drift;
pub mod founding;
pub mod labels;
pub mod master;
pub mod members;
pub mod recover;
pub mod roll;
pub mod step;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod walk;
pub mod wishes;

use k8s_openapi::jiff::Timestamp;

use crate::api::{BrokerClusterStatus, GroupStatus, Reason};
use crate::observe::{GroupSeen, Observed};
use children::Wish;
use conditions::{Facts, Problem};
use step::{Note, Step};

/// What to do and what to say.
#[derive(Debug, Default)]
pub struct Decision {
    /// Changes. Each list is done in order and stops at its first failure; lists do not depend on
    /// each other, so that one refused object does not keep the other groups from their founding.
    pub batches: Vec<Vec<Step>>,
    /// The status.
    pub status: BrokerClusterStatus,
    /// Events.
    pub notes: Vec<Note>,
}

/// What comes in beside the observation.
pub struct Given<'a> {
    /// The objects that shall be, and why some cannot be planned.
    pub wishes: &'a [Wish],
    /// What went wrong outside: an object that cannot be planned, a change that was refused.
    pub failed: Option<Problem>,
    /// The time now.
    pub now: Timestamp,
    /// A random id of a group, for a recovery that begins.
    pub fresh_id: &'a str,
}

/// Decides.
#[must_use]
pub fn decide(seen: &Observed, given: &Given<'_>) -> Decision {
    Work::new(seen, given).run()
}

struct Work<'a> {
    seen: &'a Observed,
    given: &'a Given<'a>,
    batches: Vec<Vec<Step>>,
    problems: Vec<Problem>,
    notes: Vec<Note>,
    groups: Vec<GroupStatus>,
}

impl<'a> Work<'a> {
    const fn new(seen: &'a Observed, given: &'a Given<'a>) -> Self {
        Self {
            seen,
            given,
            batches: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn run(mut self) -> Decision {
        let paused = self.seen.cluster.spec.maintenance.paused;
        let children = children::decide(self.seen, self.given.wishes);
        self.problems.extend(self.given.failed.clone());
        self.problems.extend(children.problems.clone());
        let applied = self.problems.is_empty();
        self.take_children(&children);
        let removal = delete_group::decide(self.seen);
        let rolling = self.whose_turn();
        for group in &self.seen.groups {
            if !removal.gone.contains(&group.name) {
                let alone = children.left_alone.contains(&group.name);
                let busy = children
                    .steps
                    .iter()
                    .any(|(g, _)| g.as_ref() == Some(&group.name));
                let turn = !busy && rolling.as_deref() == Some(&group.name);
                self.group(group, alone, turn);
            }
        }
        self.batches.push(removal.steps);
        self.problems.extend(removal.problems);
        if paused {
            self.batches.clear();
            // What was decided is not done: it is no news either.
            self.notes.clear();
            self.problems.retain(|p| p.reason != Reason::Applying);
        }
        self.tell_masters();
        self.tell_problems();
        self.finish(paused, applied)
    }

    fn take_children(&mut self, children: &children::Children) {
        let mut cluster = Vec::new();
        for (group, step) in &children.steps {
            if group.is_none() {
                cluster.push(step.clone());
            }
        }
        self.batches.push(cluster);
        for group in &self.seen.groups {
            let mine = children
                .steps
                .iter()
                .filter(|(g, _)| g.as_ref() == Some(&group.name));
            self.batches
                .push(mine.map(|(_, step)| step.clone()).collect());
        }
    }

    /// The group that may roll: the one that does, else the first that has to.
    fn whose_turn(&self) -> Option<String> {
        let due = |group: &&GroupSeen| {
            let status = self
                .seen
                .status_of(&group.name)
                .cloned()
                .unwrap_or_default();
            roll::is_due(group, &status)
        };
        let running = |group: &&GroupSeen| {
            let status = self.seen.status_of(&group.name);
            status.is_some_and(|s| s.roll.is_some())
        };
        let groups = &self.seen.groups;
        let first = groups
            .iter()
            .find(running)
            .or_else(|| groups.iter().find(due));
        first.map(|g| g.name.clone())
    }

    /// One group. `alone`: something of it is not ours, so nothing of it is touched. `turn`: it
    /// may roll, if it has to.
    fn group(&mut self, group: &GroupSeen, alone: bool, turn: bool) {
        let before = self.seen.status_of(&group.name);
        let mut status = members::status_of(group, before, self.given.now);
        let founding = if alone {
            founding::Outcome::default()
        } else {
            self.founding(group)
        };
        let mut steps = founding.steps;
        self.notes.extend(founding.notes);
        let unfounded = founding
            .problem
            .as_ref()
            .is_some_and(|(r, _)| *r != Reason::WishRefused);
        let problem = members::problem_of(group, &status).filter(|_| !unfounded);
        if !alone {
            steps.extend(labels::decide(group, status.master.as_deref()));
        }
        let rolls = turn && !alone && !unfounded && steps.is_empty();
        let mut rolled = None;
        if rolls {
            let roll = roll::decide(
                group,
                &status,
                &lease_name(self.seen, group),
                self.given.now,
            );
            steps.extend(roll.steps);
            self.notes.extend(roll.notes);
            status.roll = roll.state;
            rolled = roll.problem;
        }
        // A pod that is being replaced is missing, as it should be.
        let expected = rolled.as_ref().is_some_and(|(r, _)| *r == Reason::Rolling);
        let problem = problem.filter(|(r, _)| !(expected && *r == Reason::MembersMissing));
        let all = [founding.problem, rolled, problem];
        let all = all.into_iter().flatten();
        self.problems.extend(all.map(|(r, t)| Problem::new(r, t)));
        self.groups.push(status);
        self.batches.push(steps);
    }

    fn founding(&self, group: &GroupSeen) -> founding::Outcome {
        let known = self.seen.founding_of(&group.name);
        let lease = lease_name(self.seen, group);
        if let Some(text) = self.seen.annotation(recover::RECOVER_GROUP) {
            match recover::Wish::read(text) {
                Some(wish) if wish.group == group.name => {
                    return recover::decide(group, known, &lease, &wish, self.given.fresh_id);
                }
                Some(_) => {}
                None => return unreadable(recover::RECOVER_GROUP, "<group>/<survivor>/<old id>"),
            }
        }
        let plain = founding::decide(group, known, &lease);
        let Some(text) = self.seen.annotation(anew::FOUND_ANEW) else {
            return plain;
        };
        match anew::Wish::read(text) {
            Some(wish) if wish.group == group.name => {
                let begun = self.seen.annotation(anew::BEGUN);
                let out = anew::decide(group, known, &lease, &wish, begun);
                // A refused wish changes nothing of what goes on.
                let refused = out
                    .problem
                    .as_ref()
                    .is_some_and(|(r, _)| *r == Reason::WishRefused);
                if refused && plain.problem.is_none() {
                    founding::Outcome {
                        problem: out.problem,
                        ..plain
                    }
                } else if refused {
                    founding::Outcome {
                        problem: out
                            .problem
                            .zip(plain.problem)
                            .map(|((_, why), (reason, text))| (reason, format!("{text}; {why}"))),
                        ..plain
                    }
                } else {
                    out
                }
            }
            Some(_) => plain,
            None => unreadable(anew::FOUND_ANEW, "<group>/<id>"),
        }
    }

    /// An Event for each change of master.
    fn tell_masters(&mut self) {
        for status in &self.groups {
            let (Some(master), Some(epoch)) = (&status.master, status.epoch) else {
                continue;
            };
            let before = self.seen.status_of(&status.name);
            if before.and_then(|b| b.epoch) == Some(epoch) {
                continue;
            }
            let was = before.and_then(|b| b.master.as_deref());
            let from = was.map(|w| format!(", before: {w}")).unwrap_or_default();
            self.notes.push(Note::normal(
                Reason::MasterChanged,
                format!("{}/{epoch}", status.name),
                format!(
                    "group {}: {master} is master (epoch {epoch}{from})",
                    status.name
                ),
            ));
        }
    }

    /// An Event for each problem that is new and that a person should look at.
    fn tell_problems(&mut self) {
        let conditions = self.seen.cluster.status.iter().flat_map(|s| &s.conditions);
        let said: Vec<&str> = conditions.map(|c| c.message.as_str()).collect();
        let told = |p: &&Problem| {
            matches!(
                p.reason,
                Reason::NameTaken
                    | Reason::FoundingStuck
                    | Reason::MajorityLost
                    | Reason::GroupsDiffer
                    | Reason::VolumeForeign
                    | Reason::WaitingForSecret
                    | Reason::InvalidSpec
                    | Reason::GroupRemovalRefused
                    | Reason::WishRefused
            )
        };
        let news = self
            .problems
            .iter()
            .filter(told)
            .filter(|p| !said.iter().any(|s| s.contains(&p.text)))
            .map(|p| Note::warning(p.reason, short_hash(&p.text), p.text.clone()));
        let news: Vec<Note> = news.collect();
        self.notes.extend(news);
    }

    fn finish(self, paused: bool, applied: bool) -> Decision {
        let old = self.seen.cluster.status.clone().unwrap_or_default();
        let generation = self.seen.cluster.metadata.generation;
        let facts = Facts {
            groups: &self.groups,
            problems: &self.problems,
            paused,
            generation,
            now: self.given.now,
        };
        let conditions = conditions::decide(&facts, &old.conditions);
        Decision {
            batches: self.batches.into_iter().filter(|b| !b.is_empty()).collect(),
            status: BrokerClusterStatus {
                observed_generation: if paused || !applied {
                    old.observed_generation
                } else {
                    generation
                },
                groups_ready: conditions::groups_ready(&self.groups),
                masters: conditions::masters(&self.groups),
                groups: self.groups,
                conditions,
            },
            notes: self.notes,
        }
    }
}

/// The name of a group's Lease, StatefulSet and Service.
fn lease_name(seen: &Observed, group: &GroupSeen) -> String {
    format!("{}-{}", seen.name(), group.name)
}

fn unreadable(key: &str, form: &str) -> founding::Outcome {
    founding::Outcome {
        problem: Some((
            Reason::WishRefused,
            format!("the annotation {key} cannot be read: it must be {form}"),
        )),
        ..founding::Outcome::default()
    }
}

/// Tells two texts apart where a whole text is too long.
fn short_hash(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::{BrokerCluster, RollPhase};
    use crate::observe::report::Answer;
    use testing::{founding, healthy, observed, stateful_set};

    fn look(seen: &Observed) -> Decision {
        let given = Given {
            wishes: &[],
            failed: None,
            now: Timestamp::UNIX_EPOCH,
            fresh_id: "fresh",
        };
        decide(seen, &given)
    }

    fn edit(seen: &mut Observed, edit: impl FnOnce(&mut BrokerCluster)) {
        edit(Arc::make_mut(&mut seen.cluster));
    }

    /// A healthy cluster whose status says so already.
    fn settled() -> Observed {
        let mut group = healthy();
        for (ordinal, seat) in group.seats.iter_mut().enumerate() {
            let role = if ordinal == 0 { "master" } else { "slave" };
            seat.seen.as_mut().unwrap().role = Some(role.into());
        }
        let mut seen = observed(group);
        let mut status = look(&seen).status;
        status.groups[0].founding = Some(founding("g1", 3));
        edit(&mut seen, |c| c.status = Some(status));
        seen
    }

    #[test]
    fn a_settled_cluster_is_left_alone_and_its_status_does_not_change() {
        let seen = settled();
        let out = look(&seen);
        assert_eq!(out.batches, [] as [Vec<Step>; 0]);
        assert_eq!(out.notes, []);
        assert_eq!(Some(out.status), seen.cluster.status);
    }

    #[test]
    fn a_paused_cluster_tells_the_truth_and_is_not_touched() {
        let mut seen = settled();
        seen.groups[0].stateful_set = Some(stateful_set("r2"));
        seen.groups[0].lease.as_mut().unwrap().group = None;
        seen.groups[0].seats[1].seen.as_mut().unwrap().role = None;
        assert!(!look(&seen).batches.is_empty());
        edit(&mut seen, |c| {
            c.spec.maintenance.paused = true;
            c.metadata.generation = Some(2);
        });
        let out = look(&seen);
        assert_eq!(out.batches, [] as [Vec<Step>; 0]);
        assert_eq!(out.status.observed_generation, Some(1), "not acted upon");
        let paused = out.status.conditions.iter().find(|c| c.type_ == "Paused");
        assert_eq!(paused.unwrap().status, "True");
    }

    #[test]
    fn one_group_rolls_at_a_time() {
        let mut seen = settled();
        seen.groups[0].stateful_set = Some(stateful_set("r2"));
        let mut other = seen.groups[0].clone();
        other.name = "b".into();
        seen.groups.push(other);
        let mut status = seen.cluster.status.clone().unwrap();
        let mut second = status.groups[0].clone();
        second.name = "b".into();
        status.groups.push(second);
        edit(&mut seen, |c| c.status = Some(status));
        let out = look(&seen);
        let deletes = out
            .batches
            .iter()
            .flatten()
            .filter(|s| matches!(s, Step::Delete { .. }));
        assert_eq!(deletes.count(), 1);
        assert_eq!(
            out.status.groups[0].roll.as_ref().unwrap().phase,
            RollPhase::Replacing
        );
        assert_eq!(out.status.groups[1].roll, None);
    }

    #[test]
    fn a_change_of_master_is_told_once_and_coming_back_is_none() {
        let mut seen = settled();
        edit(&mut seen, |c| {
            let group = &mut c.status.as_mut().unwrap().groups[0];
            group.master = Some("orders-a-2".into());
            group.epoch = Some(3);
        });
        let out = look(&seen);
        assert_eq!(out.notes[0].reason, Reason::MasterChanged);
        assert!(
            out.notes[0]
                .text
                .contains("orders-a-0 is master (epoch 4, before: orders-a-2)")
        );
        // Unseen for a moment, then the same master of the same epoch.
        let mut seen = settled();
        edit(&mut seen, |c| {
            c.status.as_mut().unwrap().groups[0].master = None
        });
        assert_eq!(look(&seen).notes, []);
    }

    #[test]
    fn a_problem_is_an_event_once() {
        let mut seen = settled();
        edit(&mut seen, |c| {
            let wish = ("tandemmq.io/recover-group".into(), "a/orders-a-1/g1".into());
            c.metadata.annotations = Some([wish].into());
        });
        let out = look(&seen);
        assert_eq!(out.notes[0].reason, Reason::WishRefused);
        assert_eq!(out.status.masters, "a=orders-a-0");
        edit(&mut seen, |c| c.status = Some(out.status));
        assert_eq!(look(&seen).notes, []);
    }

    #[test]
    fn what_failed_is_said_and_the_generation_is_not_called_done() {
        let mut seen = settled();
        edit(&mut seen, |c| c.metadata.generation = Some(2));
        let given = Given {
            wishes: &[],
            failed: Some(Problem::new(Reason::ApplyFailed, "quota")),
            now: Timestamp::UNIX_EPOCH,
            fresh_id: "fresh",
        };
        let status = decide(&seen, &given).status;
        assert_eq!(status.observed_generation, Some(1));
        assert_eq!(status.conditions[0].reason, "ApplyFailed");
        assert_eq!(look(&seen).status.observed_generation, Some(2));
    }

    #[test]
    fn a_replaced_pod_of_a_roll_is_no_degradation() {
        let mut seen = settled();
        seen.groups[0].stateful_set = Some(stateful_set("r2"));
        let out = look(&seen);
        edit(&mut seen, |c| c.status = Some(out.status));
        seen.groups[0].seats[2].answer = Answer::Silent;
        seen.groups[0].seats[2].seen = None;
        testing::sync(&mut seen.groups[0], 0, &[1]);
        let status = look(&seen).status;
        let find = |kind: &str| status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        assert_eq!(find("Progressing").reason, "Rolling");
        assert_eq!(find("Degraded").status, "False");
        assert_eq!(find("Ready").reason, "Rolling");
    }
}
