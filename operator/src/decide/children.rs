//! The objects of a cluster: which are to be made, put back, deleted, and which are not ours.
//!
//! An object is ours when this BrokerCluster's UID controls it. Whatever else bears the name is
//! never touched: `NameTaken` says whose it is. A group that has such an object is left as it is,
//! all of it: half of a group under one owner and half under another would be neither's.

use std::collections::BTreeSet;

use crate::api::Reason;
use crate::decide::conditions::Problem;
use crate::decide::drift;
use crate::decide::step::{Child, Step};
use crate::observe::Observed;
use crate::observe::child::{Kind, Live, controller_of};

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Applied, and put back when it drifts.
    Apply,
    /// Made with content that is drawn once, or that others write; afterwards only its metadata
    /// is put back.
    Once,
}

/// One object that shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The group it belongs to, if to one.
    pub group: Option<String>,
    /// As it shall be, stamped.
    pub child: Child,
    /// How it is written.
    pub how: How,
    /// What it needs and what is not there: it is not written then.
    pub lacks: Option<Problem>,
}

/// What is to be done about objects.
#[derive(Debug, Default)]
pub struct Children {
    /// Changes, in order, of one group (none: of the cluster).
    pub steps: Vec<(Option<String>, Step)>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Groups that are left alone.
    pub left_alone: BTreeSet<String>,
}

/// Compares wishes with what is there.
#[must_use]
pub fn decide(seen: &Observed, wishes: &[Wish]) -> Children {
    let mut out = Children::default();
    let taken = taken(seen, wishes);
    let whole_cluster = taken
        .iter()
        .any(|(wish, _)| wish.group.is_none() && wish.child.kind == Kind::Secret);
    for (wish, text) in &taken {
        out.problems.push(Problem::new(Reason::NameTaken, text));
        out.left_alone.extend(wish.group.clone());
    }
    if whole_cluster {
        out.left_alone
            .extend(wishes.iter().filter_map(|w| w.group.clone()));
    }
    let names: BTreeSet<(Kind, &str)> = taken
        .iter()
        .map(|(wish, _)| (wish.child.kind, wish.child.name.as_str()))
        .collect();
    for wish in wishes {
        let alone = wish
            .group
            .as_ref()
            .is_some_and(|g| out.left_alone.contains(g));
        if alone || names.contains(&(wish.child.kind, &wish.child.name)) {
            continue;
        }
        one(seen, wish, &mut out);
    }
    out.steps.extend(unwanted(seen, wishes));
    out
}

fn one(seen: &Observed, wish: &Wish, out: &mut Children) {
    let live = seen.object(wish.child.kind, &wish.child.name);
    let leaving = live.is_some_and(|l| l.pointer("/metadata/deletionTimestamp").is_some());
    let what = format!("{:?} {}", wish.child.kind, wish.child.name);
    if leaving {
        let text = format!("{what} is being deleted and will be made again");
        out.problems.push(Problem::new(Reason::Applying, text));
        return;
    }
    let Some(step) = step(seen, wish) else {
        return;
    };
    if let Some(problem) = &wish.lacks {
        out.problems.push(problem.clone());
        return;
    }
    if live.is_none() {
        let text = format!("{what} is being made");
        out.problems.push(Problem::new(Reason::Applying, text));
    }
    out.steps.push((wish.group.clone(), step));
}

/// The change that makes the wish true; none when it is.
#[must_use]
pub fn step(seen: &Observed, wish: &Wish) -> Option<Step> {
    let child = wish.child.clone();
    let Some(live) = seen.object(child.kind, &child.name) else {
        return Some(match (child.kind, wish.how, &wish.group) {
            (Kind::Lease, _, Some(group)) => Step::CreateLease {
                group: group.clone(),
                child,
            },
            (_, How::Once, _) => Step::Create { child },
            _ => Step::Apply { child, uid: None },
        });
    };
    let mut child = child;
    if wish.how == How::Once
        && let Some(body) = child.body.as_object_mut()
    {
        body.retain(|key, _| ["apiVersion", "kind", "metadata"].contains(&key.as_str()));
    }
    (!drift::holds(&child.body, live)).then(|| Step::Apply {
        uid: live
            .pointer("/metadata/uid")
            .and_then(|u| u.as_str())
            .map(Into::into),
        child,
    })
}

/// Wishes whose name somebody else has, with the sentence that says who.
fn taken<'a>(seen: &Observed, wishes: &'a [Wish]) -> Vec<(&'a Wish, String)> {
    let mut all = Vec::new();
    for wish in wishes {
        let Some(live) = seen.object(wish.child.kind, &wish.child.name) else {
            continue;
        };
        let owner = match controller_of(live) {
            Some((_, _, uid)) if uid == seen.uid() => continue,
            Some((kind, name, uid)) => format!("{kind} {name} (uid {uid})"),
            None => "nobody (it has no controlling owner)".into(),
        };
        let text = format!(
            "{:?} {} is there already and belongs to {owner}: it is not touched. Delete it, or \
             choose another name for this cluster",
            wish.child.kind, wish.child.name
        );
        all.push((wish, text));
    }
    all
}

/// Objects of ours that the spec does not ask for any more. Secrets stay: a password is not made
/// twice. What belongs to a group that left the spec is `delete_group`'s.
fn unwanted(seen: &Observed, wishes: &[Wish]) -> Vec<(Option<String>, Step)> {
    const PRUNED: [Kind; 3] = [
        Kind::Service,
        Kind::PodDisruptionBudget,
        Kind::NetworkPolicy,
    ];
    let wished = |live: &Live| {
        wishes
            .iter()
            .any(|w| w.child.kind == live.kind && w.child.name == live.name)
    };
    let of_group = |live: &Live| {
        let group = live.label("tandemmq.io/group")?;
        Some(seen.groups.iter().any(|g| g.name == group && g.wanted))
    };
    seen.objects
        .iter()
        .filter(|live| PRUNED.contains(&live.kind) && !wished(live))
        .filter(|live| of_group(live) != Some(false))
        .filter(|live| {
            live.controller()
                .is_some_and(|(_, _, uid)| uid == seen.uid())
        })
        .map(|live| {
            let step = Step::Delete {
                kind: live.kind,
                name: live.name.clone(),
                uid: live.uid().into(),
            };
            (live.label("tandemmq.io/group").map(Into::into), step)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{healthy, observed};
    use serde_json::{Value, json};

    fn body(owner: &str, extra: &Value) -> Value {
        let mut body = json!({"metadata": {"uid": "u", "name": "orders-a", "ownerReferences":
            [{"kind": "BrokerCluster", "name": "x", "uid": owner, "controller": true}]}});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    }

    fn wish(kind: Kind, spec: &Value) -> Wish {
        let mut body = json!({"metadata": {"name": "orders-a"}, "spec": spec});
        drift::stamp(&mut body);
        Wish {
            group: Some("a".into()),
            child: Child {
                kind,
                name: "orders-a".into(),
                body,
            },
            how: How::Apply,
            lacks: None,
        }
    }

    fn with(live: &[(Kind, Value)]) -> Observed {
        let mut seen = observed(healthy());
        for (kind, body) in live {
            seen.objects.push(Live {
                kind: *kind,
                name: "orders-a".into(),
                body: body.clone(),
            });
        }
        seen
    }

    #[test]
    fn what_is_missing_is_made_and_what_holds_costs_nothing() {
        let wanted = wish(Kind::Service, &json!({"type": "ClusterIP"}));
        let out = decide(&with(&[]), std::slice::from_ref(&wanted));
        assert!(matches!(
            out.steps[..],
            [(_, Step::Apply { uid: None, .. })]
        ));
        assert_eq!(out.problems[0].reason, Reason::Applying);
        let mut live = body("c1", &json!({"spec": {"type": "ClusterIP", "theirs": 1}}));
        live["metadata"]["annotations"] = wanted.child.body["metadata"]["annotations"].clone();
        let out = decide(
            &with(&[(Kind::Service, live.clone())]),
            std::slice::from_ref(&wanted),
        );
        assert!(out.steps.is_empty() && out.problems.is_empty(), "{out:?}");
        live["spec"]["type"] = "NodePort".into();
        let out = decide(&with(&[(Kind::Service, live)]), &[wanted]);
        let uid = Some("u".to_owned());
        assert!(matches!(&out.steps[..], [(_, Step::Apply { uid: u, .. })] if *u == uid));
    }

    #[test]
    fn a_foreign_object_is_named_and_nothing_of_its_group_is_written() {
        let foreign = body("c2", &json!({}));
        let wishes = [
            wish(Kind::Service, &json!({})),
            wish(Kind::StatefulSet, &json!({"replicas": 3})),
        ];
        let out = decide(&with(&[(Kind::Service, foreign)]), &wishes);
        assert!(out.steps.is_empty());
        assert_eq!(out.problems[0].reason, Reason::NameTaken);
        assert!(out.problems[0].text.contains("BrokerCluster x (uid c2)"));
        assert!(out.left_alone.contains("a"));
    }

    #[test]
    fn an_object_without_an_owner_is_foreign_too() {
        let nobodys = json!({"metadata": {"name": "orders-a", "uid": "u"}});
        let wishes = [wish(Kind::StatefulSet, &json!({}))];
        let out = decide(&with(&[(Kind::StatefulSet, nobodys)]), &wishes);
        assert!(out.steps.is_empty());
        assert!(out.problems[0].text.contains("nobody"));
    }

    #[test]
    fn what_lacks_a_secret_is_not_written_and_says_so() {
        let mut wanted = wish(Kind::StatefulSet, &json!({}));
        wanted.lacks = Some(Problem::new(Reason::WaitingForSecret, "s"));
        let out = decide(&with(&[]), &[wanted]);
        assert!(out.steps.is_empty());
        assert_eq!(out.problems[0].reason, Reason::WaitingForSecret);
    }

    #[test]
    fn a_drawn_secret_is_made_once_and_its_content_never_put_back() {
        let mut wanted = wish(Kind::Secret, &json!({}));
        wanted.how = How::Once;
        wanted.child.body = json!({"metadata": {"name": "orders-a"}, "data": {"password": "new"}});
        let out = decide(&with(&[]), std::slice::from_ref(&wanted));
        assert!(matches!(out.steps[..], [(_, Step::Create { .. })]));
        let live = body("c1", &json!({"data": {"password": "old"}}));
        assert!(
            decide(&with(&[(Kind::Secret, live)]), &[wanted])
                .steps
                .is_empty()
        );
    }

    #[test]
    fn a_policy_that_is_not_asked_for_any_more_is_deleted_and_a_secret_is_not() {
        let mine = body("c1", &json!({}));
        let out = decide(
            &with(&[(Kind::NetworkPolicy, mine.clone()), (Kind::Secret, mine)]),
            &[],
        );
        assert!(matches!(
            out.steps[..],
            [(
                _,
                Step::Delete {
                    kind: Kind::NetworkPolicy,
                    ..
                }
            )]
        ));
    }
}
