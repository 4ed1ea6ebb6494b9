//! STOMP 1.0, 1.1 and 1.2 as ActiveMQ Classic speaks it.
//!
//! ```text
//! bytes ──> decoder ──> Frame ──> session ──> Command          (requests: who waits for a receipt)
//! bytes <── outbound <── encoder <── session <── Reply, Deliver (subscriptions: which, how acked)
//! ```
//!
//! `docs/compatibility.md` of the project lists every point where the specification and ActiveMQ
//! differ and which of them holds here. What a command does is the engine's business.

mod client;
mod connect;
mod decoder;
mod destinations;
mod encoder;
mod frame;
mod headers;
mod heartbeat;
mod outbound;
mod requests;
mod returns;
mod send;
mod session;
mod subscriptions;
mod version;

pub use client::ClientCodec;
pub use decoder::{DecodeError, Decoder, FrameLimits};
pub use frame::Frame;
pub use session::StompSession;
pub use version::Version;

#[cfg(test)]
mod tests;
