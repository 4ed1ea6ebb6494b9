//! The thread that owns the disk: operations in, results out, in order.
//!
//! It blocks in `fdatasync`, so nothing else runs here. Operations that wait are as many as the
//! machine has handed out, which bounds them by what it lets be unsynced.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use tandemmq_cluster::Event;
use tandemmq_journal::{DiskOp, DiskWorker, Storage};

use super::events::{NodeEvent, NodeSender};
use crate::metrics::Metrics;

/// The handle of the thread; it ends once this is dropped and everything before was done.
#[derive(Debug)]
pub(crate) struct DiskThread {
    ops: mpsc::Sender<DiskOp>,
    thread: JoinHandle<()>,
}

// === impl DiskThread ===

impl DiskThread {
    /// Starts it.
    pub(crate) fn start<S: Storage>(
        mut worker: DiskWorker<S>,
        events: NodeSender,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (ops, waiting) = mpsc::channel::<DiskOp>();
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(move || {
                for op in waiting {
                    let awaited = !op.is_background();
                    let begun = Instant::now();
                    let done = worker.execute(op);
                    if awaited {
                        metrics
                            .disk_sync_seconds
                            .observe(begun.elapsed().as_secs_f64());
                    }
                    // The node task may have ended; what it asked for is done all the same.
                    let _ = events.send(NodeEvent::Machine(Event::Disk(done)));
                }
            })?;
        Ok(Self { ops, thread })
    }

    /// Hands an operation over.
    pub(crate) fn send(&self, op: DiskOp) {
        self.ops
            .send(op)
            .expect("the thread ends only after this handle, or with the process");
    }

    /// Waits until everything handed over is done.
    pub(crate) fn finish(self) {
        drop(self.ops);
        self.thread
            .join()
            .expect("a panic would have ended the process");
    }
}
