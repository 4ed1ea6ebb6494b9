//! Which of several operators acts: the Lease `tandemmq-operator` in the operator's own namespace.
//!
//! The rules are those of the well-known clients: a candidate takes the Lease over only after it
//! has seen the same record for a whole lease duration **by its own clock** (two clocks are never
//! compared), and every write is a replace at the resourceVersion that was read, so that of two
//! candidates one loses. The identity is the UID of the pod: a container that was restarted finds
//! its own name and goes on at once.
//!
//! Nothing of safety rests on this Lease. Two operators at once would write the same objects from
//! the same observations, and what must never be done twice is a compare-and-swap (`apply`). So a
//! process that was frozen and wakes up may finish the call it was in: no harm.
//!
//! `Election` is pure: what to write, given what was read and when. `Leadership` is the loop.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;

/// The name of the Lease.
pub const LEASE: &str = "tandemmq-operator";

/// How long a record must stand still before somebody else may take it.
const DURATION: Duration = Duration::from_secs(15);
/// A leader that could not renew for this long is none any more: well before the others may act.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// The time from one try to the next.
const RETRY: Duration = Duration::from_secs(2);
/// The limit of one call: below the time from one try to the next.
const CALL: Duration = Duration::from_millis(1500);

/// The rules, without a socket or a clock.
#[derive(Debug)]
pub struct Election {
    identity: String,
    observed: Option<(LeaseSpec, Instant)>,
}

impl Election {
    /// A candidate of this name that has seen nothing yet.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            observed: None,
        }
    }

    /// What to write, having read `lease` (none: there is no such object) at `now`.
    ///
    /// None: somebody else leads, wait. `wall` is only what people read in the Lease.
    pub fn step(&mut self, lease: Option<&Lease>, now: Instant, wall: Timestamp) -> Option<Lease> {
        let Some(lease) = lease else {
            self.observed = None;
            return Some(self.record(ObjectMeta::default(), None, wall));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let since = match &self.observed {
            Some((seen, since)) if *seen == spec => *since,
            _ => now,
        };
        self.observed = Some((spec.clone(), since));
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let stood_still = now.duration_since(since) >= DURATION;
        (holder.is_empty() || holder == self.identity || stood_still)
            .then(|| self.record(lease.metadata.clone(), Some(spec), wall))
    }

    /// The record that gives the Lease up, if this candidate holds it.
    #[must_use]
    pub fn release(&self, mut lease: Lease) -> Option<Lease> {
        let spec = lease.spec.as_mut()?;
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return None;
        }
        spec.holder_identity = Some(String::new());
        Some(lease)
    }

    fn record(&self, metadata: ObjectMeta, old: Option<LeaseSpec>, wall: Timestamp) -> Lease {
        let old = old.unwrap_or_default();
        let mine = old.holder_identity.as_deref() == Some(&self.identity);
        let transitions = old.lease_transitions.unwrap_or(0);
        Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.into()),
                resource_version: metadata.resource_version,
                uid: metadata.uid,
                labels: metadata.labels,
                annotations: metadata.annotations,
                owner_references: metadata.owner_references,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(DURATION.as_secs() as i32),
                acquire_time: old.acquire_time.filter(|_| mine).or(Some(MicroTime(wall))),
                renew_time: Some(MicroTime(wall)),
                lease_transitions: Some(if mine { transitions } else { transitions + 1 }),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// A candidate with its Lease.
pub struct Leadership {
    api: Api<Lease>,
    election: Election,
    renewed: Instant,
}

impl Leadership {
    /// Waits until this process leads.
    ///
    /// # Errors
    /// Never for what passes (an API server that is away): only for a right that is missing.
    pub async fn acquire(client: Client, namespace: &str, identity: &str) -> anyhow::Result<Self> {
        let mut it = Self {
            api: Api::namespaced(client, namespace),
            election: Election::new(identity),
            renewed: Instant::now(),
        };
        let mut told = false;
        loop {
            match it.try_once().await {
                Ok(true) => return Ok(it),
                Ok(false) if !told => {
                    tracing::info!(lease = LEASE, "another operator leads: standing by");
                    told = true;
                }
                Ok(false) => {}
                Err(error) if forbidden(&error) => {
                    return Err(error).with_context(|| {
                        format!("the Lease {LEASE} in namespace {namespace} may not be used")
                    });
                }
                Err(error) => tracing::warn!(%error, lease = LEASE, "not read or written"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews until it cannot be renewed any more; then returns, and the process must end.
    pub async fn keep(&mut self) {
        loop {
            tokio::time::sleep(RETRY).await;
            match self.try_once().await {
                Ok(true) => continue,
                Ok(false) => {
                    tracing::error!(lease = LEASE, "another operator took the Lease over");
                    return;
                }
                Err(error) => tracing::warn!(%error, lease = LEASE, "not renewed"),
            }
            if self.renewed.elapsed() >= RENEW_DEADLINE {
                tracing::error!(lease = LEASE, "not renewed for {RENEW_DEADLINE:?}");
                return;
            }
        }
    }

    /// Gives the Lease up, so that a stand-by need not wait. Best effort.
    pub async fn release(&self) {
        let Ok(Some(lease)) = limited(self.api.get_opt(LEASE)).await else {
            return;
        };
        if let Some(free) = self.election.release(lease)
            && let Err(error) =
                limited(self.api.replace(LEASE, &PostParams::default(), &free)).await
        {
            tracing::warn!(%error, lease = LEASE, "not released");
        }
    }

    /// Whether the Lease is ours now. A lost race is `false`.
    async fn try_once(&mut self) -> Result<bool, kube::Error> {
        let found = limited(self.api.get_opt(LEASE)).await?;
        let asked = Instant::now();
        let Some(record) = self.election.step(found.as_ref(), asked, Timestamp::now()) else {
            return Ok(false);
        };
        let params = PostParams::default();
        let answer = match found {
            None => limited(self.api.create(&params, &record)).await,
            Some(_) => limited(self.api.replace(LEASE, &params, &record)).await,
        };
        match answer {
            Ok(_) => {
                // From before the call: the others count from when they saw it, which is later.
                self.renewed = asked;
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

async fn limited<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    tokio::time::timeout(CALL, call)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
}

fn forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 401 || status.code == 403)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewals: i32) -> Lease {
        let mut lease =
            Election::new(holder).record(ObjectMeta::default(), None, Timestamp::UNIX_EPOCH);
        let spec = lease.spec.as_mut().unwrap();
        spec.holder_identity = Some(holder.into());
        spec.lease_transitions = Some(renewals);
        lease
    }

    fn holder(lease: &Lease) -> &str {
        lease
            .spec
            .as_ref()
            .unwrap()
            .holder_identity
            .as_deref()
            .unwrap()
    }

    #[test]
    fn a_missing_lease_is_made_and_a_released_one_taken_at_once() {
        let now = Instant::now();
        let mut me = Election::new("me");
        assert_eq!(
            holder(&me.step(None, now, Timestamp::UNIX_EPOCH).unwrap()),
            "me"
        );
        let free = lease("", 3);
        let taken = me.step(Some(&free), now, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(holder(&taken), "me");
        assert_eq!(taken.spec.unwrap().lease_transitions, Some(4));
    }

    #[test]
    fn the_same_identity_goes_on_at_once_and_that_is_no_transition() {
        let mut me = Election::new("me");
        let mine = lease("me", 3);
        let again = me
            .step(Some(&mine), Instant::now(), Timestamp::UNIX_EPOCH)
            .unwrap();
        assert_eq!(again.spec.unwrap().lease_transitions, Some(3));
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_stood_still_for_its_whole_duration() {
        let start = Instant::now();
        let mut me = Election::new("me");
        let at = |s: f64| start + Duration::from_secs_f64(s);
        assert!(
            me.step(Some(&lease("other", 1)), at(0.0), Timestamp::UNIX_EPOCH)
                .is_none()
        );
        assert!(
            me.step(Some(&lease("other", 1)), at(14.9), Timestamp::UNIX_EPOCH)
                .is_none()
        );
        // Renewed: the time starts again.
        assert!(
            me.step(Some(&lease("other", 2)), at(15.0), Timestamp::UNIX_EPOCH)
                .is_none()
        );
        assert!(
            me.step(Some(&lease("other", 2)), at(29.9), Timestamp::UNIX_EPOCH)
                .is_none()
        );
        assert!(
            me.step(Some(&lease("other", 2)), at(30.0), Timestamp::UNIX_EPOCH)
                .is_some()
        );
    }

    #[test]
    fn a_write_keeps_the_version_that_was_read_and_what_others_wrote_beside_it() {
        let mut other = lease("", 1);
        other.metadata.resource_version = Some("77".into());
        other.metadata.labels = Some([("team".to_owned(), "x".to_owned())].into());
        let mine = Election::new("me")
            .step(Some(&other), Instant::now(), Timestamp::UNIX_EPOCH)
            .unwrap();
        assert_eq!(mine.metadata.resource_version.as_deref(), Some("77"));
        assert_eq!(mine.metadata.labels, other.metadata.labels);
    }

    #[test]
    fn only_its_own_lease_is_released() {
        let me = Election::new("me");
        assert!(me.release(lease("other", 1)).is_none());
        assert_eq!(holder(&me.release(lease("me", 1)).unwrap()), "");
    }
}
