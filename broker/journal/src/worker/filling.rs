//! Zero-filling ahead: segments for later, and the reserve for a full disk.

use super::DiskWorker;
use crate::ops::Room;
use crate::segment::{self, DATA_AT, PIECE};
use crate::storage::{Storage, StorageError};

/// A checkpoint of half a million messages; what it frees pays for a larger one.
const RESERVE_BYTES: usize = 8 * 1024 * 1024;

/// Kept for checkpoints on a disk that others have filled: without one nothing can be cleaned up.
const RESERVE: &str = "reserve";

/// A spare under way.
#[derive(Debug)]
pub(super) struct Filling {
    number: u64,
    filled: u64,
    /// It was a segment: its bytes are there and counted, and may hold old batches.
    recycled: bool,
}

impl<S: Storage> DiskWorker<S> {
    /// One piece. A full disk is no error here: the machine hears of it by `room`. What is filled
    /// already is kept, so that trying again costs one piece and takes nothing away from others.
    pub(super) fn prepare(&mut self) -> Result<(), StorageError> {
        if self.disk_full && self.task.is_some() {
            // What room there is belongs to the work that frees more.
            self.blocked = true;
            return self.step();
        }
        let filled = if self.wants_spares() {
            self.fill_a_piece()
        } else {
            self.make_reserve()
        };
        match filled {
            Ok(()) => {
                self.blocked = false;
                Ok(())
            }
            Err(StorageError::NoSpace(_)) => {
                self.disk_full = true;
                self.blocked = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn fill_a_piece(&mut self) -> Result<(), StorageError> {
        let bytes = u64::from(self.config.segment_bytes);
        let filling = match &mut self.filling {
            Some(filling) => filling,
            None => {
                self.check_limit(bytes)?;
                let number = self.next_spare;
                self.storage.create(&filling_name(number))?;
                self.next_spare += 1;
                self.filling.insert(Filling {
                    number,
                    filled: 0,
                    recycled: false,
                })
            }
        };
        let name = filling_name(filling.number);
        let length = PIECE.min((bytes - filling.filled) as usize);
        self.storage
            .write_at(&name, filling.filled, &vec![0; length])?;
        self.storage.sync(&name)?;
        filling.filled += length as u64;
        self.used += if filling.recycled { 0 } else { length as u64 };
        if filling.filled == bytes {
            let number = filling.number;
            self.filling = None;
            self.storage.rename(&name, &segment::spare_name(number))?;
            self.storage.sync_dir()?;
            self.spares.push(number);
            self.disk_full = false;
        }
        Ok(())
    }

    pub(super) fn drop_filling(&mut self) -> Result<(), StorageError> {
        let Some(filling) = self.filling.take() else {
            return Ok(());
        };
        let bytes = if filling.recycled {
            u64::from(self.config.segment_bytes)
        } else {
            filling.filled
        };
        self.used -= bytes.min(self.used);
        match self.storage.remove(&filling_name(filling.number)) {
            Ok(()) | Err(StorageError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A dead segment becomes the next spare, zeroed in place; false when none is wanted.
    pub(super) fn recycle(&mut self, name: &str) -> Result<bool, StorageError> {
        let fits = self.storage.len(name)? == u64::from(self.config.segment_bytes);
        if !fits || self.filling.is_some() || !self.wants_spares() {
            return Ok(false);
        }
        let number = self.next_spare;
        self.next_spare += 1;
        self.storage.rename(name, &filling_name(number))?;
        self.filling = Some(Filling {
            number,
            filled: 0,
            recycled: true,
        });
        Ok(true)
    }

    fn make_reserve(&mut self) -> Result<(), StorageError> {
        if self.has_reserve {
            return Ok(());
        }
        let bytes = RESERVE_BYTES.min(self.config.segment_bytes as usize);
        self.storage.create(RESERVE)?;
        self.has_reserve = true;
        let written = (0..bytes).step_by(PIECE).try_for_each(|at| {
            let length = PIECE.min(bytes - at);
            self.storage.write_at(RESERVE, at as u64, &vec![0; length])
        });
        match written {
            Ok(()) => self.storage.sync(RESERVE),
            Err(error) => self.give_up_reserve().and(Err(error)),
        }
    }

    /// Does it again with the room of the reserve when there is none.
    pub(super) fn with_reserve<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match work(self) {
            Err(StorageError::NoSpace(_)) if self.has_reserve => {
                self.disk_full = true;
                self.give_up_reserve()?;
                work(self)
            }
            done => done,
        }
    }

    /// Makes room for a checkpoint or for survivors.
    pub(super) fn give_up_reserve(&mut self) -> Result<(), StorageError> {
        if !std::mem::take(&mut self.has_reserve) {
            return Ok(());
        }
        match self.storage.remove(RESERVE) {
            Ok(()) | Err(StorageError::NotFound(_)) => self.storage.sync_dir(),
            Err(error) => Err(error),
        }
    }

    /// `journal.maxBytes`: may one more file of that size be made?
    pub(super) fn check_limit(&self, bytes: u64) -> Result<(), StorageError> {
        match self.config.max_bytes {
            Some(limit) if self.used + bytes > limit => Err(StorageError::NoSpace(
                "another segment below journal.maxBytes".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn remaining(&self) -> u64 {
        let place = self.index.lock().end.place;
        place.map_or(0, |place| self.current_bytes - place.position)
    }

    /// Also one more than is needed, on a disk that was full: whether it still is only a try can
    /// tell, and a batch larger than a spare waits for the answer.
    fn wants_spares(&self) -> bool {
        if self.disk_full {
            return true;
        }
        let segment = u64::from(self.config.segment_bytes);
        let ahead = self.remaining() + self.spares.len() as u64 * (segment - DATA_AT);
        ahead < self.config.reserve_bytes + segment / 2
    }

    pub(crate) fn room(&self) -> Room {
        let (remaining, spares) = (self.remaining(), self.spares.len() as u32);
        let segment = u64::from(self.config.segment_bytes);
        let allowed = self.filling.is_some() || self.check_limit(segment).is_ok();
        Room {
            remaining,
            spares,
            can_grow: allowed && !self.disk_full,
            blocked: self.blocked || !allowed,
            wants_more: self.wants_spares() || !self.has_reserve,
            used: self.used,
        }
    }
}

fn filling_name(number: u64) -> String {
    format!("{}.tmp", segment::spare_name(number))
}
