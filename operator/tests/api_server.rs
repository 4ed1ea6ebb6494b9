//! The operator's process against a real API server. No kubelet is needed: pods stay unscheduled,
//! and what they would say is served by this test on loopback addresses.
//!
//! `TANDEMMQ_TEST_KUBECONFIG` names the API server. Each test makes a namespace of its own. Waits
//! have deadlines far above what is needed and print what it took.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use tandemmq_operator::api::{BrokerCluster, Founding};

const KUBECONFIG: &str = "TANDEMMQ_TEST_KUBECONFIG";

/// A namespace with an operator of its own.
struct Testbed {
    client: Client,
    namespace: String,
    /// Where the operator's own port is.
    door: String,
    operator: Option<Child>,
}

impl Testbed {
    async fn new(name: &str, door: u16) -> Self {
        let path = std::env::var(KUBECONFIG).expect("TANDEMMQ_TEST_KUBECONFIG names a kubeconfig");
        let file = Kubeconfig::read_from(&path).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options)
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("tandemmq-{name}-{}", std::process::id());
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.clone());
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        Self {
            client,
            namespace,
            door: format!("127.0.0.1:{door}"),
            operator: None,
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn start(&mut self) {
        let operator = Command::new(env!("CARGO_BIN_EXE_tandemmq-operator"))
            .env("KUBECONFIG", std::env::var(KUBECONFIG).unwrap())
            .args(["run", "--broker-image", "example.invalid/tandemmq:1"])
            .args(["--namespace", &self.namespace])
            .args(["--lease-namespace", &self.namespace])
            .args(["--identity", "the-same-pod"])
            .args(["--listen", &self.door])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.operator = Some(operator);
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator.kill().unwrap();
            operator.wait().unwrap();
        }
    }

    async fn apply_orders(&self) {
        let orders: BrokerCluster = serde_json::from_value(json!({
            "apiVersion": "tandemmq.io/v1alpha1", "kind": "BrokerCluster",
            "metadata": {"name": "orders"},
            "spec": {"groups": [{"name": "a",
                "placement": {"nodeSelector": {"tandemmq.io/no-such-node": "true"}}}]}
        }))
        .unwrap();
        let api = self.api::<BrokerCluster>();
        api.create(&PostParams::default(), &orders).await.unwrap();
    }

    async fn orders(&self) -> BrokerCluster {
        self.api().get("orders").await.unwrap()
    }

    async fn condition(&self, kind: &str) -> (String, String) {
        let status = self.orders().await.status.unwrap_or_default();
        let found = status.conditions.into_iter().find(|c| c.type_ == kind);
        found.map(|c| (c.status, c.reason)).unwrap_or_default()
    }

    /// The calls that the operator has made to the API server, the watches left out.
    async fn calls(&self) -> Vec<String> {
        let url = format!("http://{}/metrics", self.door);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let calls = text.lines().filter(|l| l.contains("api_calls_total{"));
        let mut calls: Vec<String> = calls.map(Into::into).collect();
        calls.sort();
        calls
    }

    async fn end(mut self) {
        self.kill();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let _ = namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await;
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `look` finds something, at most a minute.
async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            println!("{what}: after {:.1} s", start.elapsed().as_secs_f64());
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "not within a minute: {what}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn merge<K>(api: &Api<K>, name: &str, patch: Value)
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an API server: run by make e2e"]
async fn children_appear_at_any_crash_drift_is_put_back_and_foreign_objects_stay() {
    let mut bed = Testbed::new("drift", 18_081).await;
    let foreign: Service = serde_json::from_value(json!({
        "metadata": {"name": "orders-a"}, "spec": {"ports": [{"port": 1}]}
    }))
    .unwrap();
    let services = bed.api::<Service>();
    services
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    // One that nobody can read must not keep the others from being seen.
    let broken: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "tandemmq.io/v1alpha1", "kind": "BrokerCluster", "metadata": {"name": "broken"},
        "spec": {"groups": [{"name": "a",
            "placement": {"tolerations": [{"tolerationSeconds": "soon"}]}}]}
    }))
    .unwrap();
    let kind = ApiResource::erase::<BrokerCluster>(&());
    let raw: Api<DynamicObject> = Api::namespaced_with(bed.client.clone(), &bed.namespace, &kind);
    raw.create(&PostParams::default(), &broken).await.unwrap();
    bed.apply_orders().await;
    bed.start();
    eventually("a spec that cannot be read is reported", async || {
        let found = raw.get("broken").await.unwrap();
        let reason = found
            .data
            .pointer("/status/conditions/0/reason")?
            .as_str()?;
        (reason == "InvalidSpec").then_some(())
    })
    .await;
    eventually("the operator is ready all the same", async || {
        let url = format!("http://{}/readyz", bed.door);
        let answer = reqwest::get(url).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    eventually("a taken name is reported", async || {
        (bed.condition("Ready").await.1 == "NameTaken").then_some(())
    })
    .await;
    let sets = bed.api::<StatefulSet>();
    assert!(
        sets.get_opt("orders-a").await.unwrap().is_none(),
        "nothing of the group is made"
    );
    let kept = services.get("orders-a").await.unwrap();
    assert!(kept.metadata.owner_references.is_none() && kept.labels().is_empty());
    let password = bed.api::<Secret>().get("orders-auth").await.unwrap().data;

    // Killed again and again, later each time.
    services
        .delete("orders-a", &DeleteParams::default())
        .await
        .unwrap();
    for kill in 0..12 {
        bed.kill();
        bed.start();
        tokio::time::sleep(Duration::from_millis(30 * kill)).await;
    }
    eventually("the StatefulSet is there", async || {
        sets.get_opt("orders-a").await.unwrap()
    })
    .await;
    let login = bed.api::<Secret>().get("orders-auth").await.unwrap().data;
    assert_eq!(login, password, "a password is made once");

    let set = json!({"metadata": {"labels": {"theirs": "x"}}, "spec": {"replicas": 1}});
    merge(&sets, "orders-a", set).await;
    merge(
        &bed.api::<ConfigMap>(),
        "orders-a",
        json!({"data": {"broker.toml": "x"}}),
    )
    .await;
    merge(
        &services,
        "orders-a-nodes",
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
    )
    .await;
    bed.api::<Lease>()
        .delete("orders-a", &DeleteParams::default())
        .await
        .unwrap();
    eventually("replicas are put back", async || {
        let set = sets.get("orders-a").await.unwrap();
        assert_eq!(set.labels()["theirs"], "x", "foreign fields stay");
        (set.spec.unwrap().replicas == Some(3)).then_some(())
    })
    .await;
    eventually("the file is put back", async || {
        let map = bed.api::<ConfigMap>().get("orders-a").await.unwrap();
        (map.data.unwrap()["broker.toml"] != "x").then_some(())
    })
    .await;
    eventually("the Lease is there", async || {
        bed.api::<Lease>().get_opt("orders-a").await.unwrap()
    })
    .await;
    eventually("the label is put back", async || {
        let nodes = services.get("orders-a-nodes").await.unwrap();
        nodes
            .labels()
            .contains_key("app.kubernetes.io/managed-by")
            .then_some(())
    })
    .await;
    // Nothing is written while nothing changes, also by an operator that finds all from a list.
    bed.kill();
    let started = jiff::Timestamp::now();
    bed.start();
    eventually("the restarted operator leads", async || {
        let lease = bed.api::<Lease>().get("tandemmq-operator").await.unwrap();
        let renewed = lease.spec.unwrap().renew_time.unwrap().0;
        (renewed > started).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = bed.calls().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(bed.calls().await, before);
    bed.end().await;
}

/// What the pods of this test say: served on 127.0.9.(10 + ordinal).
#[derive(Clone, Default)]
struct Brokers {
    said: Arc<Mutex<BTreeMap<u8, Value>>>,
}

impl Brokers {
    async fn start(&self) {
        for ordinal in 0..3 {
            let said = self.said.clone();
            let answer = move || async move {
                let said = said.lock().unwrap().get(&ordinal).cloned();
                axum::Json(said.unwrap_or(Value::Null))
            };
            let address = format!("{}:9404", Self::ip(ordinal));
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let app = Router::new().route("/status", get(answer));
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
    }

    fn ip(ordinal: u8) -> String {
        format!("127.0.9.{}", 10 + ordinal)
    }

    fn blank(&self) {
        for ordinal in 0..3 {
            self.say(
                ordinal,
                json!({"role": "candidate", "reason": "Founding", "epoch": 0}),
            );
        }
    }

    /// All in sync behind this master.
    fn reign(&self, founding: &Founding, master: u8, epoch: u64) {
        for ordinal in 0..3 {
            let mut members: Vec<Value> = Vec::new();
            if ordinal == master {
                let others = (0..3).filter(|o| *o != master);
                members = others
                    .map(|o| json!({"name": format!("orders-a-{o}"), "inSync": true, "connected": true, "lag": 0}))
                    .collect();
            }
            let role = if ordinal == master { "master" } else { "slave" };
            self.say(ordinal, json!({
                "role": role, "serving": ordinal == master, "ready": true, "epoch": epoch,
                "groupId": founding.id, "founding": founding, "offsets": {"appended": 5, "synced": 5},
                "master": {"epoch": epoch, "name": format!("orders-a-{master}")}, "members": members,
            }));
        }
    }

    fn say(&self, ordinal: u8, mut said: Value) {
        said["brokerName"] = format!("orders-a-{ordinal}").into();
        said["logState"] = "clean".into();
        said["member"] = json!({"ordinal": ordinal, "incarnation": format!("{ordinal:032x}")});
        self.said.lock().unwrap().insert(ordinal, said);
    }
}

/// The StatefulSet's pods, made by hand where no controller makes them, each with its address.
async fn pods(bed: &Testbed) {
    let set = eventually("the StatefulSet is there", async || {
        bed.api::<StatefulSet>().get_opt("orders-a").await.unwrap()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let api = bed.api::<Pod>();
    let template = set.spec.clone().unwrap().template;
    for ordinal in 0..3 {
        let name = format!("orders-a-{ordinal}");
        if api.get_opt(&name).await.unwrap().is_none() {
            let labels = template.metadata.clone().unwrap().labels;
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": name, "labels": labels, "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders-a",
                    "uid": set.uid().unwrap(), "controller": true}]},
                "spec": {"automountServiceAccountToken": false,
                    "containers": [{"name": "broker", "image": "example.invalid/x"}],
                    "nodeSelector": {"tandemmq.io/no-such-node": "true"}}
            }))
            .unwrap();
            api.create(&PostParams::default(), &pod).await.unwrap();
        }
        let ip = Brokers::ip(ordinal);
        let status = json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
        let params = PatchParams::default();
        api.patch_status(&name, &params, &Patch::Merge(&status))
            .await
            .unwrap();
    }
}

async fn annotation(bed: &Testbed, key: &str) -> Option<String> {
    let lease = bed.api::<Lease>().get_opt("orders-a").await.unwrap()?;
    lease.annotations().get(key).cloned()
}

async fn role(bed: &Testbed, ordinal: u8) -> Option<String> {
    let pod = bed
        .api::<Pod>()
        .get(&format!("orders-a-{ordinal}"))
        .await
        .unwrap();
    pod.labels().get("tandemmq.io/role").cloned()
}

/// What Lease and status agree on.
async fn founding(bed: &Testbed) -> Option<Founding> {
    let text = annotation(bed, "tandemmq.io/group").await?;
    let of_lease: Founding = serde_json::from_str(&text).unwrap();
    let of_status = bed.orders().await.status?.groups.first()?.founding.clone();
    (of_status.as_ref() == Some(&of_lease)).then_some(of_lease)
}

async fn master(bed: &Testbed) -> Option<String> {
    let status = bed.orders().await.status?;
    status.groups.first()?.master.clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an API server: run by make e2e"]
async fn a_founding_is_confirmed_kept_and_restored_and_the_master_is_named() {
    let mut bed = Testbed::new("founding", 18_082).await;
    let brokers = Brokers::default();
    brokers.start().await;
    brokers.blank();
    bed.apply_orders().await;
    bed.start();
    pods(&bed).await;
    eventually("the group waits for a proposal", async || {
        (bed.condition("Ready").await.1 == "Founding").then_some(())
    })
    .await;

    // A proposal with a volume that nobody reports is removed.
    let founding_of = |id: &str, last: u8| Founding {
        id: id.into(),
        incarnations: [0, 1, last]
            .map(|i| format!("{}/{i:032x}", i.min(2)))
            .into(),
    };
    let leases = bed.api::<Lease>();
    let propose = |f: &Founding| {
        let text = serde_json::to_string(f).unwrap();
        json!({"metadata": {"annotations": {"tandemmq.io/group-proposal": text}}})
    };
    let wrong = propose(&founding_of("bad", 7));
    merge(&leases, "orders-a", wrong).await;
    eventually("a wrong proposal is removed", async || {
        annotation(&bed, "tandemmq.io/group-proposal")
            .await
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(annotation(&bed, "tandemmq.io/group").await, None);

    let good = founding_of("good", 2);
    merge(&leases, "orders-a", propose(&good)).await;
    assert_eq!(
        eventually("the founding is confirmed", async || founding(&bed).await).await,
        good
    );
    assert_eq!(annotation(&bed, "tandemmq.io/group-proposal").await, None);

    brokers.reign(&good, 1, 4);
    eventually("the master is named", async || {
        (master(&bed).await.as_deref() == Some("orders-a-1")).then_some(())
    })
    .await;
    eventually("the roles are labelled", async || {
        let roles = [
            role(&bed, 0).await?,
            role(&bed, 1).await?,
            role(&bed, 2).await?,
        ];
        (roles == ["slave", "master", "slave"]).then_some(())
    })
    .await;
    assert_eq!(
        bed.condition("Ready").await,
        ("True".into(), "AsExpected".into())
    );
    let status = bed.orders().await.status.unwrap();
    assert_eq!(status.masters, "a=orders-a-1");
    assert_eq!(status.groups_ready, "1/1");

    // Lease and status are lost, at once and with a killed operator.
    bed.kill();
    leases
        .delete("orders-a", &DeleteParams::default())
        .await
        .unwrap();
    let mut emptied = bed.orders().await;
    emptied.status = Some(Default::default());
    let clusters = bed.api::<BrokerCluster>();
    clusters
        .replace_status("orders", &PostParams::default(), &emptied)
        .await
        .unwrap();
    bed.start();
    assert_eq!(
        eventually("both are restored from the members", async || founding(
            &bed
        )
        .await)
        .await,
        good
    );

    brokers.reign(&good, 2, 5);
    eventually("the next master is named", async || {
        (master(&bed).await.as_deref() == Some("orders-a-2")).then_some(())
    })
    .await;
    eventually("each change of master is an Event", async || {
        let events = bed
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let told = |text: &str| {
            events.iter().any(|e| {
                e.reason.as_deref() == Some("MasterChanged")
                    && e.note.as_deref().is_some_and(|n| n.contains(text))
            })
        };
        (told("orders-a-1 is master (epoch 4") && told("orders-a-2 is master (epoch 5"))
            .then_some(())
    })
    .await;
    bed.end().await;
}
