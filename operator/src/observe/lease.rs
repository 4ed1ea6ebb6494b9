//! A group's Lease as the operator reads it: the annotations that are its business.
//!
//! Renewals change none of them: `of_interest` is what a watch compares, so that a renewal every
//! two seconds wakes nobody.

use k8s_openapi::api::coordination::v1::Lease;
use serde::{Deserialize, Serialize};

use crate::api::Founding;

/// The confirmed founding.
pub const GROUP: &str = "tandemmq.io/group";
/// A founding that the broker of ordinal 0 proposes.
pub const PROPOSAL: &str = "tandemmq.io/group-proposal";
/// The pod that is asked to become master.
pub const PROMOTE_TO: &str = "tandemmq.io/promote-to";
/// A recovery by hand.
pub const RECOVER: &str = "tandemmq.io/recover";
/// The epoch of the reigning master.
pub const MASTER_EPOCH: &str = "tandemmq.io/master-epoch";
/// Random: makes each write a version of its own.
pub const WRITE: &str = "tandemmq.io/write";

/// What `tandemmq.io/recover` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// The pod that shall go on alone.
    pub survivor: String,
    /// The group's old id.
    pub from: String,
    /// The new one.
    pub to: String,
}

/// The Lease's part for the operator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LeaseSeen {
    /// The confirmed founding.
    pub group: Option<Founding>,
    /// `group` is there and cannot be read.
    pub damaged: bool,
    /// The proposal.
    pub proposal: Option<Founding>,
    /// The proposal's text, also when it cannot be read.
    pub proposal_text: Option<String>,
    /// The wish for another master.
    pub promote_to: Option<String>,
    /// The recovery.
    pub recover: Option<Recover>,
}

impl LeaseSeen {
    /// Reads the annotations.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        let text = |key: &str| {
            let annotations = lease.metadata.annotations.as_ref()?;
            annotations.get(key).filter(|v| !v.is_empty()).cloned()
        };
        let founding = |text: &Option<String>| {
            let text = text.as_deref()?;
            serde_json::from_str::<Founding>(text).ok()
        };
        let group_text = text(GROUP);
        let proposal_text = text(PROPOSAL);
        let group = founding(&group_text);
        Self {
            damaged: group.is_none() && group_text.is_some(),
            group,
            proposal: founding(&proposal_text),
            proposal_text,
            promote_to: text(PROMOTE_TO),
            recover: text(RECOVER).and_then(|t| serde_json::from_str(&t).ok()),
        }
    }
}

/// What of a Lease can change what the operator does.
#[must_use]
pub fn of_interest(lease: &Lease) -> (Option<String>, Vec<Option<String>>) {
    let annotations = lease.metadata.annotations.as_ref();
    let values = [GROUP, PROPOSAL, PROMOTE_TO, RECOVER, MASTER_EPOCH]
        .map(|key| annotations.and_then(|a| a.get(key)).cloned());
    (lease.metadata.uid.clone(), values.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff::Timestamp;

    fn lease(annotations: &[(&str, &str)]) -> Lease {
        let mut lease = Lease::default();
        let pairs = annotations.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        lease.metadata.annotations = Some(pairs.collect());
        lease
    }

    #[test]
    fn a_renewal_is_of_no_interest_and_a_new_master_is() {
        let old = lease(&[(MASTER_EPOCH, "4"), (WRITE, "a")]);
        let mut renewed = lease(&[(MASTER_EPOCH, "4"), (WRITE, "b")]);
        renewed.spec = Some(LeaseSpec {
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        });
        assert_eq!(of_interest(&old), of_interest(&renewed));
        let other = lease(&[(MASTER_EPOCH, "5"), (WRITE, "c")]);
        assert_ne!(of_interest(&old), of_interest(&other));
    }

    #[test]
    fn what_cannot_be_read_is_damage_and_not_absence() {
        let seen = LeaseSeen::of(&lease(&[(GROUP, "{"), (PROPOSAL, "no")]));
        assert!(seen.damaged);
        assert_eq!(seen.group, None);
        assert_eq!(seen.proposal, None);
        assert_eq!(seen.proposal_text.as_deref(), Some("no"));
        assert_eq!(LeaseSeen::of(&lease(&[(GROUP, "")])), LeaseSeen::default());
    }
}
