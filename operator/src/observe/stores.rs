//! Copies of what the API server holds, kept by watches: looking at them costs no request.
//!
//! BrokerClusters are kept as they come: one that cannot be read (the schema leaves parts of a pod
//! open) must not keep the others from being seen.
//!
//! Watched is what carries the operator's label. A change tells the loop which cluster to look at;
//! a renewal of a Lease, every two seconds for each group, does not.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;
use tokio::sync::mpsc;

use super::backoff::WatchBackoff;
use super::child::{Kind, Live};
use super::lease::of_interest;
use crate::api::BrokerCluster;
use crate::plan::labels;

/// The name and namespace of a BrokerCluster.
pub type Key = ObjectRef<BrokerCluster>;

/// The stores of all watched namespaces.
pub struct Stores {
    clusters: Vec<Store<DynamicObject>>,
    objects: HashMap<Kind, Vec<Store<DynamicObject>>>,
}

impl Stores {
    /// Starts the watches. `namespaces` empty: all. What changes is told on `changed`.
    #[must_use]
    pub fn start(
        client: &Client,
        namespaces: &[String],
        changed: &mpsc::UnboundedSender<Key>,
    ) -> Arc<Self> {
        let scopes: Vec<Option<&str>> = match namespaces {
            [] => vec![None],
            some => some.iter().map(|n| Some(n.as_str())).collect(),
        };
        let clusters = scopes
            .iter()
            .map(|scope| watch_clusters(client, *scope, changed.clone()))
            .collect();
        let of_kind = |kind| {
            let each = scopes.iter();
            each.map(|scope| watch_objects(client, *scope, kind, changed.clone()))
                .collect()
        };
        let objects = Kind::ALL.into_iter().map(|k| (k, of_kind(k))).collect();
        Arc::new(Self { clusters, objects })
    }

    /// Waits until every store has seen all that there is.
    ///
    /// # Errors
    /// When a watch has ended.
    pub async fn ready(&self) -> anyhow::Result<()> {
        for store in &self.clusters {
            store.wait_until_ready().await?;
        }
        for store in self.objects.values().flatten() {
            store.wait_until_ready().await?;
        }
        Ok(())
    }

    /// All BrokerClusters.
    #[must_use]
    pub fn clusters(&self) -> Vec<Key> {
        let all = self.clusters.iter().flat_map(Store::state);
        all.map(|c| key_of(&c)).collect()
    }

    /// One BrokerCluster, as it came.
    #[must_use]
    pub fn cluster(&self, key: &Key) -> Option<Arc<DynamicObject>> {
        let resource = ApiResource::erase::<BrokerCluster>(&());
        let mut same = ObjectRef::new_with(&key.name, resource);
        same.namespace.clone_from(&key.namespace);
        self.clusters.iter().find_map(|store| store.get(&same))
    }

    /// All objects with the label of a cluster.
    #[must_use]
    pub fn objects_of(&self, key: &Key) -> Vec<Live> {
        let namespace = key.namespace.as_deref();
        let mut found = Vec::new();
        for (kind, stores) in &self.objects {
            let mine = stores.iter().flat_map(|store| {
                store.state_filter(|o| {
                    o.metadata.namespace.as_deref() == namespace
                        && o.labels().get(labels::CLUSTER) == Some(&key.name)
                })
            });
            found.extend(mine.map(|o| Live {
                kind: *kind,
                name: o.name_any(),
                body: serde_json::to_value(&*o).unwrap_or(Value::Null),
            }));
        }
        found
    }
}

fn key_of(cluster: &DynamicObject) -> Key {
    let mut key = ObjectRef::new(&cluster.name_any());
    key.namespace = cluster.namespace();
    key
}

fn watch_clusters(
    client: &Client,
    scope: Option<&str>,
    changed: mpsc::UnboundedSender<Key>,
) -> Store<DynamicObject> {
    let resource = ApiResource::erase::<BrokerCluster>(&());
    let api: Api<DynamicObject> = match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let writer = Writer::new(resource);
    let store = writer.as_reader();
    let mut stream = watcher(api, watcher::Config::default())
        .backoff(WatchBackoff::default())
        .modify(|c| drop(c.metadata.managed_fields.take()))
        .reflect(writer)
        .touched_objects()
        .boxed();
    tokio::spawn(async move {
        loop {
            match stream.try_next().await {
                Ok(Some(cluster)) => drop(changed.send(key_of(&cluster))),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "BrokerClusters are not watched; trying again");
                }
            }
        }
    });
    store
}

fn watch_objects(
    client: &Client,
    scope: Option<&str>,
    kind: Kind,
    changed: mpsc::UnboundedSender<Key>,
) -> Store<DynamicObject> {
    let resource = kind.resource();
    let api: Api<DynamicObject> = match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let config =
        watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::OPERATOR));
    let writer = Writer::new(resource);
    let store = writer.as_reader();
    let mut stream = watcher(api, config)
        .backoff(WatchBackoff::default())
        .modify(|o| drop(o.metadata.managed_fields.take()))
        .reflect(writer)
        .boxed();
    let mut filter = Filter::new(kind);
    tokio::spawn(async move {
        loop {
            match stream.try_next().await {
                Ok(Some(event)) => {
                    if let Some(key) = filter.passes(&event) {
                        drop(changed.send(key));
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, ?kind, "objects are not watched; trying again");
                }
            }
        }
    });
    store
}

/// Lets through what can change a decision.
struct Filter {
    kind: Kind,
    leases: HashMap<String, u64>,
}

impl Filter {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            leases: HashMap::new(),
        }
    }

    fn passes(&mut self, event: &watcher::Event<DynamicObject>) -> Option<Key> {
        let (object, deleted) = match event {
            watcher::Event::Apply(o) | watcher::Event::InitApply(o) => (o, false),
            watcher::Event::Delete(o) => (o, true),
            watcher::Event::Init | watcher::Event::InitDone => return None,
        };
        if self.kind == Kind::Lease && !self.lease_changed(object, deleted) {
            return None;
        }
        let cluster = object.labels().get(labels::CLUSTER)?;
        Some(ObjectRef::new(cluster).within(&object.namespace()?))
    }

    fn lease_changed(&mut self, object: &DynamicObject, deleted: bool) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let name = format!("{:?}/{}", object.meta().namespace, object.name_any());
        if deleted {
            self.leases.remove(&name);
            return true;
        }
        let Ok(lease) = object.clone().try_parse::<Lease>() else {
            return true;
        };
        let mut hasher = DefaultHasher::new();
        of_interest(&lease).hash(&mut hasher);
        let hash = hasher.finish();
        self.leases.insert(name, hash) != Some(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(epoch: &str, write: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "orders-a", "namespace": "shop", "uid": "u",
                "labels": {"tandemmq.io/cluster": "orders"},
                "annotations": {"tandemmq.io/master-epoch": epoch, "tandemmq.io/write": write}}
        }))
        .unwrap()
    }

    #[test]
    fn a_renewal_wakes_nobody_and_a_new_master_or_a_deletion_does() {
        let mut filter = Filter::new(Kind::Lease);
        let key = Some(ObjectRef::new("orders").within("shop"));
        assert_eq!(filter.passes(&watcher::Event::Apply(lease("4", "a"))), key);
        assert_eq!(filter.passes(&watcher::Event::Apply(lease("4", "b"))), None);
        assert_eq!(filter.passes(&watcher::Event::Apply(lease("5", "c"))), key);
        assert_eq!(filter.passes(&watcher::Event::Delete(lease("5", "c"))), key);
        assert_eq!(filter.passes(&watcher::Event::Apply(lease("5", "c"))), key);
    }
}
