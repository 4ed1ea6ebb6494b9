//! What the journal asks of the disk thread.

/// One operation for the disk thread; to be done in the order of `poll_op`.
#[derive(Debug, Clone)]
pub struct DiskOp {
    pub(crate) sequence: u64,
}

impl DiskOp {
    /// Bytes it writes: for a simulated disk that takes its time.
    pub fn bytes(&self) -> u64 {
        0
    }
}

/// The end of one operation, for `Journal::handle_done`.
#[derive(Debug, Clone)]
pub struct DiskDone {
    pub(crate) sequence: u64,
}
