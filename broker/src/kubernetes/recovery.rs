//! Row 19 on Kubernetes: a person's wish that this volume becomes a group of its own.
//!
//! The operator writes it into the Lease, together with the new group, and starts the survivor's pod
//! again. A start whose volume is still in the old group does it; any later one finds it done.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::Api;
use serde::Deserialize;
use tandemmq_model::{Epoch, GroupId};
use tokio::time::timeout;

use super::client::Kube;
use super::lease_content::{decode, hex};

const RECOVER: &str = "tandemmq.io/recover";

/// A start waits for the Lease no longer: without a wish there is nothing to lose by going on.
const READ_MAX: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The group that the volume must be in.
    pub(crate) from: GroupId,
    /// The new one.
    pub(crate) to: GroupId,
    /// The greatest epoch that the Lease knows of.
    pub(crate) seen: Epoch,
}

#[derive(Deserialize)]
struct Text {
    survivor: String,
    from: String,
    to: String,
}

/// The wish for this broker, if the Lease has one.
pub(crate) async fn read_wish(kube: &Kube, lease: &str, broker: &str) -> Option<Wish> {
    let api: Api<Object> = Api::namespaced(kube.client.clone(), &kube.namespace);
    let name = lease.to_owned();
    let call = kube.spawn(async move { timeout(READ_MAX, api.get_opt(&name)).await });
    match call.await {
        Ok(Ok(Ok(object))) => wish_of(&object?, broker),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, "cannot look into the Lease for a wish to recover");
            None
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("the Lease was not answered in time: no look for a wish to recover");
            None
        }
    }
}

/// A wish that cannot be read is told and not followed: it asks for something that cannot be undone.
fn wish_of(object: &Object, broker: &str) -> Option<Wish> {
    let json = object.metadata.annotations.as_ref()?.get(RECOVER)?;
    let read = || -> Result<Option<Wish>, String> {
        let text: Text = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let id = |text: &str| {
            hex(text)
                .map(GroupId)
                .ok_or_else(|| format!("\"{text}\" is no id"))
        };
        let (from, to, record) = (id(&text.from)?, id(&text.to)?, decode(object)?);
        let ours = text.survivor == broker && record.group.is_some_and(|group| group.id == to);
        let seen = Epoch(record.epoch.max(record.master_epoch));
        Ok(ours.then_some(Wish { from, to, seen }))
    };
    read().unwrap_or_else(|error| {
        tracing::warn!("annotation {RECOVER} of the Lease is not followed: {error}");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(survivor: &str, to: u128, group: u128) -> Object {
        let mut object = Object::default();
        let founding = format!(r#"{{"id":"{group:032x}","incarnations":["1/{:032x}"]}}"#, 5);
        let wish = format!(
            r#"{{"survivor":"{survivor}","from":"{:032x}","to":"{to:032x}"}}"#,
            1
        );
        object.metadata.annotations = Some(
            [
                (RECOVER.to_owned(), wish),
                ("tandemmq.io/group".to_owned(), founding),
                ("tandemmq.io/epoch".to_owned(), "9".to_owned()),
            ]
            .into(),
        );
        object
    }

    #[test]
    fn wish_is_for_the_survivor_and_only_while_the_lease_belongs_to_the_new_group() {
        let expected = Wish {
            from: GroupId(1),
            to: GroupId(2),
            seen: Epoch(9),
        };
        assert_eq!(wish_of(&lease("a-1", 2, 2), "a-1"), Some(expected));
        assert_eq!(wish_of(&lease("a-1", 2, 2), "a-0"), None);
        assert_eq!(wish_of(&lease("a-1", 2, 3), "a-1"), None);
        assert_eq!(wish_of(&Object::default(), "a-1"), None);
        let mut damaged = lease("a-1", 2, 2);
        let annotations = damaged.metadata.annotations.as_mut().unwrap();
        annotations.insert(RECOVER.to_owned(), "{".to_owned());
        assert_eq!(wish_of(&damaged, "a-1"), None);
    }
}
