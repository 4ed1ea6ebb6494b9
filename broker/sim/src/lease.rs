//! The simulated Lease store: compare-and-swap in memory, with every fault a real one has.
//!
//! The store answers at once; when the answer travels is the world's business. Faults that change
//! the content (`steal`, `delete`, `restore`) are what an operator, an etcd restore or a bug may do:
//! no rule of safety may notice them.

use tandemmq_cluster::lease::{
    Lease, LeaseAnswer, LeaseRecord, LeaseRequest, LeaseStore, Revision,
};

/// Versions kept for `restore`. More than a run of a minute writes.
const HISTORY_MAX: usize = 4_096;

/// The store.
#[derive(Debug, Default)]
pub(crate) struct SimLease {
    current: Lease,
    revision: u64,
    objects: u64,
    history: Vec<LeaseRecord>,
}

/// How a restored Lease counts its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestoredRevision {
    /// A new version: someone wrote the old content again.
    Fresh,
    /// The counter went back too (etcd restored from a backup): versions are used twice.
    Reused,
}

// === impl SimLease ===

impl SimLease {
    /// An empty store.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The record as it is now, for the oracle and the trace.
    pub(crate) fn current(&self) -> &Lease {
        &self.current
    }

    /// Somebody else writes: another holder, and `epoch` as they like it.
    pub(crate) fn steal(&mut self, holder: &str, epoch: u64) {
        let mut record = self.current.record.clone();
        holder.clone_into(&mut record.holder);
        record.epoch = epoch;
        self.write(record);
    }

    /// The object is deleted; the next swap makes a new one.
    pub(crate) fn delete(&mut self) {
        self.current = Lease::default();
    }

    /// The content goes back to an earlier version, `back` writes ago; false when there is none
    /// that `fits`.
    pub(crate) fn restore(
        &mut self,
        back: usize,
        revision: RestoredRevision,
        fits: impl Fn(&LeaseRecord) -> bool,
    ) -> bool {
        let Some(index) = self.history.len().checked_sub(1 + back) else {
            return false;
        };
        let record = self.history[index].clone();
        if !fits(&record) {
            return false;
        }
        if revision == RestoredRevision::Reused {
            self.revision = self.revision.saturating_sub(back as u64 + 1);
        }
        self.write(record);
        true
    }

    /// Edits the content as a human with an editor would.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut LeaseRecord)) {
        let mut record = self.current.record.clone();
        change(&mut record);
        self.write(record);
    }

    fn write(&mut self, record: LeaseRecord) {
        if self.current.uid.is_empty() {
            self.objects += 1;
            self.current.uid = format!("uid-{}", self.objects);
        }
        self.revision += 1;
        self.current.revision = Revision(format!("r{}", self.revision));
        self.current.record = record.clone();
        if self.history.len() == HISTORY_MAX {
            self.history.remove(0);
        }
        self.history.push(record);
    }
}

impl LeaseStore for SimLease {
    fn call(&mut self, request: LeaseRequest) -> LeaseAnswer {
        match request {
            LeaseRequest::Read => LeaseAnswer::Ok(self.current.clone()),
            LeaseRequest::Swap {
                uid,
                revision,
                record,
            } => {
                if uid != self.current.uid || revision != self.current.revision {
                    return LeaseAnswer::Conflict;
                }
                self.write(record);
                LeaseAnswer::Ok(self.current.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests;
