//! Wire protocols as pure sessions: bytes in, commands out; answers and deliveries in, bytes out.
//!
//! ```text
//! socket ── handle_input ──> Session ── poll_command ──> engine
//!    ^                          |
//!    └── poll_transmit <────────┴── handle_event (deliveries, replies)
//! ```
//!
//! One `Session` per connection, one implementation per protocol. Time is an argument, the socket
//! belongs to the shell, what a command does belongs to the engine. Nothing here waits or counts
//! connections.

mod auth;
pub mod limits;
mod session;
pub mod stomp;

pub use auth::{AllowAnonymous, Anonymous, AuthError, Authenticator, UserTable};
pub use limits::Limits;
pub use session::{Session, SessionConfig, SessionEvent};
