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
