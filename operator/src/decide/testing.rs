//! Groups for the tables of tests: `orders`, group `a`, made by hand.

use std::sync::Arc;

use serde_json::json;

use crate::api::{BrokerCluster, Founding};
use crate::observe::lease::LeaseSeen;
use crate::observe::pod::{ClaimSeen, PodSeen, Seat};
use crate::observe::report::{Answer, Follows, Peer, Report};
use crate::observe::{GroupSeen, Observed};

/// The name of the pod of an ordinal.
pub(crate) fn pod(ordinal: u8) -> String {
    format!("orders-a-{ordinal}")
}

/// The founding of volumes v0, v1, … under an id.
pub(crate) fn founding(id: &str, replicas: u8) -> Founding {
    Founding {
        id: id.into(),
        incarnations: (0..replicas).map(|o| format!("{o}/v{o}")).collect(),
    }
}

/// A group whose pods run at revision r1 and do not answer; its Lease is empty.
pub(crate) fn group(replicas: u8) -> GroupSeen {
    GroupSeen {
        name: "a".into(),
        wanted: true,
        replicas,
        lease: Some(LeaseSeen::default()),
        stateful_set: Some(stateful_set("r1")),
        seats: (0..replicas).map(seat).collect(),
    }
}

/// A StatefulSet that is at this revision.
pub(crate) fn stateful_set(revision: &str) -> k8s_openapi::api::apps::v1::StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": "orders-a", "generation": 1},
        "status": {"replicas": 3, "updateRevision": revision, "observedGeneration": 1}
    }))
    .expect("a StatefulSet")
}

fn seat(ordinal: u8) -> Seat {
    Seat {
        pod: pod(ordinal),
        ordinal,
        seen: Some(PodSeen {
            uid: format!("pod{ordinal}"),
            ip: Some(format!("10.0.0.{ordinal}")),
            revision: "r1".into(),
            ready: true,
            ..PodSeen::default()
        }),
        claim: Some(ClaimSeen {
            name: format!("data-{}", pod(ordinal)),
            uid: format!("claim{ordinal}"),
            leaving: false,
        }),
        answer: Answer::Silent,
    }
}

/// Lets the pod of an ordinal answer: blank with volume `v<ordinal>`, changed by `edit`.
pub(crate) fn says(group: &mut GroupSeen, ordinal: u8, edit: impl FnOnce(&mut Report)) {
    let seat = &mut group.seats[usize::from(ordinal)];
    let mut report = seat.report().cloned().unwrap_or_else(|| {
        let mut fresh = Report {
            broker_name: pod(ordinal),
            role: "slave".into(),
            log_state: "clean".into(),
            ..Report::default()
        };
        fresh.member.ordinal = ordinal;
        fresh.member.incarnation = format!("v{ordinal}");
        fresh
    });
    edit(&mut report);
    seat.answer = Answer::Says(Box::new(report));
}

impl Report {
    pub(crate) fn reigns(&mut self, epoch: u64, ordinal: u8) {
        self.role = "master".into();
        self.serving = true;
        self.ready = true;
        self.offsets.appended = 10;
        self.offsets.synced = 10;
        self.follows_only(epoch, ordinal);
    }

    pub(crate) fn follows(&mut self, epoch: u64, ordinal: u8) {
        self.ready = true;
        self.offsets.appended = 10;
        self.offsets.synced = 10;
        self.follows_only(epoch, ordinal);
    }

    fn follows_only(&mut self, epoch: u64, ordinal: u8) {
        self.epoch = epoch;
        self.master = Some(Follows {
            epoch,
            name: pod(ordinal),
        });
    }

    pub(crate) fn adopt(&mut self, founding: &Founding) {
        self.group_id = Some(founding.id.clone());
        self.founding = Some(founding.clone());
    }
}

/// A founded group of three with master 0 of epoch 4, all in sync.
pub(crate) fn healthy() -> GroupSeen {
    let mut it = group(3);
    let founding = founding("g1", 3);
    for ordinal in 0..3 {
        says(&mut it, ordinal, |r| {
            r.adopt(&founding);
            if ordinal == 0 {
                r.reigns(4, 0);
            } else {
                r.follows(4, 0);
            }
        });
    }
    sync(&mut it, 0, &[1, 2]);
    it.lease.as_mut().expect("a Lease").group = Some(founding);
    it
}

/// Lets the master say that exactly these others are in sync.
pub(crate) fn sync(group: &mut GroupSeen, master: u8, others: &[u8]) {
    let peers = (0..group.replicas).filter(|o| *o != master).map(|o| Peer {
        name: pod(o),
        connected: others.contains(&o),
        lag: Some(0),
        in_sync: others.contains(&o),
        reason: String::new(),
    });
    let peers = peers.collect();
    says(group, master, |r| r.members = peers);
}

/// A BrokerCluster `orders` with group `a` of three, and what is seen of it.
pub(crate) fn observed(group: GroupSeen) -> Observed {
    let cluster: BrokerCluster = serde_json::from_value(json!({
        "apiVersion": "tandemmq.io/v1alpha1", "kind": "BrokerCluster",
        "metadata": {"name": "orders", "namespace": "default", "uid": "c1", "generation": 1},
        "spec": {"groups": [{"name": "a", "replicas": group.replicas}]}
    }))
    .expect("a BrokerCluster");
    Observed {
        cluster: Arc::new(cluster),
        objects: vec![],
        groups: vec![group],
    }
}
