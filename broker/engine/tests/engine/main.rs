//! The engine as its neighbours see it: commands and records in, effects out.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test crate has no readers of its own pages"
)]

mod bench;
mod queues;
