//! Does what was decided: one step, one change, a few calls to the API server.
//!
//! - Objects are written by server-side apply with one field manager, by force: what the operator
//!   wants of an object is put back, what others add stays. Over an object that is there only with
//!   its UID, so that one of the same name that came in between is not meant.
//! - What must not be done twice, or from an old picture, is a replace at the resourceVersion of
//!   a fresh read: founding, Lease, status.
//! - A founding is written into the Lease only while a fresh status names it.
//!
//! No retries here: the next look decides anew.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{BrokerCluster, Founding, GroupStatus};
use crate::decide::step::{Child, LeaseChange, Stale, Step};
use crate::metrics::Metrics;
use crate::observe::child::{Kind, controller_of};
use crate::observe::lease::{GROUP, WRITE};
use crate::observe::pod::ROLE;
use crate::observe::stores::Key;

/// Who wrote a field.
pub const MANAGER: &str = "tandemmq-operator";

/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It does not fit what is there now.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The API server refused it: it will refuse it again.
    #[error("{what}: the API server refuses it: {why}")]
    Refused {
        /// The object.
        what: String,
        /// The API server's own words.
        why: String,
    },
    /// No answer, or one that says to try again.
    #[error("{what}: {why}")]
    Unavailable {
        /// The object.
        what: String,
        /// Why.
        why: String,
    },
}

/// Writes for one cluster.
#[derive(Clone)]
pub struct Hands {
    client: Client,
    metrics: Arc<Metrics>,
    key: Key,
    uid: String,
}

impl Hands {
    /// For the cluster of this name and UID.
    #[must_use]
    pub const fn new(client: Client, metrics: Arc<Metrics>, key: Key, uid: String) -> Self {
        Self {
            client,
            metrics,
            key,
            uid,
        }
    }

    /// Does one step.
    ///
    /// # Errors
    /// When it was not done, or nobody knows whether it was.
    pub async fn take(&self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::Apply { child, uid } => self.apply(child, uid.as_deref()).await,
            Step::CreateLease { group, child } => self.create_lease(group, child).await,
            Step::Create { child } => self.create(child).await,
            Step::SetFounding { group, from, to } => {
                self.set_founding(group, from.as_ref(), to.as_ref()).await
            }
            Step::ChangeLease { lease, change } => self.change_lease(lease, change).await,
            Step::LabelPod { pod, uid, role } => self.label_pod(pod, uid, role).await,
            Step::Delete { kind, name, uid } => self.delete(*kind, name, uid).await,
            Step::Annotate { key, to } => self.annotate(key, to.as_deref()).await,
        }
    }

    /// Reads an object whose copy the stores do not have: it may lack our label.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn find(&self, kind: Kind, name: &str) -> Result<Option<Value>, Failure> {
        let found = self
            .call("get", kind, name, self.api(kind).get_opt(name))
            .await?;
        Ok(found.map(|object| serde_json::to_value(object).unwrap_or(Value::Null)))
    }

    /// Writes the status, if the object is still the one that was looked at.
    ///
    /// # Errors
    /// When it is not, or the API server does not take it.
    pub async fn write_status(&self, cluster: &BrokerCluster) -> Result<BrokerCluster, Failure> {
        self.replace_status(cluster).await
    }

    async fn apply(&self, child: &Child, uid: Option<&str>) -> Result<(), Failure> {
        let mut body = child.body.clone();
        let mut params = PatchParams::apply(MANAGER);
        if let Some(uid) = uid {
            body["metadata"]["uid"] = uid.into();
            params = params.force();
        }
        match self.apply_once(child, &body, &params).await {
            Err(Failure::Refused { .. }) if uid.is_some() => {
                // Somebody's entry of a list that is merged by key may contradict ours: a Service whose
                // port was given another number has two of one name then. Ours replace the lists.
                self.replace_lists(child, &body).await?;
                self.apply_once(child, &body, &params).await?;
            }
            done => done?,
        }
        tracing::info!(cluster = %self.key, kind = ?child.kind, name = child.name, "applied");
        Ok(())
    }

    async fn apply_once(
        &self,
        child: &Child,
        body: &Value,
        params: &PatchParams,
    ) -> Result<(), Failure> {
        let (patch, api) = (Patch::Apply(body), self.api(child.kind));
        let call = api.patch(&child.name, params, &patch);
        self.call("apply", child.kind, &child.name, call).await?;
        Ok(())
    }

    async fn replace_lists(&self, child: &Child, body: &Value) -> Result<(), Failure> {
        let (patch, api) = (Patch::Merge(body), self.api(child.kind));
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let call = api.patch(&child.name, &params, &patch);
        self.call("patch", child.kind, &child.name, call).await?;
        Ok(())
    }

    async fn create(&self, child: &Child) -> Result<(), Failure> {
        let object: DynamicObject = parsed(&child.name, child.body.clone())?;
        let params = PostParams {
            field_manager: Some(MANAGER.into()),
            ..PostParams::default()
        };
        let api = self.api(child.kind);
        let call = api.create(&params, &object);
        self.call("create", child.kind, &child.name, call).await?;
        tracing::info!(cluster = %self.key, kind = ?child.kind, name = child.name, "made");
        Ok(())
    }

    /// With the founding of a fresh status: a Lease made anew must not look like that of a group
    /// that is still to be founded.
    async fn create_lease(&self, group: &str, child: &Child) -> Result<(), Failure> {
        let mut child = child.clone();
        if let Some(founding) = founding_of(&self.fresh().await?, group) {
            let text = serde_json::to_string(&founding).expect("plain data is JSON");
            child.body["metadata"]["annotations"][GROUP] = text.into();
        }
        self.create(&child).await
    }

    async fn set_founding(
        &self,
        group: &str,
        from: Option<&Founding>,
        to: Option<&Founding>,
    ) -> Result<(), Failure> {
        let mut cluster = self.fresh().await?;
        if founding_of(&cluster, group).as_ref() != from {
            return Err(Stale.into());
        }
        let status = cluster.status.get_or_insert_default();
        let index = status.groups.iter().position(|g| g.name == group);
        let index = index.unwrap_or_else(|| {
            status.groups.push(GroupStatus {
                name: group.into(),
                ..GroupStatus::default()
            });
            status.groups.len() - 1
        });
        status.groups[index].founding = to.cloned();
        self.replace_status(&cluster).await?;
        let id = to.map_or("none", |f| f.id.as_str());
        tracing::info!(cluster = %self.key, group, id, "the founding in the status is written");
        Ok(())
    }

    async fn change_lease(&self, name: &str, change: &LeaseChange) -> Result<(), Failure> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), self.namespace());
        let found = self.call("get", Kind::Lease, name, api.get(name)).await?;
        let body = serde_json::to_value(&found).unwrap_or(Value::Null);
        if controller_of(&body).is_none_or(|(_, _, uid)| uid != self.uid) {
            return Err(Stale.into());
        }
        if let LeaseChange::Found(founding)
        | LeaseChange::Recover(founding, _)
        | LeaseChange::Clear(founding) = change
        {
            let fresh = self.fresh().await?;
            let group = name
                .strip_prefix(&format!("{}-", self.key.name))
                .unwrap_or_default();
            if founding_of(&fresh, group).as_ref() != Some(founding) {
                return Err(Stale.into());
            }
        }
        let mut lease = found;
        if !change.apply(&mut lease)? {
            return Ok(());
        }
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(WRITE.into(), random_hex());
        let params = PostParams::default();
        let call = api.replace(name, &params, &lease);
        self.call("replace", Kind::Lease, name, call).await?;
        tracing::info!(cluster = %self.key, lease = name, ?change, "the Lease is changed");
        Ok(())
    }

    async fn label_pod(&self, pod: &str, uid: &str, role: &str) -> Result<(), Failure> {
        let patch = json!({"metadata": {"uid": uid, "labels": {ROLE: role}}});
        let api = self.api(Kind::Pod);
        let params = PatchParams::default();
        let patch = Patch::Merge(&patch);
        let call = api.patch(pod, &params, &patch);
        self.call("patch", Kind::Pod, pod, call).await?;
        tracing::info!(cluster = %self.key, pod, role, "the role is labelled");
        Ok(())
    }

    async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<(), Failure> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.into()),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        let api = self.api(kind);
        let call = api.delete(name, &params);
        self.call("delete", kind, name, call).await?;
        tracing::info!(cluster = %self.key, ?kind, name, "deleted");
        Ok(())
    }

    async fn annotate(&self, key: &str, to: Option<&str>) -> Result<(), Failure> {
        let patch = json!({"metadata": {"uid": self.uid, "annotations": {key: to}}});
        let params = PatchParams::default();
        let patch = Patch::Merge(&patch);
        let api = self.clusters();
        let call = api.patch(&self.key.name, &params, &patch);
        self.calling("patch", "brokerclusters", &self.key.name, call)
            .await?;
        tracing::info!(cluster = %self.key, annotation = key, value = to, "annotated");
        Ok(())
    }

    /// The BrokerCluster as it is now; another one of the same name is not meant.
    async fn fresh(&self) -> Result<BrokerCluster, Failure> {
        let name = &self.key.name;
        let api = self.clusters();
        let found = self
            .calling("get", "brokerclusters", name, api.get(name))
            .await?;
        if found.metadata.uid.as_deref() != Some(&self.uid) {
            return Err(Stale.into());
        }
        Ok(found)
    }

    async fn replace_status(&self, cluster: &BrokerCluster) -> Result<BrokerCluster, Failure> {
        let name = &self.key.name;
        let params = PostParams::default();
        let api = self.clusters();
        let call = api.replace_status(name, &params, cluster);
        self.calling("replace", "brokerclusters/status", name, call)
            .await
    }

    fn namespace(&self) -> &str {
        self.key.namespace.as_deref().unwrap_or("default")
    }

    fn clusters(&self) -> Api<BrokerCluster> {
        Api::namespaced(self.client.clone(), self.namespace())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace(), &kind.resource())
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        kind: Kind,
        name: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let plural = kind.resource().plural;
        self.calling(verb, &plural, name, call).await
    }

    async fn calling<T>(
        &self,
        verb: &'static str,
        resource: &str,
        name: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        self.metrics.called(verb, resource);
        let what = || format!("{verb} of {resource}/{name}");
        match tokio::time::timeout(LIMIT, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => match status.code {
                404 | 409 => Err(Stale.into()),
                401 | 403 | 400 | 422 => Err(Failure::Refused {
                    what: what(),
                    why: status.message.clone(),
                }),
                _ => Err(Failure::Unavailable {
                    what: what(),
                    why: status.message.clone(),
                }),
            },
            Ok(Err(error)) => Err(Failure::Unavailable {
                what: what(),
                why: error.to_string(),
            }),
            Err(_) => Err(Failure::Unavailable {
                what: what(),
                why: format!("no answer for {LIMIT:?}"),
            }),
        }
    }
}

fn founding_of(cluster: &BrokerCluster, group: &str) -> Option<Founding> {
    let groups = &cluster.status.as_ref()?.groups;
    groups.iter().find(|g| g.name == group)?.founding.clone()
}

fn parsed<T: serde::de::DeserializeOwned>(name: &str, body: impl Serialize) -> Result<T, Failure> {
    let value = serde_json::to_value(body);
    let value = value.and_then(serde_json::from_value);
    value.map_err(|error| Failure::Refused {
        what: name.into(),
        why: error.to_string(),
    })
}

/// 32 hexadecimal digits.
///
/// # Panics
/// When the system has no random bytes: nothing safe can be drawn then.
#[must_use]
pub fn random_hex() -> String {
    random_bytes::<16>()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Random bytes of the system.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}
