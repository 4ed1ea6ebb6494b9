//! Threads that read the journal, so that a read never waits behind an `fdatasync`.
//!
//! Reads that wait are as many as the machine has asked for; it asks for one page at a time.

use std::sync::{Arc, Mutex, mpsc};

use tandemmq_cluster::{Event, ReadId};
use tandemmq_journal::{ReadOp, Reader, Storage};

use super::events::{NodeEvent, NodeSender};

/// Threads. Two: bodies for consumers go on while a slave catches up.
const THREADS: usize = 2;

/// The handle of the threads; they end once it is dropped.
#[derive(Debug)]
pub(crate) struct Readers {
    ops: mpsc::Sender<(ReadId, ReadOp)>,
}

// === impl Readers ===

impl Readers {
    /// Starts them.
    pub(crate) fn start<S: Storage>(
        reader: Reader<S>,
        events: &NodeSender,
    ) -> std::io::Result<Self> {
        let (ops, waiting) = mpsc::channel::<(ReadId, ReadOp)>();
        let waiting = Arc::new(Mutex::new(waiting));
        for index in 0..THREADS {
            let (waiting, reader, events) = (Arc::clone(&waiting), reader.clone(), events.clone());
            let name = format!("reader-{index}");
            std::thread::Builder::new().name(name).spawn(move || {
                while let Some((id, op)) = next(&waiting) {
                    let done = reader.read(&op);
                    if events
                        .send(NodeEvent::Machine(Event::Read(id, done)))
                        .is_err()
                    {
                        return;
                    }
                }
            })?;
        }
        Ok(Self { ops })
    }

    /// Hands a read over.
    pub(crate) fn send(&self, id: ReadId, op: ReadOp) {
        self.ops
            .send((id, op))
            .expect("the threads end only after this handle");
    }
}

/// The next read, once it is this thread's turn; none when the handle is gone.
fn next(waiting: &Mutex<mpsc::Receiver<(ReadId, ReadOp)>>) -> Option<(ReadId, ReadOp)> {
    waiting
        .lock()
        .expect("a panic ends the process")
        .recv()
        .ok()
}
