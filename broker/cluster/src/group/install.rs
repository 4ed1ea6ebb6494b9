//! Row 12, the member that takes a checkpoint because the master's log begins behind its own end.
//!
//! ```text
//!   Offer --> pieces, one asked at a time --> picture
//!     --> survivors it lacks, a message at a time, each stored before the next is asked
//!     --> checkpoint written beside --> guards again --> switch --> Ack(offset)
//! ```
//! Guards, on receipt and again at the switch: the ballot is the promise, the own log has no record
//! (offset, epoch), nothing committed is taken away. Survivors are committed records, the same
//! under every master: what is stored of them stays good when the master or the checkpoint changes,
//! and after a crash.
//!
//! A candidate does not install: it steps back for the member with the better log (`recovery`).

use std::time::Duration;

use bytes::Bytes;
use tandemmq_engine::{Picture, PictureReader};
use tandemmq_journal::{Batch, CheckpointHead, Piece};
use tandemmq_model::{Ballot, MemberId, Now, Offset};

use super::timers::Timer;
use super::{Group, Notice, RoleState, quorum};
use crate::Effect;
use crate::image::EngineImage;
use crate::mutants::{self, Mutant};
use crate::peer::{BATCHES_BYTES_MAX, Message, Tail};

/// Without an answer for this long the same is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Runs of offsets in one question: 12 bytes each.
const RUNS_MAX: usize = 2_048;

/// An installation under way.
#[derive(Debug)]
pub(super) struct Installing {
    ballot: Ballot,
    from: u8,
    checkpoint: Tail,
    step: Step,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time")]
enum Step {
    /// The piece at that position was asked for.
    Pieces {
        position: u64,
        head: Option<CheckpointHead>,
        reader: PictureReader,
    },
    /// Survivors were asked for, or are being stored.
    Survivors(Wanted),
    /// The checkpoint is being written.
    Preparing(Bytes, Picture),
    /// The switch was asked for; to these voters and this picture.
    Switching(Bytes, Picture),
}

#[derive(Debug)]
struct Wanted {
    head: CheckpointHead,
    picture: Picture,
    /// Offsets and lengths, ascending.
    records: Vec<(Offset, u32)>,
    next: usize,
    /// Up to here was answered; it is asked further once that is stored.
    answered: Offset,
    storing: bool,
}

impl Group {
    /// Row 12, the guard: true when the offer is to be followed.
    fn may_install(&mut self, checkpoint: Tail) -> bool {
        let slave = matches!(self.role, RoleState::Slave | RoleState::Standing(_));
        let known = self.journal.epoch_at(checkpoint.offset) == Some(checkpoint.epoch)
            || mutants::on(Mutant::LongerLogNeedsNone)
                && self.journal.appended() >= checkpoint.offset;
        if !slave || known && !mutants::on(Mutant::InstallOverOwnRecord) {
            return false;
        }
        if checkpoint.offset <= self.committed && !known {
            self.effects.push_back(Effect::Abort {
                reason: format!(
                    "a checkpoint at {} contradicts what is committed here up to {}",
                    checkpoint.offset, self.committed
                ),
            });
            return false;
        }
        true
    }

    pub(super) fn handle_offer(
        &mut self,
        now: Now,
        from: MemberId,
        ballot: Ballot,
        checkpoint: Tail,
        bytes: u64,
    ) {
        if !self.follow(now, from, ballot) {
            return;
        }
        self.hear(now, ballot);
        let same = |known: &Installing| known.ballot == ballot && known.checkpoint == checkpoint;
        if self.installing.as_ref().is_some_and(same) || self.journal.is_switching() {
            return;
        }
        if self.log_state == tandemmq_journal::LogState::DataLoss || !self.may_install(checkpoint) {
            return self.acknowledge_again(from.ordinal);
        }
        self.abandon_install("another checkpoint is offered");
        self.notice(format!(
            "installing the checkpoint at {} from {from}: {bytes} bytes and the live records \
             behind {}",
            checkpoint.offset,
            self.journal.side_last()
        ));
        self.installing = Some(Installing {
            ballot,
            from: from.ordinal,
            checkpoint,
            step: Step::Pieces {
                position: 0,
                head: None,
                reader: PictureReader::new(),
            },
        });
        self.ask_for_more(now);
    }

    /// Asks for what the present step lacks.
    fn ask_for_more(&mut self, now: Now) {
        self.timers.set(Timer::Install, now.boot + ASK_AGAIN);
        let Some(installing) = &self.installing else {
            return;
        };
        let (ballot, offset) = (installing.ballot, installing.checkpoint.offset);
        let message = match &installing.step {
            Step::Pieces { position, .. } => Message::FetchPiece {
                ballot,
                offset,
                position: *position,
            },
            Step::Survivors(wanted) => Message::FetchSurvivors {
                ballot,
                offset,
                runs: wanted.next_runs(),
            },
            Step::Preparing(..) | Step::Switching(..) => return,
        };
        let from = installing.from;
        self.send(from, &message);
    }

    pub(super) fn handle_install_timer(&mut self, now: Now) {
        self.ask_for_more(now);
    }

    pub(super) fn handle_piece(
        &mut self,
        now: Now,
        ballot: Ballot,
        offset: Offset,
        (position, next): (u64, u64),
        piece: Piece,
    ) {
        let replaced = matches!(&piece, Piece::Head(found) if self.is_replaced_by(&found.config));
        let Some(installing) = &mut self.installing else {
            return;
        };
        if installing.ballot != ballot || installing.checkpoint.offset != offset {
            return;
        }
        let Step::Pieces {
            position: wanted,
            head,
            reader,
        } = &mut installing.step
        else {
            return;
        };
        if *wanted != position {
            return;
        }
        if replaced {
            self.keep_out();
            return self.abandon_install("this volume was replaced");
        }
        let taken = match piece {
            Piece::Head(found) if head.is_none() && installing.checkpoint == tail_of(&found) => {
                *head = Some(found);
                Ok(())
            }
            Piece::Image(bytes) if head.is_some() => {
                reader.push(&bytes).map_err(|error| error.to_string())
            }
            Piece::End if head.is_some() => return self.read_picture(now),
            Piece::Head(_) | Piece::Image(_) | Piece::End => Err("a piece out of place".to_owned()),
        };
        *wanted = next;
        match taken {
            Ok(()) => self.ask_for_more(now),
            Err(why) => self.abandon_install(&why),
        }
    }

    /// All pieces are there.
    fn read_picture(&mut self, now: Now) {
        let Some(installing) = self.installing.take() else {
            return;
        };
        let Step::Pieces {
            head: Some(head),
            reader,
            ..
        } = installing.step
        else {
            return;
        };
        let picture = match reader.finish() {
            Ok(picture) if picture.applied() == head.offset => picture,
            Ok(_) => return self.notice("a checkpoint of another offset than it says".to_owned()),
            Err(error) => return self.notice(format!("the checkpoint cannot be read: {error}")),
        };
        let wanted = Wanted::new(head, picture, self.journal.side_last());
        self.installing = Some(Installing {
            step: Step::Survivors(wanted),
            ..installing
        });
        self.go_on_installing(now);
    }

    pub(super) fn handle_survivors(
        &mut self,
        now: Now,
        ballot: Ballot,
        offset: Offset,
        to: Offset,
        batches: Vec<Batch>,
    ) {
        let Some(installing) = &mut self.installing else {
            return;
        };
        if installing.ballot != ballot || installing.checkpoint.offset != offset {
            return;
        }
        let Step::Survivors(wanted) = &mut installing.step else {
            return;
        };
        if wanted.storing || !wanted.accepts(to, &batches) {
            return;
        }
        wanted.answered = to;
        wanted.next = wanted.records.partition_point(|(at, _)| *at <= to);
        if batches.is_empty() {
            return self.go_on_installing(now);
        }
        wanted.storing = true;
        self.journal.store_side(batches);
    }

    /// Something was stored, or nothing had to be: what next?
    pub(super) fn go_on_installing(&mut self, now: Now) {
        let Some(installing) = &mut self.installing else {
            return;
        };
        let Step::Survivors(wanted) = &mut installing.step else {
            return;
        };
        wanted.storing = false;
        if wanted.next < wanted.records.len() {
            return self.ask_for_more(now);
        }
        let (head, picture) = (wanted.head.clone(), wanted.picture.clone());
        installing.step = Step::Preparing(head.config.clone(), picture.clone());
        self.timers.stop(Timer::Install);
        self.journal
            .prepare_install(head, EngineImage::boxed(picture));
    }

    /// The checkpoint is on this disk: the guards once more, then the switch.
    pub(super) fn handle_prepared(&mut self, _now: Now) {
        let Some(installing) = &self.installing else {
            return self.journal.abandon_install();
        };
        let (ballot, checkpoint) = (installing.ballot, installing.checkpoint);
        if ballot != self.promise && !mutants::on(Mutant::InstallOverOwnRecord)
            || !self.may_install(checkpoint)
        {
            return self.abandon_install("it is not wanted any more");
        }
        // What is synced here and not in the checkpoint is taken away, as by a cut.
        if self.journal.synced() > Offset::ZERO && !mutants::on(Mutant::NoCutMark) {
            self.cut_mark = ballot;
            self.store_control();
        }
        self.journal.switch();
        if let Some(installing) = &mut self.installing
            && let Step::Preparing(config, picture) = &installing.step
        {
            installing.step = Step::Switching(config.clone(), picture.clone());
        }
    }

    /// The log is the checkpoint.
    pub(super) fn handle_switched(&mut self, now: Now, offset: Offset) {
        let Some(Installing {
            ballot,
            step: Step::Switching(config, picture),
            ..
        }) = self.installing.take()
        else {
            unreachable!("a switch is asked for by an installation only");
        };
        let committed = quorum::committed_by_checkpoint(offset);
        self.committed = offset;
        self.applied = offset;
        self.acked = Offset::ZERO;
        let follows = ballot == self.promise && matches!(self.role, RoleState::Slave);
        self.matched = if follows { offset } else { Offset::ZERO };
        self.restart_configs(offset, config);
        self.notice(format!("the checkpoint at {offset} is installed"));
        self.notices.push_back(Notice::Restored(picture));
        self.notices.push_back(Notice::Committed(committed));
        self.learn_committed();
        self.continue_after_promise(now);
        self.consider_clean(now);
    }

    /// Not this one, or not now. A switch that was asked for is done all the same.
    pub(super) fn abandon_install(&mut self, why: &str) {
        let switching = |known: &Installing| matches!(known.step, Step::Switching(..));
        if self.installing.as_ref().is_none_or(switching) {
            return;
        }
        self.installing = None;
        self.timers.stop(Timer::Install);
        self.journal.abandon_install();
        self.notice(format!(
            "the installation of a checkpoint is given up: {why}"
        ));
    }

    /// How far an installation is, for the status.
    pub(super) fn install_progress(&self) -> Option<String> {
        let installing = self.installing.as_ref()?;
        let at = installing.checkpoint.offset;
        Some(match &installing.step {
            Step::Pieces { position, .. } => format!("checkpoint at {at}: {position} bytes"),
            Step::Survivors(wanted) => format!(
                "checkpoint at {at}: {} of {} live records",
                wanted.next,
                wanted.records.len()
            ),
            Step::Preparing(..) | Step::Switching(..) => format!("checkpoint at {at}: switching"),
        })
    }
}

const fn tail_of(head: &CheckpointHead) -> Tail {
    Tail {
        epoch: head.epoch,
        offset: head.offset,
    }
}

// === impl Wanted ===

impl Wanted {
    fn new(head: CheckpointHead, picture: Picture, behind: Offset) -> Self {
        let mut records = Vec::new();
        picture.live(&mut |offset, length| {
            if offset > behind {
                records.push((offset, length));
            }
        });
        records.sort_unstable();
        Self {
            head,
            picture,
            records,
            next: 0,
            answered: behind,
            storing: false,
        }
    }

    /// The next records to ask for: a message full of bodies, in runs.
    fn next_runs(&self) -> Vec<(Offset, u32)> {
        let (mut runs, mut bytes) = (Vec::<(Offset, u32)>::new(), 0);
        for (offset, length) in &self.records[self.next..] {
            if bytes >= BATCHES_BYTES_MAX || runs.len() >= RUNS_MAX {
                break;
            }
            bytes += *length as usize;
            match runs.last_mut() {
                Some((first, count)) if first.0 + u64::from(*count) == offset.0 => *count += 1,
                _ => runs.push((*offset, 1)),
            }
        }
        runs
    }

    /// Ascending, not beyond what they say, and something new. Some may be stored by now: what an
    /// installation before this one had under way may have come to the disk after the question.
    fn accepts(&self, to: Offset, batches: &[Batch]) -> bool {
        let mut last = Offset::ZERO;
        let ascending = batches.iter().all(|batch| {
            let behind = batch.base() > last && batch.last() <= to;
            last = batch.last();
            behind
        });
        ascending && to > self.answered && to <= self.head.offset
    }
}
