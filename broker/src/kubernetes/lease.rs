//! `KubeLease`: the Lease as an object of Kubernetes.
//!
//! Compare-and-swap is a replace that names uid and resourceVersion as read. The object that was read
//! last is kept, because a replace writes all of it, also what is not ours; a swap of another version
//! reads it again first.
//!
//! | the API server | answer |
//! |---|---|
//! | did it | Ok |
//! | 409, or 404 for an object that was read | Conflict |
//! | refused it otherwise (4xx), or no connection was made | Unavailable |
//! | anything else, or nothing in time | a read: Unavailable; a swap: Unknown, it may be done |
//!
//! A swap of the empty store makes the object. Pods have no right to: the operator makes Leases.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::PostParams;
use kube::{Api, Error};
use tandemmq_cluster::lease::{
    Lease, LeaseAnswer, LeaseRecord, LeaseRequest, LeaseStore, Revision,
};
use tokio::time::timeout;

use super::client::Kube;
use super::lease_content::{decode, encode};

/// The store of one broker.
pub(crate) struct KubeLease {
    kube: Kube,
    name: String,
    /// A call takes at most this long.
    limit: Duration,
    /// Seconds, for people who look at the object.
    duration: i32,
    seen: Option<Object>,
}

// === impl KubeLease ===

impl KubeLease {
    /// A handle on that Lease.
    pub(crate) fn new(kube: Kube, name: &str, limit: Duration, duration: Duration) -> Self {
        Self {
            kube,
            name: name.to_owned(),
            limit,
            duration: i32::try_from(duration.as_secs()).unwrap_or(i32::MAX),
            seen: None,
        }
    }

    fn api(&self) -> Api<Object> {
        Api::namespaced(self.kube.client.clone(), &self.kube.namespace)
    }

    fn read(&mut self) -> LeaseAnswer {
        match self.fetch() {
            Ok(Some(object)) => self.answer(object),
            Ok(None) => LeaseAnswer::Ok(Lease::default()),
            Err(text) => LeaseAnswer::Unavailable(text),
        }
    }

    fn fetch(&mut self) -> Result<Option<Object>, String> {
        let api = self.api();
        let call = async { timeout(self.limit, api.get_opt(&self.name)).await };
        let found = match self.kube.wait(call) {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(format!("Lease {}: {error}", self.name)),
            Err(_) => {
                return Err(format!(
                    "Lease {}: no answer in {:?}",
                    self.name, self.limit
                ));
            }
        };
        self.seen.clone_from(&found);
        Ok(found)
    }

    fn answer(&mut self, object: Object) -> LeaseAnswer {
        match decode(&object) {
            Ok(record) => {
                let (uid, revision) = names_of(&object);
                self.seen = Some(object);
                LeaseAnswer::Ok(Lease {
                    uid,
                    revision: Revision(revision),
                    record,
                })
            }
            Err(text) => LeaseAnswer::Unavailable(format!("Lease {}: {text}", self.name)),
        }
    }

    fn swap(&mut self, uid: &str, revision: &Revision, record: &LeaseRecord) -> LeaseAnswer {
        let named = (uid.to_owned(), revision.0.clone());
        if self.seen.as_ref().map(names_of).as_ref() != Some(&named)
            && let Err(text) = self.fetch()
        {
            return LeaseAnswer::Unavailable(text);
        }
        match self.seen.clone() {
            None if uid.is_empty() && revision.0.is_empty() => self.create(record),
            Some(object) if names_of(&object) == named => self.replace(object, record),
            _ => LeaseAnswer::Conflict,
        }
    }

    fn create(&mut self, record: &LeaseRecord) -> LeaseAnswer {
        let mut object = Object::default();
        object.metadata.name = Some(self.name.clone());
        self.fill(&mut object, record);
        let api = self.api();
        let params = PostParams::default();
        let call = async { timeout(self.limit, api.create(&params, &object)).await };
        let done = self.kube.wait(call);
        self.judge(done)
    }

    fn replace(&mut self, mut object: Object, record: &LeaseRecord) -> LeaseAnswer {
        self.fill(&mut object, record);
        let api = self.api();
        let params = PostParams::default();
        let call = async { timeout(self.limit, api.replace(&self.name, &params, &object)).await };
        let done = self.kube.wait(call);
        self.judge(done)
    }

    fn fill(&self, object: &mut Object, record: &LeaseRecord) {
        // The kernel gives random bytes from its first moments on, long before a pod runs.
        let nonce = getrandom::u64().expect("the kernel gives random bytes");
        encode(object, record, self.duration, nonce);
    }

    fn judge(
        &mut self,
        done: Result<Result<Object, Error>, tokio::time::error::Elapsed>,
    ) -> LeaseAnswer {
        match done {
            Ok(Ok(object)) => self.answer(object),
            Ok(Err(error)) => {
                // What is there now is not what was read.
                self.seen = None;
                of_error(&self.name, &error)
            }
            Err(_) => {
                self.seen = None;
                LeaseAnswer::Unknown
            }
        }
    }
}

impl LeaseStore for KubeLease {
    fn call(&mut self, request: LeaseRequest) -> LeaseAnswer {
        match request {
            LeaseRequest::Read => self.read(),
            LeaseRequest::Swap {
                uid,
                revision,
                record,
            } => self.swap(&uid, &revision, &record),
        }
    }
}

fn names_of(object: &Object) -> (String, String) {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    (
        of(&object.metadata.uid),
        of(&object.metadata.resource_version),
    )
}

/// What a swap that was not answered with the object means.
fn of_error(name: &str, error: &Error) -> LeaseAnswer {
    let unavailable = || LeaseAnswer::Unavailable(format!("Lease {name}: {error}"));
    match error {
        Error::Api(status) if matches!(status.code, 404 | 409) => LeaseAnswer::Conflict,
        Error::Api(status) if (400..500).contains(&status.code) => unavailable(),
        _ if never_sent(error) => unavailable(),
        _ => LeaseAnswer::Unknown,
    }
}

/// No connection was made, so that nothing can have been done.
fn never_sent(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            );
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
