//! A cluster as its brokers describe it: the file joined with every broker's `/status`.
//!
//! A group's master is the broker with the highest epoch that says it is master and serves; a
//! stopped one that still believes in an older epoch does not answer, or loses the comparison.

use serde::Serialize;
use tokio::task::JoinSet;

use crate::supervisor::cluster_file::{BrokerEntry, ClusterFile, GroupEntry};
use crate::supervisor::status_client::{self, BrokerStatus, StatusOffsets};

/// A whole cluster. Its JSON is `cluster.json` with more fields: an interface for scripts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ClusterView {
    /// Groups, by name.
    pub(crate) groups: Vec<GroupView>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GroupView {
    /// Its name.
    pub(crate) name: String,
    /// Its master's name, if it has one.
    pub(crate) master: Option<String>,
    /// Its brokers.
    pub(crate) brokers: Vec<BrokerView>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BrokerView {
    /// What the file says.
    #[serde(flatten)]
    pub(crate) entry: BrokerEntry,
    /// `master`, `slave`, `candidate`, or `down`: no process, or no answer.
    pub(crate) role: String,
    /// Its epoch; null while it is down.
    pub(crate) epoch: Option<u64>,
    /// How far it is; null while it is down.
    pub(crate) offsets: Option<StatusOffsets>,
    /// Records behind the master, or behind the longest journal while there is none; null while it
    /// is down.
    pub(crate) lag: Option<u64>,
    /// Why it is not what it should be; empty when all is well.
    pub(crate) reason: String,
    /// Everything it said.
    #[serde(skip)]
    pub(crate) status: Option<BrokerStatus>,
}

impl ClusterView {
    /// True when every group has a master.
    pub(crate) fn is_complete(&self) -> bool {
        !self.groups.is_empty() && self.groups.iter().all(|group| group.master.is_some())
    }
}

impl GroupView {
    /// Joins the file's words with what the brokers said, in the same order.
    pub(super) fn new(group: &GroupEntry, statuses: Vec<Result<BrokerStatus, String>>) -> Self {
        let master = find_master(&statuses);
        let longest = statuses
            .iter()
            .flatten()
            .map(|status| status.offsets.appended)
            .max();
        let reference = match master {
            Some(place) => statuses[place].as_ref().ok().cloned(),
            None => None,
        };
        let views = group.brokers.iter().zip(statuses);
        Self {
            name: group.name.clone(),
            master: master.map(|place| group.brokers[place].name.clone()),
            brokers: views
                .map(|(entry, status)| match status {
                    Ok(status) => BrokerView::up(entry, status, reference.as_ref(), longest),
                    Err(reason) => BrokerView::down(entry, reason),
                })
                .collect(),
        }
    }

    /// Whoever knows the group's destinations best: its master, or any broker that was asked.
    pub(crate) fn best_status(&self) -> Option<&BrokerStatus> {
        let master = self.master_view().and_then(|master| master.status.as_ref());
        master.or_else(|| {
            self.brokers
                .iter()
                .find_map(|broker| broker.status.as_ref())
        })
    }

    /// The master as observed.
    pub(crate) fn master_view(&self) -> Option<&BrokerView> {
        let master = self.master.as_ref()?;
        self.brokers
            .iter()
            .find(|broker| &broker.entry.name == master)
    }

    /// True when there is a master and every other broker is in step with it.
    pub(crate) fn is_whole(&self) -> bool {
        self.master.is_some() && self.brokers.iter().all(|broker| self.is_in_step(broker))
    }

    /// True when the group is whole and every broker may vote: nothing is damaged, learning or out.
    pub(crate) fn is_sound(&self) -> bool {
        self.master.is_some() && self.brokers.iter().all(|broker| self.votes(broker))
    }

    /// The broker is in step, and its log may be trusted.
    pub(crate) fn votes(&self, broker: &BrokerView) -> bool {
        let state = broker.status.as_ref().map(|status| &*status.log_state);
        self.is_in_step(broker) && state == Some("clean") && broker.reason.is_empty()
    }

    /// It is the master, or the master says so of it and it answers.
    fn is_in_step(&self, broker: &BrokerView) -> bool {
        let name = &broker.entry.name;
        if Some(name) == self.master.as_ref() {
            return true;
        }
        let master = self.master_view().and_then(|master| master.status.as_ref());
        let mut members = master.iter().flat_map(|status| &status.members);
        broker.status.is_some() && members.any(|member| &member.name == name && member.in_sync)
    }

    /// The broker of that name.
    pub(crate) fn broker(&self, name: &str) -> Option<&BrokerView> {
        self.brokers.iter().find(|broker| broker.entry.name == name)
    }
}

impl BrokerView {
    fn up(
        entry: &BrokerEntry,
        status: BrokerStatus,
        master: Option<&BrokerStatus>,
        longest: Option<u64>,
    ) -> Self {
        let seen = master.and_then(|master| master.members.iter().find(|m| m.name == entry.name));
        let behind = longest.map(|longest| longest.saturating_sub(status.offsets.appended));
        let reason = match (status.reason.is_empty(), seen) {
            (true, Some(seen)) => seen.reason.clone(),
            _ => status.reason.clone(),
        };
        Self {
            entry: entry.clone(),
            role: status.role.clone(),
            epoch: Some(status.epoch),
            offsets: Some(status.offsets),
            lag: seen.and_then(|seen| seen.lag).or(behind),
            reason,
            status: Some(status),
        }
    }

    fn down(entry: &BrokerEntry, reason: String) -> Self {
        Self {
            entry: entry.clone(),
            role: "down".into(),
            epoch: None,
            offsets: None,
            lag: None,
            reason,
            status: None,
        }
    }
}

/// Asks every broker at once.
pub(crate) async fn observe(cluster: &ClusterFile) -> ClusterView {
    let mut asked = JoinSet::new();
    for (place, broker) in cluster.brokers().enumerate() {
        let address = broker.addresses.metrics.clone();
        let runs = broker.pid.is_some();
        asked.spawn(async move {
            let answer = match runs {
                true => status_client::fetch(&address)
                    .await
                    .map_err(|error| error.to_string()),
                false => Err("its process does not run".to_owned()),
            };
            (place, answer)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    let mut answers = answers.into_iter().map(|(_, answer)| answer);
    let groups = cluster.groups.iter().map(|group| {
        let statuses = answers.by_ref().take(group.brokers.len()).collect();
        GroupView::new(group, statuses)
    });
    ClusterView {
        groups: groups.collect(),
    }
}

fn find_master(statuses: &[Result<BrokerStatus, String>]) -> Option<usize> {
    let masters = statuses
        .iter()
        .enumerate()
        .filter_map(|(place, status)| match status {
            Ok(status) if status.role == "master" && status.serving => Some((status.epoch, place)),
            _ => None,
        });
    masters.max().map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::plan::Shape;
    use crate::supervisor::status_client::MemberStatus;

    fn group() -> GroupEntry {
        let shape = Shape {
            groups: 1,
            replicas: 3,
            base_port: 20_000,
        };
        shape.plan(std::path::Path::new("/d")).groups.remove(0)
    }

    fn status(role: &str, epoch: u64, appended: u64) -> BrokerStatus {
        BrokerStatus {
            role: role.into(),
            epoch,
            serving: role == "master",
            offsets: StatusOffsets {
                appended,
                ..StatusOffsets::default()
            },
            ..BrokerStatus::default()
        }
    }

    #[test]
    fn the_highest_serving_epoch_is_master() {
        let statuses = vec![
            Ok(status("master", 3, 9)),
            Ok(status("master", 4, 9)),
            Ok(BrokerStatus {
                serving: false,
                ..status("master", 5, 9)
            }),
        ];
        assert_eq!(
            GroupView::new(&group(), statuses).master.as_deref(),
            Some("a-1")
        );
    }

    #[test]
    fn lag_comes_from_the_master_or_from_the_longest_journal() {
        let member = MemberStatus {
            name: "a-1".into(),
            lag: Some(7),
            ..MemberStatus::default()
        };
        let master = BrokerStatus {
            members: vec![member],
            ..status("master", 1, 9)
        };
        let statuses = vec![Ok(master), Ok(status("slave", 1, 5)), Err("gone".into())];
        let view = GroupView::new(&group(), statuses);
        assert_eq!(view.brokers[1].lag, Some(7));
        assert_eq!(
            (view.brokers[2].role.as_str(), view.brokers[2].lag),
            ("down", None)
        );
        let statuses = vec![
            Ok(status("slave", 1, 9)),
            Ok(status("slave", 1, 5)),
            Err("gone".into()),
        ];
        let view = GroupView::new(&group(), statuses);
        assert_eq!((view.master.clone(), view.brokers[1].lag), (None, Some(4)));
    }

    #[test]
    fn a_group_is_whole_when_every_slave_is_in_step() {
        let in_step = |name: &str| MemberStatus {
            name: name.into(),
            in_sync: true,
            ..MemberStatus::default()
        };
        let members = vec![in_step("a-1"), in_step("a-2")];
        let master = BrokerStatus {
            members,
            ..status("master", 1, 9)
        };
        let slave = || Ok(status("slave", 1, 9));
        assert!(GroupView::new(&group(), vec![Ok(master.clone()), slave(), slave()]).is_whole());
        let one_down = vec![Ok(master), slave(), Err("gone".into())];
        assert!(!GroupView::new(&group(), one_down).is_whole());
        assert!(!GroupView::new(&group(), vec![slave(), slave(), slave()]).is_whole());
    }

    #[test]
    fn a_group_with_a_member_that_may_not_vote_is_not_sound() {
        let member = |name: &str| MemberStatus {
            name: name.into(),
            in_sync: true,
            ..MemberStatus::default()
        };
        let clean = |role| BrokerStatus {
            log_state: "clean".into(),
            members: vec![member("a-1"), member("a-2")],
            ..status(role, 1, 9)
        };
        let of = |last| {
            GroupView::new(
                &group(),
                vec![Ok(clean("master")), Ok(clean("slave")), Ok(last)],
            )
        };
        assert!(of(clean("slave")).is_sound());
        let learner = BrokerStatus {
            log_state: "learner".into(),
            ..clean("slave")
        };
        assert!(of(learner.clone()).is_whole() && !of(learner).is_sound());
    }

    #[test]
    fn the_json_is_the_file_with_more_fields() {
        let statuses = vec![
            Ok(status("master", 1, 9)),
            Ok(status("slave", 1, 9)),
            Err("x".into()),
        ];
        let view = ClusterView {
            groups: vec![GroupView::new(&group(), statuses)],
        };
        assert!(view.is_complete());
        let json = serde_json::to_value(&view).unwrap();
        let broker = &json["groups"][0]["brokers"][1];
        assert_eq!(broker["name"], "a-1");
        assert_eq!(broker["role"], "slave");
        assert_eq!(broker["addresses"]["stomp"], "127.0.0.1:20010");
        assert_eq!(broker["offsets"]["appended"], 9);
        assert_eq!(json["groups"][0]["master"], "a-0");
        assert_eq!(json["groups"][0]["brokers"][2]["role"], "down");
        assert!(json["groups"][0]["brokers"][2]["epoch"].is_null());
    }
}
