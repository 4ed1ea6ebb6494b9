//! A group that left the spec. It is kept, with everything that belongs to it, until a person says
//! `tandemmq.io/delete-group=<name>`: a group is its messages, and an editor's slip must not
//! delete them.
//!
//! Then its objects are deleted; its volumes go or stay as `deletionPolicy` told the StatefulSet.
//! The annotation goes when nothing is left.

use crate::api::Reason;
use crate::decide::conditions::Problem;
use crate::decide::step::Step;
use crate::observe::Observed;
use crate::observe::child::{Kind, Live};

/// The annotation.
pub const DELETE_GROUP: &str = "tandemmq.io/delete-group";

/// What becomes of groups that the spec does not name.
#[derive(Debug, Default)]
pub struct Removal {
    /// Changes.
    pub steps: Vec<Step>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Groups of which nothing is left.
    pub gone: Vec<String>,
}

/// Decides about them.
#[must_use]
pub fn decide(seen: &Observed) -> Removal {
    let mut out = Removal::default();
    let wish = seen.annotation(DELETE_GROUP);
    for group in seen.groups.iter().filter(|g| !g.wanted) {
        let left = objects_of(seen, &group.name);
        if left.is_empty() {
            out.gone.push(group.name.clone());
        } else if wish == Some(&group.name) {
            out.steps.extend(left.iter().map(|live| Step::Delete {
                kind: live.kind,
                name: live.name.clone(),
                uid: live.uid().into(),
            }));
            let text = format!("group {} is being deleted", group.name);
            out.problems.push(Problem::new(Reason::Applying, text));
        } else {
            let text = format!(
                "group {} is not in the spec any more; it is kept with its messages. Put it back \
                 into the spec, or annotate this object with {DELETE_GROUP}={}",
                group.name, group.name
            );
            out.problems
                .push(Problem::new(Reason::GroupRemovalRefused, text));
        }
    }
    if let Some(name) = wish {
        out.judge_wish(seen, name);
    }
    out
}

impl Removal {
    fn judge_wish(&mut self, seen: &Observed, name: &str) {
        let wanted = seen.groups.iter().any(|g| g.wanted && g.name == name);
        let there = seen.groups.iter().any(|g| !g.wanted && g.name == name);
        if wanted {
            let text = format!("{DELETE_GROUP}={name} is refused: the spec names this group");
            self.problems.push(Problem::new(Reason::WishRefused, text));
        } else if !there || self.gone.iter().any(|g| g == name) {
            self.steps.push(Step::Annotate {
                key: DELETE_GROUP,
                to: None,
            });
        }
    }
}

/// Our objects of a group, the StatefulSet first: its pods shall stop before their Lease goes.
fn objects_of<'a>(seen: &'a Observed, group: &str) -> Vec<&'a Live> {
    let mut all: Vec<&Live> = seen
        .objects
        .iter()
        .filter(|live| live.label("tandemmq.io/group") == Some(group))
        .filter(|live| !live.kind.is_made_by_stateful_set())
        .filter(|live| {
            live.controller()
                .is_some_and(|(_, _, uid)| uid == seen.uid())
        })
        .collect();
    all.sort_by_key(|live| live.kind != Kind::StatefulSet);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{healthy, observed};
    use serde_json::json;
    use std::sync::Arc;

    fn removed(annotation: Option<&str>, objects: bool) -> Observed {
        let mut group = healthy();
        group.wanted = false;
        let mut seen = observed(group);
        let cluster = Arc::make_mut(&mut seen.cluster);
        cluster.metadata.annotations =
            annotation.map(|a| [(DELETE_GROUP.to_owned(), a.to_owned())].into());
        if objects {
            for kind in [
                Kind::Service,
                Kind::StatefulSet,
                Kind::PersistentVolumeClaim,
            ] {
                seen.objects.push(Live {
                    kind,
                    name: "orders-a".into(),
                    body: json!({"metadata": {"uid": "u", "labels": {"tandemmq.io/group": "a"},
                        "ownerReferences": [{"kind": "BrokerCluster", "name": "orders",
                            "uid": "c1", "controller": true}]}}),
                });
            }
        }
        seen
    }

    #[test]
    fn a_removed_group_is_kept_and_says_what_to_do() {
        let out = decide(&removed(None, true));
        assert!(out.steps.is_empty());
        assert_eq!(out.problems[0].reason, Reason::GroupRemovalRefused);
        assert!(out.problems[0].text.contains("tandemmq.io/delete-group=a"));
        // The word for another group is none for this one.
        assert!(
            decide(&removed(Some("b"), true))
                .problems
                .iter()
                .any(|p| p.reason == Reason::GroupRemovalRefused)
        );
    }

    #[test]
    fn with_the_word_its_objects_go_and_its_volumes_are_left_to_the_policy() {
        let out = decide(&removed(Some("a"), true));
        let kinds: Vec<Kind> = out
            .steps
            .iter()
            .map(|s| match s {
                Step::Delete { kind, .. } => *kind,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, [Kind::StatefulSet, Kind::Service]);
        let out = decide(&removed(Some("a"), false));
        assert_eq!(out.gone, ["a"]);
        assert!(matches!(out.steps[..], [Step::Annotate { to: None, .. }]));
    }

    #[test]
    fn a_group_that_the_spec_names_is_never_deleted_by_the_word() {
        let mut seen = removed(Some("a"), true);
        seen.groups[0].wanted = true;
        let out = decide(&seen);
        assert!(out.steps.is_empty());
        assert_eq!(out.problems[0].reason, Reason::WishRefused);
    }
}
