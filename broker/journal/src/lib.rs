//! The journal: one totally ordered log per group, on the disk of every member.
//!
//! ```text
//!   Journal (in the node's machine)  --DiskOp-->  DiskWorker<S> (one thread)  --->  Storage
//!            ^                       <--DiskDone--                                     ^
//!            +------------------- recover(storage) at start        Reader<S> ---------+
//! ```
//! Pure: files are behind [`Storage`], time is an argument. The same worker runs on a real disk and
//! on the simulated one.
//!
//! Invariants
//! - A batch is made once, by the master of one epoch, and stored byte for byte by every member.
//! - A log is whole batches; each names the CRC of the one before.
//! - What is reported as synced survives a crash; it is lowered only by a cut, in the same step.
//! - Operations are done in the order they were given; what was stored first is durable first.
//!
//! Not here: who may append or cut (`tandemmq-cluster`), what a record means (its owner).

mod batch;
mod checkpoint;
mod control;
mod format;
mod formats;
mod identity;
mod index;
mod inspect;
mod journal;
mod manifest;
pub mod mutants;
mod ops;
mod read;
mod recover;
mod segment;
mod set_aside;
mod storage;
#[cfg(test)]
mod tests;
mod twice;
mod worker;

pub use batch::{Batch, BatchBuilder};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointHead, Image, PIECE_BYTES_MAX, Piece};
pub use control::{Control, LogState};
pub use format::{FORMAT, FormatError, OLDEST_FORMAT};
pub use identity::{Founding, Identity, Witness, format};
pub use index::EpochStartAt;
pub use inspect::{Each, FileReport, Inspection, inspect};
pub use journal::{Journal, JournalConfig, JournalEvent, Space};
pub use ops::{CheckpointOrder, DiskDone, DiskOp};
pub use read::{ReadDone, ReadOp, Reader, ScrubAt};
pub use recover::{RecoverError, Recovered, Report, recover};
pub use set_aside::{SetAside, is_aside};
pub use storage::{Faults, LimitedStorage, MemStorage, Storage, StorageError, contract_tests};
pub use worker::DiskWorker;
