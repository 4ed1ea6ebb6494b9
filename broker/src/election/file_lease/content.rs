//! What stands in one lease file: the record as JSON, one key a line, so that people can read it.
//!
//! Unknown keys are kept out of the way of a later version: they are ignored. Ids are hex texts,
//! because JSON's numbers end at 2^53 in many readers.

use std::io;

use serde::{Deserialize, Serialize};
use tandemmq_cluster::lease::LeaseRecord;
use tandemmq_journal::Founding;
use tandemmq_model::{GroupId, Incarnation, MemberId};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    uid: String,
    holder: String,
    renewed_ms: u64,
    epoch: u64,
    master_epoch: u64,
    master_address: String,
    handover_to: String,
    promote_to: String,
    group_proposal: Option<Group>,
    group: Option<Group>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    id: String,
    members: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    ordinal: u8,
    incarnation: String,
}

pub(super) fn encode(uid: &str, record: &LeaseRecord) -> Vec<u8> {
    let content = Content {
        uid: uid.to_owned(),
        holder: record.holder.clone(),
        renewed_ms: record.renewed_ms,
        epoch: record.epoch,
        master_epoch: record.master_epoch,
        master_address: record.master_address.clone(),
        handover_to: record.handover_to.clone(),
        promote_to: record.promote_to.clone(),
        group_proposal: record.group_proposal.as_ref().map(Group::new),
        group: record.group.as_ref().map(Group::new),
    };
    let mut bytes = serde_json::to_vec_pretty(&content).expect("texts and numbers are JSON");
    bytes.push(b'\n');
    bytes
}

/// The uid and the record.
pub(super) fn decode(bytes: &[u8]) -> io::Result<(String, LeaseRecord)> {
    let content: Content = serde_json::from_slice(bytes)
        .map_err(|error| damaged(&format!("it is not the JSON that a broker writes: {error}")))?;
    if content.uid.is_empty() {
        return Err(damaged("its uid is empty"));
    }
    let record = LeaseRecord {
        holder: content.holder,
        renewed_ms: content.renewed_ms,
        epoch: content.epoch,
        master_epoch: content.master_epoch,
        master_address: content.master_address,
        handover_to: content.handover_to,
        promote_to: content.promote_to,
        group_proposal: content.group_proposal.map(Group::founding).transpose()?,
        group: content.group.map(Group::founding).transpose()?,
    };
    Ok((content.uid, record))
}

impl Group {
    fn new(founding: &Founding) -> Self {
        let member = |member: &MemberId| Member {
            ordinal: member.ordinal,
            incarnation: member.incarnation.to_string(),
        };
        Self {
            id: founding.id.to_string(),
            members: founding.members.iter().map(member).collect(),
        }
    }

    fn founding(self) -> io::Result<Founding> {
        let member = |member: Member| {
            let incarnation = Incarnation(hex(&member.incarnation)?);
            Ok(MemberId {
                ordinal: member.ordinal,
                incarnation,
            })
        };
        Ok(Founding {
            id: GroupId(hex(&self.id)?),
            members: self
                .members
                .into_iter()
                .map(member)
                .collect::<io::Result<_>>()?,
        })
    }
}

fn hex(text: &str) -> io::Result<u128> {
    u128::from_str_radix(text, 16).map_err(|_| damaged(&format!("\"{text}\" is no id")))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the newest lease file is damaged: {what}"),
    )
}
