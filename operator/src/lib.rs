//! The TandemMQ operator: makes a `BrokerCluster` into running groups of brokers and says how they are.
//!
//! ```text
//! observe (reads only) --> decide (pure) --> apply (one change at a time)
//!    what is there, what       what to do        stops at the first failure,
//!    the pods say              and to say        may be killed between any two
//! ```
//! `controller` runs this loop for each cluster; `leader` says which of several operators acts.

pub mod api;
pub mod apply;
pub mod check;
pub mod cli;
pub mod controller;
pub mod crd;
pub mod decide;
pub mod events;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod plan;
