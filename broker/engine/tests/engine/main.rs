//! The engine as its neighbours see it: commands and records in, effects out.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where it finds something unexpected"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test crate has no readers of its own pages"
)]

mod acks;
mod bench;
mod bodies;
mod browse;
mod expiry;
mod foreign;
mod golden;
mod limits;
mod pictures;
mod queues;
mod random;
mod topics;
mod transactions;
mod transient;
