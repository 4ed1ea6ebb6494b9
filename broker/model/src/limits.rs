//! Limits that more than one crate must agree on, each with the reason for its number.

/// Members of one group. Quorum arithmetic is 32-bit and the replicas setting allows 1, 3, 5, 7.
pub const MEMBERS_MAX: usize = 7;

/// Bytes of one client frame after CONNECTED. ActiveMQ's shipped `wireFormat.maxFrameSize`.
pub const FRAME_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Bytes of one record's body. One client frame plus its envelope always fits.
pub const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX + 1024 * 1024;

/// Bytes of one journal batch. One record of the largest size fits, and so do thousands of small
/// ones: a batch is what one fdatasync carries.
pub const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX + 64 * 1024;

/// Bytes of one frame between peers: one batch and its envelope.
pub const PEER_FRAME_BYTES_MAX: usize = BATCH_BYTES_MAX + 64 * 1024;

/// Bytes of a destination's name. Longer names are refused; nobody types them, and they are
/// repeated in every record.
pub const NAME_BYTES_MAX: usize = 1024;

/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;

/// Open transactions of one connection.
pub const TRANSACTIONS_MAX: usize = 100;

/// Uncommitted operations of one connection, over all its transactions.
pub const TRANSACTION_MESSAGES_MAX: usize = 10_000;

/// Uncommitted bytes of one connection, over all its transactions.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;
