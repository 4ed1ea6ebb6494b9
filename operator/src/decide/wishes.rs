//! The objects that a BrokerCluster shall have: `plan`'s, as JSON, in the order in which they are
//! needed. The StatefulSet comes last: its pods find everything else there.

use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde_json::Value;

use crate::api::{BrokerCluster, Group, Reason};
use crate::decide::children::{How, Wish};
use crate::decide::conditions::Problem;
use crate::decide::drift;
use crate::decide::step::Child;
use crate::observe::child::Kind;
use crate::plan::{
    config_map, disruption_budget, lease, network_policy, peers, rbac, secrets, services,
    stateful_set,
};

/// What the plan needs and that is not in the spec.
pub struct Matter<'a> {
    /// The image of each group that runs.
    pub images: &'a BTreeMap<String, String>,
    /// The image for a group that is made now.
    pub image: &'a str,
    /// The content of the Secret `C-peers`.
    pub peers: Option<peers::Data>,
    /// Random bytes for a password that may have to be made.
    pub random: &'a [u8; 32],
}

/// All wishes for a cluster.
#[must_use]
pub fn all(cluster: &BrokerCluster, matter: &Matter<'_>) -> Vec<Wish> {
    let mut wishes = Vec::new();
    wishes.extend(
        secrets::auth(cluster, matter.random).map(|s| wish(None, &s, Kind::Secret, How::Once)),
    );
    let peers = matter.peers.clone();
    wishes.extend(peers.map(|data| {
        let secret: Secret = peers::secret(cluster, data);
        wish(None, &secret, Kind::Secret, How::Apply)
    }));
    let masters = services::masters(cluster);
    wishes.push(wish(None, &masters, Kind::Service, How::Apply));
    for group in &cluster.spec.groups {
        wishes.extend(of_group(cluster, group, matter));
    }
    wishes
}

fn of_group(cluster: &BrokerCluster, group: &Group, matter: &Matter<'_>) -> Vec<Wish> {
    let own = Some(group.name.as_str());
    let account = rbac::service_account(cluster, group);
    let binding = rbac::role_binding(cluster, group);
    let nodes = services::nodes(cluster, group);
    let current = matter.images.get(&group.name).map(String::as_str);
    let image = stateful_set::image(cluster, current, matter.image);
    let mut wishes = vec![
        wish(own, &account, Kind::ServiceAccount, How::Apply),
        wish(own, &rbac::role(cluster, group), Kind::Role, How::Apply),
        wish(own, &binding, Kind::RoleBinding, How::Apply),
        wish(
            own,
            &config_map::config_map(cluster, group),
            Kind::ConfigMap,
            How::Apply,
        ),
        wish(own, &nodes, Kind::Service, How::Apply),
        wish(
            own,
            &services::master(cluster, group),
            Kind::Service,
            How::Apply,
        ),
        wish(own, &lease::lease(cluster, group), Kind::Lease, How::Once),
    ];
    wishes.extend(
        disruption_budget::disruption_budget(cluster, group)
            .map(|b| wish(own, &b, Kind::PodDisruptionBudget, How::Apply)),
    );
    wishes.extend(
        network_policy::network_policy(cluster, group)
            .map(|p| wish(own, &p, Kind::NetworkPolicy, How::Apply)),
    );
    let mut set = wish(
        own,
        &stateful_set::stateful_set(cluster, group, image),
        Kind::StatefulSet,
        How::Apply,
    );
    if image.is_empty() {
        set.lacks = Some(Problem::new(
            Reason::InvalidSpec,
            format!(
                "group {}: no image: set spec.image, or start the operator with --broker-image",
                group.name
            ),
        ));
    }
    wishes.push(set);
    wishes
}

fn wish<K>(group: Option<&str>, object: &K, kind: Kind, how: How) -> Wish
where
    K: Serialize + k8s_openapi::Resource<Scope = NamespaceResourceScope>,
{
    let mut body = serde_json::to_value(object).expect("a Kubernetes object is JSON");
    let name = body.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.unwrap_or_default().to_owned();
    if how == How::Apply {
        drift::stamp(&mut body);
    }
    let child = Child { kind, name, body };
    Wish {
        group: group.map(Into::into),
        child,
        how,
        lacks: None,
    }
}

/// The Secrets that the pods need and that the operator does not make, each with its keys.
#[must_use]
pub fn needed_secrets(cluster: &BrokerCluster) -> Vec<(String, &'static [&'static str])> {
    let mut needed: Vec<(String, &'static [&'static str])> = Vec::new();
    let auth = &cluster.spec.auth;
    if let Some(theirs) = auth.secret_ref.as_ref().filter(|_| !auth.anonymous) {
        needed.push((theirs.name.clone(), &["users"]));
    }
    if let Some(tls) = &cluster.spec.transports.stomp.tls {
        needed.push((tls.secret_ref.name.clone(), &["tls.crt", "tls.key"]));
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::cluster;

    fn all_of(cluster: &BrokerCluster, image: &str) -> Vec<Wish> {
        let matter = Matter {
            images: &BTreeMap::from([("b".to_owned(), "old".to_owned())]),
            image,
            peers: Some(peers::Data::new()),
            random: &[7; 32],
        };
        all(cluster, &matter)
    }

    fn image_of(wishes: &[Wish], name: &str) -> String {
        let sets = |w: &&Wish| w.child.kind == Kind::StatefulSet && w.child.name == name;
        let set = &wishes.iter().find(sets).unwrap().child.body;
        set["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn every_object_has_a_name_an_owner_and_comes_before_its_pods() {
        let cluster = cluster();
        let wishes = all_of(&cluster, "new");
        for wish in &wishes {
            assert!(!wish.child.name.is_empty());
            let owner = crate::observe::child::controller_of(&wish.child.body).unwrap();
            assert_eq!(owner.2, cluster.metadata.uid.as_deref().unwrap());
            assert_eq!(wish.child.body["kind"], wish.child.kind.resource().kind);
        }
        let of_a: Vec<Kind> = wishes
            .iter()
            .filter(|w| w.group.as_deref() == Some("a"))
            .map(|w| w.child.kind)
            .collect();
        assert_eq!(of_a.last(), Some(&Kind::StatefulSet));
        assert_eq!(of_a.len(), 9);
    }

    #[test]
    fn a_group_that_runs_keeps_its_image_and_a_new_one_gets_the_operators() {
        let wishes = all_of(&cluster(), "new");
        assert_eq!(image_of(&wishes, "orders-a"), "new");
        assert_eq!(image_of(&wishes, "orders-b"), "old");
    }

    #[test]
    fn without_any_image_the_pods_are_not_made_and_the_spec_is_called_wrong() {
        let wishes = all_of(&cluster(), "");
        let lacking: Vec<&Wish> = wishes.iter().filter(|w| w.lacks.is_some()).collect();
        assert_eq!(lacking.len(), 1);
        assert_eq!(
            lacking[0].lacks.as_ref().unwrap().reason,
            Reason::InvalidSpec
        );
    }
}
