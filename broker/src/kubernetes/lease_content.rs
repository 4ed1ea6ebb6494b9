//! What of a Lease object is the record, and back.
//!
//! ```text
//! spec.holderIdentity        holder; absent when released (an empty one is not allowed)
//! spec.renewTime             renewed, for people
//! spec.acquireTime, leaseTransitions, leaseDurationSeconds    for people and other tools
//! annotations tandemmq.io/…  the rest; absent = 0, empty or none
//! ```
//! Everything else of the object stays as it is. Foundings are JSON: `{"id": "<32 hex>",
//! "incarnations": ["<ordinal>/<32 hex>", …]}`.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease as Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tandemmq_cluster::lease::LeaseRecord;
use tandemmq_journal::Founding;
use tandemmq_model::{GroupId, Incarnation, MemberId};

const EPOCH: &str = "tandemmq.io/epoch";
const MASTER_EPOCH: &str = "tandemmq.io/master-epoch";
const MASTER_ADDRESS: &str = "tandemmq.io/master-address";
const HANDOVER_TO: &str = "tandemmq.io/handover-to";
const PROMOTE_TO: &str = "tandemmq.io/promote-to";
const GROUP_PROPOSAL: &str = "tandemmq.io/group-proposal";
const GROUP: &str = "tandemmq.io/group";
/// A replace that changes nothing is none: with this each write is a version of its own.
const WRITE: &str = "tandemmq.io/write";

/// A founding as texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoundingText {
    id: String,
    incarnations: Vec<String>,
}

/// The record of an object; an error names the annotation that is damaged.
pub(super) fn decode(object: &Object) -> Result<LeaseRecord, String> {
    let none = BTreeMap::new();
    let annotations = object.metadata.annotations.as_ref().unwrap_or(&none);
    let spec = object.spec.clone().unwrap_or_default();
    let text = |key: &str| annotations.get(key).cloned().unwrap_or_default();
    Ok(LeaseRecord {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed_ms: spec
            .renew_time
            .and_then(|time| u64::try_from(time.0.as_millisecond()).ok())
            .unwrap_or_default(),
        epoch: number(annotations, EPOCH)?,
        master_epoch: number(annotations, MASTER_EPOCH)?,
        master_address: text(MASTER_ADDRESS),
        handover_to: text(HANDOVER_TO),
        promote_to: text(PROMOTE_TO),
        group_proposal: founding(annotations, GROUP_PROPOSAL)?,
        group: founding(annotations, GROUP)?,
    })
}

/// Writes the record into the object. `nonce` makes this write a version of its own.
pub(super) fn encode(object: &mut Object, record: &LeaseRecord, duration: i32, nonce: u64) {
    let annotations = object.metadata.annotations.get_or_insert_default();
    let mut put = |key: &str, value: String, absent: bool| {
        if absent {
            annotations.remove(key);
        } else {
            annotations.insert(key.to_owned(), value);
        }
    };
    put(EPOCH, record.epoch.to_string(), record.epoch == 0);
    put(
        MASTER_EPOCH,
        record.master_epoch.to_string(),
        record.master_epoch == 0,
    );
    for (key, value) in [
        (MASTER_ADDRESS, &record.master_address),
        (HANDOVER_TO, &record.handover_to),
        (PROMOTE_TO, &record.promote_to),
    ] {
        put(key, value.clone(), value.is_empty());
    }
    for (key, value) in [
        (GROUP_PROPOSAL, &record.group_proposal),
        (GROUP, &record.group),
    ] {
        let text = value.as_ref().map(FoundingText::new);
        let json = serde_json::to_string(&text).expect("texts are JSON");
        put(key, json, text.is_none());
    }
    put(WRITE, format!("{nonce:016x}"), false);
    encode_spec(object, record, duration);
}

fn encode_spec(object: &mut Object, record: &LeaseRecord, duration: i32) {
    let spec = object.spec.get_or_insert_default();
    let millis = i64::try_from(record.renewed_ms).unwrap_or(i64::MAX);
    let renewed = Timestamp::from_millisecond(millis).ok().map(MicroTime);
    let before = spec.holder_identity.take().unwrap_or_default();
    if record.holder != before && !record.holder.is_empty() {
        spec.acquire_time.clone_from(&renewed);
        spec.lease_transitions = Some(
            spec.lease_transitions
                .unwrap_or_default()
                .wrapping_add(1)
                .max(0),
        );
    }
    spec.holder_identity = (!record.holder.is_empty()).then(|| record.holder.clone());
    spec.renew_time = renewed;
    spec.lease_duration_seconds = Some(duration);
}

fn number(annotations: &BTreeMap<String, String>, key: &str) -> Result<u64, String> {
    let Some(text) = annotations.get(key) else {
        return Ok(0);
    };
    text.parse()
        .map_err(|_| format!("annotation {key} is \"{text}\", which is no number"))
}

fn founding(annotations: &BTreeMap<String, String>, key: &str) -> Result<Option<Founding>, String> {
    let Some(text) = annotations.get(key) else {
        return Ok(None);
    };
    let parsed: Option<FoundingText> = serde_json::from_str(text).ok();
    parsed
        .and_then(|texts| texts.founding())
        .map(Some)
        .ok_or_else(|| format!("annotation {key} is \"{text}\", which is no founding"))
}

// === impl FoundingText ===

impl FoundingText {
    /// The texts of a founding.
    pub(crate) fn new(founding: &Founding) -> Self {
        let member = |member: &MemberId| format!("{}/{}", member.ordinal, member.incarnation);
        Self {
            id: founding.id.to_string(),
            incarnations: founding.members.iter().map(member).collect(),
        }
    }

    fn founding(&self) -> Option<Founding> {
        let member = |text: &String| {
            let (ordinal, incarnation) = text.split_once('/')?;
            Some(MemberId {
                ordinal: ordinal.parse().ok()?,
                incarnation: Incarnation(hex(incarnation)?),
            })
        };
        Some(Founding {
            id: GroupId(hex(&self.id)?),
            members: self
                .incarnations
                .iter()
                .map(member)
                .collect::<Option<_>>()?,
        })
    }
}

pub(super) fn hex(text: &str) -> Option<u128> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LeaseRecord {
        let member = |ordinal: u8| MemberId {
            ordinal,
            incarnation: Incarnation(0xa0 + u128::from(ordinal)),
        };
        LeaseRecord {
            holder: "orders-a-1_uid_1".into(),
            renewed_ms: 1_790_000_000_123,
            epoch: u64::MAX,
            master_epoch: 3,
            master_address: "orders-a-1.orders-a-nodes:61613".into(),
            handover_to: "orders-a-2".into(),
            promote_to: String::new(),
            group_proposal: None,
            group: Some(Founding {
                id: GroupId(7),
                members: vec![member(0), member(1)],
            }),
        }
    }

    #[test]
    fn record_is_read_back_and_what_is_not_ours_stays() {
        let mut object = Object::default();
        let theirs = BTreeMap::from([("theirs".to_owned(), "kept".to_owned())]);
        object.metadata.annotations = Some(theirs);
        encode(&mut object, &record(), 6, 1);
        assert_eq!(decode(&object), Ok(record()));
        let annotations = object.metadata.annotations.clone().unwrap();
        assert_eq!(annotations["theirs"], "kept");
        assert_eq!(
            annotations[GROUP],
            "{\"id\":\"00000000000000000000000000000007\",\"incarnations\":[\
             \"0/000000000000000000000000000000a0\",\"1/000000000000000000000000000000a1\"]}"
        );
        assert!(!annotations.contains_key(PROMOTE_TO) && !annotations.contains_key(GROUP_PROPOSAL));
    }

    #[test]
    fn new_holder_is_a_transition_and_a_renewal_is_none() {
        let mut object = Object::default();
        encode(&mut object, &record(), 6, 1);
        let mut renewed = record();
        renewed.renewed_ms += 2_000;
        encode(&mut object, &renewed, 6, 2);
        let spec = object.spec.clone().unwrap();
        assert_eq!(spec.lease_transitions, Some(1));
        assert!(spec.acquire_time.unwrap().0 < spec.renew_time.unwrap().0);
        renewed.holder.clear();
        encode(&mut object, &renewed, 6, 3);
        let spec = object.spec.clone().unwrap();
        assert_eq!(
            (spec.holder_identity, spec.lease_transitions),
            (None, Some(1))
        );
    }

    #[test]
    fn same_record_written_twice_is_two_versions() {
        let (mut one, mut two) = (Object::default(), Object::default());
        encode(&mut one, &record(), 6, 1);
        encode(&mut two, &record(), 6, 2);
        assert_ne!(one.metadata.annotations, two.metadata.annotations);
    }

    #[test]
    fn damaged_annotations_are_named() {
        for (key, text) in [
            (EPOCH, "many"),
            (GROUP, "{}"),
            (GROUP, r#"{"id":"7","incarnations":[]}"#),
            (
                GROUP_PROPOSAL,
                r#"{"id":"00000000000000000000000000000007","incarnations":["a"]}"#,
            ),
        ] {
            let mut object = Object::default();
            object.metadata.annotations = Some([(key.to_owned(), text.to_owned())].into());
            let error = decode(&object).unwrap_err();
            assert!(error.contains(key) && error.contains(text), "{error}");
        }
    }
}
