//! Row 12, the master that gives a checkpoint: it offers one, and answers questions about it.
//!
//! It keeps no state of a transfer but which checkpoint is in use, so that it and the log behind it
//! are kept: the slave asks for what it lacks. Records are read from where they are now; one that
//! is not there any more was dead at a later checkpoint of this master, so its ack is in the log
//! that the slave gets next.

use std::time::Duration;

use tandemmq_journal::ReadDone;
use tandemmq_model::{Ballot, Now, Offset, Time};

use super::{Group, ReadFor};
use crate::peer::{BATCHES_BYTES_MAX, Message, Tail};

/// A checkpoint that nobody has asked about for so long is not kept for anybody: a slave that comes
/// back later is offered the newest.
const IN_USE: Duration = Duration::from_secs(30);

/// Records read for one answer, whatever the question claims.
const RECORDS_MAX: usize = 65_536;

/// The checkpoint that is being given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    offset: Offset,
    used_at: Time,
}

impl Group {
    /// Offers that slave the checkpoint in use, or the newest.
    pub(super) fn send_offer(&mut self, now: Now, ordinal: u8, ballot: Ballot) {
        let in_use = self.pinned(now);
        let newest = self.journal.newest_checkpoint().map(|(offset, _)| offset);
        let Some(offset) = in_use.or(newest) else {
            return self.notice("there is no checkpoint to offer".to_owned());
        };
        let Some((epoch, bytes)) = self.journal.checkpoint_facts(offset) else {
            return;
        };
        self.offered = Some(Offered {
            offset,
            used_at: now.boot,
        });
        let checkpoint = Tail { epoch, offset };
        self.send(
            ordinal,
            &Message::Offer {
                ballot,
                checkpoint,
                bytes,
            },
        );
    }

    /// The checkpoint that is to be kept.
    pub(super) fn pinned(&self, now: Now) -> Option<Offset> {
        let used = self.offered?;
        let kept = self.journal.checkpoint_number(used.offset).is_some();
        (kept && now.boot.since(used.used_at) < IN_USE).then_some(used.offset)
    }

    fn use_offered(&mut self, now: Now, ballot: Ballot, offset: Offset) -> bool {
        let reigns = self.master().is_some_and(|master| master.ballot == ballot);
        let kept = self.journal.checkpoint_number(offset).is_some();
        if reigns && kept {
            self.offered = Some(Offered {
                offset,
                used_at: now.boot,
            });
        }
        reigns && kept
    }

    pub(super) fn handle_fetch_piece(
        &mut self,
        now: Now,
        from: u8,
        ballot: Ballot,
        offset: Offset,
        position: u64,
    ) {
        let number = self.journal.checkpoint_number(offset);
        if !self.use_offered(now, ballot, offset) {
            // Not kept any more: the slave is offered another one with the next heartbeat.
            return;
        }
        let Some(number) = number else { return };
        let op = self.journal.read_piece(number, position);
        let purpose = ReadFor::Piece {
            ordinal: from,
            ballot,
            offset,
            position,
        };
        self.start_read(op, purpose);
    }

    pub(super) fn handle_fetch_survivors(
        &mut self,
        now: Now,
        from: u8,
        ballot: Ballot,
        offset: Offset,
        runs: &[(Offset, u32)],
    ) {
        if !self.use_offered(now, ballot, offset) {
            return;
        }
        let all = runs
            .iter()
            .flat_map(|(first, count)| (first.0..).take(*count as usize).map(Offset));
        let offsets: Vec<Offset> = all.take(RECORDS_MAX).filter(|at| *at <= offset).collect();
        if !offsets.is_sorted() || offsets.is_empty() {
            return;
        }
        let op = self.journal.read_survivors(offsets, BATCHES_BYTES_MAX);
        let purpose = ReadFor::Survivors {
            ordinal: from,
            ballot,
            offset,
        };
        self.start_read(op, purpose);
    }

    /// What was read for a slave that installs goes out, if this is still its master.
    pub(super) fn answer_install(&mut self, purpose: &ReadFor, done: ReadDone) {
        let (ordinal, message) = match (purpose, done) {
            (
                ReadFor::Piece {
                    ordinal,
                    ballot,
                    offset,
                    position,
                },
                ReadDone::Piece(piece, next),
            ) => {
                let (ballot, offset, position) = (*ballot, *offset, *position);
                let message = Message::CheckpointPiece {
                    ballot,
                    offset,
                    position,
                    next,
                    piece,
                };
                (*ordinal, message)
            }
            (
                ReadFor::Survivors {
                    ordinal,
                    ballot,
                    offset,
                },
                ReadDone::Survivors(batches, to),
            ) => {
                let (ballot, offset) = (*ballot, *offset);
                let message = Message::Survivors {
                    ballot,
                    offset,
                    to,
                    batches,
                };
                (*ordinal, message)
            }
            _ => return, // It failed: the slave asks again.
        };
        if self.master().is_some() {
            self.send(ordinal, &message);
        }
    }
}
