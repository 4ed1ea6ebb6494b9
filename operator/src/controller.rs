//! The loop: one worker for each BrokerCluster, which looks, decides and applies.
//!
//! A worker looks when a watch says that something changed and every two seconds anyway, because
//! pods have to be asked. It is level-based: nothing is remembered between two looks but what would
//! only cost requests or Events to learn again (`Memory`). Workers do not wait for each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::{BrokerCluster, BrokerClusterStatus, Reason};
use crate::apply::{Failure, Hands, random_bytes, random_hex};
use crate::decide::children::{self, Wish};
use crate::decide::conditions::Problem;
use crate::decide::step::{Note, Step};
use crate::decide::wishes::{self, Matter};
use crate::decide::{Given, decide};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::observe::child::{Kind, Live};
use crate::observe::report::Poller;
use crate::observe::stores::{Key, Stores};
use crate::observe::{Observed, look};
use crate::plan::{names, peers};

/// From one look to the next when nothing changes: the status must be true within 5 s.
const TICK: Duration = Duration::from_secs(2);
/// The shortest time between two looks: a change seldom comes alone.
const CALM: Duration = Duration::from_millis(200);
/// Offsets and lags alone are written so often: a busy cluster is not a stream of writes.
const FIGURES: Duration = Duration::from_secs(10);
/// An object of that name that is not ours is read again so often.
const FOREIGN: Duration = Duration::from_secs(10);

mod unreadable;

/// What all workers share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What it holds.
    pub stores: Arc<Stores>,
    /// Asks pods.
    pub poller: Poller,
    /// Tells people.
    pub events: Events,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The image for groups that are made.
    pub image: String,
}

/// Runs a worker for each cluster, for ever.
pub async fn run(context: Arc<Context>, mut changed: mpsc::UnboundedReceiver<Key>) {
    let mut workers: HashMap<Key, (Arc<Notify>, JoinHandle<()>)> = HashMap::new();
    let mut sweep = tokio::time::interval(TICK);
    loop {
        let woken = tokio::select! {
            key = changed.recv() => match key {
                Some(key) => Some(key),
                None => return,
            },
            _ = sweep.tick() => None,
        };
        workers.retain(|_, (_, task)| !task.is_finished());
        if let Some((wake, _)) = woken.as_ref().and_then(|key| workers.get(key)) {
            wake.notify_one();
        }
        // Each worker looks by itself; the sweep only finds clusters that have none.
        let found = woken.map_or_else(|| context.stores.clusters(), |key| vec![key]);
        for key in found {
            if !workers.contains_key(&key) && context.stores.cluster(&key).is_some() {
                let wake = Arc::new(Notify::new());
                let task = tokio::spawn(work(context.clone(), key.clone(), wake.clone()));
                workers.insert(key, (wake, task));
            }
        }
        context.metrics.looks_after(workers.len());
    }
}

/// Looks after one cluster until it is gone.
async fn work(context: Arc<Context>, key: Key, wake: Arc<Notify>) {
    tracing::info!(cluster = %key, "looked after");
    let mut memory = Memory::default();
    let mut next = Instant::now();
    while let Some(object) = context.stores.cluster(&key) {
        let start = Instant::now();
        // An object that is being deleted is its children's garbage collection: nothing to do.
        if object.metadata.deletion_timestamp.is_none() {
            let ok = match unreadable::read(&object) {
                Ok(cluster) => {
                    let mut turn = Turn::new(&context, &key, &mut memory, Arc::new(cluster));
                    turn.run().await
                }
                Err(why) => unreadable::tell(&context.client, &object, &why).await,
            };
            context.metrics.reconciled(start.elapsed(), ok);
        }
        next = (next + TICK).max(start + CALM);
        tokio::select! {
            () = tokio::time::sleep_until(next) => next = Instant::now(),
            () = async { wake.notified().await; tokio::time::sleep_until(start + CALM).await } => {
                next = Instant::now();
            }
        }
    }
    tracing::info!(cluster = %key, "gone");
}

/// What a worker keeps from one look to the next.
#[derive(Default)]
struct Memory {
    /// The resourceVersion that the store had when the status was written, and what came of it:
    /// a store may be behind our own write.
    written: Option<(Option<String>, Arc<BrokerCluster>)>,
    /// When the status was written last.
    status_at: Option<Instant>,
    /// Objects without our label that have one of our names.
    foreign: HashMap<(Kind, String), (Instant, Live)>,
    /// The last failure that was logged.
    logged: Option<String>,
}

impl Memory {
    /// The newer of what the store has and what we wrote.
    fn newest(&mut self, of_store: Arc<BrokerCluster>) -> Arc<BrokerCluster> {
        match &self.written {
            Some((before, ours)) if *before == of_store.metadata.resource_version => ours.clone(),
            _ => {
                self.written = None;
                of_store
            }
        }
    }
}

/// One look at one cluster, with what follows.
struct Turn<'a> {
    context: &'a Context,
    key: &'a Key,
    memory: &'a mut Memory,
    hands: Hands,
    store_version: Option<String>,
    cluster: Arc<BrokerCluster>,
}

impl<'a> Turn<'a> {
    fn new(
        context: &'a Context,
        key: &'a Key,
        memory: &'a mut Memory,
        of_store: Arc<BrokerCluster>,
    ) -> Self {
        let store_version = of_store.metadata.resource_version.clone();
        let cluster = memory.newest(of_store);
        let uid = cluster.metadata.uid.clone().unwrap_or_default();
        Self {
            hands: Hands::new(
                context.client.clone(),
                context.metrics.clone(),
                key.clone(),
                uid,
            ),
            context,
            key,
            memory,
            store_version,
            cluster,
        }
    }

    /// Returns whether all went well.
    async fn run(&mut self) -> bool {
        let objects = self.context.stores.objects_of(self.key);
        let mut seen = look::assemble(self.cluster.clone(), objects);
        let mut failed = None;
        let wished = match self.wishes(&mut seen).await {
            Ok(wished) => wished,
            Err(problem) => {
                failed = Some(problem);
                vec![]
            }
        };
        let polled = look::ask(&mut seen, &self.context.poller).await;
        self.context.metrics.polled(polled);
        let fresh_id = random_hex();
        let mut given = Given {
            wishes: &wished,
            failed,
            now: Timestamp::now(),
            fresh_id: &fresh_id,
        };
        let mut decision = decide(&seen, &given);
        self.tell(&decision.notes, true).await;
        let outcome = self.apply(&decision.batches).await;
        if let Some(failure) = outcome.failure {
            let ok_until_now = given.failed.is_none();
            given.failed = given
                .failed
                .or_else(|| Some(Problem::new(Reason::ApplyFailed, failure)));
            if ok_until_now {
                decision.status = decide(&seen, &given).status;
            }
        } else {
            self.tell(&decision.notes, false).await;
        }
        if outcome.wrote_founding {
            // The status is ours and newer than this look: the next one goes on from it.
            return outcome.complete && given.failed.is_none();
        }
        self.write_status(decision.status).await && outcome.complete && given.failed.is_none()
    }

    async fn tell(&self, notes: &[Note], warnings: bool) {
        // A warning is told before what it warns of is done: once too often rather than never.
        for note in notes.iter().filter(|n| n.warning == warnings) {
            self.context.events.tell(&self.cluster, note).await;
        }
    }

    // --- what shall be ---

    /// The objects that shall be. Reads those that the stores lack, and the Secrets of others
    /// when pods would need them now.
    async fn wishes(&mut self, seen: &mut Observed) -> Result<Vec<Wish>, Problem> {
        let images: BTreeMap<String, String> = seen
            .groups
            .iter()
            .filter_map(|g| Some((g.name.clone(), image_of(g.stateful_set.as_ref()?)?)))
            .collect();
        let peers_name = names::peers(seen.name());
        self.complete(seen, &[(Kind::Secret, peers_name.clone())])
            .await?;
        let (peers, trouble) = self.peers(seen, &peers_name);
        let random = random_bytes();
        let matter = Matter {
            images: &images,
            image: &self.context.image,
            peers,
            random: &random,
        };
        let mut wished = wishes::all(&seen.cluster, &matter);
        let names: Vec<(Kind, String)> = wished
            .iter()
            .map(|w| (w.child.kind, w.child.name.clone()))
            .collect();
        self.complete(seen, &names).await?;
        self.lacking(seen, &mut wished, trouble).await?;
        Ok(wished)
    }

    /// Looks for what the stores do not have.
    async fn complete(
        &mut self,
        seen: &mut Observed,
        names: &[(Kind, String)],
    ) -> Result<(), Problem> {
        for (kind, name) in names {
            if seen.object(*kind, name).is_some() {
                continue;
            }
            let key = (*kind, name.clone());
            if let Some((since, live)) = self.memory.foreign.get(&key)
                && since.elapsed() < FOREIGN
            {
                seen.objects.push(live.clone());
                continue;
            }
            let found = self.hands.find(*kind, name).await;
            let found = found.map_err(|e| Problem::new(Reason::ApplyFailed, e.to_string()))?;
            self.memory.foreign.remove(&key);
            if let Some(body) = found {
                let live = Live {
                    kind: *kind,
                    name: name.clone(),
                    body,
                };
                if live
                    .controller()
                    .is_none_or(|(_, _, uid)| uid != seen.uid())
                {
                    self.memory
                        .foreign
                        .insert(key, (Instant::now(), live.clone()));
                }
                seen.objects.push(live);
            }
        }
        Ok(())
    }

    /// The content of the peers' Secret as it shall be. Content that cannot be read is left.
    fn peers(&self, seen: &Observed, name: &str) -> (Option<peers::Data>, Option<Problem>) {
        let body = seen.object(Kind::Secret, name).cloned();
        let secret: Option<Secret> = body.and_then(|b| serde_json::from_value(b).ok());
        let current = secret.and_then(|s| s.data);
        match peers::renewed(&seen.cluster, current.as_ref(), Timestamp::now()) {
            Ok(renewed) => (renewed.or(current), None),
            Err(error) => {
                let text = format!("Secret {name}: {error:#}");
                (current, Some(Problem::new(Reason::WaitingForSecret, text)))
            }
        }
    }

    /// Holds StatefulSets back whose pods would not start.
    async fn lacking(
        &self,
        seen: &Observed,
        wished: &mut [Wish],
        trouble: Option<Problem>,
    ) -> Result<(), Problem> {
        let pending =
            |w: &Wish| w.child.kind == Kind::StatefulSet && children::step(seen, w).is_some();
        if !wished.iter().any(pending) {
            return Ok(());
        }
        let mut lacks = trouble;
        for (name, keys) in wishes::needed_secrets(&seen.cluster) {
            let found = self.hands.find(Kind::Secret, &name).await;
            let found = found.map_err(|e| Problem::new(Reason::ApplyFailed, e.to_string()))?;
            let missing = keys.iter().find(|key| {
                found
                    .as_ref()
                    .is_none_or(|secret| secret["data"].get(**key).is_none())
            });
            if let Some(key) = missing {
                let text = if found.is_none() {
                    format!("Secret {name} is not there: make it, with the key {key}")
                } else {
                    format!("Secret {name} has no key {key}")
                };
                lacks = lacks.or_else(|| Some(Problem::new(Reason::WaitingForSecret, text)));
            }
        }
        for wish in wished
            .iter_mut()
            .filter(|w| w.child.kind == Kind::StatefulSet)
        {
            wish.lacks = wish.lacks.take().or_else(|| lacks.clone());
        }
        Ok(())
    }

    // --- doing it ---

    async fn apply(&mut self, batches: &[Vec<Step>]) -> Outcome {
        let mut outcome = Outcome {
            complete: true,
            ..Outcome::default()
        };
        for batch in batches {
            for step in batch {
                match self.hands.take(step).await {
                    Ok(()) => {
                        outcome.wrote_founding |= matches!(step, Step::SetFounding { .. });
                    }
                    Err(Failure::Stale(_)) => {
                        tracing::debug!(cluster = %self.key, ?step, "it has changed: looking again");
                        outcome.complete = false;
                        break;
                    }
                    Err(failure) => {
                        self.log(&failure);
                        outcome.complete = false;
                        outcome.failure = outcome.failure.or_else(|| Some(failure.to_string()));
                        break;
                    }
                }
            }
        }
        if outcome.failure.is_none() {
            self.memory.logged = None;
        }
        outcome
    }

    /// Each failure once, until another one comes.
    fn log(&mut self, failure: &Failure) {
        let text = failure.to_string();
        if self.memory.logged.as_ref() != Some(&text) {
            tracing::warn!(cluster = %self.key, "{text}");
            self.memory.logged = Some(text);
        }
    }

    // --- the status ---

    async fn write_status(&mut self, status: BrokerClusterStatus) -> bool {
        let before = self.cluster.status.clone().unwrap_or_default();
        let due = self
            .memory
            .status_at
            .is_none_or(|at| at.elapsed() >= FIGURES);
        if status == before || (!due && without_figures(&status) == without_figures(&before)) {
            return true;
        }
        let mut cluster = (*self.cluster).clone();
        cluster.status = Some(status);
        match self.hands.write_status(&cluster).await {
            Ok(written) => {
                self.memory.status_at = Some(Instant::now());
                self.memory.written = Some((self.store_version.clone(), Arc::new(written)));
                true
            }
            Err(Failure::Stale(_)) => false,
            Err(failure) => {
                self.log(&failure);
                false
            }
        }
    }
}

/// How applying went.
#[derive(Default)]
struct Outcome {
    complete: bool,
    wrote_founding: bool,
    failure: Option<String>,
}

fn image_of(set: &k8s_openapi::api::apps::v1::StatefulSet) -> Option<String> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers
        .iter()
        .find(|c| c.name == "broker")?
        .image
        .clone()
}

/// A status without what changes with every message.
fn without_figures(status: &BrokerClusterStatus) -> BrokerClusterStatus {
    let mut plain = status.clone();
    for member in plain.groups.iter_mut().flat_map(|g| &mut g.members) {
        member.offset = None;
        member.lag = None;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{GroupStatus, MemberStatus};

    fn status(offset: u64, in_sync: bool) -> BrokerClusterStatus {
        BrokerClusterStatus {
            groups: vec![GroupStatus {
                members: vec![MemberStatus {
                    offset: Some(offset),
                    lag: Some(offset),
                    in_sync,
                    ..MemberStatus::default()
                }],
                ..GroupStatus::default()
            }],
            ..BrokerClusterStatus::default()
        }
    }

    #[test]
    fn offsets_alone_are_figures_and_being_in_sync_is_not() {
        assert_eq!(
            without_figures(&status(1, true)),
            without_figures(&status(2, true))
        );
        assert_ne!(
            without_figures(&status(1, true)),
            without_figures(&status(1, false))
        );
    }

    #[test]
    fn our_own_write_is_newer_than_a_store_that_has_not_seen_it() {
        let object = |version: &str| {
            let mut cluster = BrokerCluster::new(
                "orders",
                serde_json::from_value(serde_json::json!({"groups": []})).unwrap(),
            );
            cluster.metadata.resource_version = Some(version.into());
            Arc::new(cluster)
        };
        let mut memory = Memory {
            written: Some((Some("1".into()), object("2"))),
            ..Memory::default()
        };
        let version = |c: &BrokerCluster| c.metadata.resource_version.clone().unwrap();
        assert_eq!(version(&memory.newest(object("1"))), "2");
        assert_eq!(version(&memory.newest(object("2"))), "2");
        assert_eq!(version(&memory.newest(object("3"))), "3");
    }
}
