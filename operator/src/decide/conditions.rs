//! The conditions of a BrokerCluster: from the groups and from what is wrong, seven sentences.
//!
//! `lastTransitionTime` moves only when the status of a condition does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::api::{GroupStatus, Reason, condition};
use crate::decide::members::missing;

/// Something that keeps the cluster from being as its spec says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In one word.
    pub reason: Reason,
    /// In a sentence that says what to do.
    pub text: String,
}

impl Problem {
    /// A problem.
    #[must_use]
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }

    /// It is on its way to being well, without anybody's doing.
    const fn is_progress(&self) -> bool {
        matches!(
            self.reason,
            Reason::Founding | Reason::Rolling | Reason::Applying
        )
    }
}

/// Everything that the conditions say.
pub struct Facts<'a> {
    /// The groups.
    pub groups: &'a [GroupStatus],
    /// What is wrong, the worst first.
    pub problems: &'a [Problem],
    /// The operator changes nothing.
    pub paused: bool,
    /// The generation that was looked at.
    pub generation: Option<i64>,
    /// The time now.
    pub now: Timestamp,
}

/// All conditions, given those of before.
#[must_use]
pub fn decide(facts: &Facts<'_>, before: &[Condition]) -> Vec<Condition> {
    let make = |kind: &str, (yes, reason, message): (bool, Reason, String)| {
        let status = if yes { "True" } else { "False" };
        let old = before.iter().find(|c| c.type_ == kind);
        let since = old.filter(|c| c.status == status);
        Condition {
            type_: kind.into(),
            status: status.into(),
            reason: reason.as_str().into(),
            message,
            observed_generation: facts.generation,
            last_transition_time: since.map_or(Time(facts.now), |c| c.last_transition_time.clone()),
        }
    };
    vec![
        make(condition::READY, facts.ready()),
        make(condition::AVAILABLE, facts.available()),
        make(condition::MASTER_ELECTED, facts.master_elected()),
        make(condition::QUORUM_HEALTHY, facts.quorum_healthy()),
        make(condition::PROGRESSING, facts.progressing()),
        make(condition::DEGRADED, facts.degraded()),
        make(condition::PAUSED, facts.paused_or_not()),
    ]
}

impl Facts<'_> {
    fn ready(&self) -> (bool, Reason, String) {
        match self.problems.first() {
            None => (
                true,
                Reason::AsExpected,
                "every group has a master and all members in sync".into(),
            ),
            Some(worst) => (false, worst.reason, self.texts(|_| true)),
        }
    }

    fn available(&self) -> (bool, Reason, String) {
        let down: Vec<&GroupStatus> = self.groups.iter().filter(|g| g.master.is_none()).collect();
        if down.is_empty() && !self.groups.is_empty() {
            let text = "every group has a master that serves".into();
            return (true, Reason::AsExpected, text);
        }
        let says: Vec<String> = down
            .iter()
            .map(|g| match missing(g) {
                out if out.is_empty() => format!("group {}: no master", g.name),
                out => format!("group {}: no master; missing {}", g.name, out.join(", ")),
            })
            .collect();
        (false, self.why_no_master(), says.join("; "))
    }

    fn master_elected(&self) -> (bool, Reason, String) {
        let all = self.groups.iter().all(|g| g.master.is_some()) && !self.groups.is_empty();
        let reason = if all {
            Reason::AsExpected
        } else {
            self.why_no_master()
        };
        (all, reason, masters(self.groups))
    }

    fn quorum_healthy(&self) -> (bool, Reason, String) {
        let short: Vec<String> = self
            .groups
            .iter()
            .filter(|g| g.quorum.have < g.quorum.needed)
            .map(|g| {
                format!(
                    "group {}: {} of {} needed members in sync; missing {}",
                    g.name,
                    g.quorum.have,
                    g.quorum.needed,
                    missing(g).join(", ")
                )
            })
            .collect();
        if short.is_empty() && !self.groups.is_empty() {
            let text = "every group has a quorum in sync".into();
            return (true, Reason::AsExpected, text);
        }
        (false, self.why_no_master(), short.join("; "))
    }

    fn progressing(&self) -> (bool, Reason, String) {
        match self.problems.iter().find(|p| p.is_progress()) {
            Some(first) => (true, first.reason, self.texts(Problem::is_progress)),
            None => (false, Reason::AsExpected, "nothing is being changed".into()),
        }
    }

    fn degraded(&self) -> (bool, Reason, String) {
        match self.problems.iter().find(|p| !p.is_progress()) {
            Some(first) => (true, first.reason, self.texts(|p| !p.is_progress())),
            None => (false, Reason::AsExpected, "nothing is wrong".into()),
        }
    }

    fn paused_or_not(&self) -> (bool, Reason, String) {
        if self.paused {
            let text = "spec.maintenance.paused is true: nothing is changed but the status";
            return (true, Reason::Paused, text.into());
        }
        (false, Reason::AsExpected, "the operator acts".into())
    }

    /// The first problem that can explain a missing master or quorum.
    fn why_no_master(&self) -> Reason {
        let explains = |p: &&Problem| {
            !matches!(
                p.reason,
                Reason::Rolling | Reason::GroupRemovalRefused | Reason::WishRefused
            )
        };
        let found = self.problems.iter().find(explains);
        found.map_or(Reason::ElectionPending, |p| p.reason)
    }

    fn texts(&self, which: impl Fn(&Problem) -> bool) -> String {
        let chosen = self.problems.iter().filter(|p| which(p));
        let texts: Vec<&str> = chosen.map(|p| p.text.as_str()).collect();
        let mut all = texts.join("; ");
        // The API server takes 32768 bytes.
        if all.len() > 8_000 {
            let end = (0..=8_000).rev().find(|at| all.is_char_boundary(*at));
            all.truncate(end.unwrap_or(0));
            all.push_str(" …");
        }
        all
    }
}

/// "a=orders-a-0,b=-".
#[must_use]
pub fn masters(groups: &[GroupStatus]) -> String {
    let each = groups
        .iter()
        .map(|g| format!("{}={}", g.name, g.master.as_deref().unwrap_or("-")));
    each.collect::<Vec<_>>().join(",")
}

/// "1/2": groups with a master and all members in sync, of all.
#[must_use]
pub fn groups_ready(groups: &[GroupStatus]) -> String {
    let ready = groups
        .iter()
        .filter(|g| g.master.is_some() && missing(g).is_empty())
        .count();
    format!("{ready}/{}", groups.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::members::{problem_of, status_of};
    use crate::decide::testing::{healthy, sync};
    use crate::observe::GroupSeen;
    use crate::observe::report::Answer;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn look(group: &GroupSeen, second: i64, before: &[Condition]) -> Vec<Condition> {
        let status = status_of(group, None, at(second));
        let problem = problem_of(group, &status).map(|(r, t)| Problem::new(r, t));
        let facts = Facts {
            groups: &[status],
            problems: &problem.into_iter().collect::<Vec<_>>(),
            paused: false,
            generation: Some(1),
            now: at(second),
        };
        decide(&facts, before)
    }

    fn find<'a>(conditions: &'a [Condition], kind: &str) -> &'a Condition {
        conditions.iter().find(|c| c.type_ == kind).unwrap()
    }

    #[test]
    fn all_seven_are_there_and_a_healthy_group_is_ready() {
        let all = look(&healthy(), 1, &[]);
        assert_eq!(
            all.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(),
            condition::ALL
        );
        let expected = ["True", "True", "True", "True", "False", "False", "False"];
        assert_eq!(
            all.iter().map(|c| c.status.as_str()).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(find(&all, "MasterElected").message, "a=orders-a-0");
    }

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let first = look(&healthy(), 1, &[]);
        let mut hurt = healthy();
        sync(&mut hurt, 0, &[1]);
        let second = look(&hurt, 5, &first);
        assert_eq!(find(&second, "Ready").status, "False");
        assert_eq!(find(&second, "Ready").last_transition_time, Time(at(5)));
        assert_eq!(find(&second, "Available").last_transition_time, Time(at(1)));
        let third = look(&hurt, 9, &second);
        assert_eq!(find(&third, "Ready").last_transition_time, Time(at(5)));
    }

    #[test]
    fn an_unavailable_group_names_its_missing_members() {
        let mut hurt = healthy();
        for seat in &mut hurt.seats[1..] {
            seat.answer = Answer::Silent;
        }
        let Answer::Says(report) = &mut hurt.seats[0].answer else {
            unreachable!()
        };
        report.serving = false;
        report.ready = false;
        let all = look(&hurt, 1, &[]);
        let available = find(&all, "Available");
        assert_eq!(available.status, "False");
        assert_eq!(available.reason, "QuorumLost");
        assert!(
            available
                .message
                .contains("orders-a-1 (NotAnswering), orders-a-2 (NotAnswering)"),
            "{}",
            available.message
        );
        assert_eq!(find(&all, "QuorumHealthy").status, "False");
        assert_eq!(find(&all, "Degraded").status, "True");
    }
}
