//! What an engine is told at its start.

use bytestring::ByteString;

/// Limits and names of one engine. Equal on all members of a group, though nothing breaks when
/// they differ: no record depends on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// The group's name.
    pub group: ByteString,
    /// Bytes of non-persistent messages in memory, over all destinations (ActiveMQ:
    /// `memoryUsage`). At the limit a send waits, then is refused.
    pub transient_bytes_max: u64,
    /// Bytes of persistent messages kept in memory so that a fresh one is dispatched without a
    /// read of the journal.
    pub body_cache_bytes_max: u64,
    /// Destinations that may exist at once (ActiveMQ: `maxDestinations`). A client makes one by
    /// naming it, so there must be an end.
    pub destinations_max: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            group: ByteString::from_static("a"),
            transient_bytes_max: 256 * 1024 * 1024,
            body_cache_bytes_max: 32 * 1024 * 1024,
            destinations_max: 100_000,
        }
    }
}
