//! A random walk over founding: a tiny model of brokers, the real decision, and everything that
//! can come between: the operator dies between two writes, its picture is old, the Lease is
//! deleted, the status emptied, a volume wiped.
//!
//! The rules of the brokers are those of the protocol (rows 2, 6, 15): ordinal 0 proposes by
//! compare-and-swap what all answered; a blank volume adopts what *some* Lease once named, if it
//! is listed; the first election needs every listed volume; a member of another group than the
//! Lease's does not stand.
//!
//! Two operators act at once, the second being a leader that lost its Lease and does not know.
//!
//! Asserted: F0, no group has its first election while a volume of a group that had one is in
//! place; F1, nor while status or Lease name that group. What had an election is forgotten only by
//! a fault or by a person's wish, never by the operator alone; and what it forgot never has one.
//! And the walk is awake: it reaches what it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;

use super::step::{LeaseChange, Step};
use super::{Given, decide};
use crate::api::{BrokerClusterStatus, Founding, GroupStatus};
use crate::decide::testing::{group, observed, says};
use crate::observe::lease::{GROUP, LeaseSeen, PROPOSAL};

const N: u8 = 3;

/// xorshift: the same seed, the same walk.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[derive(Clone, Default)]
struct Volume {
    incarnation: String,
    adopted: Option<Founding>,
}

/// What the API server holds.
#[derive(Clone, Default)]
struct Api {
    lease: Option<Lease>,
    version: u64,
    status: Option<Founding>,
    wish: Option<String>,
    begun: Option<String>,
}

#[derive(Default)]
struct Seen {
    elections: u32,
    second_groups: u32,
    dropped: u32,
    anew: u32,
    refused: u32,
    restored: u32,
}

struct World {
    chance: Chance,
    volumes: Vec<Volume>,
    api: Api,
    /// Older states of the API: what a store may still show.
    past: Vec<Api>,
    /// A founder's question: the Lease's version and what was answered.
    asked: Option<(u64, Vec<String>)>,
    /// Foundings that some Lease named: an old read may find them.
    offered: Vec<Founding>,
    elected: BTreeMap<String, Founding>,
    drawn: u32,
    faults: u32,
    /// Foundings that a person gave up.
    wished: BTreeSet<String>,
    /// Foundings that the operator dropped by itself.
    dropped: BTreeSet<String>,
    /// What each operator still has to do of its last decision.
    todo: [Vec<Step>; 2],
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut it = Self {
            chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            volumes: vec![],
            api: Api::default(),
            past: vec![],
            asked: None,
            offered: vec![],
            elected: BTreeMap::new(),
            drawn: 0,
            faults: 0,
            wished: BTreeSet::new(),
            dropped: BTreeSet::new(),
            todo: [vec![], vec![]],
            seen: Seen::default(),
        };
        it.volumes = (0..N).map(|_| it.fresh_volume()).collect();
        it
    }

    fn draw(&mut self) -> String {
        self.drawn += 1;
        format!("x{}", self.drawn)
    }

    fn fresh_volume(&mut self) -> Volume {
        Volume {
            incarnation: self.draw(),
            adopted: None,
        }
    }

    fn annotation(&self, key: &str) -> Option<Founding> {
        let annotations = self.api.lease.as_ref()?.metadata.annotations.as_ref()?;
        serde_json::from_str(annotations.get(key)?).ok()
    }

    fn change(&mut self, edit: impl FnOnce(&mut Api)) {
        self.past.push(self.api.clone());
        edit(&mut self.api);
        self.api.version += 1;
        if let Some(group) = self.annotation(GROUP)
            && !self.offered.contains(&group)
        {
            self.offered.push(group);
        }
    }

    fn annotate(&mut self, key: &str, value: Option<&Founding>) {
        let value = value.map(|v| serde_json::to_string(v).unwrap());
        self.change(|api| {
            let lease = api.lease.as_mut().unwrap();
            let annotations = lease.metadata.annotations.get_or_insert_default();
            match value {
                Some(value) => annotations.insert(key.into(), value),
                None => annotations.remove(key),
            };
        });
    }

    fn listed(&self, founding: &Founding, ordinal: u8) -> bool {
        let volume = &self.volumes[usize::from(ordinal)];
        let name = format!("{ordinal}/{}", volume.incarnation);
        founding.incarnations.contains(&name)
    }

    // --- brokers ---

    fn ask(&mut self) {
        let blank = self.volumes.iter().all(|v| v.adopted.is_none());
        let empty = self.annotation(GROUP).is_none() && self.annotation(PROPOSAL).is_none();
        if blank && empty && self.api.lease.is_some() {
            let answers = self.volumes.iter().map(|v| v.incarnation.clone()).collect();
            self.asked = Some((self.api.version, answers));
        }
    }

    fn propose(&mut self) {
        // The version of the whole world is stricter than that of the Lease alone; a question is
        // asked again soon, so nothing is lost by it.
        if let Some((version, answers)) = self.asked.take()
            && version == self.api.version
            && self.volumes[0].adopted.is_none()
        {
            let incarnations = answers
                .iter()
                .enumerate()
                .map(|(o, i)| format!("{o}/{i}"))
                .collect();
            let id = self.draw();
            self.annotate(PROPOSAL, Some(&Founding { id, incarnations }));
        }
    }

    fn adopt(&mut self, ordinal: u8) {
        // Any founding that any Lease ever named: an old read.
        let pick = self.chance.below(self.offered.len().max(1) as u64) as usize;
        let Some(founding) = self.offered.get(pick).cloned() else {
            return;
        };
        let listed = self.listed(&founding, ordinal);
        let volume = &mut self.volumes[usize::from(ordinal)];
        if volume.adopted.is_none() && listed {
            volume.adopted = Some(founding);
        }
    }

    fn elect(&mut self) {
        let Some(founding) = self.volumes[0].adopted.clone() else {
            return;
        };
        let all = (0..N).all(|o| {
            self.listed(&founding, o)
                && self.volumes[usize::from(o)].adopted.as_ref() == Some(&founding)
        });
        let lease = self.annotation(GROUP);
        let named = self.api.lease.is_some() && lease.as_ref().is_none_or(|g| *g == founding);
        if !all || !named || self.elected.contains_key(&founding.id) {
            return;
        }
        self.judge(&founding);
        self.seen.elections += 1;
        if lease.is_none() {
            self.annotate(GROUP, Some(&founding));
        }
        self.elected.insert(founding.id.clone(), founding);
    }

    /// F0 and F1, at a first election.
    fn judge(&mut self, new: &Founding) {
        assert!(
            !self.dropped.contains(&new.id),
            "{} was dropped and reigns",
            new.id
        );
        for id in self.elected.keys() {
            assert_ne!(*id, new.id);
            let in_place = self
                .volumes
                .iter()
                .any(|v| v.adopted.as_ref().is_some_and(|f| f.id == *id));
            assert!(!in_place, "F0: {} reigns beside a volume of {id}", new.id);
            let status = self.api.status.as_ref().is_some_and(|f| f.id == *id);
            let lease = self.annotation(GROUP).is_some_and(|f| f.id == *id);
            assert!(
                !status && !lease,
                "F1: {} reigns while {id} is known",
                new.id
            );
            self.seen.second_groups += 1;
        }
    }

    // --- faults ---

    fn fault(&mut self) {
        if self.faults >= 6 {
            return;
        }
        self.faults += 1;
        match self.chance.below(4) {
            0 => self.change(|api| api.lease = None),
            1 => self.change(|api| api.status = None),
            _ => {
                let ordinal = self.chance.below(u64::from(N)) as usize;
                self.volumes[ordinal] = self.fresh_volume();
            }
        }
    }

    /// A person reads FoundingStuck and asks for a founding anew.
    fn wish(&mut self) {
        if let Some(founding) = self.api.status.clone()
            && self.api.wish.is_none()
        {
            self.change(|api| api.wish = Some(format!("a/{}", founding.id)));
            self.wished.insert(founding.id);
        }
    }

    // --- the operator ---

    fn look(&mut self, who: usize) {
        // A store may be behind; the pods are asked now.
        let lag = self.chance.below(6) as usize;
        let api = match lag {
            0 => self.api.clone(),
            lag => self
                .past
                .iter()
                .rev()
                .nth(lag - 1)
                .unwrap_or(&self.api)
                .clone(),
        };
        let mut it = group(N);
        it.lease = api.lease.as_ref().map(LeaseSeen::of);
        it.stateful_set = None;
        for (ordinal, volume) in self.volumes.iter().enumerate() {
            if self.chance.below(12) == 0 {
                continue; // it does not answer now
            }
            let elected = volume
                .adopted
                .as_ref()
                .is_some_and(|f| self.elected.contains_key(&f.id));
            says(&mut it, ordinal as u8, |r| {
                r.member.incarnation = volume.incarnation.clone();
                if let Some(founding) = &volume.adopted {
                    r.adopt(founding);
                }
                r.offsets.appended = u64::from(elected);
            });
            // The pod and the claim of a volume: known by it.
            let seat = &mut it.seats[ordinal];
            seat.seen.as_mut().unwrap().uid = format!("pod-{}", volume.incarnation);
            seat.claim.as_mut().unwrap().uid = format!("claim-{}", volume.incarnation);
        }
        let mut seen = observed(it);
        let cluster = Arc::make_mut(&mut seen.cluster);
        cluster.status = Some(BrokerClusterStatus {
            groups: vec![GroupStatus {
                name: "a".into(),
                founding: api.status,
                ..GroupStatus::default()
            }],
            ..BrokerClusterStatus::default()
        });
        let wishes = [
            (super::anew::FOUND_ANEW, api.wish),
            (super::anew::BEGUN, api.begun),
        ];
        let annotations = wishes
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), v?)));
        cluster.metadata.annotations = Some(annotations.collect());
        if api.lease.is_none() {
            // What `children` asks for, by its own tests.
            self.todo[who] = vec![Step::CreateLease {
                group: "a".into(),
                child: super::step::Child {
                    kind: crate::observe::child::Kind::Lease,
                    name: "orders-a".into(),
                    body: serde_json::Value::Null,
                },
            }];
            return;
        }
        let given = Given {
            wishes: &[],
            failed: None,
            now: Timestamp::UNIX_EPOCH,
            fresh_id: "never",
        };
        let decision = decide(&seen, &given);
        self.seen.refused += u32::from(decision.status.conditions[0].reason == "WishRefused");
        self.todo[who] = decision.batches.into_iter().flatten().collect();
    }

    fn work(&mut self) {
        let who = usize::from(self.chance.below(5) == 0);
        if self.todo[who].is_empty() {
            return self.look(who);
        }
        if self.chance.below(6) == 0 {
            self.todo[who].clear(); // it is killed
            return;
        }
        let step = self.todo[who].remove(0);
        let known = self.known();
        if !self.apply(step.clone()) {
            self.todo[who].clear();
        }
        let now = self.known();
        let mut lost = known
            .difference(&now)
            .filter(|id| !self.wished.contains(*id));
        assert_eq!(lost.next(), None, "{step:?} made it unknown");
    }

    /// Groups that had an election and that status or Lease name, or that have a volume in place.
    fn known(&self) -> BTreeSet<String> {
        let lease = self.annotation(GROUP);
        let volumes = self.volumes.iter().filter_map(|v| v.adopted.clone());
        let all = volumes.chain(lease).chain(self.api.status.clone());
        all.map(|f| f.id)
            .filter(|id| self.elected.contains_key(id))
            .collect()
    }

    /// As `apply` does it: on fresh objects. False: it does not fit any more.
    fn apply(&mut self, step: Step) -> bool {
        match step {
            Step::CreateLease { .. } => {
                if self.api.lease.is_some() {
                    return false;
                }
                let status = self.api.status.clone();
                self.change(|api| api.lease = Some(Lease::default()));
                if let Some(founding) = status {
                    self.annotate(GROUP, Some(&founding));
                }
            }
            Step::SetFounding { from, to, .. } => {
                if self.api.status != from {
                    return false;
                }
                if let (Some(from), None) = (&from, &to)
                    && !self.wished.contains(&from.id)
                {
                    assert!(
                        !self.elected.contains_key(&from.id),
                        "{} is dropped",
                        from.id
                    );
                    self.dropped.insert(from.id.clone());
                    self.seen.dropped += 1;
                }
                self.seen.restored += u32::from(
                    to.as_ref()
                        .is_some_and(|f| self.elected.contains_key(&f.id)),
                );
                self.change(|api| api.status = to);
            }
            Step::ChangeLease { change, .. } => {
                if let LeaseChange::Found(founding) = &change
                    && self.api.status.as_ref() != Some(founding)
                {
                    return false;
                }
                let Some(mut lease) = self.api.lease.clone() else {
                    return false;
                };
                if change.apply(&mut lease).is_err() {
                    return false;
                }
                self.change(|api| api.lease = Some(lease));
            }
            Step::Delete { uid, .. } => {
                let old = uid.strip_prefix("claim-").map(ToOwned::to_owned);
                let found =
                    old.and_then(|old| self.volumes.iter().position(|v| v.incarnation == old));
                if let Some(ordinal) = found {
                    self.volumes[ordinal] = self.fresh_volume();
                    self.seen.anew += 1;
                }
            }
            Step::Annotate { key, to } => self.change(|api| {
                if key == super::anew::BEGUN {
                    api.begun = to;
                } else {
                    api.wish = to;
                }
            }),
            other => panic!("not of this world: {other:?}"),
        }
        true
    }

    fn run(mut self, steps: u32) -> Seen {
        for _ in 0..steps {
            match self.chance.below(20) {
                0 | 1 => self.ask(),
                2..=4 => self.propose(),
                5..=8 => {
                    let ordinal = self.chance.below(u64::from(N)) as u8;
                    self.adopt(ordinal);
                }
                9 | 10 => self.elect(),
                11 if self.chance.below(6) == 0 => self.fault(),
                12 if self.chance.below(20) == 0 => self.wish(),
                _ => self.work(),
            }
        }
        self.seen
    }
}

#[test]
fn two_groups_never_reign_under_one_name_whatever_comes_between() {
    let mut all = Seen::default();
    let mut stalled = BTreeSet::new();
    for seed in 1..=2_000 {
        let seen = World::new(seed).run(600);
        if seen.elections == 0 {
            stalled.insert(seed);
        }
        all.elections += seen.elections;
        all.second_groups += seen.second_groups;
        all.dropped += seen.dropped;
        all.anew += seen.anew;
        all.refused += seen.refused;
        all.restored += seen.restored;
    }
    println!(
        "elections {}, second groups {}, dropped {}, volumes deleted anew {}, refused {}, restored {}, no election {}",
        all.elections,
        all.second_groups,
        all.dropped,
        all.anew,
        all.refused,
        all.restored,
        stalled.len()
    );
    assert!(all.elections > 1_000, "the walk founds groups");
    assert!(all.dropped > 20, "foundings are dropped");
    assert!(all.anew > 20, "foundings are given up by hand");
    assert!(all.refused > 20, "wishes are refused");
    assert!(all.restored > 20, "a lost status comes back");
}
