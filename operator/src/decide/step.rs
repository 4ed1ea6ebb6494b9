//! What may be done: each step is one change of one object.
//!
//! A decision is a list of steps; `apply` does them in order and stops at the first that fails.
//! The operator may be killed between any two: what is left follows again from what is then
//! observed. Steps that must not happen from an old picture carry what they expect to find; on a
//! fresh object that differs they do nothing and the next look decides anew.

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::api::{Founding, Reason};
use crate::observe::child::Kind;
use crate::observe::lease::{GROUP, PROMOTE_TO, PROPOSAL, RECOVER, Recover};

/// An object as it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All that the operator wants of it, as JSON.
    pub body: Value,
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Server-side apply. `uid`: of the object that is there; none: there must be none.
    Apply {
        /// As it shall be.
        child: Child,
        /// The object that is there and ours.
        uid: Option<String>,
    },
    /// Make a group's Lease, with the founding that a fresh status names.
    CreateLease {
        /// The group.
        group: String,
        /// The Lease without the founding.
        child: Child,
    },
    /// Make an object whose content is drawn now and never again.
    Create {
        /// As it shall be.
        child: Child,
    },
    /// Compare-and-swap of `status.groups[].founding`.
    SetFounding {
        /// The group.
        group: String,
        /// What the status must name now.
        from: Option<Founding>,
        /// What it shall name.
        to: Option<Founding>,
    },
    /// Compare-and-swap of a group's Lease.
    ChangeLease {
        /// The name of the Lease.
        lease: String,
        /// The change.
        change: LeaseChange,
    },
    /// Repeat the role of a broker on its pod.
    LabelPod {
        /// The pod.
        pod: String,
        /// Its UID: another pod of this name is not meant.
        uid: String,
        /// master or slave.
        role: &'static str,
    },
    /// Delete an object, and only the one of this UID.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Write or remove an annotation of the BrokerCluster.
    Annotate {
        /// The annotation.
        key: &'static str,
        /// Its new value; none removes it.
        to: Option<String>,
    },
}

/// A change of a Lease: a function of the Lease as it is found.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseChange {
    /// Write the founding; a proposal goes.
    Found(Founding),
    /// Remove this proposal.
    DropProposal(String),
    /// Remove this founding.
    Clear(Founding),
    /// Write founding and recovery at once.
    Recover(Founding, Recover),
    /// Ask for another master.
    Promote(String),
}

/// An Event to raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Something that a person should look at.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// What it is about, so that two Events of one reason stay two: a group, a pod, an epoch.
    pub about: String,
    /// The sentence.
    pub text: String,
}

impl Note {
    /// An Event that all is well.
    #[must_use]
    pub fn normal(reason: Reason, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            warning: false,
            reason,
            about: about.into(),
            text: text.into(),
        }
    }

    /// An Event that a person should look at.
    #[must_use]
    pub fn warning(reason: Reason, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            warning: true,
            ..Self::normal(reason, about, text)
        }
    }
}

/// A change that does not fit what was found: the next look decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has changed since it was looked at")]
pub struct Stale;

impl LeaseChange {
    /// Changes `lease`. Returns whether there is anything to write.
    ///
    /// # Errors
    /// When the Lease is not what the change was decided for.
    pub fn apply(&self, lease: &mut Lease) -> Result<bool, Stale> {
        let annotations = lease.metadata.annotations.get_or_insert_default();
        let before = annotations.clone();
        match self {
            Self::Found(founding) => {
                annotations.insert(GROUP.into(), json(founding));
                annotations.remove(PROPOSAL);
            }
            Self::DropProposal(text) => {
                if annotations.get(PROPOSAL) != Some(text) {
                    return Err(Stale);
                }
                annotations.remove(PROPOSAL);
            }
            Self::Clear(founding) => {
                if annotations.get(GROUP).is_some_and(|t| !names(t, founding)) {
                    return Err(Stale);
                }
                annotations.remove(GROUP);
                annotations.remove(PROPOSAL);
            }
            Self::Recover(founding, recover) => {
                annotations.insert(GROUP.into(), json(founding));
                annotations.insert(RECOVER.into(), json(recover));
                annotations.remove(PROPOSAL);
            }
            Self::Promote(pod) => {
                annotations.insert(PROMOTE_TO.into(), pod.clone());
            }
        }
        Ok(*annotations != before)
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data is JSON")
}

fn names(text: &str, founding: &Founding) -> bool {
    serde_json::from_str::<Founding>(text).is_ok_and(|f| f == *founding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn founding(id: &str) -> Founding {
        Founding {
            id: id.into(),
            incarnations: vec!["0/a".into()],
        }
    }

    fn lease(pairs: &[(&str, &str)]) -> Lease {
        let mut lease = Lease::default();
        let all: BTreeMap<String, String> = pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        lease.metadata.annotations = Some(all);
        lease
    }

    fn annotation<'a>(lease: &'a Lease, key: &str) -> Option<&'a str> {
        let annotations = lease.metadata.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    #[test]
    fn a_founding_replaces_the_proposal_and_leaves_the_rest() {
        let mut it = lease(&[(PROPOSAL, "p"), ("tandemmq.io/epoch", "4")]);
        assert_eq!(LeaseChange::Found(founding("g1")).apply(&mut it), Ok(true));
        assert_eq!(annotation(&it, PROPOSAL), None);
        assert_eq!(annotation(&it, "tandemmq.io/epoch"), Some("4"));
        assert_eq!(
            annotation(&it, GROUP),
            Some(r#"{"id":"g1","incarnations":["0/a"]}"#)
        );
        // The same again is nothing to write.
        assert_eq!(LeaseChange::Found(founding("g1")).apply(&mut it), Ok(false));
    }

    #[test]
    fn another_proposal_than_the_judged_one_stays() {
        let mut it = lease(&[(PROPOSAL, "newer")]);
        let change = LeaseChange::DropProposal("older".into());
        assert_eq!(change.apply(&mut it), Err(Stale));
        assert_eq!(annotation(&it, PROPOSAL), Some("newer"));
    }

    #[test]
    fn another_founding_than_the_judged_one_is_never_cleared() {
        let mut it = lease(&[]);
        LeaseChange::Found(founding("g2")).apply(&mut it).unwrap();
        assert_eq!(
            LeaseChange::Clear(founding("g1")).apply(&mut it),
            Err(Stale)
        );
        assert_eq!(LeaseChange::Clear(founding("g2")).apply(&mut it), Ok(true));
        assert_eq!(annotation(&it, GROUP), None);
    }
}
