//! One look at one cluster: the stores' copies, put into groups and seats, and the pods asked.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::child::{Kind, Live};
use super::lease::LeaseSeen;
use super::pod::{ClaimSeen, PodSeen, Seat};
use super::report::{Answer, Poller};
use super::{GroupSeen, Observed};
use crate::api::BrokerCluster;
use crate::plan::{labels, names};

/// Puts together what is known of a cluster. The pods have not been asked yet.
#[must_use]
pub fn assemble(cluster: Arc<BrokerCluster>, objects: Vec<Live>) -> Observed {
    let mut seen = Observed {
        cluster,
        objects,
        groups: vec![],
    };
    let wanted = seen.cluster.spec.groups.clone();
    let mut groups: Vec<GroupSeen> = wanted
        .iter()
        .map(|g| group(&seen, &g.name, Some(g.replicas)))
        .collect();
    for name in left_groups(&seen) {
        if !groups.iter().any(|g| g.name == name) {
            groups.push(group(&seen, &name, None));
        }
    }
    seen.groups = groups;
    seen
}

/// Asks all pods at once.
pub async fn ask(seen: &mut Observed, poller: &Poller) -> usize {
    let seats = || seen.groups.iter().flat_map(|g| &g.seats);
    let asked = seats().filter_map(|seat| {
        let ip = seat.seen.as_ref()?.ip.clone()?;
        let name = seat.pod.clone();
        Some(async move {
            let answer = poller.ask(&name, &ip).await;
            (name, answer)
        })
    });
    let mut answers: BTreeMap<String, Answer> = join_all(asked).await.into_iter().collect();
    let count = answers.len();
    for seat in seen.groups.iter_mut().flat_map(|g| &mut g.seats) {
        if let Some(answer) = answers.remove(&seat.pod) {
            seat.answer = answer;
        }
    }
    count
}

/// Groups of which the status or an object of ours knows.
fn left_groups(seen: &Observed) -> Vec<String> {
    let status = seen.cluster.status.iter().flat_map(|s| &s.groups);
    let mut names: Vec<String> = status.map(|g| g.name.clone()).collect();
    let of_ours = |live: &&Live| {
        !live.kind.is_made_by_stateful_set()
            && live
                .controller()
                .is_some_and(|(_, _, uid)| uid == seen.uid())
    };
    let objects = seen.objects.iter().filter(of_ours);
    names.extend(objects.filter_map(|live| live.label(labels::GROUP).map(Into::into)));
    names.sort();
    names.dedup();
    names
}

fn group(seen: &Observed, name: &str, replicas: Option<u8>) -> GroupSeen {
    let own = names::group(seen.name(), name);
    let set: Option<StatefulSet> = ours(seen, Kind::StatefulSet, &own);
    let before = seen.status_of(name).map(|s| s.replicas);
    let of_set = set.as_ref().and_then(|s| s.spec.as_ref()?.replicas);
    let of_set = of_set.and_then(|n| u8::try_from(n).ok());
    // What the status says of a group that left the spec: a set may be scaled by hand.
    let count = replicas.or(before).or(of_set).unwrap_or(0);
    let set_uid = set.as_ref().and_then(|s| s.metadata.uid.clone());
    GroupSeen {
        name: name.into(),
        wanted: replicas.is_some(),
        replicas: count,
        lease: ours::<Lease>(seen, Kind::Lease, &own).map(|l| LeaseSeen::of(&l)),
        stateful_set: set,
        seats: (0..count)
            .map(|ordinal| seat(seen, name, ordinal, set_uid.as_deref()))
            .collect(),
    }
}

/// A pod is one of ours when our StatefulSet controls it; a StatefulSet that is gone left its
/// pods behind with nobody to control them.
fn seat(seen: &Observed, group: &str, ordinal: u8, set: Option<&str>) -> Seat {
    let pod = names::pod(seen.name(), group, ordinal);
    let claim = names::claim(&pod);
    let found = find(seen, Kind::Pod, &pod).filter(|live| match set {
        Some(set) => live.controller().is_some_and(|(_, _, uid)| uid == set),
        None => live
            .controller()
            .is_none_or(|(kind, _, _)| kind == "StatefulSet"),
    });
    Seat {
        seen: found.and_then(typed::<Pod>).map(|p| PodSeen::of(&p)),
        claim: find(seen, Kind::PersistentVolumeClaim, &claim)
            .and_then(typed::<PersistentVolumeClaim>)
            .map(|c| ClaimSeen::of(&c)),
        pod,
        ordinal,
        answer: Answer::Silent,
    }
}

fn find<'a>(seen: &'a Observed, kind: Kind, name: &str) -> Option<&'a Live> {
    seen.objects
        .iter()
        .find(|live| live.kind == kind && live.name == name)
}

fn ours<K: DeserializeOwned>(seen: &Observed, kind: Kind, name: &str) -> Option<K> {
    let live = find(seen, kind, name)?;
    let (_, _, uid) = live.controller()?;
    (uid == seen.uid()).then(|| typed(live)).flatten()
}

fn typed<K: DeserializeOwned>(live: &Live) -> Option<K> {
    serde_json::from_value(live.body.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{healthy, observed};
    use serde_json::{Value, json};

    fn live(kind: Kind, name: &str, owner: Option<(&str, &str)>, group: &str) -> Live {
        let owners: Vec<Value> = owner
            .iter()
            .map(|(kind, uid)| json!({"kind": kind, "name": "x", "uid": uid, "controller": true, "apiVersion": "v1"}))
            .collect();
        Live {
            kind,
            name: name.into(),
            body: json!({"metadata": {"name": name, "uid": format!("uid-{name}"),
                "labels": {"tandemmq.io/group": group}, "ownerReferences": owners}}),
        }
    }

    #[test]
    fn a_pod_of_another_set_is_not_in_the_seat() {
        let cluster = observed(healthy()).cluster;
        let objects = vec![
            live(
                Kind::StatefulSet,
                "orders-a",
                Some(("BrokerCluster", "c1")),
                "a",
            ),
            live(
                Kind::Pod,
                "orders-a-0",
                Some(("StatefulSet", "uid-orders-a")),
                "a",
            ),
            live(Kind::Pod, "orders-a-1", Some(("StatefulSet", "other")), "a"),
            live(Kind::PersistentVolumeClaim, "data-orders-a-1", None, "a"),
        ];
        let seen = assemble(cluster, objects);
        let seats = &seen.groups[0].seats;
        assert!(seats[0].seen.is_some());
        assert!(seats[1].seen.is_none());
        assert!(seats[1].claim.is_some());
        assert_eq!(seats.len(), 3);
    }

    #[test]
    fn a_foreign_lease_is_none_and_a_group_outside_the_spec_is_seen() {
        let cluster = observed(healthy()).cluster;
        let objects = vec![
            live(Kind::Lease, "orders-a", Some(("BrokerCluster", "c2")), "a"),
            live(
                Kind::Service,
                "orders-b",
                Some(("BrokerCluster", "c1")),
                "b",
            ),
            live(
                Kind::Service,
                "orders-x",
                Some(("BrokerCluster", "c2")),
                "x",
            ),
        ];
        let seen = assemble(cluster, objects);
        assert_eq!(seen.groups[0].lease, None);
        let names: Vec<(&str, bool)> = seen
            .groups
            .iter()
            .map(|g| (g.name.as_str(), g.wanted))
            .collect();
        assert_eq!(names, [("a", true), ("b", false)]);
    }
}
