//! `BrokerCluster`, version `tandemmq.io/v1alpha1`: what a user writes and what the operator answers.
//!
//! The doc comments of the fields are what `kubectl explain` prints. Defaults and rules live in the
//! schema, so that the API server refuses a wrong spec with a sentence that helps; what it cannot
//! see (another object's state) the operator says in a condition.
//!
//! Not here: what follows from a spec (`plan`), what is decided when (`decide`).

mod quantity;
mod reason;
#[expect(
    unreachable_pub,
    reason = "the schema's derive makes a private copy of each struct"
)]
mod spec;
mod status;

pub use quantity::bytes_of;
pub use reason::Reason;
pub use spec::{
    Auth, BrokerCluster, BrokerClusterSpec, DeletionPolicy, Election, Group, ImagePullPolicy,
    Maintenance, NetworkPolicySpec, Placement, PodTemplate, Resources, SecretRef, Stomp, StompTls,
    Storage, Transports,
};
pub use status::{
    BrokerClusterStatus, Founding, GroupStatus, MemberStatus, Quorum, RollPhase, RollStatus,
    condition,
};

/// Group of the API.
pub const API_GROUP: &str = "tandemmq.io";
