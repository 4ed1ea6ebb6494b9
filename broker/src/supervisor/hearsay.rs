//! A cluster as the brokers of some metrics ports describe it, the others by hearsay.
//!
//! Without a folder of `up` nobody knows where the other brokers' metrics ports are. What a broker
//! tells about its peers fills the gaps: who is master, who is connected, who is how far behind.

use crate::supervisor::cluster_file::{BrokerAddresses, BrokerEntry, GroupEntry};
use crate::supervisor::observe::{BrokerView, ClusterView, GroupView};
use crate::supervisor::status_client::{self, BrokerStatus, MemberStatus, StatusError};

/// Asks these metrics ports, one after the other; an error when one of them does not answer.
pub(crate) async fn observe_urls(urls: &[String]) -> Result<ClusterView, StatusError> {
    let mut told: Vec<(String, BrokerStatus)> = Vec::new();
    for url in urls {
        told.push((url.clone(), status_client::fetch(url).await?));
    }
    let mut names: Vec<String> = told
        .iter()
        .map(|(_, status)| status.group.clone())
        .collect();
    names.sort();
    names.dedup();
    let groups = names.into_iter().map(|name| group_of(name, &told));
    Ok(ClusterView {
        groups: groups.collect(),
    })
}

fn group_of(name: String, told: &[(String, BrokerStatus)]) -> GroupView {
    let told: Vec<_> = told
        .iter()
        .filter(|(_, status)| status.group == name)
        .collect();
    let entry = GroupEntry {
        name,
        brokers: told
            .iter()
            .map(|(url, status)| entry_of(url, status))
            .collect(),
    };
    let statuses = told.iter().map(|(_, status)| Ok(status.clone())).collect();
    let mut view = GroupView::new(&entry, statuses);
    // A master knows most about the others.
    let teller = view
        .master_view()
        .and_then(|master| master.status.clone())
        .or_else(|| told.first().map(|(_, status)| status.clone()));
    if let Some(teller) = teller {
        add_hearsay(&mut view, &teller);
    }
    view
}

fn add_hearsay(view: &mut GroupView, teller: &BrokerStatus) {
    let known: Vec<String> = view
        .brokers
        .iter()
        .map(|broker| broker.entry.name.clone())
        .collect();
    let master = teller.master.as_ref().map(|master| master.name.as_str());
    for member in teller.members.iter().filter(|m| !known.contains(&m.name)) {
        let is_master = member.connected && master == Some(member.name.as_str());
        if is_master && view.master.is_none() {
            view.master = Some(member.name.clone());
        }
        view.brokers.push(heard_of(member, is_master, teller));
    }
    view.brokers
        .sort_by(|one, other| one.entry.name.cmp(&other.entry.name));
}

fn heard_of(member: &MemberStatus, is_master: bool, teller: &BrokerStatus) -> BrokerView {
    let role = match (member.connected, is_master) {
        (_, true) => "master",
        (true, false) => "slave",
        (false, false) => "down",
    };
    let reason = match member.reason.is_empty() {
        true => format!("as {} says", teller.broker_name),
        false => format!("{}, as {} says", member.reason, teller.broker_name),
    };
    BrokerView {
        entry: BrokerEntry {
            name: member.name.clone(),
            pid: None,
            data_dir: Default::default(),
            addresses: BrokerAddresses::default(),
        },
        role: role.into(),
        epoch: None,
        offsets: None,
        lag: member.lag,
        reason,
        status: None,
    }
}

fn entry_of(url: &str, status: &BrokerStatus) -> BrokerEntry {
    BrokerEntry {
        name: status.broker_name.clone(),
        pid: Some(status.pid),
        // A status does not say where a broker keeps its files.
        data_dir: Default::default(),
        addresses: BrokerAddresses {
            stomp: status.addresses.stomp.clone(),
            peers: status.addresses.peers.clone(),
            metrics: url.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::status_client::MasterStatus;

    fn slave() -> BrokerStatus {
        let member = |name: &str, connected| MemberStatus {
            name: name.into(),
            connected,
            ..MemberStatus::default()
        };
        BrokerStatus {
            broker_name: "a-1".into(),
            group: "a".into(),
            role: "slave".into(),
            master: Some(MasterStatus {
                epoch: 4,
                name: "a-0".into(),
            }),
            members: vec![
                member("a-0", true),
                member("a-1", false),
                member("a-2", false),
            ],
            ..BrokerStatus::default()
        }
    }

    #[test]
    fn a_slave_tells_who_is_master() {
        let view = group_of("a".into(), &[("127.0.0.1:1".into(), slave())]);
        assert_eq!(view.master.as_deref(), Some("a-0"));
        let roles: Vec<&str> = view
            .brokers
            .iter()
            .map(|broker| broker.role.as_str())
            .collect();
        assert_eq!(roles, ["master", "slave", "down"]);
    }

    #[test]
    fn a_master_that_is_not_connected_any_more_is_none() {
        let mut slave = slave();
        slave.members[0].connected = false;
        let view = group_of("a".into(), &[("127.0.0.1:1".into(), slave)]);
        assert_eq!(view.master, None);
    }
}
