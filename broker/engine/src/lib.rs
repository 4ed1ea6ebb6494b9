//! Destinations, subscriptions, dispatch, acknowledgements, transactions: pure and deterministic.
//!
//! Two halves. `State` is replicated: it changes only by `Engine::apply`, record by record, the
//! same on every member. `Live` exists on the master alone (connections, subscriptions, what is in
//! flight, non-persistent messages) and is dropped at demotion.
//!
//! ```text
//!  commands ──> Live ──Propose(record)──> log ──committed──> apply ──> State
//!                ^                                             │
//!                └────────── dispatchable, answers ────────────┘
//! ```
//!
//! Not here: protocols (`wire`), the log (`journal`), who is master (`cluster`), clocks, I/O.

mod config;
mod effects;
mod engine;
mod live;
pub mod mutants;
mod records;
mod refusals;
mod state;
mod stats;

pub use config::EngineConfig;
pub use effects::{Admission, Backlog, EngineEffect};
pub use engine::Engine;
pub use state::picture::{
    PICTURE_PIECE_BYTES_MAX, Picture, PictureError, PictureReader, PictureWriter,
};
pub use stats::DestinationStats;
