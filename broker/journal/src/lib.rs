//! The journal of one member: what is on its disk, and how it gets there.
//!
//! ```text
//!   node task                    disk thread                 reading threads
//!   Journal --DiskOp--> DiskWorker<S: Storage>            Reader<S: Storage>
//!           <-DiskDone-                          --ReadOp-->      <-ReadDone-
//! ```
//! `recover` finds out at the start what the disk holds; `Journal` is the log's mirror in memory and
//! decides what is done next; `DiskWorker` does it, one operation after the other; `Reader` reads
//! beside them. Nothing here knows a file, a clock or a thread: all of that is behind `Storage`.
//!
//! Invariants
//! - A batch is made once and stored byte for byte; the log is whole batches, chained by checksum.
//! - `synced` is what survives a power cut. It falls in the same step as a cut.
//! - What was synced is never given up silently: damage below the durable mark is stored as
//!   `NeedsRepair` before anybody can ask this member for its vote.
//!
//! Not here: whose promise may be given, where a log is to be cut, what a record means (`cluster`,
//! `engine`). No recycling of segments yet.

mod batch;
mod control;
mod format;
mod identity;
mod journal;
pub mod mutants;
mod ops;
mod reader;
mod recover;
mod storage;
mod witness;
mod worker;

pub use batch::{Batch, BatchBuilder, Records};
pub use control::{Control, LogState};
pub use format::{FORMAT_GREATEST, FORMAT_LEAST, FormatError};
pub use identity::{Founding, Identity};
pub use journal::{ELECTION_BYTES, EpochStartAt, Journal, JournalConfig, JournalEvent, Space};
pub use ops::{DiskDone, DiskOp};
pub use reader::{ReadDone, ReadError, ReadOp, Reader};
pub use recover::{RecoverError, Recovered, RecoveredLog, RecoveryReport, format, recover};
pub use storage::{Storage, StorageError};
pub use witness::Witness;
pub use worker::DiskWorker;
