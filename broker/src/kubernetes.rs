//! All that the broker knows of Kubernetes: its group's Lease, its own claim, its pods' role label.
//!
//! Names and rights are the contract with the operator (`docs/internals/kubernetes.md`). Calls run on a
//! thread of their own, so that a slow API server never holds the node task up; each has a time limit,
//! and none is repeated by itself.
//!
//! Not here: what follows from an answer. The rules are the machine's.

mod client;
mod lease;
mod lease_content;
mod recovery;
mod role_label;
mod volume;

pub(crate) use client::{Kube, runtime};
pub(crate) use lease::KubeLease;
pub(crate) use lease_content::FoundingText;
pub(crate) use recovery::{Wish, read_wish};
pub(crate) use role_label::{Labelled, RoleLabel};
pub(crate) use volume::{bound_before, bound_now, remember};
