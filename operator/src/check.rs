//! `tandemmq-operator check`: is the installation whole? `helm test` runs it in a pod with hardly a right.
//!
//! Four questions, in this order; the first "no" ends it with a sentence:
//! an operator says that it is ready; the API server serves BrokerClusters; it accepts a sample and fills in
//! the defaults; it refuses a group of two by the rule of this version. The last two are dry runs: nothing is
//! made or changed.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::api::BrokerCluster;

/// One question to the operator.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// From one question to the next while the operator is not ready.
const AGAIN: Duration = Duration::from_millis(500);
/// Part of the sentence that refuses a group of two.
const NO_TWO: &str = "a group of 2 stops";

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  As `helm test` does, with the current kubeconfig:
    tandemmq-operator check --operator http://127.0.0.1:8080 --namespace default")]
pub struct Check {
    /// Where the operator's port is.
    #[arg(long, value_name = "URL")]
    operator: String,
    /// The namespace of the dry runs. The account needs list and create of brokerclusters there.
    #[arg(long)]
    namespace: String,
    /// How many seconds an operator that was just installed may take to be ready.
    #[arg(long, default_value_t = 30)]
    wait_seconds: u64,
}

impl Check {
    /// Asks all questions and prints each answer.
    ///
    /// # Errors
    /// The first answer that is not as it must be.
    pub async fn run(&self, client: Client) -> anyhow::Result<()> {
        ready(&self.operator, Duration::from_secs(self.wait_seconds)).await?;
        println!("the operator at {} is ready", self.operator);
        let kind = ApiResource::erase::<BrokerCluster>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.namespace, &kind);
        served(&api).await?;
        println!("the API server serves {}.{}", kind.plural, kind.group);
        accepts_sample(&api, &kind).await?;
        println!("a sample passes a dry run");
        refuses_two(&api, &kind).await?;
        println!("a group of two is refused");
        Ok(())
    }
}

/// Waits for a 200 from `/readyz`; an error with the last answer after `limit`.
async fn ready(operator: &str, limit: Duration) -> anyhow::Result<()> {
    let url = format!("{}/readyz", operator.trim_end_matches('/'));
    let http = reqwest::Client::builder()
        .timeout(ANSWER_LIMIT)
        .no_proxy()
        .build()?;
    let asked = async {
        let mut last = String::from("not asked yet");
        loop {
            match http.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => {
                    let status = answer.status();
                    let said = answer.text().await.unwrap_or_default();
                    tell(&mut last, format!("{status}: {}", said.trim_end()));
                }
                Err(error) => tell(&mut last, format!("{:#}", anyhow::Error::from(error))),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(limit, asked).await.map_err(|_| {
        anyhow::anyhow!(
            "{url} did not say 200 within {} s: look at the operator's log",
            limit.as_secs()
        )
    })
}

/// Prints an answer that differs from the last one.
fn tell(last: &mut String, answer: String) {
    if *last != answer {
        eprintln!("the operator is not ready: {answer}");
        *last = answer;
    }
}

async fn served(api: &Api<DynamicObject>) -> anyhow::Result<()> {
    let one = ListParams::default().limit(1);
    api.list(&one).await.map(|_| ()).context(
        "BrokerClusters cannot be listed: apply crds/brokerclusters.yaml, or install the chart with crd.install=true",
    )
}

async fn accepts_sample(api: &Api<DynamicObject>, kind: &ApiResource) -> anyhow::Result<()> {
    let made = dry_run(api, &sample(kind, json!([{"name": "a"}])))
        .await
        .context("a sample is refused")?;
    let replicas = &made.data["spec"]["groups"][0]["replicas"];
    ensure!(
        *replicas == json!(3),
        "a sample comes back with replicas {replicas} instead of the default 3: the CRD is another version's, apply this one's"
    );
    Ok(())
}

async fn refuses_two(api: &Api<DynamicObject>, kind: &ApiResource) -> anyhow::Result<()> {
    let two = sample(kind, json!([{"name": "a", "replicas": 2}]));
    match dry_run(api, &two).await {
        Ok(_) => bail!(
            "a group of two is accepted: the CRD lacks the rules of this version, apply it again"
        ),
        Err(kube::Error::Api(status)) if status.message.contains(NO_TWO) => Ok(()),
        Err(error) => Err(error).context("a group of two is not refused by its rule"),
    }
}

async fn dry_run(api: &Api<DynamicObject>, object: &DynamicObject) -> kube::Result<DynamicObject> {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    api.create(&dry, object).await
}

/// Untyped: our types would fill in themselves the defaults that the API server has to fill in.
fn sample(kind: &ApiResource, groups: Value) -> DynamicObject {
    let mut object = DynamicObject::new("", kind).data(json!({"spec": {"groups": groups}}));
    object.metadata.name = None;
    // No name that could be taken.
    object.metadata.generate_name = Some("tandemmq-check-".into());
    object
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};

    use axum::extract::{RawQuery, State};
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};

    use super::*;

    /// What a made-up API server does with BrokerClusters.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Crd {
        Absent,
        WithoutDefaults,
        WithoutRules,
        Whole,
    }

    type Queries = Arc<Mutex<Vec<String>>>;

    /// Of operator and API server alike.
    async fn server(ready: StatusCode, crd: Crd) -> (SocketAddr, Queries) {
        let queries = Queries::default();
        let path = "/apis/tandemmq.io/v1alpha1/namespaces/shop/brokerclusters";
        let mut app = Router::new().route("/readyz", get(async move || (ready, "a reason")));
        if crd != Crd::Absent {
            let list = json!({"apiVersion": "tandemmq.io/v1alpha1", "kind": "BrokerClusterList",
                "metadata": {}, "items": []});
            let create = async |State((crd, queries)): State<(Crd, Queries)>,
                                RawQuery(query): RawQuery,
                                Json(object): Json<Value>| {
                queries.lock().unwrap().push(query.unwrap_or_default());
                created(crd, object)
            };
            app = app.route(path, get(async move || Json(list)).post(create));
        }
        let app = app
            .fallback(async || status(404, "the server could not find the requested resource"))
            .with_state((crd, queries.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (address, queries)
    }

    fn created(crd: Crd, mut object: Value) -> (StatusCode, Json<Value>) {
        let replicas = &mut object["spec"]["groups"][0]["replicas"];
        if *replicas == json!(2) && crd == Crd::Whole {
            return status(422, &format!("spec.groups[0].replicas: {NO_TWO}: use 3"));
        }
        if replicas.is_null() && crd != Crd::WithoutDefaults {
            *replicas = json!(3);
        }
        (StatusCode::CREATED, Json(object))
    }

    fn status(code: u16, message: &str) -> (StatusCode, Json<Value>) {
        let body = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Invalid", "code": code});
        (StatusCode::from_u16(code).unwrap(), Json(body))
    }

    /// The whole chain of what went wrong, or nothing.
    async fn checked(ready: StatusCode, crd: Crd) -> (String, Vec<String>) {
        let (address, queries) = server(ready, crd).await;
        let url = format!("http://{address}");
        let mut config = kube::Config::new(url.parse().unwrap());
        config.default_retry = false;
        let check = Check {
            operator: url,
            namespace: "shop".into(),
            // Not waited out: an operator of this test is ready at once or never.
            wait_seconds: if ready.is_success() { 30 } else { 0 },
        };
        let result = check.run(Client::try_from(config).unwrap()).await;
        let said = result.map_or_else(|error| format!("{error:#}"), |()| String::new());
        let queries = queries.lock().unwrap().clone();
        (said, queries)
    }

    #[tokio::test]
    async fn a_whole_installation_passes_and_all_of_it_is_dry() {
        let (said, queries) = checked(StatusCode::OK, Crd::Whole).await;
        assert_eq!(said, "");
        assert_eq!(queries.len(), 2);
        assert!(
            queries.iter().all(|query| query.contains("dryRun=All")),
            "{queries:?}"
        );
    }

    #[tokio::test]
    async fn each_missing_part_is_named() {
        for (ready, crd, part) in [
            (
                StatusCode::SERVICE_UNAVAILABLE,
                Crd::Whole,
                "did not say 200",
            ),
            (StatusCode::OK, Crd::Absent, "cannot be listed"),
            (
                StatusCode::OK,
                Crd::WithoutDefaults,
                "instead of the default 3",
            ),
            (StatusCode::OK, Crd::WithoutRules, "lacks the rules"),
        ] {
            let (said, _) = checked(ready, crd).await;
            assert!(said.contains(part), "{crd:?}: {said:?}");
        }
    }
}
